"""Is the gateway alive, and does it serve? Open to everybody who reaches the listener."""

from __future__ import annotations

from . import answers
from .operation import Call, Operation, Reply
from .problems import HttpCode, HttpProblem
from .schemas import NoQuery


async def healthz(call: Call[NoQuery, None]) -> Reply:
    """The control process answers."""
    return Reply(answers.Alive("ok"))


async def readyz(call: Call[NoQuery, None]) -> Reply:
    """At least one worker serves a snapshot and the gateway is not being stopped."""
    controller = call.context.controller
    if not controller.ready:
        raise HttpProblem(
            503,
            HttpCode.NOT_READY,
            "no worker serves a snapshot, or the gateway is being stopped",
            {"Retry-After": "1"},
        )
    workers = [
        answers.WorkerAnswer(
            w.slot, w.pid, w.state, w.restarts, answers.rfc3339(w.started), w.generation
        )
        for w in controller.workers
    ]
    return Reply(answers.Ready("ready", controller.snapshot.generation, workers))


OPERATIONS = (
    Operation("GET", "/healthz", healthz, "Is it alive?", None, answers.Alive, "Health"),
    Operation(
        "GET",
        "/readyz",
        readyz,
        "Does it serve?",
        None,
        answers.Ready,
        "Health",
        statuses=(200, 503),
    ),
)
