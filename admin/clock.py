"""Time as the control process sees it, injected so that no test has to wait."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Wall time for people, monotonic time for intervals; seconds."""

    def time(self) -> float:
        """Seconds since the epoch."""

    def monotonic(self) -> float:
        """Seconds since some moment; never goes back."""

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""


class SystemClock:
    """The machine's clock."""

    def time(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds since some moment; never goes back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""
        await asyncio.sleep(seconds)


async def wait_until(clock: Clock, event: asyncio.Event, due: float | None) -> None:
    """Wait for an event, but not beyond `due` (monotonic); None: as long as it takes."""
    waits: list[asyncio.Future[object]] = [asyncio.ensure_future(event.wait())]
    if due is not None:
        pause_s = max(0.0, due - clock.monotonic())
        waits.append(asyncio.ensure_future(clock.sleep(pause_s)))
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in waits:
            one.cancel()
