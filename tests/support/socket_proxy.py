"""What stands for `wollomatic/socket-proxy` in tests: lets through the calls that its arguments allow, and no
others, which it names on its output. It runs in a container, as a program of its own.

    -allowMETHOD=REGEX   may be given again; the whole path must match
    -allowbindmountfrom=FOLDER,...  and the rest: taken, and without effect

Each connection serves one call, as the calls that become a stream of bytes must.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
import threading
from collections import defaultdict
from urllib.parse import urlsplit

ENGINE = "/var/run/docker.sock"
PORT = 2375


def allowed(arguments: list[str]) -> dict[str, list[str]]:
    """Method to patterns of paths."""
    found = defaultdict(list)
    for text in arguments:
        if (match := re.match(r"-allow([A-Z]+)=(.*)", text)) is not None:
            found[match[1]].append(match[2])
    return found


def serve(client: socket.socket, patterns: dict[str, list[str]]) -> None:
    """One call."""
    with client, socket.socket(socket.AF_UNIX) as engine:
        data = b""
        while b"\r\n\r\n" not in data:
            if not (more := client.recv(65536)):
                return
            data += more
        method, target = data.split(b" ", 2)[:2]
        path = urlsplit(target.decode()).path
        if not any(re.fullmatch(p, path) for p in patterns.get(method.decode(), [])):
            print("refused", method.decode(), path, flush=True)
            client.sendall(
                b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )
            return
        engine.connect(ENGINE)
        line, _, rest = data.partition(b"\r\n")
        if b"\r\nconnection: upgrade" not in data.lower():
            line += b"\r\nConnection: close"
        engine.sendall(line + b"\r\n" + rest)
        threading.Thread(target=relay, args=(client, engine), daemon=True).start()
        relay(engine, client)


def relay(source: socket.socket, sink: socket.socket) -> None:
    """All bytes that come, and their end."""
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def main() -> None:
    """See the module."""
    patterns = allowed(sys.argv[1:])
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    with socket.create_server(("", PORT), backlog=128) as server:
        while True:
            client, _ = server.accept()
            threading.Thread(target=serve, args=(client, patterns), daemon=True).start()


if __name__ == "__main__":
    main()
