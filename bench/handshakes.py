"""Clients that open a connection for each request: by TLS with a full handshake, none is ever resumed, or plain.

Several processes, as one alone is slower at it than what it is to measure. They check the certificate.
"""

from __future__ import annotations

import socket
import ssl
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from .generators import Volley
from .stats import percentile

PROCESSES = 8
GIVE_UP_S = 5.0


def fire(
    pool: ProcessPoolExecutor,
    port: int,
    host: str,
    authority: Path | None,
    head: bytes,
    seconds: float,
) -> Volley:
    """Connections with one request each, which `head` is and which asks for the connection's end.

    `authority`: whom to believe; None: without TLS.
    """
    began = time.monotonic()
    work = [pool.submit(_work, port, host, authority, head, seconds) for _ in range(PROCESSES)]
    results = [one.result() for one in work]
    took_s = [s for waits, _ in results for s in waits]
    bad = sum(count for _, count in results)
    waits_ms = [1e3 * s for s in took_s] or [0.0]
    return Volley(
        len(took_s) + bad,
        time.monotonic() - began,
        bad,
        percentile(waits_ms, 50),
        percentile(waits_ms, 99),
    )


def _work(
    port: int, host: str, authority: Path | None, head: bytes, seconds: float
) -> tuple[list[float], int]:
    """How long each took, and how many failed."""
    context = None if authority is None else _believing(authority)
    waits: list[float] = []
    bad = 0
    until = time.monotonic() + seconds
    while (began := time.monotonic()) < until:
        is_served = (
            served_plain(port, head) if context is None else served(context, port, host, head)
        )
        if is_served:
            waits.append(time.monotonic() - began)
        else:
            bad += 1
    return waits, bad


def _believing(authority: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(authority)
    return context


def served(context: ssl.SSLContext, port: int, host: str, head: bytes) -> bool:
    """Was there a full handshake, and a 200?"""
    try:
        with (
            socket.create_connection(("127.0.0.1", port), GIVE_UP_S) as plain,
            context.wrap_socket(plain, server_hostname=host) as sock,
        ):
            return _is_good(sock, head) and not sock.session_reused
    except OSError:
        return False


def served_plain(port: int, head: bytes) -> bool:
    """Was there a 200, and then the end?"""
    try:
        with socket.create_connection(("127.0.0.1", port), GIVE_UP_S) as sock:
            return _is_good(sock, head)
    except OSError:
        return False


def _is_good(sock: socket.socket, head: bytes) -> bool:
    sock.sendall(head)
    answer = b""
    while data := sock.recv(65536):
        answer += data
    return answer.startswith(b"HTTP/1.1 200 ")
