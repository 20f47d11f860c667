"""The one writer: commands and reports come in, stored and published state goes out.

Everything goes through one inbox and is taken from it by one task, in order.
What waits together is taken together: each command is decided and stored on its
own (so each has its revision and its audit entry), the snapshot is compiled and
published once for all of them. What a data plane would not notice is not
published.

Level-triggered: a snapshot is a projection of stored and observed state, so a
crash between any two steps is repaired by starting again. The order of the
steps makes that safe: stored, then published, then answered.

Knows nothing of HTTP, sockets and processes.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from gateway.core.commands import AddAffinityKey, Command
from gateway.core.decide import Decided, decide
from gateway.core.errors import Code, Refused
from gateway.core.model import AffinityKey, Health, InstanceId
from gateway.core.observed import Observed
from gateway.core.snapshot import EMPTY, Delta, Snapshot, diff
from gateway.core.state import State, changes
from gateway.runtime.messages import WorkerState
from gateway.runtime.settings import Settings

from .audit import (
    GATEWAY,
    Actor,
    AuditEntry,
    action_of,
    done,
    is_noted,
    refused,
    target_of,
)
from .clock import Clock
from .inbox import Ask, Done, Inbox, Mail
from .observing import EjectionReport, HealthReport, LaunchReport, ProviderReport, Source
from .projection import Checks, Projection
from .publisher import Applied, Publisher, WorkerStatus
from .store.base import StaleRevision, Store, StoreUnavailable

__all__ = ["Applied", "Controller", "Outcome", "WorkerStatus"]

log = logging.getLogger(__name__)

FIRST_VERDICTS_S = 3.0
"""How long a start waits for checks when nobody recalls which instances are healthy."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a command. `generation` is the one that carries it."""

    before: State
    after: State
    generation: int
    applied: Applied
    warnings: tuple[str, ...] = ()


