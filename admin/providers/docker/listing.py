"""The containers of this gateway as the Engine lists them: what runs, and nothing else says so.

Events say that it is time to look, and two things that no list shows: that a container
was told to end by somebody else, and that one has ended which the list shows running for
a moment more. Lists are asked for one after the other, many reasons at once being one.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from dataclasses import replace

from admin.clock import Clock
from gateway.core.model import InstanceId

from .containers import Container, Event, Run
from .discovery import STOPPING_S
from .engine import Engine, EngineError
from .labels import OWNER
from .ownership import Owned, owned

AGAIN_S = 1.0
"""Between questions to an Engine that does not answer or refuses its list."""
CALM_S = 0.05
"""The least time between two lists."""


class Listing:
    """See the module. `changed` is called when it is time to look again."""

    def __init__(
        self, engine: Engine, clock: Clock, owner: str, changed: Callable[[], None]
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._owner = owner
        self.changed = changed
        self.owned: dict[str, Owned] = {}
        """By the container's id."""
        self._dying: dict[str, float] = {}
        """Those that somebody else told to end, and until when that counts if they run on."""
        self._dead: set[str] = set()
        """Those whose end was told."""
        self._asked = self._answered = 0
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._is_stale = True
        self._is_closed = False
        self._next = self._next_stale = 0.0
        engine.on_change(changed)
        engine.on_open(self._note)
        engine.on_event(self._note_event)

    @property
    def is_known(self) -> bool:
        """Has the Engine ever said what runs?"""
        return self._answered > 0

    @property
    def names(self) -> frozenset[str]:
        """Names of all of them, running or not."""
        return frozenset(one.container.name for one in self.owned.values())

    def by_instance(self, instance: InstanceId) -> Owned | None:
        """The container that an instance is; None: it is none of ours."""
        return next((one for one in self.owned.values() if one.instance == instance), None)

    def is_dying(self, one: Owned) -> bool:
        """Was it told to end, by somebody else?"""
        return one.id in self._dying

    @property
    def due(self) -> float:
        """When (monotonic) to ask again."""
        return min(self._next, self._next_stale) if self._is_stale else self._next

    async def refresh(self, again_s: float) -> list[Owned]:
        """Ask for all of them; gives those that are gone. Raises `EngineError`.

        `again_s`: when to ask again though nothing happens.
        """
        self._is_stale = False
        self._asked += 1
        try:
            found = await self._engine.containers(
                include_stopped=True, labels=[f"{OWNER}={self._owner}"]
            )
        except EngineError:
            self._is_stale = True
            self._next_stale = self._clock.monotonic() + AGAIN_S
            raise
        now = self._clock.monotonic()
        self._next, self._next_stale = now + again_s, now + CALM_S
        gone = self._take(found, now)
        self._answered = self._asked
        self._tell_waiting()
        return gone

    async def wait_next(self) -> None:
        """Until there is a list that was asked for after now; or nobody asks any more."""
        if self._is_closed:
            return
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((self._asked + 1, future))
        self._note()
        await future

    def close(self) -> None:
        """Nobody asks any more."""
        self._is_closed = True
        self._tell_waiting()

    def _take(self, found: tuple[Container, ...], now: float) -> list[Owned]:
        ours = (owned(self._as_told(one), self._owner) for one in found)
        before, self.owned = self.owned, {one.id: one for one in ours if one is not None}
        self._dying = {c: t for c, t in self._dying.items() if c in self.owned and t > now}
        self._dead &= self.owned.keys()
        return [one for id, one in before.items() if id not in self.owned]

    def _as_told(self, container: Container) -> Container:
        is_dead = container.id in self._dead and container.run is Run.RUNNING
        return replace(container, run=Run.EXITED) if is_dead else container

    def _tell_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        for number, future in waiting:
            if future.done():
                continue
            if number <= self._answered or self._is_closed:
                future.set_result(None)
            else:
                self._waiting.append((number, future))

    def _note(self) -> None:
        self._is_stale = True
        self.changed()

    def _note_event(self, event: Event) -> None:
        if event.kind == "container" and event.attributes.get(OWNER) != self._owner:
            return
        if event.action == "kill" and event.signal in (signal.SIGTERM, signal.SIGINT):
            self._dying[event.id] = self._clock.monotonic() + STOPPING_S
        elif event.action in ("die", "start"):
            self._dying.pop(event.id, None)
            (self._dead.add if event.action == "die" else self._dead.discard)(event.id)
        self._note()
