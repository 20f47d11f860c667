"""Figures of the last minute or five: rate, errors, latency, in-flight, sticky share."""

from __future__ import annotations

from gateway.core.model import Role

from . import answers
from . import report_answers as reports
from .operation import BASE, Call, Operation, Reply
from .queries import StatsQuery
from .views import page


async def get_stats(call: Call[StatsQuery, None]) -> Reply:
    """Per route, per service on it, and per service over all its routes."""
    context, window = call.context, int(call.query.window)
    report, state = context.figures.report(window), context.controller.state
    shown, more = page(state.routes, call.query.limit, call.query.after)
    services = {sid for route in shown for sid in route.weights}
    if call.query.after is None:
        on_routes = {sid for route in state.routes.values() for sid in route.weights}
        services |= state.services.keys() - on_routes
    return Reply(
        reports.Stats(
            window=window,
            time=answers.rfc3339(context.now()),
            routes=[
                reports.RouteStats(
                    route=route.id,
                    traffic=answers.traffic(report.routes.get(route.id)),
                    services={
                        sid: answers.traffic(report.pairs.get((route.id, sid)))
                        for sid in route.weights
                    },
                )
                for route in shown
            ],
            services={sid: answers.traffic(report.services.get(sid)) for sid in sorted(services)},
            next=more,
        )
    )


OPERATIONS = (
    Operation(
        "GET",
        f"{BASE}/stats",
        get_stats,
        "Show rate, errors, latency and in-flight per route and service",
        Role.VIEWER,
        reports.Stats,
        "Observation",
        query=StatsQuery,
    ),
)
