"""Drives releases on: what follows from what is observed, and from the time.

Level-triggered: it looks at desired and observed state and asks the controller
for the next step; `gateway.core.releasing` looks again and decides. It remembers
nothing that matters, so a release goes on after any restart where it was. Only
the clean time of a smooth confirmation begins anew then.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from gateway.core.commands import (
    AdvanceRelease,
    ConfirmRelease,
    EndSmooth,
    RollbackRelease,
)
from gateway.core.errors import Code, Refused
from gateway.core.model import ServiceId
from gateway.core.phases import Event
from gateway.core.readiness import is_ready
from gateway.core.release import Colour, ConfirmMode, Phase, Release, Strategy
from gateway.core.releasing import has_happened

from .audit import GATEWAY
from .clock import Clock, wait_until
from .controller import Controller
from .deadlines import Deadlines
from .progress import Failures, setback

log = logging.getLogger(__name__)

CLEAN_S = 5.0
"""How long the new services must show no error before a smooth confirmation."""
SMOOTH_MOST_S = 60.0
"""A smooth confirmation that found no such time by then is given up."""
RESTART_GRACE_S = 30.0
"""After a restart a release whose deadline has passed gets so much time again (at most its own):
nobody looked at its services meanwhile, and they may have been stopped too."""
POLL_S = 0.25
RETRY_S = 2.0
"""The pause after a refusal, e.g. by a store without room."""

ReleaseStep = AdvanceRelease | ConfirmRelease | EndSmooth | RollbackRelease


@dataclass(slots=True)
class _Clean:
    """How long a release has shown no error."""

    asked: float
    """When the smooth confirmation was asked for; another one begins anew."""
    since: float
    errors: int
    is_moved: bool
    """Every worker has followed the move; what is published later moves nothing of it."""


class ReleaseDriver:
    """The background task. `errors(service)` grows with every failed request of a service."""

    def __init__(
        self,
        controller: Controller,
        errors: Callable[[ServiceId], int],
        failures: Failures,
        clock: Clock,
    ) -> None:
        self._controller = controller
        self._errors = errors
        self._failures = failures
        self._clock = clock
        self._began = clock.time()
        self._grace_from = clock.monotonic()
        self._deadlines = Deadlines(clock)
        self._has_changed = asyncio.Event()
        self._clean: dict[str, _Clean] = {}
        self._not_before: dict[str, float] = {}
        controller.on_change(self._has_changed.set)
        controller.on_observed(self._has_changed.set)

    async def run(self) -> None:
        """Look whenever something changes, and again while time itself may change something."""
        while True:
            self._has_changed.clear()
            flying = self._flying()
            for release in flying:
                if (step := self._next(release)) is not None:
                    await self._take(release, step)
            ids = {r.id for r in flying}
            asked = {r.id: r.smooth.since for r in flying if r.smooth is not None}
            self._clean = {id: c for id, c in self._clean.items() if asked.get(id) == c.asked}
            self._not_before = {id: t for id, t in self._not_before.items() if id in ids}
            self._deadlines.keep([*ids, *asked.items()])
            if not flying:
                await self._has_changed.wait()
                continue
            await wait_until(self._clock, self._has_changed, self._clock.monotonic() + POLL_S)

    def _flying(self) -> list[Release]:
        state = self._controller.state
        return [
            state.releases[a.release] for a in state.applications.values() if a.release is not None
        ]

    def _next(self, release: Release) -> ReleaseStep | None:
        """What is to be done with a release now."""
        if self._not_before.get(release.id, 0.0) > self._clock.monotonic():
            return None
        match release.phase:
            case Phase.RELEASING:
                is_first = release.previous is None
                event = Event.DEPLOYED if is_first else Event.HEALTHY
                healthy = self._observed(release, event, lambda: "all new instances are healthy")
                length_s = release.deadline - release.created
                is_late = self._deadlines.has_passed(release.id, release.created, length_s)
                if healthy is not None or not is_late or self._is_in_grace(length_s, release):
                    return healthy
                return self._observed(
                    release,
                    Event.EXPIRED,
                    lambda: self._why_expired(release),
                    release.deadline,
                )
            case Phase.PENDING_CONFIRMATION if release.smooth is not None:
                return self._smooth(release)
            case Phase.PENDING_CONFIRMATION if release.strategy is Strategy.STANDARD:
                if not is_ready(self._controller.state, self._controller.observed, release):
                    return None  # asking would only be refused, again and again
                return ConfirmRelease(
                    release.id, ConfirmMode.SMOOTH, self._clock.time(), GATEWAY.name
                )
            case Phase.CONFIRMING:
                return self._observed(
                    release, Event.OLD_GONE, lambda: "all old services are removed"
                )
            case Phase.ROLLING_BACK:
                return self._observed(
                    release, Event.NEW_GONE, lambda: "all new services are removed"
                )
            case _:
                return None

    def _observed(
        self,
        release: Release,
        event: Event,
        reason: Callable[[], str],
        not_before: float = 0.0,
    ) -> AdvanceRelease | None:
        """The step, if the event has happened. A wall clock that went back is corrected."""
        controller, now = self._controller, max(self._clock.time(), not_before)
        if not has_happened(controller.state, controller.observed, release, event, now):
            return None
        return AdvanceRelease(release.id, event, now, GATEWAY.name, reason())

    def _is_in_grace(self, length_s: float, release: Release) -> bool:
        """Was it begun by an earlier control process, and is this one still new?"""
        grace_s = min(RESTART_GRACE_S, length_s)
        is_new = self._clock.monotonic() - self._grace_from < grace_s
        return is_new and release.created < self._began

    def _why_expired(self, release: Release) -> str:
        controller = self._controller
        why = setback(controller.state, controller.observed, release, self._failures)
        length_s = round(release.deadline - release.created, 3)
        return f"not healthy within {length_s:g} s: {why}"

    def _smooth(self, release: Release) -> ReleaseStep | None:
        assert release.smooth is not None
        now, errors = self._clock.monotonic(), sum(map(self._errors, release.ids(Colour.GREEN)))
        clean = self._clean.get(release.id)
        if clean is not None and clean.asked != release.smooth.since:
            clean = None
        if clean is None or errors > clean.errors or not clean.is_moved:
            is_moved = (clean is not None and clean.is_moved) or self._controller.is_applied
            asked = release.smooth.since
            self._clean[release.id] = clean = _Clean(asked, now, errors, is_moved)
        if now - clean.since >= CLEAN_S:
            reason = f"{CLEAN_S:.0f} s without errors on the new services"
            return ConfirmRelease(
                release.id, ConfirmMode.PLAIN, self._clock.time(), release.smooth.by, reason
            )
        asked = release.smooth.since
        if not self._deadlines.has_passed((release.id, asked), asked, SMOOTH_MOST_S):
            return None
        reason = (
            f"the new services had errors all the time, {SMOOTH_MOST_S:.0f} s long: the smooth "
            "confirmation is given up"
        )
        return self._give_up(release, reason)

    def _give_up(self, release: Release, reason: str) -> ReleaseStep:
        now = self._clock.time()
        if release.strategy is Strategy.STANDARD:
            return RollbackRelease(release.id, now, GATEWAY.name, reason)
        return EndSmooth(release.id, now, GATEWAY.name, reason)

    async def _take(self, release: Release, step: ReleaseStep) -> None:
        try:
            outcome = await self._controller.execute(step, GATEWAY, reason=step.reason or None)
        except Refused as refusal:
            log.warning("%s stays %s: %s", release.id, release.phase.value, refusal.detail)
            self._not_before[release.id] = self._clock.monotonic() + RETRY_S
            if refusal.code is Code.STORE_UNAVAILABLE:
                return  # nothing is wrong with the release: the same again
            if isinstance(step, ConfirmRelease) and step.mode is ConfirmMode.PLAIN:
                await self._end_smooth(release, refusal.detail)
            return
        after = outcome.after.releases.get(release.id)
        if after is not None and after.phase is not release.phase:
            log.info("%s is %s: %s", release.id, after.phase.value, step.reason)

    async def _end_smooth(self, release: Release, why: str) -> None:
        """It cannot be confirmed as it stands, e.g. since an operator moved traffic meanwhile."""
        command = EndSmooth(
            release.id, self._clock.time(), GATEWAY.name, f"the smooth confirmation ends: {why}"
        )
        try:
            await self._controller.execute(command, GATEWAY, reason=command.reason)
        except Refused as refusal:
            log.warning("%s: %s", release.id, refusal.detail)
