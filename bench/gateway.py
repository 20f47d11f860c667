"""The gateway under test: started by its command, driven over its admin API."""

from __future__ import annotations

import http.client
import socket
import sys
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson

from . import procfs
from .programs import Program, free_ports

API = "/api/v1"


class Refused(Exception):  # noqa: N818 - says what happened
    """The API did not do what was asked; `code` is the problem's, "" where it has none."""

    def __init__(self, what: str, code: str = "") -> None:
        super().__init__(what)
        self.code = code


class Api:
    """A kept connection to the admin API."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        accept: Collection[int] = (200, 201),
    ) -> dict[str, Any]:
        """The answer's JSON. Raises `Refused`, `OSError`, `http.client.HTTPException`."""
        data = None if body is None else orjson.dumps(body)
        sent = {"Content-Type": "application/json"} | dict(headers or {})
        try:
            self._connection.request(method, path, data, sent)
            answer = self._connection.getresponse()
            text = answer.read()
        except BaseException:
            self._connection.close()  # the next call opens a new one
            raise
        if answer.status not in accept:
            what = f"{method} {path}: {answer.status} {text.decode(errors='replace')}"
            raise Refused(what, _code(text))
        value: dict[str, Any] = orjson.loads(text)
        return value

    def register(self, name: str, host: str, port: int) -> None:
        """A service with one instance on a route that it may share."""
        body = {
            "routes": [{"host": host}],
            "coexist": True,
            "endpoints": [f"127.0.0.1:{port}"],
        }
        self.call("PUT", f"{API}/services/{name}", body)

    def set_weights(self, route: str, weights: Mapping[str, int]) -> None:
        """Returns when all workers follow them."""
        self.call("PUT", f"{API}/routes/{quote(route, safe='')}/weights", weights)

    def set_affinity(self, route: str, enabled: bool) -> None:
        """Switch a route's sticky sessions on or off."""
        body = {"affinity": {"enabled": enabled}}
        self.call("PUT", f"{API}/routes/{quote(route, safe='')}", body)

    def generation(self) -> int:
        """What the workers serve. Raises `Refused` while none does."""
        return int(self.call("GET", "/readyz")["generation"])

    def serving(self) -> dict[int, int]:
        """Slot to pid of the workers that take requests."""
        workers = self.call("GET", f"{API}/workers")["workers"]
        return {w["slot"]: w["pid"] for w in workers if w["state"] == "serving"}


def _code(text: bytes) -> str:
    """The code of a problem."""
    try:
        return str(orjson.loads(text)["code"])
    except (ValueError, TypeError, KeyError):
        return ""


class Gateway:
    """A running gateway."""

    def __init__(self, program: Program, port: int, admin_port: int, workers: int) -> None:
        self.port = port
        self.api = Api(admin_port)
        self.workers = workers
        self._program = program

    @property
    def pid(self) -> int:
        """The supervisor's."""
        return self._program.pid

    def control_pid(self) -> int | None:
        """The control process's; None while there is none."""
        for pid in procfs.family(self.pid):
            if "admin.main" in procfs.command_line(pid):
                return pid
        return None

    def wait_serving(self) -> None:
        """Wait until every worker takes requests."""
        for _ in self._program.attempts():
            try:
                if len(self.api.serving()) == self.workers:
                    return
            except (Refused, OSError, http.client.HTTPException):
                continue

    def wait_calm(self, calm_s: float) -> None:
        """Wait until nothing has been published for a while: all checks have had their say."""
        since, last = time.monotonic(), -1
        for _ in self._program.attempts(0.05):
            generation = self.api.generation()
            if generation != last:
                since, last = time.monotonic(), generation
            elif time.monotonic() - since > calm_s:
                return

    def wait_answer(self, host: str) -> None:
        """Wait until a route answers 200."""
        for _ in self._program.attempts(0.05):
            if ask(self.port, host)[0] == 200:
                return


@dataclass(frozen=True, slots=True)
class Prepared:
    """How to start a gateway, and where it will listen."""

    command: tuple[str, ...]
    port: int
    admin_port: int


def prepare(folder: Path, workers: int, **settings: object) -> Prepared:
    """The configuration of a gateway that keeps its state in `folder`, which may hold a store already.

    `entrypoints` and `timeouts` among the settings come on top of those that all have.
    """
    port, admin_port = free_ports(2)
    configuration = {
        "admin": {"listen": f"127.0.0.1:{admin_port}", "auth": "none"},
        "state_dir": "state",
        "workers": workers,
        **settings,
        "entrypoints": {"public": {"listen": f"127.0.0.1:{port}"}}
        | _more(settings.get("entrypoints")),
        "timeouts": {"lame_duck": 0, "drain": 2} | _more(settings.get("timeouts")),
    }
    file = folder / "gateway.yaml"
    file.write_bytes(orjson.dumps(configuration))  # JSON is YAML
    command = (sys.executable, "-P", "-m", "gateway", "run", "-c", str(file))
    return Prepared(command, port, admin_port)


def _more(setting: object) -> dict[str, object]:
    return setting if isinstance(setting, dict) else {}


def gateway(folder: Path, workers: int, **settings: object) -> AbstractContextManager[Gateway]:
    """A gateway with all its workers, see `prepare`."""
    return gateway_with({}, folder, workers, settings)


@contextmanager
def gateway_with(
    variables: Mapping[str, str], folder: Path, workers: int, settings: Mapping[str, object]
) -> Iterator[Gateway]:
    """The same with `variables` in its environment."""
    prepared = prepare(folder, workers, **settings)
    log = folder / "gateway.log"
    with Program(prepared.command, log, cwd=folder, variables=variables) as program:
        found = Gateway(program, prepared.port, prepared.admin_port, workers)
        found.wait_serving()
        yield found


def ask(port: int, host: str, cookie: str | None = None) -> tuple[int, bytes, str | None]:
    """One GET on a connection of its own: status, body, and the first cookie it sets."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        fields = {"Host": host, "Connection": "close"}
        if cookie is not None:
            fields["Cookie"] = cookie
        connection.request("GET", "/", headers=fields)
        answer = connection.getresponse()
        set_cookie = answer.getheader("Set-Cookie")
        return answer.status, answer.read(), set_cookie.partition(";")[0] if set_cookie else None
    except (TimeoutError, socket.gaierror, ConnectionError):
        return 0, b"", None
    finally:
        connection.close()
