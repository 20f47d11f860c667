"""`/healthz` and `/readyz`, answered by the workers on `health.listen`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .codec import Framing, RequestHead
from .replies import reply

if TYPE_CHECKING:
    from .client import ClientConnection


def serve_health(client: ClientConnection, head: RequestHead) -> None:
    """Answer a health request: alive always, ready when the data plane says so."""
    plane = client.plane
    if head.path == b"/healthz":
        status, detail = 200, "alive"
    elif head.path == b"/readyz":
        ready = plane.ready and not plane.closing
        status, detail = (200, "ready") if ready else (503, "not ready")
    else:
        status, detail = 404, "only /healthz and /readyz are served here"
    close = not head.keep_alive or head.framing is not Framing.NONE or plane.closing
    client.write(
        reply(
            status,
            detail,
            accept=head.accept,
            close=close,
            keep_alive_10=not head.minor and not close,
            head_only=head.method == b"HEAD",
            extra=plane.date.line,
        )
    )
    client.served(not close, plane.time())
