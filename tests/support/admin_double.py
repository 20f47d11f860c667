"""Stands for the admin API: answers as it is told, and notes what it was asked.

    with admin_double() as double:
        double.answer("GET", "/api/v1/routes", {"routes": []})
        double.answers_in_turn("GET", "/api/v1/releases/a-1", first, NO_ANSWER, second)

`NO_ANSWER` closes the connection after the request was read, as a control process
does that is killed.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlsplit

NO_ANSWER = object()


@dataclass(frozen=True)
class Asked:
    """A call."""

    method: str
    path: str
    query: list[tuple[str, str]]
    headers: dict[str, str]
    raw: bytes

    @property
    def body(self) -> Any:
        """The JSON it carried; None without."""
        return json.loads(self.raw) if self.raw else None


@dataclass(frozen=True)
class Problem:
    """A refusal, for `answers_in_turn`."""

    status: int
    value: Any


@dataclass
class Double:
    """`answers` by method and path, the last of several stays; everything asked in `asked`."""

    admin: str = ""
    answers: dict[tuple[str, str], list[Any]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    time: float = field(default_factory=time.time)
    """What its Date fields say; it stands still."""

    def answer(self, method: str, path: str, value: Any, status: int = 200) -> None:
        self.answers[method, path] = [Problem(status, value)]

    def answers_in_turn(self, method: str, path: str, *values: Any) -> None:
        self.answers[method, path] = [
            v if v is NO_ANSWER or isinstance(v, Problem) else Problem(200, v) for v in values
        ]

    @property
    def last(self) -> Asked:
        return self.asked[-1]

    def calls(self, method: str) -> list[Asked]:
        """What was asked with one method."""
        return [asked for asked in self.asked if asked.method == method]

    def next(self, method: str, path: str) -> Any:
        """The answer due now."""
        waiting = self.answers.get((method, path))
        if not waiting:
            return Problem(404, {"detail": "no such thing", "code": "not_found"})
        return waiting.pop(0) if len(waiting) > 1 else waiting[0]


class Handler(BaseHTTPRequestHandler):
    """Serves a `Double`; a class of its own for each."""

    double: ClassVar[Double]

    def answer(self) -> None:
        url = urlsplit(self.path)
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        asked = Asked(self.command, url.path, parse_qsl(url.query), dict(self.headers.items()), raw)
        self.double.asked.append(asked)
        page = dict(asked.query).get("after", "")
        due = self.double.next(self.command, url.path + page)
        if due is NO_ANSWER:
            self.close_connection = True
            return
        data = due.value if isinstance(due.value, bytes) else json.dumps(due.value).encode()
        self.send_response(due.status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_PUT = do_PATCH = do_POST = do_DELETE = answer  # noqa: N815

    def date_time_string(self, timestamp: float | None = None) -> str:
        return formatdate(self.double.time, usegmt=True)

    def log_message(self, format: str, *args: Any) -> None: ...

    def address_string(self) -> str:
        return ""


def handler_of(double: Double) -> type[Handler]:
    """A request handler class for one double."""
    return type("Noting", (Handler,), {"double": double})


@contextmanager
def admin_double() -> Iterator[Double]:
    """A double that listens on loopback; `admin` is its address."""
    double = Double()
    server = HTTPServer(("127.0.0.1", 0), handler_of(double))
    double.admin = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield double
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
