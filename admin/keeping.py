"""Has the snapshot file follow what is published, and tells how far it has come."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gateway.core.snapshot import Snapshot

from .clock import Clock
from .filing import Filing
from .snapshot_bytes import Differences, SnapshotBytes

log = logging.getLogger(__name__)

RETRY_S = 1.0


class Keeper:
    """The file at `path`. `has_news` is called whenever more is written, or nothing can be."""

    def __init__(
        self,
        session: str,
        path: Path,
        snapshot_bytes: SnapshotBytes,
        differences: Differences,
        clock: Clock,
        has_news: Callable[[], None],
    ) -> None:
        self._path = path
        self._differences = differences
        self._clock = clock
        self._has_news = has_news
        self._filing = Filing(path, session, snapshot_bytes)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="snapshot-file")
        self._latest: Snapshot | None = None
        self._has_latest = asyncio.Event()
        self._filed = 0
        self._renewing: asyncio.Task[None] | None = None
        self.problem: str | None = None
        """Why the file is behind; None: it is not."""

    def put(self, snapshot: Snapshot) -> None:
        """Make this what the file shall hold. Returns at once."""
        self._latest = snapshot
        self._has_latest.set()

    def is_settled(self, generation: int) -> bool:
        """Is it in the file, or (no use in waiting then) can the file not be written?"""
        return self._filed >= generation or self.problem is not None

    async def run(self) -> None:
        """Write what was put, the latest only when they come fast; ends by being cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._has_latest.wait()
            self._has_latest.clear()
            snapshot = self._latest
            if snapshot is None or self._filed >= snapshot.generation:
                continue
            held = self._filing.held
            changed = None if held is None else self._differences.between(held, snapshot).delta
            try:
                await loop.run_in_executor(self._thread, self._filing.put, snapshot, changed)
            except OSError as error:
                self._complain(error)
                await self._clock.sleep(RETRY_S)
                self._has_latest.set()
                continue
            if self.problem is not None:
                log.info("%s is written again", self._path)
            self.problem = None
            self._filed = snapshot.generation
            self._has_news()
            if self._filing.is_long and self._renewing is None:
                self._renewing = asyncio.create_task(self._renew())
                self._renewing.add_done_callback(self._on_renewed)

    async def close(self) -> None:
        """End what is under way."""
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.gather(self._renewing, return_exceptions=True)
        self._thread.shutdown()
        self._filing.close()

    def _complain(self, error: OSError) -> None:
        problem = f"{self._path} cannot be written: {error.strerror or error}"
        if problem != self.problem:
            log.error("%s; workers that start now would start with older routes", problem)
        self.problem = problem
        self._has_news()

    async def _renew(self) -> None:
        """Make a short file of a long one; what is published meanwhile does not wait for it."""
        try:
            prepared = await asyncio.to_thread(self._filing.prepare)
            if prepared is not None:
                loop = asyncio.get_running_loop()
                await loop.run_in_executor(self._thread, self._filing.replace, prepared)
        except OSError as error:
            log.warning("%s could not be made anew, and grows on: %s", self._path, error)

    def _on_renewed(self, task: asyncio.Task[None]) -> None:
        self._renewing = None
