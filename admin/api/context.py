"""What the API needs beside the controller, as interfaces: figures, launcher, clock, a world.

The control process puts the real ones in (`figures.py`); tests may put in values.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from admin.controller import Controller
from gateway.core.model import InstanceId, ServiceId
from gateway.metrics.stats import Report

from .explainer import Explainer


@dataclass(frozen=True, slots=True)
class OpenWork:
    """What is open right now, over all workers."""

    in_flight: int = 0
    websockets: int = 0

    @property
    def is_nothing(self) -> bool:
        """Nothing open at all."""
        return not (self.in_flight or self.websockets)


NOTHING_OPEN = OpenWork()


@dataclass(frozen=True, slots=True)
class Work:
    """Open work by service and by instance; absent: nothing is open there."""

    services: Mapping[str, OpenWork] = field(default_factory=dict)
    instances: Mapping[tuple[str, str], OpenWork] = field(default_factory=dict)
    """By service and instance."""


class Figures(Protocol):
    """What the workers count, read by the control process."""

    def work(self) -> Work:
        """What is open now. Workers tell it within `SETTLED_S`."""

    def report(self, window_s: int) -> Report:
        """The traffic of a window of `gateway.metrics.stats.WINDOWS_S`."""

    async def page(self, accept: str) -> tuple[bytes, str]:
        """The metrics page in the format that Accept asks for, and its Content-Type."""


class Failure(Protocol):
    """What went wrong with an instance. `time` is seconds since the epoch."""

    @property
    def instance(self) -> InstanceId:
        """The instance it happened to; it may be gone."""

    @property
    def what(self) -> str:
        """In words: `ended with exit code 3 after 0.2 s`."""

    @property
    def time(self) -> float:
        """When."""

    @property
    def output(self) -> Sequence[str]:
        """The last lines it wrote."""


class Step(Protocol):
    """How far an instance is on its way to being ready."""

    @property
    def slot(self) -> int:
        """Its number among those of its service, from 0."""

    @property
    def stage(self) -> str:
        """`pulling`, `starting`, `ready`, ..."""

    @property
    def detail(self) -> str:
        """How much of it is done, or what it waits for."""

    @property
    def instance(self) -> InstanceId | None:
        """None: there is none yet."""


class LogPage(Protocol):
    """Lines that instances wrote."""

    @property
    def entries(self) -> Sequence[tuple[str, str, str]]:
        """Service, instance and line, oldest first."""

    @property
    def cursor(self) -> str:
        """What to go on behind."""


class Launched(Protocol):
    """What launchers and checks know about instances beyond what routing needs."""

    def failures(self, service: ServiceId) -> Sequence[Failure]:
        """What went wrong lately, newest first."""

    def steps(self, service: ServiceId) -> Sequence[Step]:
        """How far each instance of a service is; () where nobody starts them."""

    def why_not(self, instance: InstanceId) -> str | None:
        """Why its last check failed; None: it did not."""

    def read_logs(
        self, application: str, service: str | None, lines: int, after: str | None
    ) -> LogPage:
        """The last `lines` lines, or all (so many at most) behind a cursor; oldest first.

        `service` is a short name, None for all. What is unknown has no lines. Is called in
        a thread. Raises `ValueError` for a cursor that is none.
        """


@dataclass(frozen=True, slots=True)
class _NoLines:
    entries: Sequence[tuple[str, str, str]] = ()
    cursor: str = ""


class NothingLaunched:
    """Nobody launches anything here."""

    def failures(self, service: ServiceId) -> Sequence[Failure]:
        """See `Launched`."""
        return ()

    def steps(self, service: ServiceId) -> Sequence[Step]:
        """See `Launched`."""
        return ()

    def why_not(self, instance: InstanceId) -> str | None:
        """See `Launched`."""
        return None

    def read_logs(
        self, application: str, service: str | None, lines: int, after: str | None
    ) -> LogPage:
        """See `Launched`."""
        return _NoLines()


SETTLED_S = 0.25
"""After this, counts of instances show everything that was open before."""


@dataclass(frozen=True, slots=True)
class Context:
    """All a handler may use. `now` is seconds since the epoch, `monotonic` and `sleep` time."""

    controller: Controller
    figures: Figures
    explainer: Explainer = field(default_factory=Explainer)
    launched: Launched = field(default_factory=NothingLaunched)
    now: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
