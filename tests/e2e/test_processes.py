"""Every process may be stopped or killed at any time: what is served stays as it was."""

from __future__ import annotations

import os
import resource
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPException
from pathlib import Path

import pytest

from tests.support import processes
from tests.support.gateway import Answer, Gateway, Visitor, served_by, sleep
from tests.support.load import Load, judge
from tests.support.origins import Origins
from tests.support.processes import wait_until

HOST = "shop.example"
DATABASE = ("gateway.db", "gateway.db-wal", "gateway.db-shm")


@pytest.fixture
def gateway(tmp_path: Path, origins: Origins) -> Iterator[Gateway]:
    """Two services on a route; v2 has all weight."""
    with Gateway(tmp_path) as found:
        for name in ("v1", "v2"):
            found.api.register(name, HOST, origins.start(name).port)
        found.api.set_weights(HOST, v1=0, v2=100)
        yield found


@contextmanager
def control_away(gateway: Gateway) -> Iterator[None]:
    """The control process is gone and cannot come back, its store being unusable."""
    aside = gateway.folder / "aside"
    aside.mkdir()
    for name in DATABASE:
        if (gateway.state / name).exists():
            (gateway.state / name).rename(aside / name)
    (gateway.state / DATABASE[0]).write_bytes(b"no database" * 1000)
    refusals = gateway.said("error control")
    gateway.kill(gateway.control)
    gateway.wait_said("error control", refusals)
    try:
        yield
    finally:
        # Between two attempts to start it: none must see half of the files.
        wait_until(lambda: gateway.control == 0, poll_s=0.005)
        for name in DATABASE:
            (gateway.state / name).unlink(missing_ok=True)
        for file in aside.iterdir():
            file.rename(gateway.state / file.name)


def the_services(gateway: Gateway, requests: int = 12) -> set[str]:
    """Who answers new clients."""
    return {served_by(gateway.ask("public", host=HOST)) for _ in range(requests)}


def test_with_control_and_store_away_workers_come_back_and_serve_the_last_weights(
    gateway: Gateway,
) -> None:
    gateway.api.set_weights(HOST, v1=100, v2=0)
    with Visitor(gateway.ports["public"], HOST, is_browser=True) as browser:
        assert served_by(browser.get()) == "v1"
    gateway.api.set_weights(HOST, v1=0, v2=100)
    revision = gateway.metric("gateway_config_generation")
    kills = []
    with control_away(gateway):
        with Load(gateway.ports["public"], HOST, keeping=8, per_request=4) as load:
            for slot in (0, 1, 0):
                load.wait_answers(50)
                served = gateway.said("serving generation")
                kills.append(gateway.kill_worker(slot))
                gateway.wait_said("serving generation", served)
            load.wait_answers(50)
        verdict = judge(load.records, kills)
        assert not verdict.failed, verdict
        assert {r.service for r in load.records if not r.failure} == {"v2"}

        served = gateway.said("serving generation")
        for pid in gateway.workers.values():  # all at once: nobody covers, clients wait
            gateway.kill(pid)
        assert the_services(gateway) == {"v2"}
        gateway.wait_said("serving generation", served + 1)
        with browser:
            assert served_by(browser.get()) == "v1"
        assert gateway.get("health", "/readyz") == 200
        assert gateway.said("control is ready") == 1
    gateway.wait_said("control is ready", 1, timeout_s=30)
    gateway.wait_ready()
    assert gateway.api.weights(HOST) == {"v1": 0, "v2": 100}
    assert gateway.metric("gateway_config_generation") > revision
    gateway.api.set_weights(HOST, v1=100, v2=0)
    assert the_services(gateway) == {"v1"}


def test_a_damaged_snapshot_file_with_control_away_leaves_the_traffic_to_the_siblings(
    gateway: Gateway,
) -> None:
    snapshot = gateway.state / "snapshot.json"
    with Load(gateway.ports["public"], HOST, keeping=4, per_request=4) as load:
        with control_away(gateway):
            data = snapshot.read_bytes()
            snapshot.write_bytes(data[:-1] + b"]")
            kill = gateway.kill_worker(0)
            gateway.wait_said("no snapshot yet")
            assert the_services(gateway) == {"v2"}
            assert gateway.said("worker-0 is ready") == 1
        gateway.wait_said("worker-0 is ready", 1, timeout_s=30)
        gateway.wait_ready()
        # The file was all that told which instances are healthy. They were checked anew
        # before anything was published, so nobody noticed.
        assert the_services(gateway) == {"v2"}
        load.wait_answers(50)
    verdict = judge(load.records, [kill])
    assert not verdict.failed, verdict
    assert {r.service for r in load.records if not r.failure} == {"v2"}
    assert gateway.api.weights(HOST) == {"v1": 0, "v2": 100}


