"""What is to be seen of an application or a release: as lines, and as something drawn.

A `Picture` has *facts*, one line of text each under a key, for output that goes
on line by line: who shows the next picture prints only what differs. And it can
be drawn as a whole, for a terminal that is painted over, and for a single look.
Nothing here asks the gateway or prints.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.cli.advice import Step, application_steps, next_steps, remaining, situation
from gateway.cli.harmless import harmless, harmless_lines
from gateway.cli.standing import Application, Failure, Release, Route, Service
from gateway.cli.standing import Step as Standing
from gateway.core.release import Colour, Phase

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

ORDER = (Colour.GREEN, Colour.BLUE, Colour.YELLOW, None)
PROBING = "probing"
"""The stage of an instance that runs and has not passed its check yet."""
FEW = 5
"""A service with more instances is folded on a screen that can't hold them all."""
FIXED_LINES = 14
"""About what a picture takes beside its instances."""


@dataclass(frozen=True, slots=True)
class Picture:
    """Facts by key, and how to draw the whole on so many lines (None: as many as it takes)."""

    facts: Mapping[str, str]
    draw: Callable[[int | None], RenderableType]


def picture_of_release(
    release: Release, now: float, gateway: str | None = None, has_timeline: bool = False
) -> Picture:
    """A release. `now`: seconds since the epoch by the gateway's clock.

    `gateway`: how the shell calls this program, to show what to do next; None: not shown.
    """
    services = sorted(release.services, key=lambda s: _rank(s.colour))
    facts = dict(_release_facts(release, services))
    if has_timeline:
        facts.update(_timeline_facts(release))

    def draw(lines: int | None) -> RenderableType:
        return _group(
            _head(release, now),
            _services_table(services, lines, release),
            *(_failure_text(f) for f in _latest(services)),
            _routes_table(release.routes, release),
            _timeline_table(release) if has_timeline else None,
            _steps_table(() if gateway is None else next_steps(release, gateway)),
        )

    return Picture(facts, draw)


def picture_of_application(application: Application, now: float, gateway: str) -> Picture:
    """An application; while a release is in flight, above all that."""
    if application.release is not None:
        return picture_of_release(application.release, now, gateway)
    state = "is being removed" if application.leaving else "no release in flight"
    facts = {"phase": f"{application.name}: {state}"}
    facts.update(_service_facts(application.services, None))
    facts.update(_route_facts(application.routes, None))

    def draw(lines: int | None) -> RenderableType:
        return _group(
            _line((application.name, "bold"), (f"  {state}", "")),
            _services_table(application.services, lines, None),
            *(_failure_text(f) for f in _latest(application.services)),
            _routes_table(application.routes, None),
            _steps_table(application_steps(application, gateway)),
        )

    return Picture(facts, draw)


def picture_of_all(applications: Sequence[Application]) -> Picture:
    """All applications, a line each."""
    rows = [_overview(application) for application in applications]
    facts = {f"application:{row[0]}": "  ".join(filter(None, map(str, row))) for row in rows}

    def draw(lines: int | None) -> RenderableType:
        from gateway.cli.output import table

        if not rows:
            return _line(("no applications yet; see: gateway deploy --help", ""))
        return table(("APPLICATION", ">READY", "RELEASE", "STRATEGY", "PHASE", "WAITING FOR"), rows)

    return Picture(facts, draw)


def phase_words(phase: str) -> str:
    """`pending_confirmation` -> `pending confirmation`."""
    return phase.replace("_", " ")


def short_time(text: str) -> str:
    """`2026-01-31T12:00:00.123Z` -> `2026-01-31 12:00:00Z`; anything else as it is."""
    match = re.fullmatch(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.\d+)?(Z|\+00:00)", text)
    return f"{match[1]} {match[2]}Z" if match else text


def failure_lines(failure: Failure) -> Iterator[str]:
    """What went wrong, then the last lines of output."""
    yield harmless(f"{failure.instance} {failure.what}")
    for line in failure.output:
        yield f"  | {harmless(line)}"


def _release_facts(release: Release, services: Iterable[Service]) -> Iterator[tuple[str, str]]:
    yield "phase", f"{release.id} {phase_words(release.phase)}: {situation(release)}"
    for number, warning in enumerate(release.warnings):
        yield f"warning:{number}", f"warning: {harmless(warning)}"
    yield from _service_facts(services, release)
    yield from _route_facts(release.routes, release)
    if release.waiting_for:
        yield "waiting", f"waiting for: {harmless(release.waiting_for)}"


