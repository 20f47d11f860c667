"""From one installed version to another under load and back, and versions that are no good."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.gateway import Gateway
from tests.support.load import Load, judge
from tests.support.origins import Origins
from tests.support.processes import children, wait_until
from tests.support.versions import Installations

HOST = "shop.example"
OLD, NEW = "1.0.0", "1.1.0"
SAID = "no route for this host and path"
"""What a worker answers where there is no route, in the version that is tested."""
SAYS = "nothing is routed by this host and path"
"""What a worker of the new version says."""
NO_IMPORT, NO_START, NO_PROGRAM = "2.0.0", "2.1.0", "2.2.0"
WORKER_MAIN = "def main(make_plane: MakePlane = DataPlane) -> None:"


@pytest.fixture
def installations(tmp_path: Path) -> Installations:
    found = Installations(tmp_path / "opt")
    found.install(OLD)
    found.make_current(OLD)
    return found


@pytest.fixture
def gateway(tmp_path: Path, installations: Installations, origins: Origins) -> Iterator[Gateway]:
    found = Gateway(tmp_path, timeouts={"lame_duck": 1, "drain": 20})
    found.python = installations.python
    with found:
        found.api.register("v1", HOST, origins.start("v1").port)
        yield found


def version(gateway: Gateway) -> str:
    """As the admin API tells it."""
    told: str = gateway.api.ok("GET", "/openapi.json")["info"]["version"]
    return told


def upgrade(gateway: Gateway) -> None:
    """USR2, and wait until former processes are gone."""
    before = gateway.said("info supervisor upgraded")
    gateway.kill(gateway.supervisor, signal.SIGUSR2)
    gateway.wait_said("info supervisor upgraded", before, timeout_s=40)
    wanted = gateway.config["workers"] + 1
    wait_until(lambda: len(children(gateway.supervisor)) == wanted, 40, "the former to leave")
    gateway.wait_ready()


def refusal(gateway: Gateway) -> str:
    """USR2, and why nothing comes of it."""
    before, log = children(gateway.supervisor), gateway.log
    gateway.kill(gateway.supervisor, signal.SIGUSR2)
    gateway.wait_said("not upgraded", log.count("not upgraded"), timeout_s=40)
    assert children(gateway.supervisor) == before
    return gateway.log[len(log) :]


def test_a_new_version_takes_over_under_load_and_the_old_one_again(
    gateway: Gateway, installations: Installations
) -> None:
    installations.install(NEW, refusal=(SAID, SAYS))
    pid = gateway.supervisor
    with Load(gateway.ports["public"], HOST, keeping=8, per_request=4) as load:
        load.wait_answers(30)
        for number, says in ((NEW, SAYS), (OLD, SAID)):
            installations.make_current(number)
            upgrade(gateway)
            assert version(gateway) == number
            assert gateway.said(f"version {number} took over") == 1
            told = [gateway.ask("public", host="unknown.example").text for _ in range(8)]
            assert all(says in text for text in told), told
            load.wait_answers(30)
    verdict = judge(load.records)
    assert not verdict.failed, verdict
    assert gateway.supervisor == pid
    assert gateway.metric("gateway_requests_total", route=HOST) == len(load.records)


def test_a_version_that_is_no_good_changes_nothing_says_why_and_is_left_again(
    gateway: Gateway, installations: Installations
) -> None:
    installations.install(NO_IMPORT, typo=("class Publisher", "klass Publisher"))
    installations.install(NO_START, end=(WORKER_MAIN, f"{WORKER_MAIN}\n    raise SystemExit(7)"))
    with Load(gateway.ports["public"], HOST, keeping=8, per_request=4) as load:
        load.wait_answers(30)
        installations.make_current(NO_IMPORT)
        assert "admin.main cannot be loaded: SyntaxError" in refusal(gateway)
        installations.make_current(NO_PROGRAM)  # there is no such folder
        assert "not upgraded, nothing is changed: the check cannot be started" in refusal(gateway)

        former = gateway.workers
        installations.make_current(NO_START)  # a check cannot find this out
        gateway.kill(gateway.supervisor, signal.SIGUSR2)
        gateway.wait_said("worker-0 ended, exit code 7", more_than=1, timeout_s=40)
        assert set(former.values()) <= set(children(gateway.supervisor))
        assert gateway.get("health", "/readyz") == 200
        load.wait_answers(30)
        installations.make_current(OLD)
        upgrade(gateway)
        assert version(gateway) == OLD
        load.wait_answers(30)
    verdict = judge(load.records)
    assert not verdict.failed, verdict
