"""The metrics page, as Prometheus text or OpenMetrics, whichever the scraper asks for."""

from __future__ import annotations

from gateway.core.model import Role

from .operation import Call, Operation, Reply
from .queries import NoQuery


async def get_metrics(call: Call[NoQuery, None]) -> Reply:
    """All metrics, summed over the workers; OpenMetrics where Accept prefers it."""
    body, content_type = await call.context.figures.page(call.accept)
    return Reply(body, content_type=content_type, headers={"Vary": "Accept"})


OPERATIONS = (
    Operation(
        "GET",
        "/metrics",
        get_metrics,
        "Show all metrics (Prometheus text or OpenMetrics)",
        Role.VIEWER,
        bytes,
        "Observation",
    ),
)
