"""The one writer: commands, reports and settings come in, stored and published state goes out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from admin.audit import Actor, AuditEntry
from gateway.core.commands import Command
from gateway.core.errors import Refused
from gateway.core.observed import Observed
from gateway.core.snapshot import Snapshot
from gateway.core.state import State
from gateway.runtime.settings import Settings


@dataclass(frozen=True, slots=True)
class Applied:
    """How far a generation has come: `workers` of `of` have applied it; the others by name."""

    workers: int
    of: int
    late: tuple[str, ...] = ()
    """`worker 2 (pid 123)`; empty when all have it."""


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """A worker as the supervisor sees it, and the generation it serves."""

    slot: int
    pid: int
    state: str
    """`starting`, `serving`, `draining` or `dead`."""
    restarts: int
    started: float
    generation: int
    """0: it is not connected."""


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
    once per answer); changes go through `execute`.
    """

    state: State
    observed: Observed
    snapshot: Snapshot
    """The last published one."""
    settings: Settings

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
        raise NotImplementedError

    async def refuse(
        self, actor: Actor, action: str, target: str, refused: Refused, reason: str | None = None
    ) -> None:
        """Put a request that was refused before it became a command into the audit trail."""
        raise NotImplementedError

    async def audit(self, limit: int = 100, after: int | None = None) -> Sequence[AuditEntry]:
        """The audit trail, newest first; `after` is the id of the last entry already seen."""
        raise NotImplementedError

    @property
    def workers(self) -> tuple[WorkerStatus, ...]:
        """All workers of the roster."""
        raise NotImplementedError

    @property
    def ready(self) -> bool:
        """At least one worker serves a snapshot and the gateway is not being stopped."""
        raise NotImplementedError

    @property
    def apply_lag_s(self) -> float:
        """How long the last published generation took to reach every serving worker."""
        raise NotImplementedError
