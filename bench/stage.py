"""The scene of the benchmarks under load: two services on one route, two workers, many clients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from .backends import Backends, backends
from .clients import Plan
from .gateway import Gateway, gateway
from .heads import browser_heads
from .results import Scope

HOST = "shop.example"
SERVICES = ("shop-v1", "shop-v2")
WORKERS = 2
KEPT = 32
FRESH = 8
PAUSE_S = 0.005
"""The mean pause of a client, so that the machine is busy but not drowned."""
HEADS = 256


@dataclass(frozen=True, slots=True)
class Stage:
    """A gateway with two services on a route, and what stands behind it."""

    gateway: Gateway
    backends: Backends

    def plan(self) -> Plan:
        """32 clients that keep their connection and 8 that open one for each request."""
        return Plan(
            port=self.gateway.port,
            kept=KEPT,
            fresh=FRESH,
            kept_heads=browser_heads(HOST, HEADS),
            fresh_heads=browser_heads(HOST, HEADS, close=True),
            pause_s=PAUSE_S,
        )


@contextmanager
def stage(scope: Scope) -> Iterator[Stage]:
    """Everything running, both services in rotation, all traffic on the first."""
    with backends(scope.folder) as behind, gateway(scope.folder, WORKERS) as front:
        for name, port in zip(SERVICES, behind.ports, strict=True):
            front.api.register(name, HOST, port)
        front.wait_answer(HOST)
        front.wait_calm(0.3)
        yield Stage(front, behind)
