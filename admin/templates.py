"""Templates as they are sent: YAML or JSON text to services that can be started here.

`gateway.core.templates` says what a template means; this module adds what only the
edge knows: how the text becomes values (and in which line each stands), and whether
the configuration has something to run for every image, with ports enough.
Everything that is wrong is told at once. Reading a large text takes seconds: call it
in a thread.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from admin.api import payload
from admin.providers.docker.env_files import env_file
from admin.providers.docker.policy import problems as docker_problems
from admin.providers.process import problems as process_problems
from gateway.core.release import Template
from gateway.core.templates import Outcome, Parsed, Place, Problem, Read, dotted, read, refusal
from gateway.runtime import yaml_loader
from gateway.runtime.addresses import parse as parse_address
from gateway.runtime.settings import Settings
from gateway.runtime.yaml_loader import YamlProblem

CALLED_PORT = 80
"""Where programs in containers call a host without a port."""
JSON_TYPE = "application/json"


@dataclass(frozen=True, slots=True)
class Located:
    """One thing wrong; `line` counts from 1, None where it is not known."""

    place: str
    message: str
    line: int | None


@dataclass(frozen=True, slots=True)
class Examined:
    """All that was found in a template. `template` holds the services that are right."""

    template: Template
    warnings: tuple[str, ...]
    problems: tuple[Located, ...]


@dataclass(frozen=True, slots=True)
class Text:
    """A text as plain values, and where they stand."""

    value: object
    lines: Mapping[Place, int]

    def line_of(self, place: Place) -> int | None:
        """The line of the value at `place`, or of the nearest value around it."""
        lines = (self.lines.get(place[:end]) for end in range(len(place), 0, -1))
        return next((line for line in lines if line is not None), None)


def read_template(body: bytes, content_type: str, application: str, settings: Settings) -> Parsed:
    """The template in `body`. Raises `Refused` with every problem, its place and line."""
    text = read_text(body, content_type)
    outcome = _outcome(text, application, settings)
    if outcome.problems:
        raise refusal(
            [replace(p, message=_with_line(p.message, text, p.place)) for p in outcome.problems]
        )
    return Parsed(outcome.template(body.decode("utf-8-sig")), outcome.warnings)


def examine(text: Text, application: str, settings: Settings) -> Examined:
    """What `read_template` finds, without refusing."""
    outcome = _outcome(text, application, settings)
    return Examined(
        outcome.template(""),
        outcome.warnings,
        tuple(Located(dotted(p.place), p.message, text.line_of(p.place)) for p in outcome.problems),
    )


def read_text(body: bytes, content_type: str) -> Text:
    """The values of a YAML or JSON text. Raises `Refused` if it is none."""
    if content_type == JSON_TYPE:
        return Text(payload.read_json(body), {})
    try:
        document = yaml_loader.load(body)
    except YamlProblem as problem:
        raise refusal([Problem(("body",), str(problem))]) from None
    return Text(document.value, document.lines)


def _outcome(text: Text, application: str, settings: Settings) -> Outcome:
    process, docker = settings.providers.process, settings.providers.docker
    outcome = read(
        text.value,
        application=application,
        domain=settings.domain,
        runs_in_container=lambda image: docker is not None and image not in process.images,
        env_files=lambda path: env_file(path, docker.env_files if docker is not None else ()),
    )
    return replace(
        outcome,
        problems=(*outcome.problems, *_not_startable(outcome, settings)),
        warnings=(*outcome.warnings, *_overridden(outcome), *_unheard(outcome, settings)),
    )


def _not_startable(outcome: Outcome, settings: Settings) -> Iterator[Problem]:
    """What launchers have against a template, at the places where they say so."""
    by_name = {one.service.name: one for one in outcome.services}
    known = {problem.place for problem in outcome.problems}
    everything = Template(tuple(one.service for one in outcome.services))
    found = (*process_problems(everything, settings), *docker_problems(everything, settings))
    for error in found:
        # names may hold dots: `web.v1` is not the service `web`
        ends = (i for i, c in enumerate(error.field) if c == ".")
        name = next(n for end in reversed([*ends]) if (n := error.field[:end]) in by_name)
        key = error.field.removeprefix(f"{name}.")
        if (place := _place(by_name[name], key)) not in known:
            yield Problem(place, error.message)


def _place(one: Read, key: str) -> Place:
    """Where `image` or `labels.probe.cmd` stands."""
    first, _, rest = key.partition(".")
    if not rest:
        return (*one.place, key)
    return one.others.get(rest, (*one.place, first, rest))


def _overridden(outcome: Outcome) -> Iterator[str]:
    """Variables that each instance gets from the launcher, whatever the template says."""
    for one in outcome.services:
        launch = one.service.launch
        ports = {"PORT", *(f"PORT_{claim.port}" for claim in one.service.claims)}
        is_process = launch is not None and launch.container is None
        for name, _ in launch.environment if launch is not None and is_process else ():
            if name in ports:
                place = dotted((*one.place, "environment", name))
                yield f"{place}: has no effect, each instance is told a port of its own in it"


def _unheard(outcome: Outcome, settings: Settings) -> Iterator[str]:
    """Containers call links on port 80; somebody must listen there."""
    internal = (e for e in settings.entrypoints.values() if e.internal and e.tls is None)
    if any(parse_address(e.listen).port == CALLED_PORT for e in internal):
        return
    for one in outcome.services:
        launch = one.service.launch
        if launch is not None and launch.container is not None and launch.external_links:
            yield (
                f"{dotted((*one.place, 'external_links'))}: no internal entrypoint listens on port "
                f"{CALLED_PORT}, so http://{launch.external_links[0]} will be refused; see "
                "docs/docker.md"
            )


def _with_line(message: str, text: Text, place: Place) -> str:
    line = text.line_of(place)
    return message if line is None else f"{message} (line {line})"
