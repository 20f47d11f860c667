"""Active health checks: a task per instance, a verdict when it changes.

Knows instances as targets to ask; nothing of routes, weights or draining. What a
verdict means for traffic is decided where the snapshot is compiled, so a passing
check can never revive a draining instance.

Invariants:

* a new instance is asked at once, and is unknown (no traffic) until it passes; until
  it has passed once it is asked again sooner than in its interval;
* the first failure of an unknown instance is a verdict, later changes take `rise`
  passes or `fall` failures in a row;
* a question that did not reach an instance changes nothing;
* only changes of the verdict are reported; why the last check failed is kept for people;
* at most `at_once` checks are under way; a check that takes long delays no other
  instance's but by that bound.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gateway.core.model import (
    Check,
    CheckKind,
    Endpoint,
    Health,
    Instance,
    InstanceId,
    InstanceTls,
    Service,
    ServiceId,
)
from gateway.runtime.settings import CheckSettings
from gateway.runtime.tls_contexts import ClientContexts

from .clock import Clock
from .probes import Inside, NotAsked, Probe, Question, Surroundings, probe
from .resolver import Lookup, Resolver, look_up

log = logging.getLogger(__name__)

AT_ONCE = 128
RUNS_S = 1.0
"""How long an instance of which nothing is asked must have run to count as healthy."""
SOON_S = 0.1
"""The first pause of an instance that has not passed yet; doubles up to its interval."""
JITTER = 0.1
"""Intervals differ by this part, so that checks spread out."""


@dataclass(frozen=True, slots=True)
class Target:
    """An instance and how to check it; all defaults resolved, times in seconds."""

    instance: InstanceId
    host: str
    port: int
    kind: CheckKind
    path: str
    authority: str
    interval_s: float
    timeout_s: float
    rise: int
    fall: int
    initial_delay_s: float
    command: tuple[str, ...] = ()
    tls: InstanceTls | None = None


def targets_of(
    service: Service, instances: tuple[Instance, ...], defaults: CheckSettings
) -> tuple[Target, ...]:
    """What to check of a service. Without a check of its own: TCP on its first routed port."""
    check = service.check
    port = check.port if check is not None else None
    if port is None and service.claims:
        port = service.claims[0].port

    def target(i: Instance) -> Target:
        real = i.port if port is None else i.ports.get(port, port)
        return Target(
            instance=i.id,
            host=i.host,
            port=real,
            kind=check.kind if check else CheckKind.TCP,
            path=check.path if check else "/",
            authority=(check.host if check else None) or _authority(i, real),
            interval_s=(check.interval_s if check else None) or defaults.interval,
            timeout_s=(check.timeout_s if check else None) or defaults.timeout,
            rise=(check.rise if check else None) or defaults.rise,
            fall=(check.fall if check else None) or defaults.fall,
            initial_delay_s=_initial_delay_s(check) if check else 0.0,
            command=check.command if check else (),
            tls=i.tls,
        )

    return tuple(map(target, instances))


def _authority(instance: Instance, port: int) -> str:
    """The Host of a check that names none; by https the name that TLS asks for, or both differ."""
    host = instance.host if instance.tls is None else instance.tls.name
    return str(Endpoint(host, port))


def _initial_delay_s(check: Check) -> float:
    least = RUNS_S if check.kind is CheckKind.RUNNING else 0.0
    return max(check.initial_delay_s, least)


@dataclass(slots=True)
class Streak:
    """The results of an instance's checks in a row, and the verdict they make."""

    verdict: Health = Health.UNKNOWN
    length: int = 0
    """How many results in a row spoke against the verdict."""

    def note(self, passed: bool, rise: int, fall: int) -> bool:
        """Take in a result; has it changed the verdict?"""
        says = Health.HEALTHY if passed else Health.UNHEALTHY
        if says is self.verdict:
            self.length = 0
            return False
        self.length += 1
        is_first_failure = self.verdict is Health.UNKNOWN and not passed
        if self.length < (rise if passed else fall) and not is_first_failure:
            return False
        self.verdict, self.length = says, 0
        return True


def nowhere(instance: InstanceId) -> Surroundings | Inside | str:
    """Commands cannot be run here."""
    return "there is nothing here that could run a command"


