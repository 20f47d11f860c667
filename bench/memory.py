"""How much memory does a gateway take that has nothing to do, and each connection that is only held?

PSS: a page that several processes share counts for each of them by its part. One worker as it is by
default; clients that were served once and stay, without and with TLS.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from socket import socket

from . import procfs
from .backends import backends
from .certificate import certificate
from .contenders import Row, routed
from .gateway import Gateway
from .heads import browser_heads
from .holders import descriptors, served
from .programs import free_ports
from .results import Figure, Findings, Scope

PLAIN = 10_000
QUICK_PLAIN = 1_000
SECURE = 2_000
QUICK_SECURE = 200
SPARE = 500
"""Descriptors for everything else."""
BEFORE = 200
"""Requests before anything is looked at: what is made once is made."""
SETTLE_S = 1.0
HOST = Row.SECURE.host
MB, KB = 1e6, 1e3


def run(scope: Scope) -> Findings:
    """See the module."""
    plain, secure = (QUICK_PLAIN, QUICK_SECURE) if scope.quick else (PLAIN, SECURE)
    plain = min(plain, descriptors() - secure - SPARE)
    shown = certificate(scope.folder, HOST)
    (port,) = free_ports(1)
    entrypoint = {"listen": f"127.0.0.1:{port}", "tls": shown.setting}
    timeouts = {"client_idle": 600, "drain": 1}
    head = browser_heads(HOST, 1)[0]
    client = shown.client()
    with (
        backends(scope.folder) as behind,
        routed(
            scope.folder, behind, entrypoints={"secure": entrypoint}, timeouts=timeouts
        ) as front,
    ):
        for number in range(BEFORE):
            served(front.port, head).close()
            if number % 10 == 0:
                served(port, head, context=client, host=HOST).close()
        time.sleep(SETTLE_S)
        worker = procfs.proportional_bytes(front.api.serving()[0])
        control = procfs.proportional_bytes(front.control_pid() or 0)
        supervisor = procfs.proportional_bytes(front.pid)
        scope.say(f"{plain:,} plain connections")
        each, held = _growth(front, plain, lambda number: served(front.port, head, number))
        scope.say(f"{secure:,} TLS connections")
        secure_each, more = _growth(
            front, secure, lambda number: served(port, head, number, context=client, host=HOST)
        )
        for sock in (*held, *more):
            sock.close()
    return Findings(
        (
            Figure("idle worker", worker / MB, "MB"),
            Figure("control process", control / MB, "MB"),
            Figure("supervisor", supervisor / MB, "MB"),
            Figure("idle plain connection", each / KB, "kB", note=f"of {plain:,}"),
            Figure("idle TLS connection", secure_each / KB, "kB", note=f"of {secure:,}"),
        )
    )


def _growth(
    front: Gateway, count: int, connect: Callable[[int], socket]
) -> tuple[float, list[socket]]:
    """What each of so many connections adds to the worker's memory, and the connections."""
    worker = front.api.serving()[0]
    before = procfs.proportional_bytes(worker)
    made = [connect(number) for number in range(count)]
    time.sleep(SETTLE_S)
    return (procfs.proportional_bytes(worker) - before) / count, made
