"""Checking a document without using it: problems with their place and did-you-mean."""

from __future__ import annotations

import asyncio
from typing import Literal

from admin import templates
from admin.templates import Text
from gateway.core.errors import Refused
from gateway.core.model import Role, Service
from gateway.core.templates import keys
from gateway.runtime.configuration import BadConfiguration, parse
from gateway.runtime.settings import Settings

from . import answers
from . import report_answers as reports
from .operation import BASE, Call, Operation, Reply
from .queries import ValidateQuery
from .views import check_answer, tls_answer

Kind = Literal["configuration", "template"]

_CONFIGURATION = frozenset(Settings.__struct_fields__)
_SERVICE = ("image", "labels", "build", keys.EXTENSION)


async def validate(call: Call[ValidateQuery, bytes]) -> Reply:
    """Check a configuration, as `gateway check` does, or a template, as a deployment does.

    Of a template it also tells what was understood: services, routes, warnings.
    """
    # YAML takes long for what it is; the event loop has others to answer meanwhile
    settings = call.context.controller.settings
    return Reply(
        await asyncio.to_thread(
            _validation, call.body, call.content_type, call.query.kind, settings
        )
    )


def _validation(
    body: bytes, content_type: str, kind: Kind | None, settings: Settings
) -> reports.Validation:
    text: Text | None = None
    problems: list[reports.DocumentProblem] = []
    if kind != "configuration":
        try:
            text = templates.read_text(body, content_type)
        except Refused as refused:
            problems = [reports.DocumentProblem(e.field, e.message, None) for e in refused.errors]
        if kind is None:
            kind = "template" if text is not None and is_template(text.value) else "configuration"
    if kind == "configuration":
        return _of_configuration(body)
    if text is None:
        return reports.Validation(False, kind, problems, [], [])
    found = templates.examine(text, "application", settings)
    problems = [reports.DocumentProblem(p.place, p.message, p.line) for p in found.problems]
    return reports.Validation(
        not problems,
        kind,
        problems,
        found.warnings,
        [_service(service) for service in found.template.services],
    )


def is_template(document: object) -> bool:
    """Does it look more like a template than like a configuration?"""
    if not isinstance(document, dict):
        return False
    if "services" in document:
        return True
    return any(
        isinstance(value, dict) and name not in _CONFIGURATION and any(k in value for k in _SERVICE)
        for name, value in document.items()
    )


def _of_configuration(body: bytes) -> reports.Validation:
    problems: list[reports.DocumentProblem] = []
    try:
        parse(body)
    except BadConfiguration as error:
        problems = [reports.DocumentProblem(p.place, p.message, p.line) for p in error.problems]
    return reports.Validation(not problems, "configuration", problems, [], [])


def _service(service: Service) -> reports.ValidatedService:
    return reports.ValidatedService(
        name=service.name,
        image=service.launch.image if service.launch is not None else None,
        endpoints=[e.text for e in service.endpoints],
        tls=None if service.tls is None else tls_answer(service.tls),
        scale=service.scale if service.launch is not None else len(service.endpoints),
        routes=[reports.ValidatedRoute(c.route, c.port, c.sticky) for c in service.claims],
        coexist=service.coexist,
        health=None if service.check is None else check_answer(service.check),
        limits=answers.LimitsAnswer(service.in_flight_limit),
        depends=service.depends,
    )


OPERATIONS = (
    Operation(
        "POST",
        f"{BASE}/validate",
        validate,
        "Check a configuration or a template",
        Role.VIEWER,
        reports.Validation,
        "Observation",
        query=ValidateQuery,
        raw_types=("application/yaml", "application/json", "text/yaml", "application/x-yaml"),
    ),
)
