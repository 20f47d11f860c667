"""A disk that is full or read-only: changes are refused, everything else goes on, nobody restarts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import mounts
from tests.support.gateway import Answer, Gateway, served_by
from tests.support.load import Kill, Load, judge
from tests.support.mounts import Disk
from tests.support.origins import Origins
from tests.support.processes import wait_until

HOST = "shop.example"
TRIES = 60

pytestmark = pytest.mark.skipif(
    mounts.why_not() is not None, reason=f"no private mounts: {mounts.why_not()}"
)


class Place:
    """A gateway whose store and whose state folder are on a small disk each."""

    def __init__(self, folder: Path) -> None:
        self.store, self.state = Disk(folder / "store"), Disk(folder / "state")
        for disk in (self.store, self.state):
            disk.folder.mkdir()
        self.gateway = Gateway(
            folder,
            store=f"sqlite:{self.store.folder}/gateway.db",
            admin={"socket": str(folder / "admin.sock")},
        )
        self.gateway.api = self.gateway.api_at(folder / "admin.sock")
        self.gateway.before_exec = self._mount
        self.weights = {"v1": 100, "v2": 0}

    def _mount(self) -> None:
        self.store.mount()
        self.state.mount()

    @property
    def pid(self) -> int:
        return self.gateway.supervisor

    def turn(self) -> Answer:
        """Move all weight to the other service."""
        wanted = {name: 100 - weight for name, weight in self.weights.items()}
        answer = self.gateway.api("PUT", f"routes/{HOST}/weights", wanted)
        if answer.status == 200:
            self.weights = wanted
        return answer

    def turn_until_refused(self) -> Answer:
        """The disk is kept full until a change is refused: SQLite has room of its own for some."""
        for _ in range(TRIES):
            self.store.fill(self.pid)
            self.state.fill(self.pid)
            answer = self.turn()
            if answer.status != 200:
                return answer
        raise AssertionError("a full disk refuses nothing")

    def assert_as_last_told(self) -> None:
        """The last change that was answered with 200 holds, and nothing else."""
        assert self.gateway.api.weights(HOST) == self.weights
        wanted = {name for name, weight in self.weights.items() if weight}
        found = {served_by(self.gateway.ask("public", host=HOST)) for _ in range(10)}
        assert found == wanted


@pytest.fixture
def place(tmp_path: Path, origins: Origins) -> Iterator[Place]:
    found = Place(tmp_path)
    with found.gateway:
        for name in ("v1", "v2"):
            found.gateway.api.register(name, HOST, origins.start(name).port)
        found.gateway.api.set_weights(HOST, **found.weights)
        yield found


def assert_refused(answer: Answer) -> None:
    assert answer.status == 503, answer
    assert answer.json["code"] == "store_unavailable", answer
    assert "gateway.db" in answer.json["detail"], "it says what is full"


def test_a_full_disk_refuses_changes_costs_no_request_and_is_over_when_there_is_room(
    place: Place,
) -> None:
    gateway, control = place.gateway, place.gateway.control
    kills: list[Kill] = []
    with Load(gateway.ports["public"], HOST, keeping=6, per_request=4) as load:
        load.wait_answers(30)
        assert_refused(place.turn_until_refused())
        place.assert_as_last_told()
        # A worker that starts now finds a snapshot file that may be an old one.
        kills.append(gateway.kill_worker(0))
        gateway.wait_ready()
        place.assert_as_last_told()
        load.wait_answers(30)

        for disk in (place.store, place.state):
            disk.free(place.pid)
        for _ in range(2):
            assert place.turn().status == 200
            place.assert_as_last_told()
        kills.append(gateway.kill_worker(1))
        gateway.wait_ready()
        place.assert_as_last_told()
        load.wait_answers(30)
    verdict = judge(load.records, kills)
    assert not verdict.failed, verdict
    assert gateway.control == control, "nobody had to start anew"


def test_a_read_only_disk_refuses_changes_costs_no_request_and_is_over_when_it_can_be_written(
    place: Place,
) -> None:
    gateway, control = place.gateway, place.gateway.control
    with Load(gateway.ports["public"], HOST, keeping=6, per_request=4) as load:
        load.wait_answers(30)
        assert_refused(place.turn_until_refused())  # so that SQLite has no file open
        for disk in (place.store, place.state):
            disk.free(place.pid)
        wait_until(lambda: place.store.remount(place.pid, "ro"), what="a read-only disk")
        for _ in range(3):
            assert_refused(place.turn())
            place.assert_as_last_told()
        assert gateway.control == control

        assert place.store.remount(place.pid, "rw")
        assert place.turn().status == 200
        place.assert_as_last_told()

        # A control process that is killed meanwhile finds its store when there is one again.
        gateway.kill(control)
        wait_until(lambda: place.store.remount(place.pid, "ro"), what="a read-only disk")
        refused = gateway.said("error control")
        gateway.wait_said("error control", refused)
        load.wait_answers(30)
        assert place.store.remount(place.pid, "rw")
        gateway.wait_ready()
        place.assert_as_last_told()
        assert place.turn().status == 200
        place.assert_as_last_told()
        load.wait_answers(30)
    verdict = judge(load.records)
    assert not verdict.failed, verdict
