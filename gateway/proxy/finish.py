# cython: language_level=3, annotation_typing=False
"""The line of the access log that tells of an exchange when it has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.routing.decision import Sticky

from .access_line import Entry
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
    entry: Entry = Entry.__new__(Entry)
    entry.entrypoint = client.entrypoint.name
    entry.client = client.peer_text
    entry.status = exchange.status
    entry.method = head.method
    entry.host = head.host
    entry.path = head.target
    entry.flags = flags
    entry.route = pool.route.id if pool is not None else ""
    entry.service = target.service.id if target is not None else ""
    entry.instance = exchange.instance
    entry.duration_s = now - exchange.started
    entry.upstream_s = exchange.upstream_s
    entry.bytes_in = exchange.bytes_in
    entry.bytes_out = exchange.bytes_out
    entry.request_id = exchange.request_id
    entry.sticky = memory
    entry.retries = exchange.retries
    access_log.write(entry)
