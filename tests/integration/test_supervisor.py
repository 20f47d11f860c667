"""The processes of a gateway, as real ones: start, death, silence, change, end.

Workers are the real ones; the control process is the small one of
`tests/support/small_control.py`, which publishes an empty snapshot, so that
every request is answered with 404.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.supervised import SMALL_CONTROL, Gateway, ask, gateway, status

FAILING = [sys.executable, "-S", "-c", "raise SystemExit(3)"]


@contextmanager
def knocking(port: int) -> Iterator[list[str]]:
    """A client with a new connection for each request, all the while; gives what went wrong."""
    failures: list[str] = []
    is_over = threading.Event()

    def knock() -> None:
        while not is_over.is_set():
            begun = time.monotonic()
            try:
                head = ask(port, timeout_s=10)
            except OSError as error:
                head = f"{type(error).__name__} after {time.monotonic() - begun:.2f} s"
            if " 404 " not in head:
                failures.append(head)

    thread = threading.Thread(target=knock)
    thread.start()
    try:
        yield failures
    finally:
        is_over.set()
        thread.join()


def one_line(refused: Gateway) -> str:
    """Start it, expect a refusal, give its only line."""
    assert refused.start().exit_code() == 2, refused.log()
    (line,) = refused.log().splitlines()
    assert line.startswith("gateway: ")
    return line


def test_it_starts_serves_and_stops_cleanly(tmp_path: Path) -> None:
    with gateway(tmp_path / "g", workers=2) as g:
        g.up()
        assert status(g.port) == 404
        assert status(g.health, "/readyz") == 200
        assert g.journal("boot") == [
            {"floor": 0, "workers": 2, "control": g.journal("boot")[0]["control"]}
        ]
        g.wait(lambda: {m["generation"] for m in g.journal("worker", "applied")} == {1})
        g.signal(signal.SIGTERM)
        assert g.exit_code() == 0, g.log()
        told = g.journal("supervisor")
        assert told[-1]["t"] == "stop"
        assert told[-2]["t"] == "roster"
        assert [row["pid"] for row in told[-2]["workers"]] == [0, 0]
        left = {path.name for path in (g.folder / "state").iterdir()}
        assert left == {"gateway.lock", "snapshot.json"}
        assert (g.folder / "state" / "gateway.lock").read_text() == ""
        assert not (g.folder / "admin.sock").exists()
        assert g.is_alone()


def test_killed_and_dismissed_workers_are_replaced_while_siblings_accept_for_them(
    tmp_path: Path,
) -> None:
    with gateway(tmp_path / "g", workers=2) as g:
        g.up()
        with knocking(g.port) as failures:
            for slot, number in ((0, signal.SIGKILL), (1, signal.SIGTERM)):
                before = g.roster()[slot]["pid"]
                os.kill(before, number)
                g.wait(
                    lambda slot=slot, before=before: (
                        g.roster()[slot]["pid"] not in (0, before)  # type: ignore[misc]
                        and g.states() == ["serving"] * 2
                    )
                )
        # A connection that the killed worker held is lost with it, and no other.
        assert len(failures) <= 1, failures
        assert [row["restarts"] for row in g.roster()] == [1, 1]
        assert "worker-1 was told to leave" in g.log()


def test_a_worker_that_hangs_is_covered_then_killed_and_replaced(tmp_path: Path) -> None:
    with gateway(tmp_path / "g", workers=2, silent_s=0.6, hung_s=2.0) as g:
        g.up()
        hung = g.roster()[0]["pid"]
        os.kill(hung, signal.SIGSTOP)
        g.wait(lambda: "worker-0 is silent" in g.log())
        # Half of the connections belong to the hung worker's socket.
        assert [status(g.port) for _ in range(16)] == [404] * 16
        g.wait(lambda: g.roster()[0]["pid"] not in (0, hung) and g.states() == ["serving"] * 2)
        assert "killed" in g.log()
        assert [status(g.port) for _ in range(4)] == [404] * 4


def test_connections_wait_while_no_worker_is_there(tmp_path: Path) -> None:
    with gateway(tmp_path / "g") as g:
        g.up()
        os.kill(g.roster()[0]["pid"], signal.SIGKILL)
        assert ask(g.port).split()[1] == "404"


def test_workers_serve_on_while_the_control_process_is_replaced(tmp_path: Path) -> None:
    with gateway(tmp_path / "g") as g:
        g.up()
        g.wait(lambda: g.journal("worker", "applied"))  # a worker does not wait for this
        first, worker = g.journal("boot")[0]["control"], g.roster()[0]["pid"]
        with knocking(g.port) as failures:
            os.kill(first, signal.SIGKILL)
            g.wait(lambda: len(g.journal("worker", "hello")) == 2)
        assert not failures
        second = g.journal("boot")[1]
        assert second["floor"] >= 1  # above what workers serve
        hello = g.journal("worker", "hello")[1]
        assert (hello["pid"], hello["generation"], hello["session"]) == (worker, 1, "small")
        g.wait(lambda: g.journal("supervisor", "roster")[-1]["control"] == second["control"])
        assert g.roster()[0]["pid"] == worker


def test_workers_start_from_the_snapshot_file_without_a_control_process(tmp_path: Path) -> None:
    with gateway(tmp_path / "g") as g:
        g.up()
        g.signal(signal.SIGTERM)
        assert g.exit_code() == 0
    with gateway(tmp_path / "g", control="mute") as g:
        g.start()
        g.wait(lambda: status(g.health, "/readyz", 1) == 200)
        assert status(g.port) == 404
        (g.folder / "journal").unlink()


def test_without_any_snapshot_a_worker_is_alive_but_not_ready(tmp_path: Path) -> None:
    with gateway(tmp_path / "g", control="mute") as g:
        g.start()
        g.wait(lambda: status(g.health, "/healthz", 1) == 200)
        assert status(g.health, "/readyz") == 503
        with pytest.raises(TimeoutError):
            ask(g.port, timeout_s=0.2)
        g.signal(signal.SIGTERM)
        assert g.exit_code() == 0


@pytest.mark.parametrize("shared", [False, True])
def test_a_port_in_use_is_refused_in_one_line(tmp_path: Path, shared: bool) -> None:
    with gateway(tmp_path / "g") as g, socket.socket() as other:
        if shared:  # as another gateway's would be
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", g.port))
        other.listen()
        assert f"entrypoints.public.listen: 127.0.0.1:{g.port} is in use" in one_line(g)


def test_a_second_gateway_is_refused_and_the_first_serves_on(tmp_path: Path) -> None:
    with gateway(tmp_path / "a") as first, gateway(tmp_path / "b") as second:
        first.up()
        assert first.process is not None
        second.configuration["entrypoints"] = first.configuration["entrypoints"]
        assert "is in use" in one_line(second)
        second.log_path.unlink()
        second.configuration["state_dir"] = str(first.folder / "state")
        assert f"another gateway (pid {first.process.pid})" in one_line(second)
        assert status(first.port) == 404
        assert (first.folder / "admin.sock").exists()


def test_a_state_folder_that_cannot_be_written_is_refused_in_one_line(tmp_path: Path) -> None:
    with gateway(tmp_path / "g", state_dir="file/state") as g:
        (g.folder / "file").write_text("")
        assert f"state folder {g.folder}/file/state cannot be written" in one_line(g)


def test_what_the_control_process_calls_hopeless_ends_the_start(tmp_path: Path) -> None:
    with gateway(tmp_path / "g", control="fatal") as g:
        assert g.start().exit_code() == 2
        assert "gateway: the state file /x/y.db is damaged; restore it" in g.log().splitlines()
        assert g.is_alone()


@pytest.mark.parametrize("who", ["control", "worker"])
def test_children_that_cannot_start_end_the_gateway_before_it_was_ever_up(
    tmp_path: Path, who: str
) -> None:
    with gateway(tmp_path / "g", **{who: FAILING}) as g:
        assert g.start().exit_code() == 1
        (last,) = [line for line in g.log().splitlines() if line.startswith("gateway: ")]
        assert "failed 5 times" in last
        assert "exit code 3" in last
        assert g.is_alone()


def test_hup_takes_a_valid_file_whole_and_an_invalid_one_not_at_all(tmp_path: Path) -> None:
    with gateway(tmp_path / "g") as g:
        g.up()
        g.configure(domain="-", timeouts={"conect": 5})
        g.signal(signal.SIGHUP)
        g.wait(lambda: g.log().count("configuration not taken") == 2)
        assert 'timeouts.conect: unknown key; did you mean "connect"?' in g.log()
        assert 'domain: "-" is no host name' in g.log()

        g.configure(domain="x.example", timeouts={"drain": 1}, workers=2, state_dir="elsewhere")
        g.signal(signal.SIGHUP)
        g.wait(lambda: "a change of state_dir, workers needs a restart" in g.log())
        assert not g.journal("supervisor", "settings")

        g.configure(workers=1, state_dir="state")
        g.signal(signal.SIGHUP)
        (told,) = g.wait(lambda: g.journal("supervisor", "settings"))
        assert told["settings"]["domain"] == "x.example"
        assert told["settings"]["workers"] == 1
        assert status(g.port) == 404


def test_a_pipe_in_place_of_the_configuration_holds_nobody_up(tmp_path: Path) -> None:
    with gateway(tmp_path / "g") as g:
        g.up()
        path = g.folder / "gateway.yaml"
        path.unlink()
        os.mkfifo(path)
        g.signal(signal.SIGHUP)
        g.wait(lambda: "configuration not taken: gateway.yaml: it is no file any more" in g.log())
        assert status(g.port) == 404
        g.signal(signal.SIGTERM)
        assert g.exit_code() == 0


def test_usr1_lets_workers_open_their_logs_anew(tmp_path: Path) -> None:
    with gateway(tmp_path / "g", access_log="access.log") as g:
        g.up()
        log = g.folder / "access.log"
        assert status(g.port) == 404
        g.wait(lambda: log.exists() and log.stat().st_size > 0)
        log.rename(g.folder / "access.log.1")
        g.signal(signal.SIGUSR1)
        g.wait(lambda: status(g.port) == 404 and log.exists() and log.stat().st_size > 0)


def test_stopping_goes_through_lame_duck_and_a_second_signal_cuts_it_short(tmp_path: Path) -> None:
    with gateway(tmp_path / "g", timeouts={"lame_duck": 1, "drain": 60}) as g:
        g.up()
        with socket.create_connection(("127.0.0.1", g.port)) as slow:
            slow.sendall(b"GET / HTTP/1.1\r\n")  # a request that never ends
            g.signal(signal.SIGTERM)
            g.wait(lambda: status(g.health, "/readyz") == 503)
            assert "connection: close" in ask(g.port).lower()  # still accepting
            assert g.states() == ["draining"]
            g.signal(signal.SIGINT)
            assert g.exit_code() == 0
        assert "1 connections were cut" in g.log()


def test_children_of_a_killed_supervisor_end_and_a_new_one_takes_over(tmp_path: Path) -> None:
    with gateway(tmp_path / "g", workers=2) as g:
        g.up()
        assert g.process is not None
        before = {row["pid"] for row in g.roster()}
        g.process.kill()
        g.process.wait()
        g.journal_path.rename(g.folder / "old journal")
        g.up()
        assert status(g.port) == 404
        assert not before & {row["pid"] for row in g.roster()}
        # The former workers gave up their sockets at once and had nothing to finish.
        g.wait(lambda: not any(Path(f"/proc/{pid}").exists() for pid in before))


def test_orphans_become_the_supervisor_s_and_are_reaped(tmp_path: Path) -> None:
    run = f"(sleep 60 & echo $! > orphan); exec {sys.executable} -P {SMALL_CONTROL} journal publish"
    with gateway(tmp_path / "g", control=["/bin/sh", "-c", run]) as g:
        g.up()
        assert g.process is not None
        orphan = int((g.folder / "orphan").read_text())
        stat = Path(f"/proc/{orphan}/stat")
        assert stat.read_text().rpartition(")")[2].split()[1] == str(g.process.pid)
        os.kill(orphan, signal.SIGKILL)
        g.wait(lambda: not stat.exists())
