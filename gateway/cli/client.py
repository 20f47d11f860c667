"""A small client of the admin API, over TCP or its Unix socket.

Knows HTTP, addresses and problem answers (RFC 9457), nothing of any resource.
What goes wrong becomes one of two exceptions that end the command with the
exit code of their kind: `Refused` (1), `Unreachable` (3).

A change asked for by `write` happens once even when the control process dies
before it answers: the call is repeated with the same Idempotency-Key.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import stat
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote, urlencode, urlsplit

import click

from gateway.cli.clock import Clock, SystemClock
from gateway.cli.harmless import harmless
from gateway.cli.style import style

DEFAULT_SOCKET = Path("state/admin.sock")
DEFAULT_URL = "http://127.0.0.1:8900"
API = "/api/v1"
TIMEOUT_S = 30.0
ANSWER_MAX = 256 << 20
REPEAT_S = 30.0
"""How long a change is repeated whose answer was lost: longer than a new control process takes."""
REPEAT_PAUSE_S = 0.3
CLOCK_TOLERANCE_S = 2.0
"""The Date field counts whole seconds; less than this is no difference."""


class Refused(click.ClickException):
    """The gateway understood and said no; nothing was changed."""

    exit_code = 1

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        self.status = status
        self.problem = problem
        self.is_repeated = False
        """An earlier call with the same key went unanswered; it may have had its effect."""
        super().__init__(str(problem.get("detail") or problem.get("title") or f"status {status}"))

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the detail and every place the problem names, to standard error."""
        label = style("refused", "red", bold=True)
        code = self.problem.get("code")
        told = harmless(f"{self.message}{f' [{code}]' if code else ''}")
        click.echo(f"{label}: {told}", err=True, file=file)
        for error in self.problem.get("errors") or ():
            if isinstance(error, Mapping):
                place = style(harmless(str(error.get("field", "?"))), bold=True)
                message = harmless(str(error.get("message", "")))
                click.echo(f"  {place}: {message}", err=True, file=file)
        weights = self.problem.get("weights")
        if isinstance(weights, Mapping):
            now = " ".join(f"{name}={weight}" for name, weight in weights.items())
            click.echo(f"  now: {harmless(now)}", err=True, file=file)
        if self.is_repeated:
            click.echo("  an earlier try got no answer; it may have been carried out", err=True)
        if self.status == 401:
            click.echo("  here: --token, GATEWAY_TOKEN or --admin state/admin.sock", err=True)


class Unreachable(click.ClickException):
    """No gateway answered. `is_lost`: the call was sent, so it may have had its effect."""

    exit_code = 3

    def __init__(self, message: str, is_lost: bool = False) -> None:
        super().__init__(message)
        self.is_lost = is_lost

    def show(self, file: IO[Any] | None = None) -> None:
        """Print one line to standard error."""
        label = style("not reachable", "red", bold=True)
        click.echo(f"{label}: {harmless(self.message)}", err=True, file=file)


@dataclass(frozen=True, slots=True)
class Address:
    """Where an admin API listens: a Unix socket, or host and port."""

    socket_path: str | None = None
    host: str = "localhost"
    port: int = 0
    tls: bool = False
    prefix: str = ""

    def __str__(self) -> str:
        if self.socket_path is not None:
            return self.socket_path
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}{self.prefix}"


def addresses(text: str | None) -> tuple[Address, ...]:
    """The addresses to try, in order; `text` is what the user said, if anything.

    Raises `click.BadParameter` for a text that is no address.
    """
    if text is None:
        found = [parse_address(DEFAULT_URL)]
        if _is_socket(DEFAULT_SOCKET):
            found.insert(0, Address(socket_path=str(DEFAULT_SOCKET)))
        return tuple(found)
    return (parse_address(text),)


def parse_address(text: str) -> Address:
    """Read a URL, `host:port`, `unix:PATH` or the path of a socket."""
    if text.startswith("unix:"):
        return Address(socket_path=text.removeprefix("unix:").removeprefix("//"))
    if "://" not in text:
        if "/" in text or text.endswith(".sock") or _is_socket(Path(text)):
            return Address(socket_path=text)
        text = f"http://{text}"
    try:
        url = urlsplit(text)
        host, port = url.hostname, url.port
    except ValueError as error:
        raise _bad(text) from error
    if url.scheme not in ("http", "https") or not host:
        raise _bad(text)
    tls = url.scheme == "https"
    return Address(
        host=host, port=port or (443 if tls else 80), tls=tls, prefix=url.path.rstrip("/")
    )


def path(*parts: str) -> str:
    """An API path of parts, each percent-encoded: `path("routes", "a.b/c")`.

    Raises a usage error for a part that is empty: it would name another resource, or none.
    """
    if not all(parts):
        raise click.UsageError("a name is empty")
    return "/".join((API, *(quote(part, safe="@:-._~") for part in parts)))


@dataclass(frozen=True, slots=True)
class Payload:
    """A body that is sent as it is."""

    content: bytes
    media_type: str


