"""Backends under a real supervisor: started once, ended with all they started, never left behind.

The control process is the small one of `tests/support/small_control.py`, which sends
what a test orders and writes down what it is told. Backends are shell scripts.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from gateway.runtime import marks, messages
from tests.support.processes import is_alive
from tests.support.supervised import WAIT_S, Gateway, gateway, wait_for

IGNORES_TERM = "trap '' TERM; echo up; while :; do sleep 1; done"


class Backends:
    """What a test orders of a gateway's supervisor, and what it is told."""

    def __init__(self, g: Gateway) -> None:
        self.g = g

    def order(self, *orders: messages.Json) -> None:
        with open(self.g.folder / "orders", "a") as file:
            file.write("".join(json.dumps(one) + "\n" for one in orders))

    def script(self, backend: str, script: str, grace_s: float = 5.0) -> messages.Json:
        return self.launch(backend, ["/bin/sh", "-c", script], grace_s)

    def launch(self, backend: str, command: list[str], grace_s: float = 5.0) -> messages.Json:
        return messages.launch(
            backend,
            f"app/{backend}",
            note={"n": 1},
            command=command,
            env={"PATH": os.environ["PATH"], "FOLDER": str(self.g.folder)},
            cwd=str(self.g.folder),
            log=str(self.log(backend)),
            grace_s=grace_s,
        )

    def log(self, backend: str) -> Path:
        return self.g.folder / "output" / f"{backend}.log"

    def tables(self) -> list[dict[str, Any]]:
        return self.g.journal("supervisor", "processes")

    def rows(self) -> dict[str, dict[str, Any]]:
        told = self.tables()
        return {row["id"]: row for row in told[-1]["rows"]} if told else {}

    def state(self, backend: str) -> str | None:
        """As last told; None: it is not in the table."""
        row = self.rows().get(backend)
        return str(row["state"]) if row is not None else None

    def end(self, backend: str) -> dict[str, Any] | None:
        """What was told of its end."""
        found = [e for told in self.tables() for e in told["ended"] if e["id"] == backend]
        assert len(found) <= 1
        return found[0] if found else None

    def wait_end(self, backend: str) -> dict[str, Any]:
        """Wait until it has ended and left the table; what was told."""
        end = self.g.wait(lambda: self.end(backend))
        self.g.wait(lambda: backend not in self.rows())
        assert end is not None
        return end

    def start(self, backend: str, script: str, grace_s: float = 5.0) -> int:
        """Launch it and wait until it has written something; its pid."""
        self.order(self.script(backend, script, grace_s))
        self.g.wait(lambda: self.log(backend).exists() and self.log(backend).read_text())
        self.g.wait(lambda: backend in self.rows())
        pid: int = self.rows()[backend]["pid"]
        return pid

    def wait_gone(self, *pids: int) -> None:
        wait_for(lambda: not any(map(is_alive, pids)), self.g.report)


@contextmanager
def running(folder: Path) -> Iterator[Backends]:
    with gateway(folder) as g:
        (folder / "orders").write_text("")
        made = Backends(g.up())
        yield made
    for row in made.rows().values():
        with suppress(OSError):
            os.killpg(row["pid"], signal.SIGKILL)


@pytest.fixture(scope="module")
def backends(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backends]:
    """Of one gateway for all tests that leave it running; each has names of its own."""
    with running(tmp_path_factory.mktemp("shared") / "g") as made:
        yield made


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Backends]:
    """Of a gateway for one test."""
    with running(tmp_path / "g") as made:
        yield made


def pid_in(path: Path, g: Gateway) -> int:
    g.wait(lambda: path.exists() and path.read_text().endswith("\n"))
    return int(path.read_text())


