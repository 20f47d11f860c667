"""Where a client's connection came in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.metrics.worker import Gauge

    from .client import ClientConnection
    from .codec import RequestHead
    from .tls import ServerTls


@dataclass(slots=True)
class Entrypoint:
    """Where a connection came in. `serve` takes each complete request head.

    What is below `serve` follows the settings.
    """

    name: str
    internal: bool
    port: bytes
    open: Gauge
    serve: Callable[[ClientConnection, RequestHead], None]
    tls: ServerTls | None = None
    hsts: bytes = b""
    """A line for answers over TLS."""
    redirect: int | None = None
    """The port of https that requests are sent to."""
    proxy_protocol: bool = False
    """A PROXY header comes first."""
