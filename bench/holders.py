"""Connections that are only held: many clients, each of which was served once or is still to be."""

from __future__ import annotations

import resource
import socket
import ssl

PER_ADDRESS = 5_000
"""An address of 127.0.0.0/8 has not enough ports for all clients of a benchmark."""
GIVE_UP_S = 10.0


def descriptors() -> int:
    """How many files this process may open, now that it asks for as many as it can get."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def connected(port: int, number: int = 0) -> socket.socket:
    """The connection of client `number`."""
    sock = socket.socket()
    sock.settimeout(GIVE_UP_S)
    sock.setsockopt(socket.SOL_IP, socket.IP_BIND_ADDRESS_NO_PORT, 1)
    sock.bind((f"127.0.1.{1 + number // PER_ADDRESS}", 0))
    sock.connect(("127.0.0.1", port))
    return sock


def served(
    port: int,
    head: bytes,
    number: int = 0,
    *,
    context: ssl.SSLContext | None = None,
    host: str = "",
) -> socket.socket:
    """A connection that has had an answer; with TLS if there is a context. Raises `OSError`."""
    sock = connected(port, number)
    if context is not None:
        sock = context.wrap_socket(sock, server_hostname=host)
    sock.sendall(head)
    answer = sock.recv(4096)
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise ConnectionError(f"unexpected answer {answer[:100]!r}")
    return sock