class Controller:
    """Holds the desired and the observed state; the only one who changes them.

    Reading attributes is always allowed (each is one immutable value, read it
    once per answer); changes go through `execute` and the `report_` methods.
    """

    state: State
    snapshot: Snapshot
    """The last published one."""
    settings: Settings

    def __init__(
        self,
        store: Store,
        publisher: Publisher,
        settings: Settings,
        clock: Clock,
        checks: Checks,
    ) -> None:
        self.state = State()
        self.snapshot = EMPTY
        self.settings = settings
        self.is_stopping = False
        self._store = store
        self._publisher = publisher
        self._clock = clock
        self._projection = Projection(settings, checks)
        self._inbox = Inbox(clock)
        self._generation = 0
        self._watchers: list[Callable[[], None]] = []
        self._observers: list[Callable[[], None]] = []

    # --- starting and running -----------------------------------------------------------

    async def start(self, floor: int = 0, last: Snapshot | None = None) -> None:
        """Read the store, take up where the last control process was, publish.

        What a provider has running is to be reported before, or it is missing at first
        (unless it is expected, see `expect`).
        `floor` is a generation that was seen, `last` the snapshot in the file. Workers
        may serve what cannot be recalled: the instances are checked first then, or
        healthy ones would get no requests. Raises `StoreRefused`, `StoreUnavailable`.
        """
        self.state, meta = await self._store.open()
        self._generation = max(meta.generation, floor, last.generation if last else 0)
        if not self.state.keys:
            await self._make_first_key()
        mail = self._inbox.take(asks_max=0)
        self._projection.begin(self.state, last, mail.launched)
        self._projection.take_reports(self.state, mail.reports, self._clock.monotonic())
        if last is None and floor:
            await self._wait_for_first_verdicts()
        self._publish(self._compile())

    async def run(self) -> None:
        """Take everything from the inbox, for ever."""
        while True:
            await self._inbox.wait(self._projection.next_change)
            await self._take(self._inbox.take())

    # --- what operators do ---------------------------------------------------------------

    async def execute(
        self,
        command: Command,
        actor: Actor,
        *,
        dry_run: bool = False,
        check: Callable[[State], None] | None = None,
        reason: str | None = None,
    ) -> Outcome:
        """Carry out a command and wait until every serving worker has applied it, 5 s at most.

        `check` sees the state the command will be decided on and may raise
        `Refused` (If-Match). Raises `Refused`; nothing has changed then. A dry run
        decides and changes nothing. Refusals go to the audit trail as well.
        """
        if dry_run:
            before = self.state
            decided = self._decide(command, check)
            generation = self.snapshot.generation
            applied = self._publisher.applied(generation)
            return Outcome(before, decided.state, generation, applied, decided.warnings)
        ask = Ask(command, actor, check, reason, asyncio.get_running_loop().create_future())
        self._inbox.ask(ask)
        result = await ask.answer
        warnings = result.warnings
        if result.must_wait:
            applied = await self._publisher.wait_applied(result.generation)
            if self._publisher.file.problem is not None:
                warnings += (self._publisher.file.problem,)
        else:
            applied = self._publisher.applied(result.generation)
        return Outcome(result.before, result.after, result.generation, applied, warnings)

    async def refuse(
        self, actor: Actor, action: str, target: str, refusal: Refused, reason: str | None = None
    ) -> None:
        """Put a request that was refused before it became a command into the audit trail."""
        entry = refused(
            self._clock.time(), actor, action, target, refusal, reason, self.state.revision
        )
        try:
            await self._store.record(entry)
        except StoreUnavailable as error:
            log.error("a refusal is missing in the audit trail: %s", error)

    async def audit(self, limit: int = 100, after: int | None = None) -> Sequence[AuditEntry]:
        """The audit trail, newest first; `after` is the id of the last entry already seen.

        Raises `Refused` when the store cannot be read.
        """
        try:
            return await self._store.audit(limit, after)
        except StoreUnavailable as error:
            raise _unavailable(error) from None

    # --- what others report ----------------------------------------------------------------

    def report_health(self, instance: InstanceId, verdict: Health, address: str = "") -> None:
        """A verdict of the checks, and the address at which they reached the instance."""
        self._inbox.report(HealthReport(instance, verdict, address))

    def report_ejection(self, instance: str, seconds: float, reason: str) -> None:
        """A worker found an instance failing real requests."""
        longest = self.settings.ejection.max_seconds
        if not 0 < seconds <= longest:
            seconds = longest
        log.info("a worker ejected %s for %.0f s: %s", instance, seconds, reason)
        until = self._clock.monotonic() + seconds
        self._inbox.report(EjectionReport(InstanceId(instance), until))

    def expect(self, source: Source) -> None:
        """Say before the start that this provider will report.

        Until it does, what it had running when the last snapshot was published counts.
        """
        self._projection.expect(source)

    def report_launched(self, report: LaunchReport, source: Source = Source.PROCESSES) -> None:
        """What a provider has running, all of it."""
        self._inbox.report_launched(report, source)

    def report_provider(self, name: str, problem: str | None) -> None:
        """Can a provider be asked? None: yes; else why not: what it said last counts."""
        self._inbox.report(ProviderReport(name, problem))

    def configure(self, settings: Settings) -> None:
        """Use these settings from now on."""
        self.settings = settings
        self._projection.configure(self.state, settings)
        self._inbox.wake()

    def on_change(self, watcher: Callable[[], None]) -> None:
        """Call `watcher` after every change of the desired state; it must return at once."""
        self._watchers.append(watcher)

    def on_observed(self, watcher: Callable[[], None]) -> None:
        """Call `watcher` after every change of the observed state; it must return at once."""
        self._observers.append(watcher)

    # --- what others want to know ------------------------------------------------------------

    @property
    def observed(self) -> Observed:
        """Where instances are and how they are."""
        return self._projection.observed

    @property
    def workers(self) -> tuple[WorkerStatus, ...]:
        """All workers of the roster."""
        return self._publisher.workers

    @property
    def ready(self) -> bool:
        """At least one worker serves a snapshot and the gateway is not being stopped."""
        return not self.is_stopping and any(
            w.state is WorkerState.SERVING and w.generation for w in self.workers
        )

    @property
    def apply_lag_s(self) -> float:
        """How long the last publication took to reach all; growing while it has not."""
        return self._publisher.lag_s

    def has_applied(self, generation: int) -> bool:
        """Has every worker that takes requests this generation, or a later one?"""
        return not self._publisher.applied(generation).late

    @property
    def is_applied(self) -> bool:
        """Has every worker that takes requests the last published snapshot?"""
        return not self._publisher.applied(self.snapshot.generation).late

    # --- starting ----------------------------------------------------------------------------

    async def _wait_for_first_verdicts(self) -> None:
        """Until every instance has one, for a bounded time; takes them in."""
        missing = self._projection.unjudged(self.state)
        until = self._clock.monotonic() + FIRST_VERDICTS_S
        while missing and self._clock.monotonic() < until:
            await self._inbox.wait(until)
            missing.difference_update(
                report.instance
                for report in self._inbox.reports
                if isinstance(report, HealthReport)
            )
        if missing:
            log.warning("%d instances have not been checked in time", len(missing))
        self._take_reports(self._inbox.take(asks_max=0))

    # --- what is in the inbox ------------------------------------------------------------------

    async def _take(self, mail: Mail) -> None:
        state, observed = self.state, self.observed
        self._take_reports(mail)
        carried_out = [
            (ask, result) for ask in mail.asks if (result := await self._carry_out(ask)) is not None
        ]
        try:
            has_published = self._publish_if_changed()
        except Exception as broken:
            log.exception("the snapshot could not be compiled; workers keep the last one")
            for ask, _ in carried_out:
                ask.fail(broken)
        else:
            for ask, (before, after, warnings) in carried_out:
                # One that changed nothing repeats another one, which may be on its way still.
                must_wait = has_published or before is after
                generation = self.snapshot.generation
                ask.succeed(Done(before, after, generation, must_wait, warnings))
        if self.state is not state:
            for watcher in self._watchers:
                watcher()
        if self.observed is not observed:
            for watcher in self._observers:
                watcher()

    def _take_reports(self, mail: Mail) -> None:
        if mail.launched:
            self._projection.take_launched(self.state, mail.launched)
        self._projection.take_reports(self.state, mail.reports, self._clock.monotonic())

    async def _carry_out(self, ask: Ask) -> tuple[State, State, tuple[str, ...]] | None:
        """Decide and store one command; None: it was refused, and its asker knows."""
        if ask.answer.done():
            return None  # nobody waits for it any more, and nothing has been done yet
        try:
            before, decided = await self._decide_and_store(ask)
        except Refused as refusal:
            await self.refuse(
                ask.actor,
                action_of(ask.command),
                target_of(ask.command, self.state),
                refusal,
                ask.reason,
            )
            error: Exception = refusal
        except Exception as broken:
            log.exception("%s broke", action_of(ask.command))
            error = broken
        else:
            return before, decided.state, decided.warnings
        ask.fail(error)
        return None

    async def _decide_and_store(self, ask: Ask) -> tuple[State, Decided]:
        try:
            try:
                return await self._try_to_store(ask)
            except StaleRevision:
                # The store moved under us: a save whose answer was lost. It is right, we are not.
                log.warning("the store is at another revision; reading it again")
                self.state = await self._store.load()
                self._projection.take_state(self.state)
                return await self._try_to_store(ask)
        except StoreUnavailable as error:
            raise _unavailable(error) from None
        except StaleRevision as error:
            raise _unavailable(error) from None

    async def _try_to_store(self, ask: Ask) -> tuple[State, Decided]:
        before = self.state
        decided = self._decide(ask.command, ask.check)
        after, difference = decided.state, changes(before, decided.state)
        entry = None
        if is_noted(ask.command, before, after):
            seen = before if difference.is_empty else after
            entry = done(self._clock.time(), ask.actor, ask.command, ask.reason, before, seen)
        if difference.is_empty:
            if entry is not None:
                await self._store.record(entry)
            return before, Decided(before, decided.warnings)
        revision = await self._store.save(before.revision, difference, entry, self._generation + 1)
        self.state = replace(after, revision=revision)
        self._projection.take_state(self.state)
        return before, Decided(self.state, decided.warnings)

    def _decide(self, command: Command, check: Callable[[State], None] | None) -> Decided:
        if check is not None:
            check(self.state)
        return decide(self.state, command, self.observed)

    # --- from state to workers ------------------------------------------------------------------

    def _compile(self) -> Snapshot:
        return self._projection.compile(self.state, self._generation + 1, self._clock.time())

    def _publish(self, snapshot: Snapshot, delta: Delta | None = None) -> None:
        self._generation = snapshot.generation
        self.snapshot = snapshot
        self._publisher.publish(snapshot, delta)

    def _publish_if_changed(self) -> bool:
        compiled = self._compile()
        delta = diff(self.snapshot, compiled)
        if delta.is_empty:
            return False
        self._publish(compiled, delta)
        return True

    async def _make_first_key(self) -> None:
        """The secret that affinity tokens are made with, once in a gateway's life."""
        key = AffinityKey("1", secrets.token_hex(32), self._clock.time())
        command = AddAffinityKey(key, keep_s=0)
        after = decide(self.state, command, self.observed).state
        entry = done(self._clock.time(), GATEWAY, command, "first start", self.state, after)
        revision = await self._store.save(
            self.state.revision, changes(self.state, after), entry, self._generation
        )
        self.state = replace(after, revision=revision)


def _unavailable(error: Exception) -> Refused:
    return Refused(
        Code.STORE_UNAVAILABLE,
        f"nothing was changed, the store is not available: {error}. Traffic goes on as it was; "
        "make room or give access, then try again",
    )
