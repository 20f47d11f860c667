"""Does anything listen on the ports that containers' labels name?

The health check of a service asks one port. A label for another one, on which nothing
listens, would be found out by clients only. So every routed port of an instance is
connected to, once its check has a verdict; what is wrong is told, nothing else follows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Protocol

from gateway.core.model import Claim, Health, Instance, InstanceId, Service
from gateway.core.observed import Observed, RouteProblem, Trouble
from gateway.runtime.tls_contexts import why

from .labels import is_checked_on
from .picture import Picture

AT_ONCE = 32
CONNECT_S = 2.0

Connect = Callable[[str, int], Awaitable[str | None]]
"""None: somebody listens there; else why not, in words."""


class Seen(Protocol):
    """Where it is known how instances are."""

    @property
    def observed(self) -> Observed:
        """What is known."""


class ClosedPorts:
    """What the last look found. See the module."""

    def __init__(self, seen: Seen, connect: Connect) -> None:
        self._seen = seen
        self._connect = connect
        self._asked: dict[tuple[InstanceId, int], float] = {}
        """Those in doubt, and when they were tried."""
        self._closed: dict[tuple[InstanceId, int], str] = {}

    async def look(self, picture: Picture, now: float, again_s: float) -> bool:
        """Try the ports that are in doubt; has anything changed?

        One that was tried is left alone for `again_s`, whatever happens to others.
        """
        turns = asyncio.Semaphore(AT_ONCE)

        async def ask(instance: Instance, port: int) -> tuple[tuple[InstanceId, int], str | None]:
            async with turns:
                real = instance.ports.get(port, port)
                return (instance.id, port), await self._connect(instance.host, real)

        doubtful = {
            (i.id, p): i
            for service in picture.services
            for i, p in self._doubtful(picture, service)
        }
        asked = {at: t for at, t in self._asked.items() if at in doubtful and now - t < again_s}
        due = [at for at in doubtful if at not in asked]
        self._asked = asked | dict.fromkeys(due, now)
        found = {at: words for at, words in self._closed.items() if at in asked}
        answers = await asyncio.gather(*(ask(doubtful[at], at[1]) for at in due))
        found |= {at: words for at, words in answers if words is not None}
        before, self._closed = self._closed, found
        return before != found

    def problems(self, picture: Picture) -> Iterator[RouteProblem]:
        """What is wrong with routes of instances that are (still) there."""
        for service in picture.services:
            for instance in picture.instances.get(service.id, ()):
                for claim in service.claims:
                    closed = self._closed.get((instance.id, claim.port or 0))
                    if closed is not None:
                        yield _problem(picture, service, instance, claim, closed)

    def _doubtful(self, picture: Picture, service: Service) -> Iterator[tuple[Instance, int]]:
        ports = dict.fromkeys(c.port for c in service.claims if c.port is not None)
        first = next(iter(ports), None)
        for instance in picture.instances.get(service.id, ()):
            health = self._seen.observed.health.get(instance.id, Health.UNKNOWN)
            if health is Health.UNKNOWN or instance.id in picture.retiring:
                continue
            for port in ports:
                is_asked = port == first and is_checked_on(service.check, port)
                if not (is_asked and health is Health.HEALTHY):
                    yield instance, port


def _problem(
    picture: Picture, service: Service, instance: Instance, claim: Claim, closed: str
) -> RouteProblem:
    container = picture.containers[instance.id]
    exposed = ", ".join(map(str, container.exposed)) or "none"
    return RouteProblem(
        claim.route,
        service.id,
        Trouble.PORT_CLOSED,
        f"nothing can be reached on port {claim.port} of the container: {closed}. Its image names "
        f"the ports: {exposed}",
        container.name,
    )


async def connect(host: str, port: int) -> str | None:
    """Open a connection and close it again."""
    try:
        async with asyncio.timeout(CONNECT_S):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return f"no answer within {CONNECT_S:g} s"
    except OSError as error:
        return why(error)
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return None
