"""A template as a whole: which form it has, its services, and how they fit together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from gateway.core.names import did_you_mean
from gateway.core.release import Template

from . import container_keys, keys
from .container import Declared
from .env_files import EnvFiles, no_files
from .mounts import Named, read_named
from .plain import Map, Value, plain
from .problems import Findings, Place, Problem, bounded, is_nearly, refusal
from .service import Around, Read, never, read_service
from .together import check_depends, check_routes
from .values import kind_of

_EXAMPLE = "a template names services with what they run, for example web: {image: ...}"


@dataclass(frozen=True, slots=True)
class Parsed:
    """A template that was understood, and what its author should know."""

    template: Template
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that was found in a template.

    `services` are all that could be read, those with problems of their own too:
    whoever has more to check can tell everything at once.
    """

    services: tuple[Read, ...]
    problems: tuple[Problem, ...]
    warnings: tuple[str, ...]

    def template(self, source: str) -> Template:
        """The template of the services that are right; `source` is its text."""
        return Template(tuple(r.service for r in self.services if r.is_right), source)


def parse(document: object, *, application: str, domain: str, source: str) -> Parsed:
    """Read a template: `document` as YAML or JSON gave it, `source` its text.

    Bare prefixes of routes are published under `domain`. Raises `Refused`
    (`route_conflict` if services of the template contend for a route and nothing
    else is wrong, else `invalid`) with every problem and its place.
    """
    outcome = read(document, application=application, domain=domain)
    if outcome.problems:
        raise refusal(outcome.problems)
    return Parsed(outcome.template(source), outcome.warnings)


def read(
    document: object,
    *,
    application: str,
    domain: str,
    runs_in_container: Callable[[str], bool] = never,
    env_files: EnvFiles = no_files,
) -> Outcome:
    """What `parse` finds, problems included; raises nothing.

    `runs_in_container` says of an image whether it is started in one; `env_files` gives
    the text of the gateway's files of variables.
    """
    findings = Findings()
    content = plain(document, findings)
    services: list[Read] = []
    if not findings.problems:
        declared = _declared(content, application, runs_in_container, findings)
        around = Around(application, domain, runs_in_container, env_files, declared or Declared())
        names, place = _services(content, declared is not None, findings)
        for name, value in names.items():
            one = read_service(name, value, (*place, name), around, findings)
            if one is not None:
                services.append(one)
        check_routes(services, findings)
        check_depends(services, names, findings)
    return Outcome(
        tuple(services),
        tuple(findings.problems),
        bounded(tuple(findings.warnings)),
    )


def _declared(
    document: Value,
    application: str,
    runs_in_container: Callable[[str], bool],
    findings: Findings,
) -> Declared | None:
    """The volumes and networks at the top; None: no service has containers to use them."""
    if not isinstance(document, dict):
        return None
    services = document.get("services", document)
    images = [
        one.get("image")
        for one in (services.values() if isinstance(services, dict) else ())
        if isinstance(one, dict)
    ]
    if not any(isinstance(image, str) and runs_in_container(image) for image in images):
        return None

    def named(kind: str, known: tuple[str, ...]) -> dict[str, Named]:
        value = document.get(kind)
        return {} if _is_service(value) else read_named(value, kind, known, application, findings)

    return Declared(
        volumes=named("volumes", container_keys.TOP_VOLUME_KEYS),
        networks=named("networks", container_keys.NETWORK_KEYS),
    )


def _services(document: Value, has_containers: bool, findings: Findings) -> tuple[Map, Place]:
    """The services by name, and where they stand: under `services`, or at the top."""
    if document is None or document == {}:
        findings.add((), f"no service; {_EXAMPLE}")
        return {}, ()
    if not isinstance(document, dict):
        findings.add((), f"a map is expected, not {kind_of(document)}; {_EXAMPLE}")
        return {}, ()
    if "services" not in document:
        return _at_top(document, has_containers, findings), ()
    known = (*keys.TOP_UNDERSTOOD, *keys.TOP_WITHOUT_EFFECT, *keys.TOP_REFUSED)
    for key, value in document.items():
        if key in known:
            _top_key(key, value, has_containers, findings)
        elif _is_service(value):
            findings.add((key,), "a service beside `services`; move it in there, with the others")
        else:
            _unknown(key, known, findings)
    services = document["services"]
    if not isinstance(services, dict):
        findings.add(
            ("services",),
            f"must be a map of services by name, not {kind_of(services)}; {_EXAMPLE}",
        )
        return {}, ("services",)
    if not services:
        findings.add(("services",), f"no service; {_EXAMPLE}")
    return services, ("services",)


def _at_top(document: Map, has_containers: bool, findings: Findings) -> Map:
    """Services at the top level; other keys of compose files may stand among them."""
    services: Map = {}
    for key, value in document.items():
        if (key in keys.TOP_WITHOUT_EFFECT or key in keys.TOP_REFUSED) and not _is_service(value):
            _top_key(key, value, has_containers, findings)
        elif key.startswith("x-") and not _is_service(value):
            _unknown(key, (), findings)
        elif _is_misspelt_services(key, value):
            _unknown(key, keys.TOP_UNDERSTOOD, findings)
        else:
            services[key] = value
    if not services and not findings.problems:
        findings.add((), f"no service; {_EXAMPLE}")
    return services


def _top_key(key: str, value: Value, has_containers: bool, findings: Findings) -> None:
    if has_containers and key in container_keys.TOP_UNDERSTOOD:
        return  # read before
    if key in keys.TOP_WITHOUT_EFFECT:
        findings.warn((key,), f"has no effect here: {keys.TOP_WITHOUT_EFFECT[key]}")
    elif key in keys.TOP_REFUSED and value:
        findings.add((key,), f"is not supported: {keys.TOP_REFUSED[key]}")


def _unknown(key: str, known: Iterable[str], findings: Findings) -> None:
    """A key that is neither a service nor known; extensions of others pass."""
    if key.startswith("x-"):
        if is_nearly(key, keys.EXTENSION):
            findings.add((key,), f"{keys.EXTENSION} stands within a service")
        return
    hint = findings.hint(key, known) or f"; known here: {', '.join(known)}"
    findings.add((key,), f"unknown key{hint}")


def _is_service(value: Value) -> bool:
    """Does it look like one?"""
    return isinstance(value, dict) and ("image" in value or keys.EXTENSION in value)


def _is_misspelt_services(key: str, value: Value) -> bool:
    """`service:` or `servces:` around what look like services."""
    return (
        isinstance(value, dict)
        and bool(value)
        and all(map(_is_service, value.values()))
        and bool(did_you_mean(key.lower(), keys.TOP_UNDERSTOOD))
    )
