# cython: language_level=3, annotation_typing=False
"""The line of the access log that tells of an exchange when it has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.routing.decision import Sticky

from .reasons import Reason

if TYPE_CHECKING:
    from .access_log import AccessLog
    from .exchange import Exchange


_REASON_NONE = Reason.NONE
_STICKY_OFF = Sticky.OFF
_STICKY_HIT = Sticky.HIT
_STICKY_NEW = Sticky.NEW
# The value of a member costs a call of Python code.
_OFF = _STICKY_OFF.value
_HIT = _STICKY_HIT.value
_NEW = _STICKY_NEW.value


def log(exchange: Exchange, now: float, access_log: AccessLog) -> None:
    """Write its line."""
    head, pool, target = exchange.head, exchange.pool, exchange.target
    client = exchange.client
    reason, sticky = exchange.reason, exchange.sticky
    flags = "" if reason is _REASON_NONE else reason.value
    if sticky is _STICKY_OFF:
        memory = _OFF
    elif sticky is _STICKY_HIT:
        memory = _HIT
    elif sticky is _STICKY_NEW:
        memory = _NEW
    else:
        memory = sticky.value
    access_log.write(
        client.entrypoint.name,
        client.peer_text,
        exchange.status,
        head.method,
        head.host,
        head.target,
        flags,
        pool.route.id if pool is not None else "",
        target.service.id if target is not None else "",
        exchange.instance,
        now - exchange.started,
        exchange.upstream_s,
        exchange.bytes_in,
        exchange.bytes_out,
        exchange.request_id,
        memory,
        exchange.retries,
    )
