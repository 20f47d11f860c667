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
THINKS_S = 0.02
"""How long an answer takes: so requests are in flight when it is killed."""
SLOW_S = 3.0
"""The same for `/slow`."""
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


class Server:
    """Answers, after a while, until it is killed."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", int(os.environ["PORT"])), backlog=512)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.heads: dict[socket.socket, bytes] = {}
        self.thoughts: list[tuple[float, socket.socket, bytes]] = []
        """When to answer whom what."""
        say(f"{NAME} listens on {os.environ['PORT']}")

    def serve(self) -> None:
        """Never returns."""
        flood_until = time.monotonic() + FLOOD_S if MODE == "floods" else 0.0
        while True:
            pause = min((t[0] - time.monotonic() for t in self.thoughts), default=None)
            if time.monotonic() < flood_until:
                sys.stdout.write(f"{NAME} floods {'x' * 80}\n" * 400)
                pause = 0.005
            for key, _ in self.selector.select(None if pause is None else max(0.0, pause)):
                if key.fileobj is self.listener:
                    connection, _ = self.listener.accept()
                    self.heads[connection] = b""
                    self.selector.register(connection, selectors.EVENT_READ)
                elif isinstance(key.fileobj, socket.socket):
                    self.hear(key.fileobj)
            now = time.monotonic()
            due = [t for t in self.thoughts if t[0] <= now]
            self.thoughts = [t for t in self.thoughts if t[0] > now]
            for _, connection, head in due:
                self.reply(connection, head)

    def hear(self, connection: socket.socket) -> None:
        """Read, and think about what is complete."""
        try:
            data = connection.recv(65536)
        except OSError:
            data = b""
        head, end, rest = (self.heads[connection] + data).partition(b"\r\n\r\n")
        if not data:
            self.close(connection)
        elif end:
            self.heads[connection] = rest
            is_slow = head.startswith(b"GET /slow ")
            thinks_s = 0.0 if head.startswith(b"GET /health ") else THINKS_S
            due_s = time.monotonic() + (SLOW_S if is_slow else thinks_s)
            self.thoughts.append((due_s, connection, head))
        else:
            self.heads[connection] = head

    def reply(self, connection: socket.socket, head: bytes) -> None:
        """What was thought of, to whoever is there still."""
        text, is_last = answer(head)
        try:
            connection.sendall(text)
        except OSError:
            is_last = True
        if is_last:
            self.close(connection)

    def close(self, connection: socket.socket) -> None:
        """Once."""
        if self.heads.pop(connection, None) is not None:
            self.selector.unregister(connection)
            connection.close()


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
    Server().serve()


if __name__ == "__main__":
    main()
