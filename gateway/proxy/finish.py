"""What is told of an exchange when it has ended: one line of log, a few numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.routing.decision import Sticky

if TYPE_CHECKING:
    from gateway.metrics.worker import WorkerMetrics

    from .access_log import AccessLog
    from .exchange import Exchange


def count(exchange: Exchange, now: float, metrics: WorkerMetrics) -> None:
    """Feed the counters of its route and service, as far as it got."""
    target = exchange.target
    if target is not None:
        series = target.series
    elif exchange.pool is not None:
        series = metrics.series(exchange.pool.route.id, "", "", "")
    else:
        metrics.unrouted(exchange.head.method, exchange.status)
        return
    series.finish(
        exchange.head.method,
        exchange.status,
        now - exchange.started,
        exchange.bytes_in,
        exchange.bytes_out,
    )
    if exchange.sticky is not Sticky.OFF and exchange.upstream_s is not None:
        series.sticky(exchange.sticky.value)


def log(exchange: Exchange, now: float, access_log: AccessLog) -> None:
    """Write its line."""
    head, pool, target = exchange.head, exchange.pool, exchange.target
    access_log.write(
        entrypoint=exchange.client.entrypoint.name,
        client=exchange.client.peer_text,
        status=exchange.status,
        method=head.method,
        host=head.host,
        path=head.target,
        flags=exchange.reason,
        route=pool.route.id if pool is not None else "",
        service=target.service.id if target is not None else "",
        instance=exchange.instance,
        duration_s=now - exchange.started,
        upstream_s=exchange.upstream_s,
        bytes_in=exchange.bytes_in,
        bytes_out=exchange.bytes_out,
        request_id=exchange.request_id,
        sticky=exchange.sticky.value,
        retries=exchange.retries,
    )
