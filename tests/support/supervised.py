"""A supervisor with real workers in processes of their own, for tests.

Everything is observed from outside: sockets, log, exit code, and the journal of
the small control process. Waiting polls with a deadline, so that a busy machine
only makes tests slower.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import yaml

WAIT_S = 30.0
SMALL_CONTROL = Path(__file__).parent / "small_control.py"
_T = TypeVar("_T")

_RUN = """
import json, os, sys
from pathlib import Path
from gateway.runtime import running, upgrade
from gateway.runtime.programs import Programs
from gateway.runtime.configuration import load
from gateway.runtime.settings import Settings
from gateway.runtime.watch import Patience
path = Path(sys.argv[1])
programs = Programs(**{k: tuple(v) for k, v in json.loads(sys.argv[2]).items()})
patience = Patience(silent_s=float(sys.argv[3]), worker_hung_s=float(sys.argv[4]))
settings = Settings() if upgrade.is_under_way(os.environ) else load(path)
sys.exit(running.run(settings, path, programs, patience))
"""

_ACTIVATE = """
import fcntl, os, sys
names, count = sys.argv[1], sys.argv[1].count(":") + 1
high = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, 100) for fd in sys.argv[2 : 2 + count]]
for place, fd in enumerate(high, 3):
    os.dup2(fd, place)
    os.close(fd)
os.closerange(3 + count, 100)
environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(count), "LISTEN_FDNAMES": names}
os.execve(sys.argv[2 + count], sys.argv[2 + count :], {**os.environ, **environ})
"""
"""Become the program behind the descriptors, with them as a service manager hands them over."""


def wait_for(what: Callable[[], _T], why: Callable[[], object] = lambda: "") -> _T:
    """Call `what` until it gives something true; `why` explains a failure."""
    until = time.monotonic() + WAIT_S
    while not (found := what()):
        assert time.monotonic() < until, f"waited {WAIT_S} s; {why()}"
        time.sleep(0.02)
    return found


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def ask(port: int, path: str = "/", timeout_s: float = WAIT_S) -> str:
    """The head of the answer to one request on a connection of its own."""
    with socket.create_connection(("127.0.0.1", port), timeout_s) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n".encode())
        received = b""
        while b"\r\n\r\n" not in received:
            piece = client.recv(65536)
            if not piece:
                break
            received += piece
    return received.partition(b"\r\n\r\n")[0].decode()


def status(port: int, path: str = "/", timeout_s: float = WAIT_S) -> int:
    """The status of such an answer; 0 when there was none."""
    with contextlib.suppress(OSError):
        head = ask(port, path, timeout_s)
        return int(head.split()[1]) if head else 0
    return 0


class Gateway:
    """One supervisor process over a folder of its own."""

    def __init__(
        self,
        folder: Path,
        *,
        control: str | list[str] = "publish",
        worker: list[str] | None = None,
        workers: int = 1,
        silent_s: float = 1.0,
        hung_s: float = 10.0,
        programs: dict[str, list[str]] | None = None,
        **configuration: object,
    ) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.port = free_port()
        self.health = free_port()
        self.journal_path = folder / "journal"
        self.log_path = folder / "log"
        self.configuration: dict[str, Any] = {
            "entrypoints": {"public": {"listen": f"127.0.0.1:{self.port}"}},
            "admin": {"listen": None, "socket": "admin.sock"},
            "health": {"listen": f"127.0.0.1:{self.health}"},
            "workers": workers,
            "timeouts": {"lame_duck": 0, "drain": 20},
            **configuration,
        }
        small = [sys.executable, "-P", str(SMALL_CONTROL), "journal"]
        self._programs = {
            "control": [*small, control] if isinstance(control, str) else control,
            **({"worker": worker} if worker else {}),
            **(programs or {}),
        }
        self.environment = dict(os.environ)
        self.handed: list[tuple[str, socket.socket]] = []
        """Sockets that a service manager hands over, with their names."""
        self._patience = [str(silent_s), str(hung_s)]
        self.process: subprocess.Popen[bytes] | None = None

    def configure(self, **changes: object) -> None:
        """Write the configuration with these keys changed."""
        self.configuration |= changes
        (self.folder / "gateway.yaml").write_text(yaml.safe_dump(self.configuration))

    def start(self) -> Gateway:
        """Start the supervisor; does not wait for anything."""
        self.configure()
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [
                    *self._activation(),
                    *(sys.executable, "-c", _RUN, "gateway.yaml"),
                    *(json.dumps(self._programs), *self._patience),
                ],
                cwd=self.folder,
                env=self.environment,
                pass_fds=[sock.fileno() for _, sock in self.handed],
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        return self

    def _activation(self) -> list[str]:
        if not self.handed:
            return []
        names = ":".join(name for name, _ in self.handed)
        return [sys.executable, "-c", _ACTIVATE, names, *(str(s.fileno()) for _, s in self.handed)]

    def up(self) -> Gateway:
        """Start, and wait until all workers serve."""
        self.start()
        self.wait(lambda: self.states() == ["serving"] * self.configuration["workers"])
        return self

    def signal(self, number: signal.Signals) -> None:
        """Signal the supervisor."""
        assert self.process is not None
        self.process.send_signal(number)

    def wait(self, what: Callable[[], _T]) -> _T:
        """`wait_for` while the supervisor lives, showing the log on failure."""

        def check() -> _T:
            has_ended = self.process is not None and self.process.poll() is not None
            found = what()
            assert found or not has_ended, f"the supervisor has ended; {self.report()}"
            return found

        return wait_for(check, self.report)

    def exit_code(self) -> int:
        """Wait for the supervisor's end."""
        assert self.process is not None
        return self.process.wait(WAIT_S)

    def log(self) -> str:
        """All that went to stderr."""
        return self.log_path.read_text()

    def report(self) -> str:
        """All there is to say about a failure."""
        journal = self.journal_path.read_text() if self.journal_path.exists() else "none"
        return f"{self.log()}\njournal:\n{journal}"

    def journal(self, who: str, kind: str | None = None) -> list[dict[str, Any]]:
        """What the small control processes heard from `who`, messages of type `kind` only."""
        with contextlib.suppress(FileNotFoundError):
            lines = self.journal_path.read_text().splitlines(keepends=True)
            found = [json.loads(line) for line in lines if line.endswith("\n")]
            return [
                {**entry["what"], "control": entry["pid"]}
                for entry in found
                if entry["who"] == who and (kind is None or entry["what"].get("t") == kind)
            ]
        return []

    def roster(self) -> list[dict[str, Any]]:
        """The workers as last told."""
        told = self.journal("supervisor", "roster")
        rows: list[dict[str, Any]] = told[-1]["workers"] if told else []
        return rows

    def states(self) -> list[str]:
        """Their states."""
        return [row["state"] for row in self.roster()]

    def is_alone(self) -> bool:
        """No process works in this gateway's folder any more."""
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and Path(os.readlink(entry / "cwd")) == self.folder:
                    state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                    if state != "Z":
                        return False
        return True

    def end(self) -> None:
        """Leave nothing behind, whatever the test did."""
        if self.process is not None and self.process.poll() is None:
            for row in self.roster():
                if row["pid"]:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(row["pid"], signal.SIGCONT)
            self.process.send_signal(signal.SIGTERM)
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


@contextlib.contextmanager
def gateway(folder: Path, **options: Any) -> Iterator[Gateway]:
    """A gateway that is not started yet and surely ended afterwards."""
    made = Gateway(folder, **options)
    try:
        yield made
    finally:
        made.end()
