"""From the labels of containers to services: what they are called, what they claim.

Pure. The labels of the gateway are those of templates (`core/templates`), read by the
same code. What is wrong with one route is a problem of that route; the container's
other routes stay, and so does the container.

Names: Docker Compose says project and service by labels of its own; `gateway.application`
and `gateway.service` say so instead, or where there is no Compose. A container with
neither is a service of its own, of the application `docker`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from gateway.core.model import Check, CheckKind, Claim, Service, ServiceId
from gateway.core.names import quote
from gateway.core.observed import RouteProblem, Trouble
from gateway.core.spelling import service_name
from gateway.core.templates import labels
from gateway.core.templates.plain import plain
from gateway.core.templates.probes import read_check
from gateway.core.templates.problems import Findings, Problem, is_nearly
from gateway.core.templates.routes import read_routes
from gateway.core.templates.values import boolean

from .containers import Container

OWNER = "gateway.owner"
"""On containers that a gateway started itself: they are not found but known."""
APPLICATION = "gateway.application"
SERVICE = "gateway.service"
COMPOSE_PROJECT = "com.docker.compose.project"
COMPOSE_SERVICE = "com.docker.compose.service"
COMPOSE_ONE_OFF = "com.docker.compose.oneoff"
"""`True` on those of `docker compose run`."""
WITHOUT_COMPOSE = "docker"
"""The application of containers that name none."""

_NAMES = frozenset({APPLICATION, SERVICE, OWNER})
_ROUTING = "routing"
_CHECKING = (
    labels.STICKY,
    labels.PROBE_URL,
    labels.PROBE_CMD,
    labels.PROBE_TIMEOUT,
    labels.PROBE_DELAY,
)
_SHOWN_MAX = 100
"""Characters of what stands in a label that are shown as the name of a route."""


@dataclass(frozen=True, slots=True)
class Described:
    """A container as its labels describe it."""

    container: Container
    service: Service
    problems: tuple[RouteProblem, ...] = ()

    @property
    def is_named(self) -> bool:
        """Can the service be called as it is?"""
        return not any(p.reason is Trouble.INVALID_NAME for p in self.problems)

    @property
    def ports(self) -> tuple[int, ...]:
        """The container ports that are routed, in the order of the labels."""
        return tuple(dict.fromkeys(c.port for c in self.service.claims if c.port is not None))


class Descriptions:
    """What containers say of themselves, read once for as long as they say the same.

    Whoever looks at a thousand containers because of one reads the labels of one.
    """

    def __init__(self) -> None:
        self._domain = ""
        self._known: dict[str, tuple[Container, Described | None]] = {}

    def of(self, containers: Iterable[Container], domain: str) -> list[Described]:
        """Those of the containers that are the gateway's business; all others are forgotten."""
        before = self._known if domain == self._domain else {}
        self._domain, self._known = domain, {}
        for container in containers:
            known = before.get(container.id)
            if known is None or known[0] != container:
                known = container, describe(container, domain)
            self._known[container.id] = known
        return [found for _, found in self._known.values() if found is not None]


def describe(container: Container, domain: str) -> Described | None:
    """What a container says of itself; None: it is none of the gateway's business."""
    if OWNER in container.labels or container.labels.get(COMPOSE_ONE_OFF) == "True":
        return None
    application, name = _names(container.labels, container.name)
    names = [_invalid(APPLICATION, application), _invalid(SERVICE, name)]
    invalid = [message for message in names if message is not None]
    own = {k: v for k, v in container.labels.items() if k not in _NAMES and not _is_void(k, v)}
    if not _is_meant(own):
        return None
    # Who cannot be called so is shown all the same.
    sid = ServiceId(f"{_shown(application)}/{_shown(name)}")
    findings = Findings()
    read = labels.read_labels(plain(own, findings), (), findings)
    sticky = read.single.get(labels.STICKY)
    coexist = read.single.get(labels.COEXIST)
    is_sticky = None if sticky is None else boolean(sticky, findings)
    may_coexist = None if coexist is None else boolean(coexist, findings)
    placed = read_routes(read.ports, domain, is_sticky is not False, findings)
    check = read_check(read, None, (), findings, is_routed=bool(read.ports), is_launched=True)
    claims = [p.claim for p in placed]
    problems = [p for found in findings.problems for p in _of_label(container, sid, claims, found)]
    where = _shown(container.name)
    problems += (
        RouteProblem(route, sid, Trouble.INVALID_NAME, message, where)
        for message in invalid
        for route in dict.fromkeys(c.route for c in claims) or [where]
    )
    service = Service(
        application=application,
        name=name,
        claims=tuple(claims),
        coexist=bool(may_coexist),
        check=check,
    )
    return Described(container, service, tuple(problems))


