"""The snapshot file as the control process keeps it: grown by what changed, made anew when long."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from admin.filing import LONG_RECORDS, RECORDS_MAX, Filing
from admin.snapshot_bytes import SnapshotBytes, difference
from gateway.core.snapshot import Snapshot
from gateway.runtime import snapshot_file

from .test_snapshot_file import RID, SNAPSHOT


class Scene:
    """A filing that is given one generation after the other."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "snapshot.json"
        self.filing = Filing(self.path, "s1", SnapshotBytes())
        self.snapshot = SNAPSHOT

    def next(self, host: str = "a.test") -> Snapshot:
        before = self.snapshot
        route = replace(before.routes[RID], host=host)
        self.snapshot = replace(
            before, generation=before.generation + 1, routes={**before.routes, RID: route}
        )
        return self.snapshot

    def put(self) -> int:
        """The next one; gives which file (inode) holds it."""
        snapshot, held = self.next(f"h{self.snapshot.generation}.test"), self.filing.held
        self.filing.put(snapshot, None if held is None else difference(held, snapshot))
        return self.read_is_right()

    def read_is_right(self) -> int:
        assert snapshot_file.read(self.path) == ("s1", self.snapshot)
        return self.path.stat().st_ino


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.filing.close()
    assert list(tmp_path.iterdir()) == [made.path]


@contextmanager
def files_at_most(size: int) -> Iterator[None]:
    """Writing beyond fails, after what fits was written."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_change_is_put_behind_what_is_there(scene: Scene) -> None:
    first = scene.put()
    size = scene.path.stat().st_size
    assert scene.put() == first
    grown = scene.path.stat().st_size - size
    assert scene.put() == first
    assert scene.path.stat().st_size == pytest.approx(size + 2 * grown, abs=10)
    assert grown < size


def test_a_change_that_was_cut_short_is_no_part_of_the_file_and_the_next_one_is_whole(
    scene: Scene,
) -> None:
    first = scene.put()
    held = scene.snapshot
    with files_at_most(scene.path.stat().st_size + 50), pytest.raises(OSError, match="too large"):
        scene.put()
    assert snapshot_file.read(scene.path) == ("s1", held)
    assert scene.filing.held is None
    assert scene.put() != first


def test_a_file_that_cannot_be_made_leaves_the_one_before(scene: Scene) -> None:
    scene.put()
    held = scene.snapshot
    for _ in range(2):
        with files_at_most(50), pytest.raises(OSError, match="too large"):
            scene.put()
    assert snapshot_file.read(scene.path) == ("s1", held)
    scene.put()


def _removed(path: Path) -> None:
    path.unlink()


def _another(path: Path) -> None:
    path.rename(path.with_name("kept"))
    path.write_bytes(path.with_name("kept").read_bytes())
    path.with_name("kept").unlink()


def _longer(path: Path) -> None:
    with open(path, "ab") as file:
        file.write(b"x")


def _shorter(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


@pytest.mark.parametrize("spoil", [_removed, _another, _longer, _shorter])
def test_a_file_that_others_have_changed_is_made_anew(
    scene: Scene, spoil: Callable[[Path], None]
) -> None:
    scene.put()
    spoil(scene.path)
    scene.put()


def test_a_long_file_is_replaced_by_a_short_one_that_has_what_came_meanwhile(scene: Scene) -> None:
    first = scene.put()
    for _ in range(LONG_RECORDS - 1):
        assert scene.put() == first
    size = scene.path.stat().st_size
    prepared = scene.filing.prepare()
    assert prepared is not None
    assert scene.put() == first
    scene.filing.replace(prepared)
    assert scene.read_is_right() != first
    assert scene.path.stat().st_size < size / 10
    second = scene.read_is_right()
    assert scene.put() == second


def test_a_prepared_file_is_given_up_when_the_one_it_was_made_for_is_no_more(scene: Scene) -> None:
    scene.put()
    prepared = scene.filing.prepare()
    assert prepared is not None
    scene.path.unlink()
    scene.put()
    scene.filing.replace(prepared)
    scene.read_is_right()


def test_a_file_that_could_not_be_replaced_grows_on(scene: Scene) -> None:
    first = scene.put()
    prepared = scene.filing.prepare()
    assert prepared is not None
    scene.put()
    with files_at_most(10), pytest.raises(OSError, match="too large"):
        scene.filing.replace(prepared)
    assert scene.put() == first


def test_nobody_replays_more_than_a_bounded_number_of_changes(scene: Scene) -> None:
    first = scene.put()
    for number in range(2, RECORDS_MAX + 1):
        snapshot, held = scene.next(), scene.filing.held
        assert held is not None
        scene.filing.put(snapshot, difference(held, snapshot))
        assert scene.filing.is_long == (number >= LONG_RECORDS)
    assert scene.read_is_right() == first
    assert scene.put() != first