class HealthChecker:
    """Runs the checks of all watched services.

    `report(instance, verdict, address)` is called when the verdict changes, or when
    the address that a passing check reached does. `surroundings` says what a command
    that checks an instance is run in, or why it is not; `context` whom to believe by
    https, for those that are verified and those that are not (the system's authorities).
    """

    def __init__(
        self,
        report: Callable[[InstanceId, Health, str], None],
        clock: Clock,
        random: Callable[[], float],
        *,
        probe: Probe = probe,
        lookup: Lookup = look_up,
        at_once: int = AT_ONCE,
        surroundings: Callable[[InstanceId], Surroundings | Inside | str] = nowhere,
        context: Callable[[bool], ssl.SSLContext] | None = None,
    ) -> None:
        self._report = report
        self._clock = clock
        self._random = random
        self._probe = probe
        self._resolver = Resolver(clock, lookup)
        self._turns = asyncio.Semaphore(at_once)
        self._surroundings = surroundings
        self._context = context or ClientContexts().get
        self._watched: dict[ServiceId, dict[Target, asyncio.Task[None]]] = {}
        self._why_not: dict[InstanceId, str] = {}

    def why_not(self, instance: InstanceId) -> str | None:
        """Why the last check of an instance failed; None: it passed, or there was none."""
        return self._why_not.get(instance)

    def watch(
        self,
        service: ServiceId,
        targets: tuple[Target, ...],
        known: Mapping[InstanceId, Health],
        addresses: Mapping[InstanceId, str],
    ) -> None:
        """Check exactly these instances of a service from now on; () for none.

        Those watched already go on as they were. `known` and `addresses` are what is
        known of new ones: a healthy instance waits for its turn in the first interval,
        any other is asked at once.
        """
        running = self._watched.get(service, {})
        wanted = set(targets)
        for target in [t for t in running if t not in wanted]:
            running.pop(target).cancel()
            self._why_not.pop(target.instance, None)
            self._resolver.forget(target.host)
        for target in targets:
            if target not in running:
                verdict = known.get(target.instance, Health.UNKNOWN)
                address = addresses.get(target.instance)
                running[target] = asyncio.create_task(
                    self._check_always(target, Streak(verdict), address),
                    name=f"check {target.instance}",
                )
        if running:
            self._watched[service] = running
        else:
            self._watched.pop(service, None)

    async def close(self) -> None:
        """End all checks."""
        tasks = [task for running in self._watched.values() for task in running.values()]
        self._watched.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _check_always(self, target: Target, streak: Streak, address: str | None) -> None:
        if streak.verdict is Health.HEALTHY:
            await self._clock.sleep(target.interval_s * self._random())
        elif streak.verdict is Health.UNKNOWN and target.initial_delay_s:
            await self._clock.sleep(target.initial_delay_s)
        soon_s = SOON_S
        has_passed = streak.verdict is Health.HEALTHY
        while True:
            try:
                reached, why_not = await self._check(target, address)
            except NotAsked as error:
                log.debug("%s was not asked: %s", target.instance, error)
                await self._clock.sleep(target.interval_s)
                continue
            except Exception as error:  # whatever it is, the instance has not passed
                log.exception("the check of %s broke", target.instance)
                reached, why_not = None, f"the check broke: {error}"
            if why_not is None:
                self._why_not.pop(target.instance, None)
            else:
                self._why_not[target.instance] = why_not
            has_changed = streak.note(why_not is None, target.rise, target.fall)
            has_moved = reached is not None and reached != address
            address = reached or address
            if has_changed or has_moved:
                if has_changed:
                    log.info(
                        "%s is %s%s",
                        target.instance,
                        streak.verdict.value,
                        f": {why_not}" if why_not else "",
                    )
                self._report(target.instance, streak.verdict, address or "")
            has_passed = has_passed or streak.verdict is Health.HEALTHY
            interval_s = target.interval_s if has_passed else min(target.interval_s, soon_s)
            soon_s = min(2 * soon_s, target.interval_s)
            await self._clock.sleep(interval_s * (1 - JITTER + 2 * JITTER * self._random()))

    async def _check(self, target: Target, last: str | None) -> tuple[str | None, str | None]:
        """The address that passed, or why none did."""
        if target.kind in (CheckKind.COMMAND, CheckKind.RUNNING):
            return await self._check_beside(target)
        found = await self._resolver.addresses(target.host)
        # The address that worked last goes first, so that two good ones do not alternate.
        candidates = sorted(found, key=lambda a: a != last) if last in found else list(found)
        if not candidates:
            if last is None:
                return None, f"the name {target.host!r} does not resolve"
            candidates = [last]
        why_not: str | None = None
        for address in candidates:
            question = Question(
                target.kind,
                address,
                target.port,
                target.path,
                target.authority,
                target.timeout_s,
                tls=(self._context(target.tls.verify), target.tls.name) if target.tls else None,
            )
            async with self._turns:
                why_not = await self._probe(question)
            if why_not is None:
                return address, None
        return None, why_not

    async def _check_beside(self, target: Target) -> tuple[str | None, str | None]:
        """The same, where it is not the instance's address that is asked."""
        around: Surroundings | Inside = Surroundings()
        if target.kind is CheckKind.COMMAND:
            found = self._surroundings(target.instance)
            if isinstance(found, str):
                return None, found
            around = found
        question = Question(
            target.kind,
            target.host,
            target.port,
            target.path,
            target.authority,
            target.timeout_s,
            target.command,
            around,
        )
        async with self._turns:
            why_not = await self._probe(question)
        return (target.host, None) if why_not is None else (None, why_not)
