"""Checking a document without using it: problems with their place and did-you-mean."""

from __future__ import annotations

import asyncio

from gateway.core.model import Role
from gateway.runtime.configuration import BadConfiguration, Problem, parse

from . import answers
from .operation import BASE, Call, Operation, Reply
from .schemas import ValidateQuery


async def validate(call: Call[ValidateQuery, bytes]) -> Reply:
    """Check a configuration file, as `gateway check` does."""
    # YAML takes long for what it is; the event loop has others to answer meanwhile
    problems = await asyncio.to_thread(_problems, call.body)
    return Reply(
        answers.Validation(
            valid=not problems,
            problems=[answers.ConfigurationProblem(p.place, p.message, p.line) for p in problems],
        )
    )


def _problems(text: bytes) -> tuple[Problem, ...]:
    try:
        parse(text)
    except BadConfiguration as error:
        return error.problems
    return ()


OPERATIONS = (
    Operation(
        "POST",
        f"{BASE}/validate",
        validate,
        "Check a configuration",
        Role.VIEWER,
        answers.Validation,
        "Observation",
        query=ValidateQuery,
        raw_types=("application/yaml", "application/json", "text/yaml", "application/x-yaml"),
    ),
)
