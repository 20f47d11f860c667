"""A small HTTP/1.1 server that says who it is: `python -m gateway.demo.backend`.

One version of a page (`--kind page`: text for curl, HTML for browsers) or of an
API (`--kind api`: JSON about the request it got). Keep-alive, standard library
only. Port 0 lets the system choose; the first line on standard output is the
port. With `--tied` it ends when its standard input ends, so that it does not
outlive whoever started it.
"""

from __future__ import annotations

import argparse
import html
import json
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from urllib.parse import parse_qs, urlsplit

BODY_MAX = 1 << 20
SLOW_MAX_S = 60.0
COLOURS = ("#3867d6", "#20bf6b", "#f7b731", "#eb3b5a")

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{name}</title>
<meta name="viewport" content="width=device-width">
<style>
body {{ margin: 0; min-height: 100vh; display: grid; place-content: center; text-align: center;
       font: 1.2rem system-ui, sans-serif; color: white; background: {colour} }}
h1 {{ font-size: 5rem; margin: 0 }}
</style></head>
<body><h1>{name}</h1><p>answered by {instance}, visit {visit}</p></body></html>
"""


class Backend(ThreadingHTTPServer):
    """The server of one instance; knows its name and counts its visits."""

    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, name: str, kind: str, address: tuple[str, int]) -> None:
        super().__init__(address, Handler)
        self.name = name
        self.kind = kind
        self.instance = f"{address[0]}:{self.server_port}"
        digits = re.search(r"\d+\Z", name)
        self.colour = COLOURS[(int(digits[0]) - 1 if digits else 0) % len(COLOURS)]
        self._visits = 0
        self._lock = threading.Lock()

    def visit(self) -> int:
        """The number of this visit, from 1."""
        with self._lock:
            self._visits += 1
            return self._visits

    def server_bind(self) -> None:
        """Bind without the look-up of the host's name that the base class makes."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.socket.getsockname()[:2]

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing: a client that went away is no news."""


class Handler(BaseHTTPRequestHandler):
    """Answers `/health`, `/slow?s=SECONDS` and, with who it is, every other path."""

    server: Backend
    protocol_version = "HTTP/1.1"
    server_version = "demo"
    sys_version = ""
    timeout = 120
    wbufsize = -1  # head and body in one segment
    disable_nagle_algorithm = True

    def do_GET(self) -> None:  # noqa: D102 - named by the base class
        if not self._read_body():
            return
        url = urlsplit(self.path)
        if url.path == "/health":
            self._answer("text/plain", "ok\n")
            return
        if url.path == "/slow":
            time.sleep(_seconds(parse_qs(url.query).get("s", ["3"])[-1]))
        visit = self.server.visit()
        if self.server.kind == "api":
            answer = {
                "service": self.server.name,
                "instance": self.server.instance,
                "visit": visit,
                "method": self.command,
                "path": self.path,
                "headers": dict(self.headers.items()),
            }
            self._answer("application/json", json.dumps(answer, indent=2) + "\n")
        elif "text/html" in self.headers.get("Accept", ""):
            page = PAGE.format(
                name=html.escape(self.server.name),
                instance=self.server.instance,
                visit=visit,
                colour=self.server.colour,
            )
            self._answer("text/html; charset=utf-8", page)
        else:
            text = f"{self.server.name} at {self.server.instance}, visit {visit}\n"
            self._answer("text/plain; charset=utf-8", text)

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815 - the base class's names

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the gateway's access log is the one to look at."""

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

    def _answer(self, content_type: str, text: str) -> None:
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _seconds(text: str) -> float:
    try:
        return min(max(float(text), 0.0), SLOW_MAX_S)
    except ValueError:
        return 0.0


def _end_with_input() -> None:
    while os.read(0, 4096):
        pass
    os._exit(0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C; 2 when the port can't be had."""
    parser = argparse.ArgumentParser(prog="python -m gateway.demo.backend", description=__doc__)
    parser.add_argument("--name", required=True, help="what it says it is, e.g. page-v1")
    parser.add_argument("--kind", choices=("page", "api"), default="page")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--tied", action="store_true", help="end when standard input ends")
    options = parser.parse_args(arguments)
    try:
        server = Backend(options.name, options.kind, (options.host, options.port))
    except (OSError, OverflowError) as error:
        print(f"{options.host}:{options.port}: {error}", file=sys.stderr)
        return 2
    if options.tied:
        threading.Thread(target=_end_with_input, daemon=True).start()
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    print(server.server_port, flush=True)
    try:
        server.serve_forever(poll_interval=3600)
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
