"""What waits to be taken in by the controller: commands of operators, reports of others.

Putting in never blocks and never fails; one task takes out, in order. Of a
provider's full reports only the last one counts. Knows nothing of what any of it
means.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gateway.core.commands import Command
from gateway.core.state import State

from .audit import Actor
from .clock import Clock, wait_until
from .observing import LaunchReport, Report, Source

BATCH_MAX = 64
"""Commands that are taken out together; the next ones wait for the next time."""


@dataclass(frozen=True, slots=True)
class Done:
    """A command that was carried out and published."""

    before: State
    after: State
    generation: int
    must_wait: bool
    warnings: tuple[str, ...]


@dataclass(slots=True)
class Ask:
    """A command on its way."""

    command: Command
    actor: Actor
    check: Callable[[State], None] | None
    reason: str | None
    answer: asyncio.Future[Done]

    def succeed(self, result: Done) -> None:
        """Tell the asker, if it is still there."""
        if not self.answer.done():
            self.answer.set_result(result)

    def fail(self, error: Exception) -> None:
        """Tell the asker, if it is still there."""
        if not self.answer.done():
            self.answer.set_exception(error)


@dataclass(frozen=True, slots=True)
class Mail:
    """What was taken out at once."""

    asks: list[Ask]
    reports: list[Report]
    launched: Mapping[Source, LaunchReport]
    """Who has reported anew."""


class Inbox:
    """See the module."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._asks: list[Ask] = []
        self._reports: list[Report] = []
        self._launched: dict[Source, LaunchReport] = {}
        self._has_mail = asyncio.Event()

    @property
    def reports(self) -> tuple[Report, ...]:
        """The reports that wait, in order."""
        return tuple(self._reports)

    def ask(self, ask: Ask) -> None:
        """Put a command in."""
        self._asks.append(ask)
        self.wake()

    def report(self, report: Report) -> None:
        """Put in what was observed."""
        self._reports.append(report)
        self.wake()

    def report_launched(self, report: LaunchReport, source: Source) -> None:
        """Put in what a provider has running, in place of what it said before."""
        self._launched[source] = report
        self.wake()

    def wake(self) -> None:
        """Have the one who waits look."""
        self._has_mail.set()

    async def wait(self, due: float | None) -> None:
        """Until there is something, but not longer than to `due` (monotonic)."""
        await wait_until(self._clock, self._has_mail, due)
        self._has_mail.clear()

    def take(self, asks_max: int = BATCH_MAX) -> Mail:
        """Take all out, of commands at most so many."""
        asks, self._asks = self._asks[:asks_max], self._asks[asks_max:]
        reports, self._reports = self._reports, []
        launched, self._launched = self._launched, {}
        if self._asks:
            self.wake()
        return Mail(asks, reports, launched)
