"""A worker's session with the control process: snapshots in, confirmations and reports out.

The control process may be away, come back as another one, or speak nonsense;
the worker serves on with what it has and tries again. What is sent here orders
snapshots: by session and arrival, never by number.

Invariant: `applied` is sent only after the data plane follows the snapshot.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from gateway.core.snapshot import EMPTY, Delta, Snapshot, delta_from_wire, patch

from . import messages
from .link import BrokenLink, Message
from .link_async import AsyncLink
from .messages import T

log = logging.getLogger("gateway.worker")

_T = TypeVar("_T")

RETRY_FIRST_S = 0.05
RETRY_MAX_S = 1.0


class OutOfStep(Exception):  # noqa: N818 - says what happened
    """A delta that does not fit what this worker has: a whole snapshot is needed."""


class ControlSession:
    """Keeps the worker's snapshot current. `run` never returns.

    `apply(snapshot, delta)` makes the data plane follow; it is given the snapshot with
    unchanged parts being the same objects as before, and what made it of the one
    before, where that is known.
    """

    def __init__(
        self, path: str, slot: int, apply: Callable[[Snapshot, Delta | None], None]
    ) -> None:
        self._path = path
        self._slot = slot
        self._apply = apply
        self._link: AsyncLink | None = None
        self._session = ""
        self._is_in_step = False
        """A snapshot was applied since this link was opened."""
        self.snapshot = EMPTY
        self.is_current = asyncio.Event()
        """The control process has sent what it has at least once."""

    def recall(self, session: str, snapshot: Snapshot) -> None:
        """Begin with a snapshot from elsewhere, published in that session."""
        self._session = session
        self._take(snapshot)

    @property
    def place(self) -> tuple[str, int]:
        """Session and generation of what is served."""
        return self._session, self.snapshot.generation

    def report(self, instance: str, seconds: float, reason: str) -> None:
        """Tell of an ejection; while the control process is away it stays this worker's own."""
        if self._link is not None:
            self._link.send(messages.ejection(instance, seconds, reason))

    async def run(self) -> None:
        """Connect, follow, and again."""
        delay_s = RETRY_FIRST_S
        while True:
            self._is_in_step = False
            try:
                await self._follow()
            except OSError:
                pass  # nobody there; the supervisor starts it again
            except BrokenLink as end:
                log.info("the control process is gone: %s", end)
            except OutOfStep as reason:
                log.warning("asking for a whole snapshot: %s", reason)
            except Exception:
                log.exception("a snapshot could not be applied; serving on with the one before")
            if self._is_in_step:
                delay_s = RETRY_FIRST_S
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, RETRY_MAX_S)

    async def _follow(self) -> None:
        self._link = link = await AsyncLink.connect(self._path)
        try:
            generation = self.snapshot.generation
            link.send(messages.hello(self._slot, os.getpid(), generation, self._session))
            while True:
                message = await link.receive()
                if message["t"] == T.SNAPSHOT:
                    self._on_snapshot(link, message)
        finally:
            self._link = None
            link.close()

    def _on_snapshot(self, link: AsyncLink, message: Message) -> None:
        delta = delta_from_wire(message["delta"])
        if delta.base == EMPTY.generation:
            self._take(shared(self.snapshot, patch(EMPTY, delta)))
        else:
            self._verify_fit(delta, message["session"])
            self._take(patch(self.snapshot, delta), delta)
        self._session = message["session"]
        self._is_in_step = True
        self.is_current.set()
        link.send(messages.applied(self.snapshot.generation, self._session))

    def _verify_fit(self, delta: Delta, session: str) -> None:
        """In one session a number stands for one snapshot, wherever it was learnt of."""
        if delta.base != self.snapshot.generation or session != self._session:
            has = self.snapshot.generation
            raise OutOfStep(f"got a delta from {delta.base} to {delta.generation}, have {has}")

    def _take(self, snapshot: Snapshot, delta: Delta | None = None) -> None:
        self._apply(snapshot, delta)
        self.snapshot = snapshot


def shared(old: Snapshot, new: Snapshot) -> Snapshot:
    """`new` with the objects of `old` wherever they are equal.

    A whole snapshot arrives after every reconnect; what the data plane compiled
    from an unchanged route or service, and its place in the schedule, is kept by
    the identity of these objects.
    """
    return replace(
        new,
        routes={k: _same(old.routes.get(k), r) for k, r in new.routes.items()},
        services={k: _same(old.services.get(k), s) for k, s in new.services.items()},
    )


def _same(old: _T | None, new: _T) -> _T:
    return old if old is not None and old == new else new