class AdminClient:
    """Calls the first address that accepts a connection."""

    def __init__(
        self, where: Sequence[Address], token: str | None = None, clock: Clock | None = None
    ) -> None:
        self._where = where
        self._token = _usable(token)
        self._clock = clock or SystemClock()
        self._ahead_s = 0.0

    def time(self) -> float:
        """Seconds since the epoch by the gateway's clock, as far as its answers tell."""
        return self._clock.time() + self._ahead_s

    def get(
        self, path: str, query: Iterable[tuple[str, str]] = (), timeout_s: float = TIMEOUT_S
    ) -> dict[str, Any]:
        """The answer's JSON object."""
        return self.call("GET", path, query, timeout_s=timeout_s)

    def items(
        self, path: str, key: str, query: Iterable[tuple[str, str]] = ()
    ) -> Iterator[dict[str, Any]]:
        """All items of a list, page by page."""
        page: list[tuple[str, str]] = []
        while True:
            answer = self.get(path, [*query, *page])
            yield from answer[key]
            after = answer.get("next")
            if after is None:
                return
            page = [("after", str(after))]

    def write(
        self,
        method: str,
        path: str,
        query: Iterable[tuple[str, str]] = (),
        body: object = None,
    ) -> dict[str, Any]:
        """Make a change once; repeated with the same key while its answer is lost.

        Raises as `call` does. A refusal of a repetition says so (`is_repeated`).
        """
        query, key = list(query), uuid.uuid4().hex
        until: float | None = None
        while True:
            try:
                return self.call(method, path, query, body, key=key)
            except Unreachable as failed:
                if until is None and not failed.is_lost:
                    raise
                if until is None:
                    click.echo("no answer; asking again with the same key ...", err=True)
                    until = self._clock.monotonic() + REPEAT_S
                if self._clock.monotonic() >= until:
                    raise Unreachable(
                        f"{failed.message}; whether the change was carried out is not known: "
                        "`gateway status` will say",
                        is_lost=True,
                    ) from None
            except Refused as refused:
                refused.is_repeated = until is not None
                if until is None or refused.status != 503 or self._clock.monotonic() >= until:
                    raise
            self._clock.sleep(REPEAT_PAUSE_S)

    def call(
        self,
        method: str,
        path: str,
        query: Iterable[tuple[str, str]] = (),
        body: object = None,
        timeout_s: float = TIMEOUT_S,
        key: str | None = None,
    ) -> dict[str, Any]:
        """Make one call; the answer's JSON object. `body`: JSON, or a `Payload`.

        Raises `Refused` for a problem answer, `Unreachable` when no gateway answered.
        """
        fields = urlencode(list(query))
        target = f"{path}?{fields}" if fields else path
        payload = body
        if body is not None and not isinstance(body, Payload):
            payload = Payload(json.dumps(body).encode(), "application/json")
        headers = {"Accept": "application/json", "Connection": "close"}
        if isinstance(payload, Payload):
            headers["Content-Type"] = payload.media_type
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        if key is not None:
            headers["Idempotency-Key"] = key
        content = payload.content if isinstance(payload, Payload) else None
        failures = []
        is_lost = False
        for address in self._where:
            connection = _connection(address, timeout_s)
            try:
                connection.connect()
                is_lost = True
                connection.request(method, address.prefix + target, content, headers)
                response = connection.getresponse()
                answer = response.read(ANSWER_MAX)
            except (OSError, http.client.HTTPException) as error:
                failures.append(f"{address} ({_reason(error)})")
                # what answers something else than HTTP has carried nothing out
                is_lost = is_lost and isinstance(error, OSError | http.client.IncompleteRead)
                if isinstance(error, ConnectionRefusedError | FileNotFoundError):
                    continue
                break
            finally:
                connection.close()
            self._look_at_clock(response.getheader("Date"))
            return _value(address, response.status, answer)
        raise Unreachable(
            f"{' and '.join(failures)}; is the gateway running? "
            "--admin or GATEWAY_ADMIN says where",
            is_lost,
        )

    def _look_at_clock(self, date: str | None) -> None:
        try:
            theirs = parsedate_to_datetime(date or "").timestamp()
        except ValueError:
            return
        ahead_s = theirs - self._clock.time()
        self._ahead_s = ahead_s if abs(ahead_s) > CLOCK_TOLERANCE_S else 0.0


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, socket_path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._socket_path = socket_path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._socket_path)


def _connection(address: Address, timeout_s: float) -> http.client.HTTPConnection:
    if address.socket_path is not None:
        return _UnixConnection(address.socket_path, timeout_s)
    kind = http.client.HTTPSConnection if address.tls else http.client.HTTPConnection
    return kind(address.host, address.port, timeout=timeout_s)


class _Answer(dict[str, Any]):
    """A JSON object; a member it lacks says that no gateway like ours made it."""

    def __missing__(self, key: str) -> Any:
        raise Unreachable(
            f"the answer has no {key!r}: is that the admin API of a gateway, of this version?"
        )


def _value(address: Address, status: int, answer: bytes) -> dict[str, Any]:
    value: object = None
    try:
        value = json.loads(answer, object_hook=_Answer) if answer else None
    except (ValueError, RecursionError):
        pass
    if status == 204:
        return {}
    if not isinstance(value, dict) or 300 <= status < 400:
        raise Unreachable(f"{address} answered {status}, not as a gateway's admin API does")
    if status >= 400 and "code" not in value:
        raise Unreachable(
            f"{address} answered {status}, not as a gateway's admin API does; is this the address "
            "of an entrypoint?"
        )
    if status >= 400:
        raise Refused(status, value)
    return value


def _usable(token: str | None) -> str | None:
    """A token as it is sent; a line break around it comes from the file it was read from."""
    bare = (token or "").strip()
    if not (bare.isascii() and bare.isprintable()) or " " in bare:
        raise click.BadParameter(
            "a token has no blanks, control characters or letters beyond ASCII",
            param_hint="'--token' / GATEWAY_TOKEN",
        )
    return bare or None


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not believed: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return "it does not speak TLS; use http:// if that is right"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__


def _is_socket(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def _bad(text: str) -> click.BadParameter:
    return click.BadParameter(
        f"{text!r} is no address: use http://HOST:PORT, HOST:PORT or the path of a Unix socket",
        param_hint="'--admin'",
    )