def _step_line(service: Service, step: Standing) -> str:
    """`web-v2 2/3: pulling, 35 % of 120 MB`."""
    what = f"{step.stage}, {harmless(step.detail)}" if step.detail else step.stage
    which = f" {step.instance}" if step.instance else ""
    problem = next((i.problem for i in service.instances if i.id == step.instance), None)
    why = f": {harmless(problem)}" if problem else ""
    return f"{service.name} {step.slot + 1}/{service.scale}: {what}{which}{why}"


def _service_facts(
    services: Iterable[Service], release: Release | None
) -> Iterator[tuple[str, str]]:
    for service in services:
        colour = f" ({service.colour})" if service.colour else ""
        leaving = ", leaving" if service.leaving else ""
        ready = f"{service.ready} of {service.scale} ready"
        yield f"service:{service.id}", f"{service.name}{colour}: {ready}{leaving}"
        coming = _coming(service, release)
        if service.ready < service.scale:
            for step in service.steps:
                if step.stage != PROBING or step.instance in coming:
                    yield f"step:{service.id}:{step.slot}", _step_line(service, step)
        for i in service.instances:
            if i.id not in coming:
                problem = f": {harmless(i.problem)}" if i.problem else ""
                yield f"instance:{i.id}", f"{i.id} {i.health}, {i.state}{problem}"
        there = {i.id for i in service.instances}
        for f in reversed(service.failures):
            if f.instance not in there:  # what runs has told its problem already
                yield f"failure:{f.instance}:{f.time}", "\n".join(failure_lines(f))


def _coming(service: Service, release: Release | None) -> frozenset[str]:
    """Instances that are just starting: that they do not answer yet is no news."""
    if release is None or release.phase != Phase.RELEASING or service.colour != Colour.GREEN:
        return frozenset()
    return frozenset(s.instance for s in service.steps if s.instance and s.stage == PROBING)


def _route_facts(routes: Iterable[Route], release: Release | None) -> Iterator[tuple[str, str]]:
    for route in routes:
        members = _by_colour(route, release)
        weights = ", ".join(f"{name} {weight}" for name, _, weight in members)
        held = "  (held: only selectors lead there)" if route.held else ""
        yield f"route:{route.route}", f"{route.route}: {weights or 'no services'}{held}"


def _timeline_facts(release: Release) -> Iterator[tuple[str, str]]:
    for number, entry in enumerate(release.timeline):
        why = f": {harmless_lines(entry.reason)}" if entry.reason else ""
        what = f"{short_time(entry.time)} {phase_words(entry.phase)} by {harmless(entry.by)}{why}"
        yield f"entry:{number}", what


def _overview(application: Application) -> tuple[object, ...]:
    release = application.release
    services = application.services
    ready = f"{sum(s.ready for s in services)}/{sum(s.scale for s in services)}"
    if release is None:
        phase = "leaving" if application.leaving else None
        return (application.name, ready, None, None, phase, None)
    waiting = harmless(release.waiting_for) if release.waiting_for else None
    phase = phase_words(release.phase)
    return (application.name, ready, release.id, release.strategy, phase, waiting)


def _head(release: Release, now: float) -> Text:
    parts = [
        (release.application, "bold"),
        (f"  {release.id} ({release.strategy})  ", ""),
        (phase_words(release.phase), "bold " + _phase_style(release)),
        (f"\n{situation(release)}", ""),
    ]
    if release.waiting_for:
        parts.append((f"\nwaiting for: {harmless(release.waiting_for)}", "yellow"))
    if (left := remaining(release, now)) is not None:
        parts.append((f"\n{left}", ""))
    parts += [(f"\nwarning: {harmless(warning)}", "yellow") for warning in release.warnings]
    return _line(*parts)


def _phase_style(release: Release) -> str:
    if release.is_over:
        return "green" if release.phase == "confirmed" else "red"
    return "cyan"