def test_a_store_in_memory_outlives_its_control_process_but_not_the_gateway(
    tmp_path: Path, origins: Origins
) -> None:
    with Gateway(tmp_path, store="memory:") as gateway:
        for name in ("v1", "v2"):
            gateway.api.register(name, HOST, origins.start(name).port)
        gateway.api.set_weights(HOST, v1=0, v2=100)
        with Load(gateway.ports["public"], HOST, keeping=4, per_request=4) as load:
            for _ in range(2):
                gateway.kill_control()
                load.wait_answers(50)
        verdict = judge(load.records)
        assert not verdict.failed, verdict
        assert {r.service for r in load.records} == {"v2"}
        assert gateway.api.weights(HOST) == {"v1": 0, "v2": 100}
        trail = gateway.api.ok("GET", "audit")["entries"]
        assert [e["action"] for e in trail].count("set_weights") == 1
        gateway.api.set_weights(HOST, v1=100, v2=0)
        assert the_services(gateway) == {"v1"}

        assert gateway.stop() == 0
        gateway.start()
        assert gateway.api.routes() == []
        assert gateway.get("public", host=HOST) == 404


def test_a_worker_that_hangs_is_covered_named_and_replaced(gateway: Gateway) -> None:
    hung = gateway.workers[1]
    gateway.kill(hung, signal.SIGSTOP)
    gateway.wait_said("worker-1 is silent")
    assert the_services(gateway, 30) == {"v2"}

    answer = gateway.api("PUT", f"routes/{HOST}/weights", {"v1": 100, "v2": 0})
    assert answer.status == 202, answer
    applied = answer.json["applied"]
    assert (applied["workers"], applied["of"]) == (1, 2)
    assert applied["late"] == [f"worker 1 (pid {hung})"]
    assert the_services(gateway) == {"v1"}

    gateway.wait_replaced(1, hung)
    assert gateway.said("worker-1 is silent for 1") == 1  # ... s: killed
    assert not processes.is_alive(hung)
    assert the_services(gateway, 30) == {"v1"}
    assert gateway.api.set_weights(HOST, v1=0, v2=100)["applied"]["workers"] == 2


def test_a_worker_killed_while_weights_change_delays_no_answer_and_leaves_no_old_weights(
    gateway: Gateway,
) -> None:
    for number in range(5):
        new, old = ("v1", "v2") if number % 2 else ("v2", "v1")
        killer = threading.Timer(0.002 * number, gateway.kill, [gateway.workers[number % 2]])
        killer.start()
        answer = gateway.api("PUT", f"routes/{HOST}/weights", {new: 1, old: 0})
        killer.join()
        assert answer.status == 200, answer
        assert {served_by(gateway.ask("public", host=HOST)) for _ in range(10)} == {new}
        gateway.wait_ready()
        assert {served_by(gateway.ask("public", host=HOST)) for _ in range(10)} == {new}


def test_control_killed_while_weights_change_leaves_them_changed_or_not_but_never_between(
    gateway: Gateway,
) -> None:
    sets = ({"v1": 5, "v2": 0}, {"v1": 0, "v2": 7})
    assert gateway.api("PUT", f"routes/{HOST}/weights", sets[0]).status == 200
    for number in range(5):
        killer = threading.Timer(0.001 * number, gateway.kill_control)
        killer.start()
        answered = False
        with suppress(OSError, HTTPException):
            answer = gateway.api("PUT", f"routes/{HOST}/weights", sets[1 - number % 2])
            answered = answer.status == 200
        killer.join()
        weights = gateway.api.weights(HOST)
        assert weights in sets
        assert not answered or weights == sets[1 - number % 2]
        served = {served_by(gateway.ask("public", host=HOST)) for _ in range(10)}
        assert served == {name for name, weight in weights.items() if weight}


