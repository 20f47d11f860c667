"""A program for services of tests: quick to start, small, and as bad as it is told to be.

    python -I -S backend.py        # PORT, NAME and MODE come from the environment

Every answer is its name. It imports little, because tests start many of them.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import sys
import time

NAME = os.environ.get("NAME", "backend")
MODE = os.environ.get("MODE", "serves")
THINKS_S = 0.004
"""How long an answer takes: so requests are in flight when it is killed."""
FLOOD_S = 3.0


def say(text: str) -> None:
    """A line on standard error."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def sleep_for_ever() -> None:
    """Wait for a signal that ends us."""
    while True:
        time.sleep(3600)


def answer(head: bytes) -> tuple[bytes, bool]:
    """What to send for a request, and whether the connection ends with it."""
    is_check = head.startswith(b"GET /health ")
    status = b"500 Sick" if is_check and MODE == "is_sick" else b"200 OK"
    body = NAME.encode() + b"\n"
    is_last = b"connection: close" in head.lower()
    fields = b"Content-Length: %d\r\nConnection: %s" % (
        len(body),
        b"close" if is_last else b"keep-alive",
    )
    return b"HTTP/1.1 %s\r\n%s\r\n\r\n%s" % (status, fields, body), is_last


def serve() -> None:
    """Answer for ever."""
    flood_until = time.monotonic() + FLOOD_S if MODE == "floods" else 0.0
    listener = socket.create_server(("127.0.0.1", int(os.environ["PORT"])), backlog=512)
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    heads: dict[socket.socket, bytes] = {}
    say(f"{NAME} listens on {os.environ['PORT']}")
    while True:
        is_flooding = time.monotonic() < flood_until
        if is_flooding:
            sys.stdout.write(f"{NAME} floods {'x' * 80}\n" * 400)
        for key, _ in selector.select(0.005 if is_flooding else None):
            if key.fileobj is listener:
                connection, _ = listener.accept()
                heads[connection] = b""
                selector.register(connection, selectors.EVENT_READ)
                continue
            assert isinstance(key.fileobj, socket.socket)
            if not hear(key.fileobj, heads):
                selector.unregister(key.fileobj)
                del heads[key.fileobj]
                key.fileobj.close()


def hear(connection: socket.socket, heads: dict[socket.socket, bytes]) -> bool:
    """Read, and answer what is complete; False: the connection is over."""
    try:
        data = connection.recv(65536)
        head, end, rest = (heads[connection] + data).partition(b"\r\n\r\n")
        heads[connection] = rest if end else head
        if not end:
            return bool(data)
        if not head.startswith(b"GET /health "):
            time.sleep(THINKS_S)
        text, is_last = answer(head)
        connection.sendall(text)
    except OSError:
        return False
    return not is_last


def main() -> None:
    """Be as `MODE` says."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    if MODE == "exits":
        for number in range(30):
            say(f"{NAME} says {number}")
        say(f"{NAME}: no such table: customers")
        sys.exit(3)
    if MODE == "tells":
        say(f"the password is {os.environ['PASSWORD']}")
        say("\x1b]0;taken\x07\x1b[2J\x1b[31mred\x1b[0m \u202ereversed\r\x08 caf\u00e9")
        sys.stderr.buffer.write(b"no UTF-8: \xff\xfe\n")
        sys.exit(1)
    if MODE == "never_listens":
        say(f"{NAME} thinks")
        sleep_for_ever()
    if MODE == "ignores_term":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    serve()


if __name__ == "__main__":
    main()