def _services_table(
    services: Sequence[Service], lines: int | None, release: Release | None
) -> RenderableType | None:
    from gateway.cli.output import table

    if not services:
        return None
    folded = lines is not None and sum(max(1, len(s.instances)) for s in services) > max(
        lines - FIXED_LINES, 1
    )
    columns = ("SERVICE", "COLOUR", ">READY", "INSTANCE", "HEALTH", "STATE", ">OPEN", "PROBLEM")
    return table(columns, (row for s in services for row in _rows(s, folded, release)))


def _rows(service: Service, folded: bool, release: Release | None) -> Iterator[tuple[object, ...]]:
    name = service.name + (" (leaving)" if service.leaving else "")
    # of services without instances nobody knows any more what was ready
    is_past = release is not None and release.is_over and not service.instances
    ready = None if is_past else f"{service.ready}/{service.scale}"
    coming = _coming(service, release)
    first: tuple[object, ...] = (name, service.colour, ready)
    shown = list(service.instances)
    if folded and len(shown) > FEW:
        shown = [i for i in shown if i.health != "healthy"][:FEW]
    hidden = len(service.instances) - len(shown)
    for i in shown:
        opened = i.in_flight + i.websockets
        problem = harmless(i.problem) if i.problem else ""
        state = PROBING if i.id in coming else i.state
        yield (*first, i.id, i.health, state, opened, problem)
        first = ("", "", "")
    begun = [step for step in service.steps if step.instance is None]
    for step in begun[: FEW if folded else None]:
        number = f"{step.slot + 1} of {service.scale}"
        yield (*first, number, "", step.stage, "", harmless(step.detail))
        first = ("", "", "")
    if hidden or not (shown or begun):
        what = f"and {hidden} more" if shown else f"{hidden} instances" if hidden else None
        yield (*first, what, "", "", "", "")


def _routes_table(routes: Sequence[Route], release: Release | None) -> RenderableType | None:
    from gateway.cli.output import percent, table

    if not routes:
        return None

    def rows() -> Iterator[tuple[object, ...]]:
        for route in routes:
            total = sum(route.weights.values())
            name = route.route + ("  (held: only selectors lead there)" if route.held else "")
            for service, colour, weight in _by_colour(route, release):
                share = percent(weight / total if total else 0.0)
                coloured = (colour,) if release else ()
                yield (name, service, *coloured, weight, share)
                name = ""

    column = ("COLOUR",) if release else ()
    return table(("ROUTE", "SERVICE", *column, ">WEIGHT", ">SHARE"), rows())


def _timeline_table(release: Release) -> RenderableType:
    from gateway.cli.output import table

    rows = (
        (short_time(e.time), phase_words(e.phase), harmless(e.by), harmless_lines(e.reason))
        for e in release.timeline
    )
    return table(("TIME", "PHASE", "BY", "REASON"), rows)


def _steps_table(steps: Sequence[Step]) -> RenderableType | None:
    from gateway.cli.output import table

    if not steps:
        return None
    rows = ((f"  {step.command}", f"# {step.effect}") for step in steps)
    drawn = table(("NEXT", ""), rows)
    # a command that is broken into two lines can't be pasted
    drawn.columns[0].no_wrap = True
    return drawn


def _latest(services: Iterable[Service]) -> Iterator[Failure]:
    """The newest failure of each service; the others mostly say the same."""
    for service in services:
        yield from service.failures[:1]


def _failure_text(failure: Failure) -> Text:
    first, *rest = failure_lines(failure)
    return _line((first, "red"), *((f"\n{line}", "") for line in rest))


def _by_colour(route: Route, release: Release | None) -> list[tuple[str, str | None, int]]:
    """Services of a route with colour and weight, the new ones first."""
    members = [
        (name, release.colour(name) if release else None, weight)
        for name, weight in route.weights.items()
    ]
    return sorted(members, key=lambda member: _rank(member[1]))


def _rank(colour: str | None) -> int:
    return next((place for place, known in enumerate(ORDER) if known == colour), len(ORDER))


def _line(*parts: tuple[str, str]) -> Text:
    from rich.text import Text

    text = Text()
    for part, look in parts:
        text.append(part, style=look or None)
    return text


def _group(*parts: RenderableType | None) -> RenderableType:
    """Parts one under the other, an empty line between them."""
    from rich.console import Group

    shown: list[RenderableType] = []
    for part in parts:
        if part is not None:
            shown += ["", part] if shown else [part]
    return Group(*shown)
