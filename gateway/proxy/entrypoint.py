# cython: language_level=3, annotation_typing=False
"""Where a client's connection came in."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.metrics.worker import Gauge

    from .client import ClientConnection
    from .heads import RequestHead
    from .tls import ServerTls


class Entrypoint:
    """One of the addresses that clients connect to. `serve` takes each complete request head.

    tls to proxy_protocol follow the settings: how certificates are chosen; a line for answers
    over TLS; the port of https that requests are sent to; whether a PROXY header comes first.
    """

    __slots__ = (
        "hsts",
        "internal",
        "name",
        "open",
        "port",
        "proxy_protocol",
        "redirect",
        "serve",
        "tls",
    )

    def __init__(
        self,
        name: str,
        internal: bool,
        port: bytes,
        open: Gauge,
        serve: Callable[[ClientConnection, RequestHead], None],
    ) -> None:
        self.name = name
        self.internal = internal
        self.port = port
        self.open = open
        self.serve = serve
        self.tls: ServerTls | None = None
        self.hsts = b""
        self.redirect: int | None = None
        self.proxy_protocol = False
