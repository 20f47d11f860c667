"""What is wrong with services that were found running, all of it at one place."""

from __future__ import annotations

from gateway.core.model import Role

from . import answers
from .operation import BASE, Call, Operation, Reply
from .queries import NoQuery
from .views import problem_answer


async def list_problems(call: Call[NoQuery, None]) -> Reply:
    """Every route that is not served as the labels of containers say, and who looks for them."""
    observed = call.context.controller.observed
    return Reply(
        answers.ProblemList(
            problems=[problem_answer(problem) for problem in observed.problems],
            providers=[
                answers.ProviderAnswer(name, problem is None, problem)
                for name, problem in sorted(observed.providers.items())
            ],
        )
    )


OPERATIONS = (
    Operation(
        "GET",
        f"{BASE}/problems",
        list_problems,
        "List what is wrong with services that were found running",
        Role.VIEWER,
        answers.ProblemList,
        "Observation",
    ),
)
