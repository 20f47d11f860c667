"""The HTTP/1.1 server that the demo's programs share.

A program gives `main` a function from request to reply. What a program behind a
gateway should do, this does: keep connections, and on SIGTERM take no new one,
answer what it was asked, close the idle connections and end.

The port is `--port` or `PORT` of the environment (0: any free one). Each request
is a line on standard output. `?slow=SECONDS` makes any answer late.
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from urllib.parse import parse_qs, urlsplit

BODY_MAX = 1 << 20
SLOW_MAX_S = 60.0
IDLE_S = 120.0
READ_S = 10.0


@dataclass(frozen=True, slots=True)
class Request:
    """What a program is told of a request."""

    instance: str
    """The address of the program: `127.0.0.1:28100`."""
    wants_html: bool
    """A browser asks."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a program answers."""

    text: str
    content_type: str = "text/plain; charset=utf-8"
    status: int = 200


Answer = Callable[[Request], Reply]
Make = Callable[[str], Answer]
"""From a version to what answers. Raises `ValueError` when it cannot work."""


class Server(ThreadingHTTPServer):
    """One thread per connection; `serve` returns after `stop` and the last answer."""

    daemon_threads = False
    request_queue_size = 1024
    timeout = 0

    def __init__(self, address: tuple[str, int], answer: Answer) -> None:
        super().__init__(address, Handler)
        self.answer = answer
        self.instance = f"{address[0]}:{self.server_port}"
        # Readable from `stop` on: whoever waits for a connection or a request waits for it too.
        self.stopped, self._stop = os.pipe()

    def serve(self) -> None:
        """Accept until `stop`, then wait for the threads."""
        poll = select.poll()
        poll.register(self.fileno(), select.POLLIN)
        poll.register(self.stopped, select.POLLIN)
        while not self.is_stopping():
            poll.poll()
            self.handle_request()
        while select.select([self], [], [], 0)[0]:  # closing would reset who waits
            self.handle_request()
        self.server_close()

    def stop(self) -> None:
        """From a signal handler too; again: nothing."""
        os.write(self._stop, b".")

    def is_stopping(self) -> bool:
        """`stop` was called."""
        return bool(select.select([self.stopped], [], [], 0)[0])

    def server_bind(self) -> None:
        """Bind without the look-up of the host's name that the base class makes."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.socket.getsockname()[:2]

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing: a client that went away is no news."""


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Server
    protocol_version = "HTTP/1.1"
    server_version = "demo"
    sys_version = ""
    timeout = READ_S
    wbufsize = -1  # head and body in one segment
    disable_nagle_algorithm = True

    def handle(self) -> None:
        """Answer one request after the other."""
        self.close_connection = False
        while not self.close_connection and self._wait_request():
            self.handle_one_request()

    def _wait_request(self) -> bool:
        """Whether there is another request; on the end of the server only one that is here."""
        if self._has_buffered():
            return True
        poll = select.poll()
        poll.register(self.connection, select.POLLIN)
        poll.register(self.server.stopped, select.POLLIN)
        ready = [number for number, _ in poll.poll(IDLE_S * 1000)]
        return self.connection.fileno() in ready

    def _has_buffered(self) -> bool:
        """What a client sent ahead is in the reader, where no poll sees it."""
        self.connection.setblocking(False)
        try:
            return bool(self.rfile.peek(1))  # type: ignore[attr-defined]
        finally:
            self.connection.settimeout(self.timeout)

    def do_GET(self) -> None:  # noqa: D102 - named by the base class
        began = time.monotonic()
        if not self._read_body():
            return
        slow = parse_qs(urlsplit(self.path).query).get("slow")
        if slow:
            time.sleep(_seconds(slow[-1]))
        wants_html = "text/html" in self.headers.get("Accept", "")
        reply = self.server.answer(Request(self.server.instance, wants_html))
        self._send(reply)
        took_ms = (time.monotonic() - began) * 1000
        line = f"{self.command} {ascii(self.path)[1:-1]} {reply.status} {took_ms:.0f} ms"
        print(line, flush=True)

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815 - the base class's names

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: `do_GET` prints a line."""

    def _read_body(self) -> bool:
        """Read past the body; False when it was refused and the connection ends."""
        status = 0
        try:
            coding = self.headers.get("Transfer-Encoding")
            if coding is None:
                self._skip(int(self.headers.get("Content-Length") or 0))
            elif coding.strip().lower() == "chunked":
                self._skip_chunks()
            else:
                status = 501
        except OverflowError:
            status = 413
        except ValueError:
            status = 400
        if status:
            self.close_connection = True
            self.send_error(status)
        return not status

    def _skip(self, length: int) -> None:
        if length < 0:
            raise ValueError("negative length")
        if length > BODY_MAX:
            raise OverflowError
        if len(self.rfile.read(length)) < length:
            raise ValueError("body ended early")

    def _skip_chunks(self) -> None:
        total = 0
        while size := int(self.rfile.readline(1024).partition(b";")[0], 16):
            total += size
            if total > BODY_MAX:
                raise OverflowError
            self._skip(size + 2)
        while self.rfile.readline(4096) not in (b"\r\n", b"\n", b""):
            pass

    def _send(self, reply: Reply) -> None:
        body = reply.text.encode()
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        if self.server.is_stopping():
            self.send_header("Connection", "close")  # the base class then closes it
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()


def _seconds(text: str) -> float:
    try:
        return min(max(float(text), 0.0), SLOW_MAX_S)
    except ValueError:
        return 0.0


def main(name: str, versions: Sequence[str], make: Make, arguments: Sequence[str] | None) -> int:
    """Serve until SIGTERM or Ctrl-C; 2 when the port or what the program needs is not there."""
    parser = argparse.ArgumentParser(prog=f"python -m gateway.demo.{name}")
    parser.add_argument("--version", choices=versions, default=versions[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument(
        "--port", type=int, default=os.environ.get("PORT", "0"), help="default: PORT, else any"
    )
    options = parser.parse_args(arguments)
    try:
        server = Server((options.host, options.port), make(options.version))
    except (OSError, OverflowError) as error:
        print(f"{options.host}:{options.port}: {error}", file=sys.stderr)
        return 2
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.stop())
    print(f"{name} {options.version} listens on {server.instance}", flush=True)
    server.serve()
    with suppress(OSError):
        print("stopped", flush=True)
    return 0
