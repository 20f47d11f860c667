"""What is known of instances beyond their state: crashes, failing checks, what they wrote.

For people who wait for a release (`api.context.Launched`, `progress.py`). Decides
nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from gateway.core.model import Health, InstanceId, ServiceId

from .clock import Clock
from .controller import Controller
from .health import HealthChecker
from .providers.launching.failures import KEPT, Failure
from .providers.process import ProcessProvider
from .providers.process.logs import LogPage

CRASH_NEWS_S = 30.0
"""An end younger than this says more than what is wrong with the process that followed."""


class Launched:
    """See the module."""

    def __init__(
        self,
        controller: Controller,
        provider: ProcessProvider,
        checker: HealthChecker,
        clock: Clock,
    ) -> None:
        self._controller = controller
        self._provider = provider
        self._checker = checker
        self._clock = clock

    def failures(self, service: ServiceId) -> tuple[Failure, ...]:
        """What went wrong lately and what is wrong now, what says most first, at most 5."""
        ended, ailing = self._provider.failures(service), tuple(self._ailing(service))
        is_crashing = bool(ended) and ended[0].time > self._clock.time() - CRASH_NEWS_S
        return ((*ended, *ailing) if is_crashing else (*ailing, *ended))[:KEPT]

    def why_not(self, instance: InstanceId) -> str | None:
        """Why its last check failed, or its provider does not call it healthy; None: neither."""
        found = self._checker.why_not(instance)
        return found or self._controller.observed.ailing.get(instance)

    def read_logs(
        self, application: str, service: str | None, lines: int, after: str | None
    ) -> LogPage:
        """See `providers.process.logs.read_logs`."""
        return self._provider.read_logs(application, service, lines, after)

    def _ailing(self, service: ServiceId) -> Iterator[Failure]:
        """Instances that run and do not pass their check."""
        observed, now = self._controller.observed, self._clock.time()
        for instance in observed.instances.get(service, ()):
            why_not = self.why_not(instance.id)
            if observed.health_of(instance.id) is not Health.HEALTHY and why_not is not None:
                output = self._provider.last_output(instance.id)
                yield Failure(instance.id, f"does not pass its check: {why_not}", now, output)
