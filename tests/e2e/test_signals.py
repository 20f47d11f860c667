"""TERM ends a gateway without a failed request, HUP changes it without a lost connection."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.gateway import Answer, Gateway, Visitor
from tests.support.load import Load, judge
from tests.support.origins import Origin, Origins
from tests.support.processes import wait_until

HOST = "shop.example"


@pytest.fixture
def origin(origins: Origins) -> Origin:
    return origins.start("v1")


@pytest.fixture
def gateway(tmp_path: Path, origin: Origin) -> Iterator[Gateway]:
    with Gateway(tmp_path, timeouts={"lame_duck": 3, "drain": 20}) as found:
        found.api.register("v1", HOST, origin.port)
        yield found


def test_a_stop_fails_no_request_and_lets_a_long_one_end(gateway: Gateway) -> None:
    answers: list[Answer] = []
    slow = threading.Thread(
        target=lambda: answers.append(gateway.ask("public", "/slow?s=5", HOST, timeout_s=20))
    )
    slow.start()
    assert gateway.process is not None
    workers = set(gateway.workers.values())
    with Load(gateway.ports["public"], HOST, keeping=16, per_request=8) as load:
        load.wait_answers(100)
        gateway.process.terminate()
        wait_until(lambda: gateway.get("health", "/readyz") == 503, what="readiness to fail")
        not_ready = time.monotonic()
        assert gateway.get("health", "/healthz") == 200
        assert gateway.api("GET", "/readyz").status == 503
        load.wait_answers(150)
    assert time.monotonic() - not_ready < 2.5, "the machine is too slow for this test"
    verdict = judge(load.records)
    assert not verdict.failed, verdict
    late = [r for r in load.records if r.start > not_ready]
    assert late
    assert all(r.closing for r in late)

    assert gateway.process.wait(25) == 0
    slow.join()
    assert (answers[0].status, answers[0].raw) == (200, b"v1")
    assert gateway.said("has drained, 0 connections were cut") == len(workers)
    assert gateway.said("info supervisor stopped") == 1
    assert not (gateway.state / "admin.sock").exists()


def test_work_that_outlasts_the_drain_is_cut_and_a_second_term_cuts_at_once(
    gateway: Gateway,
) -> None:
    failures: list[Exception] = []

    def ask() -> None:
        try:
            gateway.ask("public", "/slow?s=30", HOST, timeout_s=40)
        except (OSError, EOFError) as error:
            failures.append(error)

    slow = threading.Thread(target=ask)
    slow.start()
    wait_until(lambda: gateway.metric("gateway_in_flight_requests") == 1)
    assert gateway.process is not None
    began = time.monotonic()
    gateway.process.terminate()
    wait_until(lambda: gateway.get("health", "/readyz") == 503)
    gateway.process.terminate()
    assert gateway.process.wait(15) == 0
    slow.join()
    assert failures
    assert time.monotonic() - began < 15
    assert gateway.said("1 connections were cut") == 1


def test_a_hangup_applies_changed_settings_and_loses_no_connection(
    gateway: Gateway, origin: Origin
) -> None:
    public = gateway.ports["public"]
    pids = (gateway.supervisor, gateway.control, gateway.workers)
    with (
        Load(public, HOST, keeping=8, per_request=4) as load,
        Visitor(public, HOST) as visitor,
    ):
        cookie = visitor.get().headers["Set-Cookie"]
        assert cookie.startswith("GATEWAYSESSION=")
        port = visitor.local_port
        assert visitor.send("POST", "/", b"x" * 5000).status == 200
        load.wait_answers(20)
        gateway.config |= {
            "affinity": {"cookie": "OTHER"},
            "limits": {"body_bytes": 2000},
            "served_by": False,
        }
        gateway.config["timeouts"]["response_header"] = 0.5
        hang_up(gateway)
        # The limit is the workers' own, the cookie comes with the next snapshot.
        wait_until(
            lambda: visitor.get().headers["Set-Cookie"].startswith("OTHER="), what="the new cookie"
        )
        assert visitor.local_port == port
        assert "X-Served-By" not in visitor.get().headers
        assert visitor.get("/slow?s=2").status == 504
        assert visitor.send("POST", "/", b"x" * 1500).status == 200
        assert visitor.local_port == port
        assert visitor.send("POST", "/", b"x" * 5000).status == 413
        load.wait_answers(40)
    assert not judge(load.records).failed
    kept: dict[int, set[int]] = {}
    for record in load.records:
        if record.keeps:
            kept.setdefault(record.client, set()).add(record.port)
    assert all(len(ports) == 1 for ports in kept.values()), "a connection was lost"
    assert (gateway.supervisor, gateway.control, gateway.workers) == pids


def test_a_moved_access_log_is_opened_anew_and_loses_no_line(
    tmp_path: Path, origins: Origins
) -> None:
    file, moved = tmp_path / "access.log", tmp_path / "access.log.1"
    with Gateway(tmp_path, access_log=str(file)) as gateway:
        gateway.api.register("v1", HOST, origins.start("v1").port)
        with Load(gateway.ports["public"], HOST, keeping=4, per_request=4) as load:
            load.wait_answers(40)
            wait_until(file.exists)
            file.rename(moved)
            gateway.kill(gateway.supervisor, signal.SIGUSR1)
            wait_until(file.exists, what="a new access log")
            load.wait_answers(40)
        assert gateway.stop() == 0
        lines = [json.loads(line) for f in (moved, file) for line in f.read_text().splitlines()]
    assert len(lines) == len(load.records)
    assert {line["status"] for line in lines} == {200}
    assert file.read_text()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("timeouts: {conect: 1}", "connect"),
        ("timeouts: {connect: -1}", "timeouts.connect"),
        ("a: &a [x]\nb: [*a, *a]", "gateway.yaml"),
        ("entrypoints: {public: {listen: '127.0.0.1:1'}}", "entrypoints"),
        ("{", "gateway.yaml"),
    ],
)
def test_a_hangup_with_a_file_that_cannot_be_used_changes_nothing(
    gateway_of_module: Gateway, text: str, said: str
) -> None:
    gateway = gateway_of_module
    before = (gateway.supervisor, gateway.control, gateway.workers, gateway.api.routes())
    refused = gateway.said("configuration not taken")
    gateway.config_file.write_text(text)
    gateway.kill(gateway.supervisor, signal.SIGHUP)
    gateway.wait_said("configuration not taken", refused)
    assert said in next(
        line for line in reversed(gateway.log.splitlines()) if "configuration not taken" in line
    )
    after = (gateway.supervisor, gateway.control, gateway.workers, gateway.api.routes())
    assert after == before
    assert gateway.get("public", host=HOST) == 200


def test_a_change_that_needs_a_restart_is_named_and_nothing_of_the_file_is_taken(
    gateway_of_module: Gateway,
) -> None:
    gateway = gateway_of_module
    good = dict(gateway.config)
    refused = gateway.said("needs a restart")
    gateway.config |= {"workers": 1, "store": "memory:", "affinity": {"cookie": "OTHER"}}
    gateway.write_config()
    gateway.kill(gateway.supervisor, signal.SIGHUP)
    gateway.wait_said("needs a restart", refused)
    assert gateway.said("a change of store, workers needs a restart") == 1
    assert len(gateway.workers) == 2
    assert gateway.ask("public", host=HOST).headers["Set-Cookie"].startswith("GATEWAYSESSION=")
    gateway.config = good
    hang_up(gateway)


@pytest.fixture(scope="module")
def gateway_of_module(
    tmp_path_factory: pytest.TempPathFactory, origins: Origins
) -> Iterator[Gateway]:
    with Gateway(tmp_path_factory.mktemp("hangup")) as found:
        found.api.register("v1", HOST, origins.start("v1").port)
        yield found


def hang_up(gateway: Gateway) -> None:
    """Have the configuration taken as it stands in `config`."""
    gateway.write_config()
    taken = gateway.said("configuration read again")
    gateway.kill(gateway.supervisor, signal.SIGHUP)
    gateway.wait_said("configuration read again", taken)