def test_out_of_descriptors_a_worker_waits_without_spinning_and_serves_all_it_accepted(
    tmp_path: Path, origins: Origins
) -> None:
    origin = origins.start("v1")
    with Gateway(tmp_path, workers=1) as gateway, ExitStack() as stack:
        gateway.api.register("v1", HOST, origin.port)
        pid, port = gateway.workers[0], gateway.ports["public"]
        limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        used = len(os.listdir(f"/proc/{pid}/fd"))
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + 61, limits[1]))
        visitors = [stack.enter_context(Visitor(port, HOST)) for _ in range(60)]
        for visitor in visitors:
            visitor.connection.connect()  # the kernel accepts; some the worker cannot

        def inside() -> list[Visitor]:
            ports = processes.client_ports(pid, port)
            return [v for v in visitors if v.connection.sock and v.local_port in ports]

        wait_until(lambda: len(inside()) >= 25, what="connections accepted")
        before = processes.cpu_s(pid)
        sleep(1)
        assert processes.cpu_s(pid) - before < 0.5
        first = inside()
        assert len(first) < 50
        # Each of them needs a connection to the instance for itself.
        for visitor in first:
            visitor.connection.request("GET", "/slow?s=0.5", headers={"Host": HOST})
        wait_until(lambda: origin.hits >= len(first), what="all requests")
        assert [v.connection.getresponse().read() for v in first] == [b"v1"] * len(first)
        for visitor in first:
            visitor.forget_connection()
        for visitor in visitors:  # each one that leaves makes room for the next
            if visitor not in first:
                assert visitor.get().status == 200
                visitor.forget_connection()
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
        assert gateway.workers == {0: pid}
        assert gateway.get("public", host=HOST) == 200


def test_a_worker_without_descriptors_for_instances_says_so_and_blames_no_instance(
    tmp_path: Path, origins: Origins
) -> None:
    """The limit is lowered under a worker that has its clients already."""
    origin = origins.start("v1")
    ejection = {"failures": 1, "seconds": 60}
    with Gateway(tmp_path, workers=1, ejection=ejection) as gateway:
        gateway.api.register("v1", HOST, origin.port, origins.start("v1").port)
        pid = gateway.workers[0]
        limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        with Visitor(gateway.ports["public"], HOST) as visitor:
            visitor.connection.connect()
            wait_until(lambda: gateway.metric("gateway_open_connections", entrypoint="public"))
            used = len(os.listdir(f"/proc/{pid}/fd"))
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (used, limits[1]))
            for _ in range(5):
                answer = visitor.get()
                assert (answer.status, "Retry-After" in answer.headers) == (503, True)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
            assert visitor.get().status == 200
        assert gateway.api.instance("v1", origin.port)["state"] == "up"
        assert gateway.metric("gateway_upstream_errors_total", service="v1", reason="UO") == 5
        assert gateway.workers == {0: pid}


def test_a_control_process_that_hangs_costs_no_request(gateway: Gateway) -> None:
    stopped = gateway.control
    gateway.kill(stopped, signal.SIGSTOP)
    with Load(gateway.ports["public"], HOST, keeping=4, per_request=4) as load:
        load.wait_answers(100)
    gateway.kill(stopped, signal.SIGCONT)
    assert not judge(load.records).failed
    assert gateway.control == stopped
    gateway.api.set_weights(HOST, v1=100, v2=0)
    assert the_services(gateway) == {"v1"}


def test_after_the_supervisor_was_killed_open_work_ends_and_a_new_gateway_has_all_weights(
    gateway: Gateway,
) -> None:
    gateway.api.set_weights(HOST, v1=30, v2=70)
    orphans = list(gateway.workers.values())
    answers: list[Answer] = []
    slow = threading.Thread(target=lambda: answers.append(gateway.ask("public", "/slow?s=2", HOST)))
    slow.start()
    wait_until(lambda: gateway.metric("gateway_in_flight_requests") == 1)
    assert gateway.process is not None
    gateway.kill(gateway.supervisor)
    gateway.process.wait()

    gateway.start()
    assert gateway.api.weights(HOST) == {"v1": 30, "v2": 70}
    assert the_services(gateway, 40) == {"v1", "v2"}
    slow.join()
    assert answers[0].status == 200
    assert answers[0].raw in (b"v1", b"v2")
    wait_until(lambda: not any(map(processes.is_alive, orphans)), what="the end of old workers")
    assert gateway.stop() == 0
