"""A template as a whole: which form it has, its services, and how they fit together."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.core.model import Service
from gateway.core.release import Template

from .problems import Findings, Place, Problem, bounded, refusal

SCALE_MAX = 1000
"""The most instances of one service."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """A template that was understood, and what its author should know."""

    template: Template
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that was found in a template.

    `services` are those whose own keys are right, each with its place, also when
    there are `problems`: whoever has more to check can tell everything at once.
    """

    services: tuple[tuple[Place, Service], ...]
    problems: tuple[Problem, ...]
    warnings: tuple[str, ...]


def parse(document: object, *, application: str, domain: str, source: str) -> Parsed:
    """Read a template: `document` as YAML or JSON gave it, `source` its text.

    Bare prefixes of routes are published under `domain`. Raises `Refused`
    (`route_conflict` if services of the template contend for a route and nothing
    else is wrong, else `invalid`) with every problem and its place.
    """
    outcome = read(document, application=application, domain=domain)
    if outcome.problems:
        raise refusal(outcome.problems)
    services = tuple(service for _, service in outcome.services)
    return Parsed(Template(services, source), outcome.warnings)


def read(document: object, *, application: str, domain: str) -> Outcome:
    """What `parse` finds, problems included; raises nothing."""
    findings = Findings()
    findings.add((), "no service")
    return Outcome((), tuple(findings.problems), bounded(findings.warnings))
