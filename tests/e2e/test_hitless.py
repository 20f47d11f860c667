"""Another program takes over, or the configuration changes, under load: no request fails."""

from __future__ import annotations

import json
import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_release_kills import Loads, Shop, shops
from tests.support.applications import pids
from tests.support.gateway import Answer, Gateway, Visitor
from tests.support.load import Load, judge
from tests.support.origins import Origins
from tests.support.processes import children, wait_until

HOST = "shop.example"
SOFT = {"lame_duck": 1, "drain": 20}
"""Clients that ask in this second are told to go elsewhere and are never cut."""


def upgrade(gateway: Gateway) -> None:
    """USR2, and wait until workers and control process are new ones."""
    before = gateway.said("info supervisor upgraded")
    gateway.kill(gateway.supervisor, signal.SIGUSR2)
    gateway.wait_said("info supervisor upgraded", before, timeout_s=40)


def wait_settled(gateway: Gateway) -> None:
    """Until the former workers have left."""
    wanted = gateway.config["workers"] + 1
    wait_until(lambda: len(children(gateway.supervisor)) == wanted, 40, "the former to leave")
    gateway.wait_ready()


@pytest.mark.parametrize("store", ["sqlite", "memory"])
def test_two_upgrades_in_a_row_fail_no_request_and_lose_nothing(
    tmp_path: Path, origins: Origins, store: str
) -> None:
    config: dict[str, Any] = {"store": "memory:"} if store == "memory" else {}
    answers: list[Answer] = []
    with Gateway(tmp_path, timeouts=SOFT, **config) as gateway:
        gateway.api.register("v1", HOST, origins.start("v1").port)
        gateway.api.register("v2", HOST, origins.start("v2").port)
        gateway.api.set_weights(HOST, v1=50, v2=50)
        supervisor = gateway.supervisor
        seen = {gateway.control, *gateway.workers.values()}
        slow = threading.Thread(
            target=lambda: answers.append(
                gateway.ask("public", "/slow?s=8", HOST, timeout_s=40),
            )
        )
        slow.start()
        wait_until(lambda: gateway.metric("gateway_in_flight_requests") == 1)
        with (
            Load(gateway.ports["public"], HOST, keeping=12, per_request=6) as load,
            Visitor(gateway.ports["public"], HOST, is_browser=True) as browser,
        ):
            mine = browser.get().headers["X-Served-By"]
            load.wait_answers(50)
            for _ in range(2):
                upgrade(gateway)
                assert gateway.get("health", "/readyz") == 200
                browser.forget_connection()
                assert browser.get().headers["X-Served-By"] == mine
            assert seen - {gateway.control, *gateway.workers.values()}
            gateway.api.set_weights(HOST, v1=0, v2=100)
            changed = time.monotonic()
            load.wait_answers(100)
        verdict = judge(load.records)
        assert not verdict.failed, verdict
        later = {r.service for r in load.records if r.start > changed}
        assert later == {"v2"}, "former workers, which still drain, follow changes too"
        slow.join()
        assert answers[0].status == 200
        wait_settled(gateway)
        assert gateway.supervisor == supervisor
        assert not seen & {gateway.control, *gateway.workers.values()}
        asked = len(load.records) + 1 + 3
        assert gateway.metric("gateway_requests_total", route=HOST) == asked
        assert gateway.metric("gateway_in_flight_requests") == 0
        assert gateway.api.weights(HOST) == {"v1": 0, "v2": 100}
        assert gateway.api.ok("GET", "audit")["entries"]


def test_upgrades_while_releases_are_in_flight_keep_every_backend(tmp_path: Path) -> None:
    drawn = random.Random(7)
    with shops(tmp_path, "a", "b", timeouts=SOFT) as found, Loads(found) as loads:
        gateway = found[0].gateway
        stay = {shop: pids(gateway, shop.cache) for shop in found}
        old = {shop: pids(gateway, shop.name(1)) for shop in found}
        releases: dict[Shop, str] = {}

        def at_once(act: Callable[[], object]) -> None:
            """Somewhere in an upgrade."""
            thread = threading.Thread(target=upgrade, args=(gateway,))
            thread.start()
            threading.Event().wait(drawn.uniform(0, 2))
            act()
            thread.join()
            wait_until(lambda: gateway.control, what="a control process")

        def begin() -> None:
            for shop in found:
                releases[shop] = shop.begin()

        at_once(begin)
        for shop in found:
            shop.wait(releases[shop], "pending_confirmation")
            assert pids(gateway, shop.name(1)) == old[shop]
        new = {shop: pids(gateway, shop.name(2)) for shop in found}
        at_once(lambda: found[0].shift(releases[found[0]], 100))
        at_once(lambda: found[0].decide(releases[found[0]], "confirm"))
        found[1].decide(releases[found[1]], "rollback")
        for shop, verb in zip(found, ("confirm", "rollback"), strict=True):
            shop.ends(releases[shop], verb)
            loads.assert_only(shop, shop.version)
        assert pids(gateway, found[0].name(2)) == new[found[0]]
        assert pids(gateway, found[1].name(1)) == old[found[1]]
        assert {shop: pids(gateway, shop.cache) for shop in found} == stay


def test_a_stop_while_former_workers_still_drain_lets_their_requests_end(
    tmp_path: Path, origins: Origins
) -> None:
    answers: list[Answer] = []
    with Gateway(tmp_path, timeouts={"lame_duck": 0, "drain": 30}) as gateway:
        gateway.api.register("v1", HOST, origins.start("v1").port)
        slow = threading.Thread(
            target=lambda: answers.append(
                gateway.ask("public", "/slow?s=10", HOST, timeout_s=40),
            )
        )
        slow.start()
        wait_until(lambda: gateway.metric("gateway_in_flight_requests") == 1)
        upgrade(gateway)
        assert len(children(gateway.supervisor)) > gateway.config["workers"] + 1
        assert gateway.stop() == 0
        slow.join()
        assert (answers[0].status, answers[0].raw) == (200, b"v1")


def test_hangups_that_change_routes_limits_and_logs_fail_no_request_and_lose_no_line(
    tmp_path: Path, origins: Origins
) -> None:
    first, second = tmp_path / "a.log", tmp_path / "b.log"
    with Gateway(tmp_path, timeouts=SOFT, access_log=str(first)) as gateway:
        gateway.api.register("v1", HOST, origins.start("v1").port)
        with Load(gateway.ports["public"], HOST, keeping=8, per_request=4) as load:
            load.wait_answers(30)
            for changes in (
                {"limits": {"connections": 5000, "headers": 50}, "affinity": {"enabled": False}},
                {"access_log": str(second), "ejection": {"failures": 9}},
                {"checks": {"interval": 0.5}, "limits": {"connections": 9000}},
            ):
                gateway.config |= changes
                gateway.write_config()
                taken = gateway.said("configuration read again")
                gateway.kill(gateway.supervisor, signal.SIGHUP)
                gateway.wait_said("configuration read again", taken)
                load.wait_answers(30)
        verdict = judge(load.records)
        assert not verdict.failed, verdict
        assert gateway.stop() == 0
    lines = [json.loads(line) for path in (first, second) for line in path.read_text().splitlines()]
    assert len(lines) == len(load.records)
    assert {line["status"] for line in lines} == {200}
