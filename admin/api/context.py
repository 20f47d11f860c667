"""What the API needs beside the controller, as interfaces: figures, clock, facts.

The control process puts the real ones in; tests put in values.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from admin.controller import Controller
from gateway.core.model import InstanceId, ServiceId

from .explainer import Explainer


@dataclass(frozen=True, slots=True)
class OpenWork:
    """What is open right now, over all workers."""

    in_flight: int = 0
    websockets: int = 0

    @property
    def is_nothing(self) -> bool:
        """Nothing open at all."""
        return not (self.in_flight or self.websockets)


@dataclass(frozen=True, slots=True)
class Traffic:
    """Figures of a window. Ratios and shares are 0..1, None when nothing happened."""

    requests: int
    rate: float
    """Requests a second."""
    error_ratio: float | None
    """Answers of 500 and above."""
    p50: float | None
    p90: float | None
    p99: float | None
    """Seconds from a request's head to the end of its answer."""
    in_flight: int
    sticky_share: float | None
    """Requests that followed a pin."""


class Figures(Protocol):
    """What the workers count, read by the control process."""

    def open_work(self, service: ServiceId) -> OpenWork:
        """What a service has open."""

    def open_work_of(self, service: ServiceId, instance: InstanceId) -> OpenWork:
        """What one instance has open."""

    def route_traffic(self, route: str, window_s: int) -> Traffic | None:
        """A route's figures; None: nothing was ever counted for it."""

    def service_traffic(self, service: str, window_s: int, route: str = "") -> Traffic | None:
        """A service's figures, on one route or on all of them."""

    def page(self, accept: str) -> tuple[bytes, str]:
        """The metrics page in the format `accept` asks for, and its Content-Type."""


@dataclass(frozen=True, slots=True)
class Context:
    """All a handler may use. `now` is seconds since the epoch, `monotonic` and `sleep` time."""

    controller: Controller
    figures: Figures
    explainer: Explainer = field(default_factory=Explainer)
    now: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