def test_a_control_process_is_told_the_table_first_and_after_every_change(own: Backends) -> None:
    first = own.g.journal("supervisor")[0]
    assert {**first, "control": 0} == {"t": "processes", "rows": [], "ended": [], "control": 0}
    before = time.time()
    pid = own.start("one", "echo up; echo error >&2; exec sleep 60")
    row = own.rows()["one"]
    assert before - 1 < row.pop("started_unix") < time.time() + 1
    assert row == {
        "id": "one",
        "service": "app/one",
        "note": {"n": 1},
        "pid": pid,
        "state": "running",
    }
    own.g.wait(lambda: own.log("one").read_text() == "up\nerror\n")
    assert own.log("one").stat().st_mode & 0o777 == 0o600
    assert os.getsid(pid) == os.getpgid(pid) == pid
    assert os.readlink(f"/proc/{pid}/fd/0") == os.devnull

    own.order(messages.halt("one", 5.0))
    end = own.wait_end("one")
    assert (end["service"], end["halted"], end["error"]) == ("app/one", True, None)
    assert end["note"] == {"n": 1}
    assert end["code"] == -signal.SIGTERM
    assert not is_alive(pid)
    assert own.tables()[-1]["rows"] == []


C_LIBRARY_SIGNALS = 0b11 << 31
"""Signals 32 and 33: no program can set them, some parents leave them ignored."""


def test_a_backend_gets_its_own_environment_and_the_mark_and_nothing_of_ours(
    backends: Backends,
) -> None:
    pid = backends.start("env", "env; ls -l /proc/self/fd; echo done; exec sleep 60")
    backends.g.wait(lambda: "done\n" in backends.log("env").read_text())
    lines = backends.log("env").read_text().splitlines()
    names = {line.partition("=")[0] for line in lines if "=" in line}
    assert names <= {"PATH", "FOLDER", "GATEWAY_BACKEND", "PWD", "OLDPWD", "SHLVL", "_"}
    assert "GATEWAY_BACKEND" in names
    assert not [line for line in lines if "socket:" in line or "memfd:" in line]
    # Signals are as for any program: none ignored, none blocked.
    status = Path(f"/proc/{pid}/status").read_text()
    masks = dict(line.split(":\t") for line in status.splitlines() if line.startswith("Sig"))
    assert int(masks["SigBlk"], 16) == 0
    assert int(masks["SigIgn"], 16) & ~C_LIBRARY_SIGNALS == 0


def test_an_id_is_started_once(backends: Backends) -> None:
    order = backends.script("once", "echo up; exec sleep 60")
    backends.order(order, order)
    pid = backends.start("twice", "echo up; exec sleep 60")
    backends.order(order, backends.script("twice", "echo again; exec sleep 60"))
    backends.start("behind", "echo up; exec sleep 60")
    assert backends.rows()["twice"]["pid"] == pid
    assert [backends.log(n).read_text() for n in ("once", "twice")] == ["up\n", "up\n"]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["/nowhere/program"], "No such file or directory: '/nowhere/program'"),
        (["no-such-program"], "No such file or directory: 'no-such-program'"),
        (["/etc/passwd"], "Permission denied"),
        (["/bin/sh", "-c", "x" * (1 << 20)], "Argument list too long"),
    ],
)
def test_what_cannot_be_started_has_ended_with_a_reason(
    backends: Backends, command: list[str], words: str
) -> None:
    backends.order(backends.launch(words, command))
    end = backends.wait_end(words)
    assert end["code"] is None
    assert end["error"].startswith("cannot be started: ")
    assert words in end["error"]


def test_a_program_that_ends_by_itself_takes_what_it_started_with_it(backends: Backends) -> None:
    script = (
        "sleep 60 & echo $! > $FOLDER/tame; "
        "sh -c \"trap '' TERM; echo \\$\\$ > $FOLDER/wild; while :; do sleep 1; done\" & "
        "while [ ! -s $FOLDER/wild ]; do sleep 0.01; done; echo up; exit 3"
    )
    backends.order(backends.script("short", script, grace_s=0.3))
    tame = pid_in(backends.g.folder / "tame", backends.g)
    wild = pid_in(backends.g.folder / "wild", backends.g)
    end = backends.wait_end("short")
    assert (end["code"], end["halted"]) == (3, False)
    rows = [row for table in backends.tables() for row in table["rows"] if row["id"] == "short"]
    assert rows[-1]["state"] == "stopping"
    backends.wait_gone(tame, wild)


