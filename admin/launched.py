"""What is known of instances beyond their state: crashes, failing checks, what they wrote.

For people who wait for a release (`api.context.Launched`, `progress.py`). Decides
nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from gateway.core.model import Health, InstanceId, ServiceId

from .clock import Clock
from .controller import Controller
from .health import HealthChecker
from .providers.launching import logs
from .providers.launching.failures import KEPT, Failure
from .providers.launching.progress import Step

CRASH_NEWS_S = 30.0
"""An end younger than this says more than what is wrong with the process that followed."""


class Launcher(Protocol):
    """Who starts instances, as far as people want to know of it."""

    @property
    def log_folder(self) -> Path:
        """Where the output of all its instances is."""

    def failures(self, service: ServiceId) -> Sequence[Failure]:
        """What went wrong lately, newest first."""

    def last_output(self, instance: InstanceId) -> tuple[str, ...]:
        """The last lines that a running instance wrote; () for those of others."""

    def steps(self, service: ServiceId) -> tuple[Step, ...]:
        """How far each instance of a service is; () for those of others."""


class Launched:
    """See the module."""

    def __init__(
        self,
        controller: Controller,
        launchers: Sequence[Launcher],
        checker: HealthChecker,
        clock: Clock,
    ) -> None:
        self._controller = controller
        self._launchers = launchers
        self._checker = checker
        self._clock = clock

    def failures(self, service: ServiceId) -> tuple[Failure, ...]:
        """What went wrong lately and what is wrong now, what says most first, at most 5."""
        ended = tuple(f for launcher in self._launchers for f in launcher.failures(service))
        ailing = tuple(self._ailing(service))
        is_crashing = bool(ended) and ended[0].time > self._clock.time() - CRASH_NEWS_S
        return ((*ended, *ailing) if is_crashing else (*ailing, *ended))[:KEPT]

    def steps(self, service: ServiceId) -> tuple[Step, ...]:
        """How far each instance of a service is; () where nobody tells."""
        return tuple(step for launcher in self._launchers for step in launcher.steps(service))

    def why_not(self, instance: InstanceId) -> str | None:
        """Why its last check failed, or its provider does not call it healthy; None: neither."""
        found = self._checker.why_not(instance)
        return found or self._controller.observed.ailing.get(instance)

    def read_logs(
        self, application: str, service: str | None, lines: int, after: str | None
    ) -> logs.LogPage:
        """See `providers.launching.logs.read_logs`."""
        roots = [launcher.log_folder for launcher in self._launchers]
        return logs.read_logs(roots, application, service, lines, after)

    def _ailing(self, service: ServiceId) -> Iterator[Failure]:
        """Instances that run and do not pass their check."""
        observed, now = self._controller.observed, self._clock.time()
        for instance in observed.instances.get(service, ()):
            why_not = self.why_not(instance.id)
            if observed.health_of(instance.id) is not Health.HEALTHY and why_not is not None:
                found = (launcher.last_output(instance.id) for launcher in self._launchers)
                output = next((lines for lines in found if lines), ())
                yield Failure(instance.id, f"does not pass its check: {why_not}", now, output)
