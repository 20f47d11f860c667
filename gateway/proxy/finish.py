"""The line of the access log that tells of an exchange when it has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .access_log import AccessLog
    from .exchange import Exchange


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
        upstream_s=exchange.upstream_s if exchange.upstream_s >= 0 else None,
        bytes_in=exchange.bytes_in,
        bytes_out=exchange.bytes_out,
        request_id=exchange.request_id,
        sticky=exchange.sticky.value,
        retries=exchange.retries,
    )