def test_what_ignores_term_is_killed_after_the_grace_time_with_its_group(
    backends: Backends,
) -> None:
    script = f"sh -c 'echo $$ > $FOLDER/inner; {IGNORES_TERM}' & {IGNORES_TERM}"
    pid = backends.start("deaf", script)
    inner = pid_in(backends.g.folder / "inner", backends.g)
    backends.order(messages.halt("deaf", 60.0))
    backends.g.wait(lambda: backends.state("deaf") == "stopping")
    assert is_alive(pid)
    backends.order(messages.halt("deaf", 0.1))
    assert backends.wait_end("deaf")["code"] == -signal.SIGKILL
    backends.wait_gone(pid, inner)


def test_a_shell_that_ends_at_once_leaves_the_grace_time_to_its_program(
    backends: Backends,
) -> None:
    script = (
        "(trap 'sleep 0.3; echo finished; exit' TERM; echo up; while :; do sleep 0.05; done) & wait"
    )
    backends.start("shell", script)
    backends.order(messages.halt("shell", 10.0))
    backends.wait_end("shell")
    assert backends.log("shell").read_text().endswith("finished\n")


def test_a_stopped_backend_hears_that_it_shall_end(backends: Backends) -> None:
    pid = backends.start("stopped", "echo up; exec sleep 60")
    os.kill(pid, signal.SIGSTOP)
    backends.order(messages.halt("stopped", 30.0))
    backends.wait_gone(pid)


def test_a_process_that_left_its_group_is_found_and_killed(backends: Backends) -> None:
    other = backends.start("other", "echo up; exec sleep 60")
    backends.start("left", "setsid sh -c 'echo $$ > $FOLDER/away; exec sleep 60' & echo up; wait")
    away = pid_in(backends.g.folder / "away", backends.g)
    assert os.getsid(away) == away
    backends.order(messages.halt("left", 5.0))
    backends.wait_gone(away)
    assert is_alive(other)


def test_backends_outlive_the_control_process_and_the_next_one_is_told_of_them(
    backends: Backends,
) -> None:
    pid = backends.start("survivor", "echo up; exec sleep 60")
    control = backends.tables()[-1]["control"]
    os.kill(control, signal.SIGKILL)
    backends.g.wait(lambda: backends.tables()[-1]["control"] != control)
    assert backends.rows()["survivor"]["pid"] == pid
    assert backends.rows()["survivor"]["note"] == {"n": 1}
    assert is_alive(pid)


def test_checks_that_a_dead_control_process_left_behind_are_ended(backends: Backends) -> None:
    control = backends.tables()[-1]["control"]
    home = marks.home_of(backends.g.folder / "state")

    def check_of(pid: int) -> subprocess.Popen[bytes]:
        environment = {**os.environ, **marks.mark(home, marks.check_id(pid))}
        return subprocess.Popen(["/bin/sleep", "60"], env=environment)

    with check_of(control) as old:
        backends.start("beside", "echo up; exec sleep 60")
        backends.order(messages.halt("beside", 5.0))
        backends.wait_end("beside")  # what is searched for then is not a living control's check
        assert old.poll() is None
        os.kill(control, signal.SIGKILL)
        assert old.wait(WAIT_S) == -signal.SIGKILL
    backends.g.wait(lambda: backends.tables()[-1]["control"] != control)


