"""A real gateway in a folder of its own: supervisor, workers, control process, sockets.

    with Gateway(folder, timeouts={"lame_duck": 1}) as gateway:
        gateway.api.register("v1", "shop.example", port)
        gateway.kill(gateway.control)

Whoever leaves the context has checked that no process wrote a traceback.
"""

from __future__ import annotations

import ctypes
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from prometheus_client.parser import text_string_to_metric_families

from . import processes
from .load import Kill
from .processes import wait_until

START_S = 30.0
STOP_S = 30.0
CALL_S = 20.0
_PDEATHSIG = 1

_next_port = iter(random.Random().sample(range(20_000, 32_000), 12_000))


def free_port() -> int:
    """A port nobody uses, below those that outgoing connections are given."""
    while True:
        port = next(_next_port)
        with socket.socket() as sock, suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port


@dataclass(frozen=True)
class Answer:
    """An answer of the admin API, or of the gateway itself."""

    status: int
    headers: Mapping[str, str]
    raw: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.raw)

    @property
    def text(self) -> str:
        return self.raw.decode()


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=CALL_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Admin:
    """The admin API; a connection for each call."""

    def __init__(self, connect: Callable[[], http.client.HTTPConnection]) -> None:
        self._connect = connect

    def __call__(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        raw: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """`path` is below /api/v1 unless it begins with a slash."""
        sent = dict(headers or {})
        data = json.dumps(body).encode() if body is not None else raw
        if data is not None:
            sent.setdefault("Content-Type", "application/json")
        connection = self._connect()
        try:
            where = path if path.startswith("/") else f"/api/v1/{path}"
            connection.request(method, where, data, sent)
            response = connection.getresponse()
            return Answer(response.status, dict(response.headers), response.read())
        finally:
            connection.close()

    def ok(self, method: str, path: str, body: object = None) -> Any:
        """The JSON of an answer that must be 200."""
        answer = self(method, path, body)
        assert answer.status == 200, (method, path, answer)
        return answer.json

    def register(
        self,
        name: str,
        host: str,
        *ports: int,
        path: str = "/",
        wait: bool = True,
        health: Mapping[str, object] | None = None,
        **more: object,
    ) -> Any:
        """Register a service that may coexist, checked often; waits until it is healthy."""
        body = {
            "routes": [{"host": host, "path": path}],
            "coexist": True,
            "endpoints": [f"127.0.0.1:{port}" for port in ports],
            "health": {"path": "/health", "interval": 0.2, "fall": 2} if health is None else health,
            **more,
        }
        answer = self.ok("PUT", f"services/{name}", body)
        if wait:
            for port in ports:
                self.wait_instance(name, port, "up")
        return answer

    def instance(self, name: str, port: int) -> Any:
        return self.ok("GET", f"instances/{instance_path(name, port)}")

    def wait_instance(self, name: str, port: int, state: str) -> None:
        """Wait until every worker knows the instance in that state."""
        wait_until(
            lambda: self.instance(name, port)["state"] == state, what=f"{name}@{port} {state}"
        )
        # Any write waits for the workers to have what was published before it.
        self.ok("PATCH", f"services/{name}", {"coexist": True})

    def weights(self, route: str) -> dict[str, int]:
        found: dict[str, int] = self.ok("GET", f"routes/{quote(route, safe='')}/weights")
        return found

    def set_weights(self, route: str, **weights: int) -> Any:
        return self.ok("PUT", f"routes/{quote(route, safe='')}/weights", weights)

    def routes(self) -> Any:
        """Routes as they are desired: everything but figures of traffic and health."""
        return [
            {
                "route": r["route"],
                "internal": r["internal"],
                "weights": r["weights"],
                "policy": r["policy"],
                "effective": r["effective"],
            }
            for r in self.ok("GET", "routes")["routes"]
        ]


def instance_path(name: str, port: int) -> str:
    """An instance registered by hand, as a part of a path."""
    return quote(f"{name}@127.0.0.1:{port}", safe="")


class Gateway:
    """See the module. `config` is merged into a small default configuration."""

    def __init__(self, folder: Path, workers: int = 2, **config: Any) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.config_file = folder / "gateway.yaml"
        self.log_file = folder / "gateway.log"
        self.ports = {n: free_port() for n in ("public", "internal", "admin", "health")}
        self.config: dict[str, Any] = {
            "entrypoints": {
                "public": {"listen": f"127.0.0.1:{self.ports['public']}"},
                "internal": {"listen": f"127.0.0.1:{self.ports['internal']}", "internal": True},
            },
            "admin": {"listen": f"127.0.0.1:{self.ports['admin']}", "auth": "none"},
            "health": {"listen": f"127.0.0.1:{self.ports['health']}"},
            "state_dir": str(self.state),
            "workers": workers,
            "timeouts": {"lame_duck": 0, "drain": 5},
        }
        for key, value in config.items():
            if isinstance(value, dict) and isinstance(self.config.get(key), dict):
                value = {**self.config[key], **value}
            self.config[key] = value
        self.api = self.api_at(self.state / "admin.sock")
        self.process: subprocess.Popen[bytes] | None = None
        self.before_exec: Callable[[], None] | None = None
        """What the supervisor's process does before it becomes a gateway."""
        self.environment: dict[str, str] = {}
        """Variables of its own."""
        self.python = sys.executable
        """The interpreter, and by it the installation, that is run."""
        self._family: set[int] = set()

    @staticmethod
    def api_at(socket_file: Path) -> Admin:
        """The admin API, when the configuration puts its socket there."""
        return Admin(lambda: UnixConnection(socket_file))

    # -- life

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if self.process is not None and self.process.poll() is None:
                self.stop()
        finally:
            self._end_all()
        if error is None:
            assert "Traceback" not in self.log, self.log

    def start(self, wait: bool = True) -> None:
        """Start it (again); its log goes on in the same file."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.write_config()
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [self.python, "-P", "-m", "gateway", "run", "-c", str(self.config_file)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
                preexec_fn=self._prepare,
                env={**os.environ, **self.environment},
            )
        if wait:
            self.wait_ready()

    def _prepare(self) -> None:
        _die_with_parent()
        if self.before_exec is not None:
            self.before_exec()

    def write_config(self) -> None:
        """Write the configuration as it stands in `config` (JSON is YAML)."""
        self.config_file.write_text(json.dumps(self.config, indent=1))

    def wait_ready(self) -> None:
        """Wait until all workers serve and the admin API answers."""
        wait_until(self._is_ready, START_S, f"a ready gateway ({self.log_file})")

    def _is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log
        with suppress(OSError, http.client.HTTPException):
            if len(self.workers) < self.config["workers"] or self.get("health", "/readyz") != 200:
                return False
            answer = self.api("GET", "/readyz")
            return answer.status == 200 and answer.json["workers"] == self.config["workers"]
        return False

    def stop(self) -> int:
        """TERM; the exit code."""
        self._remember()
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(STOP_S)

    def _end_all(self) -> None:
        """Whatever a test left behind, stopped processes included."""
        self._remember()
        assert self.process is not None
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for pid in self._family:
            if processes.role(pid) is not None:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not any(processes.role(p) is not None for p in self._family))

    def _remember(self) -> None:
        if self.process is not None:
            self._family.update(processes.children(self.process.pid))

    # -- processes

    @property
    def supervisor(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def workers(self) -> dict[int, int]:
        """Living workers: slot to pid."""
        return {slot: pid for slot, pid in self._children() if isinstance(slot, int)}

    @property
    def control(self) -> int:
        """0 while there is none."""
        return next((pid for who, pid in self._children() if who == "control"), 0)

    def _children(self) -> Iterator[tuple[int | str, int]]:
        for pid in processes.children(self.supervisor):
            self._family.add(pid)
            if (who := processes.role(pid)) is not None:
                yield who, pid

    def kill(self, pid: int, number: signal.Signals = signal.SIGKILL) -> None:
        """Signal one of the gateway's processes."""
        self._remember()
        assert pid in {self.supervisor, *self._family}
        os.kill(pid, number)

    def kill_worker(self, slot: int) -> Kill:
        """SIGKILL a worker and wait for the next one's process.

        The SIGSTOP before it freezes what it holds while we look.
        """
        pid = self.workers[slot]
        self.kill(pid, signal.SIGSTOP)
        # The kernel's list is no snapshot: a line can be missed while others come and go.
        looks = [processes.client_ports(pid, self.ports["public"]) for _ in range(4)]
        ports = frozenset[int]().union(*looks)
        now = time.monotonic()
        self.kill(pid)
        wait_until(lambda: self.workers.get(slot, pid) != pid, what=f"a new worker {slot}")
        return Kill(now, ports)

    def kill_control(self) -> None:
        """SIGKILL the control process and wait until the next one answers."""
        old = self.control
        self.kill(old)
        wait_until(lambda: self.control not in (0, old), what="a new control process")
        self.wait_ready()

    def wait_replaced(self, slot: int, old: int) -> None:
        """Wait until another worker fills the slot and serves."""
        wait_until(lambda: self.workers.get(slot, old) != old, what=f"a new worker {slot}")
        self.wait_ready()

    # -- looking

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def said(self, text: str) -> int:
        """How many lines of the log have this text."""
        return sum(text in line for line in self.log.splitlines())

    def wait_said(self, text: str, more_than: int = 0, timeout_s: float = 15.0) -> None:
        wait_until(lambda: self.said(text) > more_than, timeout_s, f"{text!r} in the log")

    def metric(self, name: str, **labels: str) -> float:
        """The sum of all series of a metric that have these labels."""
        answer = self.api("GET", "/metrics")
        assert answer.status == 200, answer
        return sum(
            sample.value
            for family in text_string_to_metric_families(answer.text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def worker_of(self, client_port: int, entrypoint: str = "public") -> int:
        """The pid of the worker that serves a connection."""
        port = self.ports[entrypoint]
        for pid in self.workers.values():
            if client_port in processes.client_ports(pid, port):
                return pid
        raise LookupError(client_port)

    # -- asking

    def get(self, entrypoint: str, path: str = "/", host: str = "localhost") -> int:
        """The status of a GET on a new connection."""
        return self.ask(entrypoint, path, host).status

    def ask(
        self,
        entrypoint: str,
        path: str = "/",
        host: str = "localhost",
        timeout_s: float = 10.0,
        **headers: str,
    ) -> Answer:
        """A GET on a new connection."""
        with Visitor(self.ports[entrypoint], host, timeout_s) as visitor:
            return visitor.get(path, **headers)


class Visitor:
    """A client with one connection, and a cookie jar when it is a `browser`."""

    def __init__(
        self, port: int, host: str, timeout_s: float = 10.0, *, is_browser: bool = False
    ) -> None:
        self._host = host
        self._jar: dict[str, str] | None = {} if is_browser else None
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    @property
    def local_port(self) -> int:
        """Our end of the connection."""
        port: int = self.connection.sock.getsockname()[1]
        return port

    def get(self, path: str = "/", **headers: str) -> Answer:
        return self.send("GET", path, None, **headers)

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """A request; on a new connection when the last one was closed."""
        sent = {"Host": self._host, **{k.replace("_", "-"): v for k, v in headers.items()}}
        if self._jar:
            sent["Cookie"] = "; ".join(f"{k}={v}" for k, v in self._jar.items())
        self.connection.request(method, path, body, sent)
        response = self.connection.getresponse()
        answer = Answer(response.status, dict(response.headers), response.read())
        if self._jar is not None:
            for cookie in response.headers.get_all("Set-Cookie", []):
                name, _, value = cookie.partition(";")[0].partition("=")
                self._jar[name] = value
        return answer

    def forget_connection(self) -> None:
        """Begin the next request on a new connection."""
        self.connection.close()


def served_by(answer: Answer) -> str:
    """Which service answered."""
    assert answer.status == 200, answer
    return answer.headers["X-Served-By"]


def sleep(seconds: float) -> None:
    """Time that must really pass, because a test watches that nothing happens in it."""
    time.sleep(seconds)


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGKILL)
