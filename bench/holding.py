"""What does it cost others when many clients only hold their connections?

One worker, for each kind of transport. First idle ones: each has had an answer and
stays. Then slow heads: each sends a byte of its request now and then and never
comes to an end. Other clients send requests before and meanwhile.

Memory is what the worker's resident memory grew by, per connection; what the kernel
keeps for a socket comes on top for every program. The connections come from
several addresses of 127.0.0.0/8, as one has not enough ports for all of them.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from . import procfs
from .backends import backends
from .clients import Plan
from .gateway import Gateway, gateway
from .heads import browser_heads
from .holders import connected, descriptors, served
from .load import Load
from .results import Figure, Findings, Scope
from .stage import HOST, SERVICES
from .stats import percentile

IDLE = 10_000
QUICK_IDLE = 1_000
SLOW = 1_000
QUICK_SLOW = 200
TRANSPORTS = ("aiofastnet", "uvloop")
CLIENTS = 16
PAUSE_S = 0.01
MEASURE_S = 6.0
QUICK_MEASURE_S = 2.0
DRIP_S = 1.0
"""Each slow head gets a byte that often."""
SETTLE_S = 1.0
SPARE = 500
"""Descriptors for everything else."""


@dataclass(frozen=True, slots=True)
class Found:
    """Of one kind of transport; times in ms."""

    bytes_each: float
    held: int
    before: Sequence[float]
    with_idle: Sequence[float]
    with_slow: Sequence[float]
    failed: int
    ended_408: int


def run(scope: Scope) -> Findings:
    """See the module."""
    idle = min(QUICK_IDLE if scope.quick else IDLE, descriptors() - SPARE)
    slow = min(QUICK_SLOW if scope.quick else SLOW, idle)
    figures: list[Figure] = []
    details: dict[str, object] = {"slow_heads": slow}
    for transport in TRANSPORTS:
        found = _measure(scope, transport, idle, slow)
        calm = f"without them {percentile(found.before, 99):.1f} ms"
        figures += [
            Figure(f"{transport}: idle connections held by one worker", found.held),
            Figure(f"{transport}: memory of each", found.bytes_each / 1024, "kB"),
            Figure(
                f"{transport}: others meanwhile, p99",
                percentile(found.with_idle, 99),
                "ms",
                note=calm,
            ),
            Figure(
                f"{transport}: others while {slow:,} slow heads come, p99",
                percentile(found.with_slow, 99),
                "ms",
                note=calm,
            ),
            Figure(
                f"{transport}: slow heads that were not ended by 408",
                slow - found.ended_408,
                promise=0,
            ),
            Figure(f"{transport}: failed requests of others", found.failed, promise=0),
        ]
        details[f"requests_{transport}"] = {
            "before": len(found.before),
            "with_idle": len(found.with_idle),
            "with_slow": len(found.with_slow),
        }
    return Findings(tuple(figures), details)


def _measure(scope: Scope, transport: str, idle: int, slow: int) -> Found:
    folder = scope.folder / transport
    folder.mkdir()
    measure_s = QUICK_MEASURE_S if scope.quick else MEASURE_S
    timeouts = {"lame_duck": 0, "drain": 2, "client_idle": 600, "client_header": 4 * measure_s / 3}
    with (
        backends(folder) as behind,
        gateway(folder, 1, transport=transport, timeouts=timeouts) as front,
    ):
        front.api.register(SERVICES[0], HOST, behind.ports[0])
        front.wait_answer(HOST)
        front.wait_calm(0.3)
        head = browser_heads(HOST, 1)[0]
        worker = front.api.serving()[0]
        with Load(_plan(front)) as load:
            scope.say(f"{transport}, nobody idle")
            time.sleep(measure_s)
            memory = procfs.resident_bytes(worker)
            scope.say(f"{transport}, {idle:,} idle connections")
            holding = [_used(front.port, number, head) for number in range(idle)]
            held = sum(sock is not None for sock in holding)
            time.sleep(SETTLE_S)
            each = (procfs.resident_bytes(worker) - memory) / max(held, 1)
            since_idle = time.monotonic()
            time.sleep(measure_s)
            until_idle = time.monotonic()
            for sock in holding:
                if sock is not None:
                    sock.close()
            time.sleep(SETTLE_S)
            scope.say(f"{transport}, {slow:,} slow heads")
            attackers = [connected(front.port, number) for number in range(slow)]
            since_slow = time.monotonic()
            while time.monotonic() - since_slow < measure_s:
                for sock in attackers:
                    with suppress(OSError):
                        sock.send(b"X")
                time.sleep(DRIP_S)
            until_slow = time.monotonic()
            ended = sum(_said_408(sock) for sock in attackers)
            records = load.stop()
    spans = [(0.0, since_idle - SETTLE_S), (since_idle, until_idle), (since_slow, until_slow)]
    before, with_idle, with_slow = ([1e3 * s for s in records.seconds(*span)] for span in spans)
    failed = sum(request.has_failed for request in records)
    return Found(each, held, before, with_idle, with_slow, failed, ended)


def _plan(front: Gateway) -> Plan:
    return Plan(
        port=front.port,
        kept=CLIENTS,
        fresh=0,
        kept_heads=browser_heads(HOST, 64),
        fresh_heads=(),
        pause_s=PAUSE_S,
    )


def _used(port: int, number: int, head: bytes) -> socket.socket | None:
    """A connection that has had an answer."""
    try:
        return served(port, head, number)
    except OSError:
        return None


def _said_408(sock: socket.socket) -> bool:
    try:
        return sock.recv(1024).startswith(b"HTTP/1.1 408 ")
    except OSError:
        return False
    finally:
        sock.close()