@pytest.mark.parametrize("name", ["check:0", "gone", "", "x:y"])
def test_no_mark_that_somebody_made_up_outlives_the_gateway_nor_is_another_gateway_s_ended(
    own: Backends, name: str
) -> None:
    home = marks.home_of(own.g.folder / "state")
    ours = {**os.environ, **marks.mark(home, name)}
    foreign = {
        **os.environ,
        **marks.mark(marks.home_of(own.g.folder), name),
        "OTHER": f"{marks.VARIABLE}={home}:{name}",
    }
    with (
        subprocess.Popen(["/bin/sleep", "60"], env=ours) as made_up,
        subprocess.Popen(["/bin/sleep", "60"], env=foreign) as stranger,
    ):
        own.g.signal(signal.SIGTERM)
        assert own.g.exit_code() == 0
        try:
            assert made_up.wait(WAIT_S) == -signal.SIGKILL
            assert stranger.poll() is None
        finally:
            made_up.kill()
            stranger.kill()


def test_stopping_the_gateway_ends_backends_with_their_grace_time(own: Backends) -> None:
    wild = own.start("wild", IGNORES_TERM, grace_s=0.3)
    calm = own.start("calm", "trap 'sleep 0.1; echo bye; exit' TERM; echo up; sleep 60 & wait")
    own.g.signal(signal.SIGTERM)
    assert own.g.exit_code() == 0
    assert not is_alive(wild)
    assert not is_alive(calm)
    assert "bye" in own.log("calm").read_text()
    assert own.g.is_alone()


def test_a_second_signal_shortens_the_grace_time(own: Backends) -> None:
    wild = own.start("wild", IGNORES_TERM, grace_s=600)
    own.g.signal(signal.SIGTERM)
    own.g.wait(lambda: "control ended" in own.g.log())
    assert is_alive(wild)
    own.g.signal(signal.SIGTERM)
    assert own.g.exit_code() == 0
    assert not is_alive(wild)


def test_a_killed_supervisor_leaves_nothing_that_the_next_one_does_not_end_first(
    own: Backends,
) -> None:
    calm = own.start("calm", "echo up; exec sleep 60")
    wild = own.start("wild", IGNORES_TERM)
    own.start("away", "setsid sleep 60 & echo $! > $FOLDER/away; echo up; wait")
    away = pid_in(own.g.folder / "away", own.g)
    assert own.g.process is not None
    own.g.process.kill()
    own.g.process.wait()
    own.wait_gone(calm)  # told by the kernel
    assert is_alive(wild)
    own.g.journal_path.rename(own.g.folder / "old journal")
    own.g.up()
    assert not is_alive(wild)
    assert not is_alive(away)
    assert own.rows() == {}
    own.start("new", "echo up; exec sleep 60")


def test_output_that_cannot_be_kept_stops_nothing(backends: Backends) -> None:
    order = backends.launch("silent", ["/bin/sleep", "60"])
    backends.order({**order, "log": "/dev/null/x.log"})
    backends.g.wait(lambda: backends.state("silent") == "running")
    assert "no output is kept in /dev/null/x.log" in backends.g.log()


def test_orders_that_make_no_sense_end_who_gives_them_and_nothing_else(backends: Backends) -> None:
    g = backends.g
    backends.order(backends.script("good", "echo up; sleep 60"))
    g.wait(lambda: backends.rows().get("good", {}).get("state") == "running")
    pid = backends.rows()["good"]["pid"]
    workers = [row["pid"] for row in g.roster()]
    starts = len(g.journal("boot"))

    def is_told(number: int) -> bool:
        """So many control processes have started, and the last one takes orders."""
        boots = g.journal("boot")
        return len(boots) == number and backends.tables()[-1]["control"] == boots[-1]["control"]

    backends.order({"t": "launch", "id": "bad"})
    g.wait(lambda: "control said what makes no sense, killed: a message launch" in g.log())
    g.wait(lambda: is_told(starts + 1))
    backends.order({"t": "halt", "id": ["good"], "grace_s": 0})
    g.wait(lambda: "control said what makes no sense, killed: a message halt" in g.log())
    g.wait(lambda: is_told(starts + 2))
    g.wait(lambda: "good" in backends.rows())
    assert backends.rows()["good"]["pid"] == pid
    assert is_alive(pid)
    assert [row["pid"] for row in g.roster()] == workers
