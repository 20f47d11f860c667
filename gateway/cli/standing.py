"""Applications and releases as the admin API tells them, read into values.

The commands around releases work with these, not with JSON. What an answer
lacks that it must have ends the command by itself (see `client.py`); what only
some answers have is read leniently.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gateway.core.release import Colour, Phase


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong with an instance, and the last lines it wrote."""

    instance: str
    what: str
    time: str
    output: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Instance:
    """A running copy of a service. `problem`: why its health check fails."""

    id: str
    address: str
    health: str
    state: str
    in_flight: int
    websockets: int
    problem: str | None


@dataclass(frozen=True, slots=True)
class Step:
    """How far an instance is on its way to being ready. `instance` None: there is none yet."""

    slot: int
    stage: str
    detail: str
    instance: str | None


@dataclass(frozen=True, slots=True)
class Service:
    """A service of an application. `colour` None: no release is in flight."""

    id: str
    name: str
    colour: str | None
    scale: int
    ready: int
    leaving: bool
    instances: tuple[Instance, ...]
    failures: tuple[Failure, ...]
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class Route:
    """A route with the weights on it. `held`: new, and open to selectors only."""

    route: str
    weights: Mapping[str, int]
    held: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of a release's timeline."""

    time: str
    phase: str
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Release:
    """A release. `deadline` is seconds since the epoch, None where there is none."""

    id: str
    application: str
    strategy: str
    phase: str
    created: str
    deadline: float | None
    on_deadline: str
    services: tuple[Service, ...]
    routes: tuple[Route, ...]
    warnings: tuple[str, ...]
    waiting_for: str | None
    timeline: tuple[Entry, ...]
    legal: tuple[str, ...]
    is_first: bool
    smooth: bool

    @property
    def is_over(self) -> bool:
        """Nothing follows."""
        return self.phase in (Phase.CONFIRMED, Phase.ROLLED_BACK)

    @property
    def cause(self) -> Entry | None:
        """What of its timeline made it stand where it does."""
        for entry in self.timeline:
            if entry.phase == Phase.ROLLING_BACK:
                return entry
        return self.timeline[-1] if self.timeline else None

    @property
    def reason(self) -> str:
        """Why it stands where it does, as its timeline says; may have several lines, or none."""
        return "" if self.cause is None else self.cause.reason

    def names(self, colour: Colour) -> tuple[str, ...]:
        """Names of the services of one colour."""
        return tuple(s.name for s in self.services if s.colour == colour)

    def colour(self, service: str) -> str | None:
        """The colour of a service by its name or id; None: it is another application's."""
        for known in self.services:
            if service in (known.name, known.id):
                return known.colour
        return None

    def shares(self) -> tuple[float, ...]:
        """Of each route that has both sides: the part of the new services, 0..1."""
        found = []
        for route in self.routes:
            weights = [(self.colour(name), weight) for name, weight in route.weights.items()]
            new = [weight for colour, weight in weights if colour == Colour.GREEN]
            old = [weight for colour, weight in weights if colour == Colour.BLUE]
            if new and old:
                total = sum(new) + sum(old)
                found.append(sum(new) / total if total else 0.0)
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Application:
    """An application. `release`: the one in flight."""

    name: str
    services: tuple[Service, ...]
    routes: tuple[Route, ...]
    release: Release | None
    has_previous: bool
    leaving: bool


def application_of(answer: Mapping[str, Any]) -> Application:
    """An application's answer as a value."""
    release = answer["release"]
    return Application(
        name=answer["name"],
        services=_services(answer["services"]),
        routes=_routes_of_services(answer["services"]),
        release=None if release is None else release_of(release),
        has_previous=bool(answer.get("has_previous")),
        leaving=bool(answer.get("leaving")),
    )


def release_of(answer: Mapping[str, Any]) -> Release:
    """A release's answer, or that of a change of it, as a value."""
    return Release(
        id=answer["id"],
        application=answer["application"],
        strategy=answer["strategy"],
        phase=answer["phase"],
        created=answer["created"],
        deadline=epoch(answer.get("deadline")),
        on_deadline=answer.get("on_deadline") or "rollback",
        services=_services(answer["services"]),
        routes=tuple(
            Route(r["route"], r["weights"], bool(r.get("held"))) for r in answer["routes"]
        ),
        warnings=tuple(answer.get("warnings") or ()),
        waiting_for=answer.get("waiting_for") or None,
        timeline=tuple(
            Entry(e["time"], e["phase"], e["by"], e.get("reason") or "")
            for e in answer.get("timeline") or ()
        ),
        legal=tuple(answer.get("legal") or ()),
        is_first=bool(answer.get("is_first")),
        smooth=bool(answer.get("smooth")),
    )


def epoch(text: str | None) -> float | None:
    """An RFC 3339 time as seconds since the epoch; None for what is none."""
    try:
        return datetime.fromisoformat(text or "").timestamp()
    except ValueError:
        return None


def _services(answers: Iterable[Mapping[str, Any]]) -> tuple[Service, ...]:
    return tuple(
        Service(
            id=s["id"],
            name=s["name"],
            colour=s.get("colour"),
            scale=len(s["instances"]) if s.get("scale") is None else s["scale"],
            ready=s["ready"],
            leaving=bool(s.get("leaving")),
            instances=tuple(_instance(i) for i in s["instances"]),
            failures=tuple(_failure(f) for f in s.get("failures") or ()),
            steps=tuple(_step(one) for one in s.get("steps") or ()),
        )
        for s in answers
    )


def _instance(answer: Mapping[str, Any]) -> Instance:
    return Instance(
        id=answer["id"],
        address=answer["address"],
        health=answer["health"],
        state=answer["state"],
        in_flight=answer.get("in_flight") or 0,
        websockets=answer.get("websockets") or 0,
        problem=answer.get("problem") or None,
    )


def _step(answer: Mapping[str, Any]) -> Step:
    return Step(
        slot=answer["slot"],
        stage=answer["stage"],
        detail=answer.get("detail") or "",
        instance=answer.get("instance"),
    )


def _failure(answer: Mapping[str, Any]) -> Failure:
    return Failure(
        instance=answer["instance"],
        what=answer["what"],
        time=answer.get("time") or "",
        output=tuple(answer.get("output") or ()),
    )


def _routes_of_services(answers: Sequence[Mapping[str, Any]]) -> tuple[Route, ...]:
    """The routes services name, with the weights of the application's own services."""
    found: dict[str, dict[str, int]] = {}
    for service in answers:
        for claim in service.get("routes") or ():
            if claim.get("weight") is not None:
                found.setdefault(claim["route"], {})[service["name"]] = claim["weight"]
    return tuple(Route(route, weights) for route, weights in found.items())
