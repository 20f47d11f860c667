"""What does a TLS connection cost a worker that only holds it?

One worker, for each kind of transport. First clients that were served once and
stay; then such that have sent half of their first message and never come to an
end, until their time is over. Others are served meanwhile.

Memory is what the worker's resident memory grew by, per connection, over the same
number of plain ones before.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

from . import procfs
from .backends import backends
from .certificate import certificate
from .gateway import Gateway, gateway
from .heads import browser_heads
from .holders import connected, descriptors, served
from .programs import free_ports
from .results import Figure, Findings, Scope
from .stage import HOST, SERVICES

CONNECTIONS = 2_000
QUICK_CONNECTIONS = 200
TRANSPORTS = ("aiofastnet", "uvloop")
HANDSHAKE_S = 20.0
QUICK_HANDSHAKE_S = 5.0
SETTLE_S = 1.0
SPARE = 500
"""Descriptors for everything else."""
RECORD_HEAD = bytes.fromhex("1603010200010001fc0303")
"""How a client's first message begins."""


def run(scope: Scope) -> Findings:
    """See the module."""
    count = QUICK_CONNECTIONS if scope.quick else CONNECTIONS
    count = min(count, (descriptors() - SPARE) // 3)
    figures: list[Figure] = []
    for transport in TRANSPORTS:
        figures += _measure(scope, transport, count)
    return Findings(tuple(figures), {"connections": count})


def _measure(scope: Scope, transport: str, count: int) -> list[Figure]:
    folder = scope.folder / transport
    folder.mkdir()
    shown = certificate(folder, HOST)
    context = shown.client()
    (port,) = free_ports(1)
    handshake_s = QUICK_HANDSHAKE_S if scope.quick else HANDSHAKE_S
    settings = {
        "transport": transport,
        "entrypoints": {"secure": {"listen": f"127.0.0.1:{port}", "tls": shown.setting}},
        "timeouts": {
            "lame_duck": 0,
            "drain": 2,
            "client_idle": 600,
            "tls_handshake": handshake_s,
        },
    }
    with backends(folder) as behind, gateway(folder, 1, **settings) as front:
        front.api.register(SERVICES[0], HOST, behind.ports[0])
        front.wait_answer(HOST)
        front.wait_calm(0.3)
        head = browser_heads(HOST, 1)[0]
        for _ in range(20):
            served(port, head, context=context, host=HOST).close()
        scope.say(f"{transport}, {count:,} plain connections")
        plain_each, plain = _growth(front, count, lambda: served(front.port, head))
        scope.say(f"{transport}, {count:,} TLS connections")
        tls_each, held = _growth(
            front, count, lambda: served(port, head, context=context, host=HOST)
        )
        scope.say(f"{transport}, {count:,} handshakes that stall")
        begin = time.monotonic()
        stalled_each, stalled = _growth(front, count, lambda: _stalled(port))
        before = time.monotonic()
        served(port, head, context=context, host=HOST).close()
        meanwhile_s = time.monotonic() - before
        ended = sum(_has_ended(sock, begin + handshake_s + 3) for sock in stalled)
        for sock in (*plain, *held):
            sock.close()
    return [
        Figure(f"{transport}: memory of an idle TLS connection", tls_each / 1024, "kB"),
        Figure(f"{transport}: of a plain one", plain_each / 1024, "kB"),
        Figure(f"{transport}: of one whose handshake stalls", stalled_each / 1024, "kB"),
        Figure(
            f"{transport}: handshake and answer for another, {count:,} stalled ones beside it",
            1e3 * meanwhile_s,
            "ms",
        ),
        Figure(
            f"{transport}: stalled handshakes not ended in {handshake_s:.0f} s",
            count - ended,
            promise=0,
        ),
    ]


def _growth(
    front: Gateway, count: int, connect: Callable[[], socket.socket]
) -> tuple[float, list[socket.socket]]:
    """What each of so many connections adds to the worker's memory, and the connections."""
    worker = front.api.serving()[0]
    before = procfs.resident_bytes(worker)
    made = [connect() for _ in range(count)]
    time.sleep(SETTLE_S)
    return (procfs.resident_bytes(worker) - before) / count, made


def _stalled(port: int) -> socket.socket:
    sock = connected(port)
    sock.sendall(RECORD_HEAD)
    return sock


def _has_ended(sock: socket.socket, until: float) -> bool:
    """Does the gateway end it in time?"""
    sock.settimeout(max(0.01, until - time.monotonic()))
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False
    finally:
        sock.close()
