"""One program after another in the same supervisor: what each of the two has to do.

    Departure   the running program: checks the next one, then becomes it
    Arrival     the next one: its workers get ready, the former ones drain, control is replaced

`upgrade.py` has the mechanics. The supervisor asks each in every pass.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from enum import Enum, auto

import orjson

from . import handover, upgrade
from .children import Post
from .fleet import Fleet
from .handover import Handover
from .messages import WorkerState
from .processes import Processes
from .resources import Resources
from .settings import Settings, to_json

log = logging.getLogger("gateway.supervisor")


class Departure:
    """From USR2 to the moment when another program runs here, or a reason why not."""

    def __init__(
        self,
        check: Sequence[str],
        itself: Sequence[str],
        resources: Resources,
        fleet: Fleet,
        processes: Processes,
    ) -> None:
        self._check_command = check
        self._itself = itself
        self._resources = resources
        self._fleet = fleet
        self._processes = processes
        self._check: upgrade.Check | None = None
        self._settings: handover.Json | None = None

    @property
    def is_due(self) -> bool:
        """The check has passed: call `leave`."""
        return self._settings is not None

    def ask(self, settings: Settings) -> bool:
        """Begin with the check. False if it cannot be begun; while one runs it is enough."""
        if self._check is not None or self.is_due:
            log.info("the next program is being checked already")
            return True
        try:
            offer = self._offer(orjson.loads(to_json(settings)))
            self._check = upgrade.Check(self._check_command, offer, time.monotonic())
        except OSError as error:
            self._refuse([f"the check cannot be started: {error.strerror}"])
            return False
        log.info("checking the program that is to take over, pid %d", self._check.pid)
        return True

    def ask_again(self, settings: Settings) -> None:
        """The configuration has changed: what was found out of it counts no more."""
        if self._check is not None or self.is_due:
            self.give_up()
            self.ask(settings)

    def look(self, now_s: float) -> None:
        """End a check that takes too long."""
        if self._check is not None:
            self._check.look(now_s)

    def has_ended(self, pid: int, code: int) -> bool:
        """A child was reaped: was it the check?"""
        if self._check is None or pid != self._check.pid:
            return False
        check, self._check = self._check, None
        verdict = check.ended(code)
        self._settings = verdict.settings
        if verdict.settings is None:
            self._refuse(verdict.reasons)
        return True

    def leave(self, variables: dict[str, str]) -> None:
        """Become the other program; returns only if that failed. With signals held."""
        settings, self._settings = self._settings, None
        if settings is None:
            return
        log.info("handing over to %s", " ".join(self._itself))
        environ = {**os.environ, **variables}
        self._refuse([upgrade.replace_program(self._itself, environ, self._offer(settings))])

    def give_up(self) -> None:
        """The gateway stops: nobody is to take over."""
        self._settings = None
        if self._check is not None:
            self._check.kill()
            self._check = None

    def _offer(self, settings: handover.Json) -> Handover:
        return Handover(
            format=handover.FORMAT,
            settings=settings,
            resources=self._resources.hand_over(),
            children=self._fleet.hand_over(),
            processes=self._processes.hand_over(),
            generation=self._fleet.generation,
        )

    def _refuse(self, reasons: Sequence[str]) -> None:
        for reason in reasons:
            log.error("not upgraded, nothing is changed: %s", reason)


class Stage(Enum):
    """How far an arrival has come."""

    WORKERS = auto()
    """The former workers serve until all new ones do."""
    CONTROL = auto()
    """The former workers drain; a new control process is on its way."""
    DONE = auto()


class Arrival:
    """The first moments of a program that has taken over.

    `dismiss(post)` has a former worker end, `release()` the former control process.
    """

    def __init__(
        self, fleet: Fleet, dismiss: Callable[[Post], None], release: Callable[[], None]
    ) -> None:
        self._fleet = fleet
        self._dismiss = dismiss
        self._release = release
        self.stage = Stage.WORKERS

    def step(self) -> bool:
        """Do what can be done now; True in the moment when all is done."""
        fleet = self._fleet
        for former in fleet.formers:
            # It has no connections yet, and a newer one is on its way.
            if former.state is WorkerState.STARTING:
                self._dismiss(former)
        if self.stage is Stage.WORKERS and fleet.is_renewed:
            self.stage = Stage.CONTROL
            for former in fleet.formers:
                if former.state is WorkerState.SERVING:
                    self._dismiss(former)
            if fleet.is_former(fleet.control):
                self._release()
        if self.stage is Stage.CONTROL and self._is_control_new:
            self.stage = Stage.DONE
            return True
        return False

    @property
    def _is_control_new(self) -> bool:
        control = self._fleet.control
        return control.state is WorkerState.SERVING and not self._fleet.is_former(control)