def together(described: Iterable[Described]) -> list[tuple[Service, tuple[Described, ...]]]:
    """The services that containers make, the oldest first; the newest container's labels count."""
    groups: dict[ServiceId, list[Described]] = {}
    for one in described:
        groups.setdefault(one.service.id, []).append(one)
    made = []
    for group in groups.values():
        group.sort(key=lambda d: (d.container.created, d.container.id))
        made.append((group[-1].service, tuple(group)))
    made.sort(key=lambda m: (m[1][0].container.created, m[0].id))
    return made


def differences(service: Service, group: Iterable[Described]) -> Iterator[RouteProblem]:
    """Routes of older containers that the newest one does not have, or at another port."""
    wanted = {c.route: c for c in service.claims}
    for one in group:
        for claim in one.service.claims:
            other = wanted.get(claim.route)
            if other is None or other.port != claim.port:
                says = "does not" if other is None else f"says port {other.port}"
                yield RouteProblem(
                    claim.route,
                    service.id,
                    Trouble.LABELS_DIFFER,
                    f"the container {one.container.name} says port {claim.port}, and a newer one "
                    f"of {service.id} {says}: the newest counts; recreate the older ones",
                    one.container.name,
                )


def _names(given: Mapping[str, str], container: str) -> tuple[str, str]:
    application = given.get(APPLICATION) or given.get(COMPOSE_PROJECT) or WITHOUT_COMPOSE
    return application, given.get(SERVICE) or given.get(COMPOSE_SERVICE) or container


def _is_void(name: str, value: str) -> bool:
    """Whoever runs a container takes away by it what its image asks for."""
    return not value.strip() and name.startswith(tuple(p + labels.PORT for p in labels.PREFIXES))


def _is_meant(given: Mapping[str, str]) -> bool:
    """Is there a label about routing, or what was probably meant to be one?"""
    strangers: dict[str, str] = {}
    for name, value in given.items():
        prefix = next((p for p in labels.PREFIXES if name.startswith(p)), None)
        if prefix is None:
            strangers[name] = value
        elif is_nearly(name.removeprefix(prefix).partition(".")[0], _ROUTING):
            return True
    findings = Findings()
    labels.read_labels(plain(strangers, findings), (), findings)
    return findings.count > 0


def _of_label(
    container: Container, sid: ServiceId, claims: Sequence[Claim], problem: Problem
) -> Iterator[RouteProblem]:
    """A problem of one label: of the route it names, or of all if it is about all of them."""
    name = str(problem.place[0]) if problem.place else ""
    where = f"{container.name}: {_shown(name)}"
    routes: list[str] = []
    if labels.PORT in name:
        parts = [part.strip() for part in container.labels.get(name, "").split(";")]
        about = [part for part in parts if problem.message.startswith(quote(part))]
        routes = [_shown((about or parts)[0])]
    elif name.endswith((labels.COEXIST, *_CHECKING)):
        routes = [c.route for c in claims]
    for route in routes or [_shown(name)]:
        yield RouteProblem(route, sid, Trouble.INVALID_LABEL, problem.message, where)


def _shown(text: str) -> str:
    shown = text[:_SHOWN_MAX]
    return shown if shown.isprintable() else ascii(shown)


def _invalid(what: str, text: str) -> str | None:
    """Why what stands in a label, or instead of it, cannot be a name."""
    try:
        service_name(text)
    except ValueError as error:
        return f"{quote(text)} cannot be a name here: {error}; give the container the label {what}"
    return None


def is_checked_on(check: Check | None, port: int) -> bool:
    """Does the health check of a service connect to this container port, its first routed one?"""
    if check is None:
        return True
    return check.kind in (CheckKind.TCP, CheckKind.HTTP) and check.port in (None, port)
