"""What a client is told when there is nobody to ask: status, text and reason.

The texts speak of the gateway, never of what runs behind it.
"""

from __future__ import annotations

from typing import NamedTuple

from gateway.routing.decision import Verdict
from gateway.routing.table import Miss

from .codec_request import NO_PROXY
from .reasons import Reason


class Refusal(NamedTuple):
    """An answer of the gateway's own, in the order `Exchange` answers it."""

    status: int
    detail: str
    reason: Reason


NO_TARGET = {
    Verdict.UNKNOWN_SELECTION: Refusal(
        404,
        "the service selected by X-Gateway-Service is not on this route",
        Reason.NO_ROUTE,
    ),
    Verdict.NO_SERVICE: Refusal(
        503,
        "no service takes traffic on this route",
        Reason.NO_HEALTHY_UPSTREAM,
    ),
    Verdict.NO_HEALTHY_INSTANCE: Refusal(
        503,
        "no healthy instance is available",
        Reason.NO_HEALTHY_UPSTREAM,
    ),
}
"""The route is known, but not who serves it."""

_INTERNAL_ONLY = Refusal(404, "this host is served on internal entrypoints only", Reason.NO_ROUTE)
_UNKNOWN_HOST = Refusal(404, "no route for this host and path", Reason.NO_ROUTE)
_NO_PROXY = Refusal(
    404,
    "no route for this host and path, and this gateway is no forward proxy",
    Reason.NO_ROUTE,
)
_NO_EXTERNAL_LINK = Refusal(
    404,
    "no route of this gateway has this host and path, and it forwards to nothing else. "
    "The request came as to a proxy: http_proxy of the caller points here because its template "
    "declares external_links. To call the host directly, name it in the caller's no_proxy, "
    "or switch this off with providers.process.proxy_env: false",
    Reason.NO_ROUTE,
)


MISDIRECTED = Refusal(
    421,
    "this connection is not for this host: its certificate is not valid for it, and its "
    "handshake asked for another one. Open a connection for this host",
    Reason.NO_ROUTE,
)
"""RFC 9110, 7.4."""
NOT_SECURE = Refusal(421, "https:// is not served here: " + NO_PROXY, Reason.NO_ROUTE)


def missed(miss: Miss, *, is_absolute: bool, internal: bool) -> Refusal:
    """No route: `is_absolute` is that of the request's head, `internal` of its entrypoint.

    Internal entrypoints are where launchers let services' calls to external links go.
    """
    if miss is Miss.INTERNAL_ONLY:
        return _INTERNAL_ONLY
    if not is_absolute:
        return _UNKNOWN_HOST
    return _NO_EXTERNAL_LINK if internal else _NO_PROXY
