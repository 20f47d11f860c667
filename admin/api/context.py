"""What the API needs beside the controller, as interfaces: figures, clock, a world.

The control process puts the real ones in (`figures.py`); tests may put in values.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from admin.controller import Controller
from gateway.metrics.stats import Report

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


NOTHING_OPEN = OpenWork()


@dataclass(frozen=True, slots=True)
class Work:
    """Open work by service and by instance; absent: nothing is open there."""

    services: Mapping[str, OpenWork] = field(default_factory=dict)
    instances: Mapping[tuple[str, str], OpenWork] = field(default_factory=dict)
    """By service and instance."""


class Figures(Protocol):
    """What the workers count, read by the control process."""

    def work(self) -> Work:
        """What is open now. Workers tell it within `SETTLED_S`."""

    def report(self, window_s: int) -> Report:
        """The traffic of a window of `gateway.metrics.stats.WINDOWS_S`."""

    async def page(self, accept: str) -> tuple[bytes, str]:
        """The metrics page in the format that Accept asks for, and its Content-Type."""


SETTLED_S = 0.25
"""After this, counts of instances show everything that was open before."""


@dataclass(frozen=True, slots=True)
class Context:
    """All a handler may use. `now` is seconds since the epoch, `monotonic` and `sleep` time."""

    controller: Controller
    figures: Figures
    explainer: Explainer = field(default_factory=Explainer)
    now: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
