"""Is the gateway alive, and does it serve? The first two are open to all who reach the listener."""

from __future__ import annotations

from gateway.core.model import Role

from . import answers
from . import report_answers as reports
from .operation import BASE, Call, Operation, Reply
from .problems import HttpCode, HttpProblem
from .queries import NoQuery


async def healthz(call: Call[NoQuery, None]) -> Reply:
    """The control process answers."""
    return Reply(reports.Alive("ok"))


async def readyz(call: Call[NoQuery, None]) -> Reply:
    """At least one worker serves a snapshot and the gateway is not being stopped."""
    controller = call.context.controller
    if not controller.ready:
        raise HttpProblem(
            HttpCode.NOT_READY,
            "no worker serves a snapshot, or the gateway is being stopped",
            {"Retry-After": "1"},
        )
    serving = sum(w.state == "serving" for w in controller.workers)
    return Reply(reports.Ready("ready", controller.snapshot.generation, serving))


async def list_workers(call: Call[NoQuery, None]) -> Reply:
    """The data-plane processes: state, restarts, and the generation each one serves."""
    workers = [
        reports.WorkerAnswer(
            w.slot, w.pid, w.state, w.restarts, answers.rfc3339(w.started), w.generation
        )
        for w in call.context.controller.workers
    ]
    return Reply(reports.WorkerList(workers))


OPERATIONS = (
    Operation(
        "GET",
        f"{BASE}/workers",
        list_workers,
        "List the workers",
        Role.VIEWER,
        reports.WorkerList,
        "Health",
    ),
    Operation("GET", "/healthz", healthz, "Is it alive?", None, reports.Alive, "Health"),
    Operation(
        "GET",
        "/readyz",
        readyz,
        "Does it serve?",
        None,
        reports.Ready,
        "Health",
        statuses=(200, 503),
    ),
)
