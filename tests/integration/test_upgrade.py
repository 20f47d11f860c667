"""USR2: another program takes the supervisor's place, and nothing else changes.

Workers are the real ones; the control process is the small one of
`tests/support/small_control.py`. The program that takes over is this one again, or one
made to fail.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.runtime import messages
from tests.support.processes import children, is_alive
from tests.support.supervised import Gateway, gateway, status

LIGHT = """
from pathlib import Path
from gateway.runtime import upgrade
raise SystemExit(upgrade.check(Path("gateway.yaml"), modules=()))
"""
"""The check without loading all programs, which takes a second."""
FAILING = """
import pathlib, runpy
if pathlib.Path("broken").exists():
    raise SystemExit(3)
runpy.run_module("gateway.runtime.worker", run_name="__main__")
"""


def python(program: str) -> list[str]:
    return [sys.executable, "-c", program]


LIGHTLY = {"check": python(LIGHT)}


def said(g: Gateway, text: str) -> int:
    return g.log().count(text)


def upgrade(g: Gateway) -> None:
    """USR2, and wait until all is done."""
    before = said(g, "info supervisor upgraded")
    g.signal(signal.SIGUSR2)
    g.wait(lambda: said(g, "info supervisor upgraded") > before)


def pids(g: Gateway) -> list[int]:
    return [row["pid"] for row in g.roster() if row["pid"]]


def descriptors(g: Gateway) -> list[str]:
    assert g.process is not None
    folder = Path(f"/proc/{g.process.pid}/fd")
    return sorted(os.readlink(entry).split(":")[0] for entry in folder.iterdir())


def refusal(g: Gateway) -> str:
    """USR2, which must change nothing; why."""
    before, log = (pids(g), children(g.process.pid)) if g.process else ([], []), len(g.log())
    g.signal(signal.SIGUSR2)
    g.wait(lambda: "not upgraded" in g.log()[log:])
    assert g.process is not None
    assert (pids(g), children(g.process.pid)) == before
    assert status(g.port) == 404
    return g.log()[log:]


@contextmanager
def repeated(g: Gateway, number: signal.Signals) -> Iterator[None]:
    """The signal, every few milliseconds."""
    is_over = threading.Event()

    def send() -> None:
        while not is_over.wait(0.005):
            g.signal(number)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def test_the_process_stays_its_children_are_new_twice_in_a_row_whatever_is_signalled(
    tmp_path: Path,
) -> None:
    with gateway(tmp_path / "g", workers=2) as g:
        g.up()
        had = descriptors(g)
        seen = {*pids(g), g.journal("boot")[0]["control"]}
        for turn, storm in ((1, signal.SIGHUP), (2, signal.SIGUSR1)):
            with repeated(g, storm):
                upgrade(g)
            g.wait(lambda: g.states() == ["serving"] * 2)  # the former ones have left
            now = {*pids(g), g.journal("boot")[-1]["control"]}
            assert len(g.journal("boot")) == turn + 1
            assert not seen & now
            seen |= now
            assert status(g.port) == 404
            assert [row["slot"] for row in g.roster()] == [0, 1]
        assert {row["region"] for row in g.roster()} == {0, 1}, "regions are used again"
        assert descriptors(g) == had
        g.signal(signal.SIGTERM)
        assert g.exit_code() == 0, g.log()
        assert g.is_alone()
        assert (g.folder / "state" / "gateway.lock").read_text() == ""
        assert not (g.folder / "admin.sock").exists()


def test_a_check_or_an_exec_that_fails_changes_nothing_and_says_why(tmp_path: Path) -> None:
    with gateway(tmp_path / "g", programs={**LIGHTLY, "itself": ["/no/such/program"]}) as g:
        g.up()
        had = descriptors(g)
        good = g.configuration["timeouts"]
        g.configure(timeouts={"drian": 1}, domain=5)
        why = refusal(g)
        assert "timeouts.drian: unknown key" in why
        assert "domain: must be text" in why
        g.configure(timeouts=good, domain="a.test")
        assert "/no/such/program cannot be started: No such file" in refusal(g)
        assert descriptors(g) == had
        worker = pids(g)[0]
        inherited = len(os.listdir(f"/proc/{worker}/fd"))
        os.kill(worker, signal.SIGKILL)
        g.wait(lambda: pids(g) not in ([], [worker]) and g.states() == ["serving"])
        # What was made inheritable for the other program is not any more.
        assert len(os.listdir(f"/proc/{pids(g)[0]}/fd")) <= inherited
        g.signal(signal.SIGTERM)
        assert g.exit_code() == 0


def test_the_former_workers_serve_until_all_new_ones_do_and_another_try_is_possible(
    tmp_path: Path,
) -> None:
    with gateway(tmp_path / "g", workers=2, worker=python(FAILING), programs=LIGHTLY) as g:
        g.up()
        former = pids(g)
        broken = g.folder / "broken"
        broken.touch()
        g.signal(signal.SIGUSR2)
        g.wait(lambda: said(g, "worker-0 ended, exit code 3") >= 2)
        assert [status(g.port) for _ in range(8)] == [404] * 8
        assert status(g.health, "/readyz") == 200
        assert all(map(is_alive, former))
        broken.unlink()
        upgrade(g)
        g.wait(lambda: len(g.roster()) == 2 and g.states() == ["serving"] * 2)
        assert not set(former) & set(pids(g))
        assert [status(g.port) for _ in range(4)] == [404] * 4


def test_a_stop_during_the_check_or_the_change_is_obeyed(tmp_path: Path) -> None:
    with gateway(tmp_path / "a", programs=LIGHTLY) as g:
        g.up()
        g.signal(signal.SIGUSR2)
        g.wait(lambda: said(g, "checking the program"))
        g.signal(signal.SIGTERM)
        assert g.exit_code() == 0, g.log()
        assert not said(g, "took over")
        assert g.is_alone()
    with gateway(tmp_path / "b", programs=LIGHTLY) as g:
        g.up()
        g.signal(signal.SIGUSR2)
        g.wait(lambda: said(g, "handing over"))
        g.signal(signal.SIGTERM)  # waits in the kernel, if no program is there to take it
        assert g.exit_code() == 0, g.log()
        assert g.is_alone()


def test_requests_under_way_end_on_their_connections_and_sockets_are_told(tmp_path: Path) -> None:
    with gateway(tmp_path / "g", programs=LIGHTLY, timeouts={"lame_duck": 1, "drain": 20}) as g:
        g.up()
        with (
            socket.create_connection(("127.0.0.1", g.port)) as kept,
            socket.create_connection(("127.0.0.1", g.port)) as slow,
        ):
            slow.sendall(b"GET / HTTP/1.1\r\nHost: a.test\r\n")
            ask(kept)
            g.signal(signal.SIGUSR2)
            g.wait(lambda: said(g, "worker-0 is ready") >= 2)
            # The former worker answers on what it has, and sends the client on.
            g.wait(lambda: b"connection: close" in ask(kept).lower())
            slow.sendall(b"\r\n")
            assert slow.recv(65536).startswith(b"HTTP/1.1 404")
        g.wait(lambda: said(g, "former worker-0 has drained, 0 connections were cut"))


def ask(connection: socket.socket) -> bytes:
    connection.settimeout(20)
    connection.sendall(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
    return connection.recv(65536)


def test_backends_stay_their_ends_are_noticed_and_orders_under_way_are_kept(
    tmp_path: Path,
) -> None:
    with gateway(tmp_path / "g", programs=LIGHTLY) as g:
        (g.folder / "orders").write_text("")
        g.up()

        def order(*orders: messages.Json) -> None:
            with open(g.folder / "orders", "a") as file:
                file.write("".join(json.dumps(one) + "\n" for one in orders))

        def launch(name: str, script: str) -> messages.Json:
            return messages.launch(
                name,
                f"app/{name}",
                note={"n": 1},
                command=["/bin/sh", "-c", script],
                env={"PATH": os.environ["PATH"]},
                cwd=str(g.folder),
                log=str(g.folder / f"{name}.log"),
                grace_s=0.3,
            )

        def rows() -> dict[str, int]:
            told = g.journal("supervisor", "processes")
            return {row["id"]: row["pid"] for row in told[-1]["rows"]} if told else {}

        def ended(name: str) -> list[int | None]:
            told = g.journal("supervisor", "processes")
            return [end["code"] for one in told for end in one["ended"] if end["id"] == name]

        order(
            launch("stays", "exec sleep 60"),
            launch("ends", "while [ ! -e go ]; do sleep 0.02; done; exit 7"),
            launch("stubborn", "trap '' TERM; > deaf; while :; do sleep 0.1; done"),
        )
        g.wait(lambda: len(rows()) == 3 and (g.folder / "deaf").exists())
        before = rows()
        order(
            messages.halt("stubborn", 1.0), *(launch(f"n{i}", "exec sleep 60") for i in range(30))
        )
        upgrade(g)
        g.wait(lambda: len(rows()) == 32)  # the stubborn one was killed in time
        assert {name: rows()[name] for name in ("stays", "ends")} == {
            name: before[name] for name in ("stays", "ends")
        }
        assert ended("stubborn") == [-signal.SIGKILL]
        (g.folder / "go").touch()
        g.wait(lambda: ended("ends") == [7])
        order(launch("stays", "exec sleep 60"))  # known: nothing is started
        upgrade(g)
        assert rows()["stays"] == before["stays"]
        assert not any("Z" in state(pid) for pid in rows().values())
        g.signal(signal.SIGTERM)
        assert g.exit_code() == 0, g.log()
        assert g.is_alone()


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_file_that_is_taken_during_the_check_is_what_the_next_program_runs_with(
    tmp_path: Path,
) -> None:
    with gateway(tmp_path / "g", programs=LIGHTLY) as g:
        g.up()
        g.signal(signal.SIGUSR2)
        g.wait(lambda: said(g, "checking the program"))
        g.configure(limits={"head_bytes": 1024})
        g.signal(signal.SIGHUP)
        g.wait(lambda: said(g, "info supervisor upgraded"))
        g.wait(lambda: len(g.roster()) == 1 and g.states() == ["serving"])
        assert status(g.port, "/" + "x" * 2000) in (414, 431)


def test_a_command_line_that_the_new_program_does_not_know_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-m", "gateway", "run", "--konfig", "gateway.yaml"]
    with gateway(tmp_path / "g", programs={"itself": command, "check": command}) as g:
        g.up()
        assert "No such option" in refusal(g)
