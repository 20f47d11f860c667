"""Finishes what `RemoveService` and `RemoveApplication` began, and forgets what has ended.

Level-triggered: it looks at the state, remembers nothing that matters, and so
goes on after a restart (where deadlines begin anew). A service's work has ended
when every worker knows that it is leaving and none has anything open for it. Its
launcher stops its processes then; its application ends with the last of them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from gateway.core.commands import FinishRemoval, ForgetApplication
from gateway.core.errors import Refused
from gateway.core.gone import drop_if_gone, is_ending
from gateway.core.model import Service, ServiceId

from .audit import GATEWAY
from .clock import Clock
from .controller import Controller

log = logging.getLogger(__name__)

POLL_S = 0.2
RETRY_S = 2.0
"""The pause after a refusal, e.g. by a store without room."""


class Remover:
    """The background task. `open_work(service)` is what all workers have open for it."""

    def __init__(
        self, controller: Controller, open_work: Callable[[ServiceId], int], clock: Clock
    ) -> None:
        self._controller = controller
        self._open_work = open_work
        self._clock = clock
        self._has_changed = asyncio.Event()
        self._told: dict[ServiceId, int] = {}
        """The generation that first told the workers that a service is leaving."""
        controller.on_change(self._note)

    async def run(self) -> None:
        """Look whenever the state changes, and again and again while services are leaving."""
        deadlines: dict[ServiceId, float] = {}
        self._note()
        while True:
            self._has_changed.clear()
            leaving = [s for s in self._controller.state.services.values() if s.leaving]
            applications = self._controller.state.applications.values()
            ending = [a.name for a in applications if is_ending(a)]
            deadlines = {s.id: deadlines.get(s.id, self._deadline(s)) for s in leaving}
            if not leaving and not ending:
                await self._has_changed.wait()
                continue
            # All at once, so that the workers are told once: there may be a thousand.
            over = [s.id for s in leaving if self._may_go(s.id, deadlines[s.id])]
            have_gone = await asyncio.gather(*map(self._finish, over))
            have_gone += await asyncio.gather(*map(self._forget, filter(self._has_gone, ending)))
            await self._clock.sleep(POLL_S if all(have_gone) else RETRY_S)

    def _note(self) -> None:
        """Called when what has changed is published."""
        generation = self._controller.snapshot.generation
        leaving = [s.id for s in self._controller.state.services.values() if s.leaving]
        self._told = {sid: self._told.get(sid, generation) for sid in leaving}
        self._has_changed.set()

    def _deadline(self, service: Service) -> float:
        drain = service.drain_s
        if drain is None:
            drain = self._controller.settings.timeouts.drain
        return self._clock.monotonic() + drain

    def _may_go(self, service: ServiceId, deadline: float) -> bool:
        if self._clock.monotonic() >= deadline:
            open_work = self._open_work(service)
            if open_work:
                log.warning("%s is removed with %d requests still open", service, open_work)
            return True
        told = self._told.get(service)
        if told is None or not self._controller.has_applied(told):
            return False
        return not self._open_work(service)

    def _has_gone(self, application: str) -> bool:
        state, observed = self._controller.state, self._controller.observed
        is_known = observed.running is not None
        return is_known and drop_if_gone(state, application, observed) is not state

    async def _finish(self, service: ServiceId) -> bool:
        return await self._execute(FinishRemoval(service), service, "its work has ended")

    async def _forget(self, application: str) -> bool:
        why = "all of it has ended"
        return await self._execute(ForgetApplication(application), application, why)

    async def _execute(
        self, command: FinishRemoval | ForgetApplication, what: str, why: str
    ) -> bool:
        try:
            await self._controller.execute(command, GATEWAY, reason=why)
        except Refused as refusal:
            log.error("%s cannot be removed yet: %s", what, refusal.detail)
            return False
        return True
