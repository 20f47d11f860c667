"""A clock that stands still until a test moves it."""

from __future__ import annotations

import asyncio
import heapq


async def settle() -> None:
    """Let every task run until it waits for something outside of the loop."""
    for _ in range(30):
        await asyncio.sleep(0)


class FakeClock:
    """`admin.clock.Clock` for tests."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now
        self.wall_ahead_s = 0.0
        """By how much somebody has set the wall clock forward."""
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0

    def time(self) -> float:
        return self.now + self.wall_ahead_s

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        future = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._sleepers, (self.now + seconds, self._count, future))
        await future

    async def advance(self, seconds: float) -> None:
        """Move on, waking sleepers one after another at their time."""
        end = self.now + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            at, _, future = heapq.heappop(self._sleepers)
            if future.done():
                continue
            self.now = max(self.now, at)
            future.set_result(None)
            await settle()
        self.now = max(self.now, end)
        await settle()
