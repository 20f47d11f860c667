"""What of a request depends on how it came: by TLS, or by a proxy that says so.

RFC 9110, 7.4: a request whose connection is not one for its host, or not as secure
as its URL, is misdirected and answered with 421, unless a trusted proxy sent it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .refusals import MISDIRECTED, NOT_SECURE, Refusal

if TYPE_CHECKING:
    from .codec import RequestHead
    from .stream import ClientStream

DEFAULT_PORT = 443


def is_https(client: ClientStream, head: RequestHead) -> bool:
    """Did the request leave its user by https?"""
    return client.tls is not None or (client.trusted and _is_said_to_be_https(head))


def misdirected(client: ClientStream, head: RequestHead) -> Refusal | None:
    """Why this connection is not for this request; to be asked where there is TLS in either."""
    if client.tls is not None:
        is_right = client.tls.is_for(head.host) or client.trusted
        return None if is_right else MISDIRECTED
    return None if is_https(client, head) else NOT_SECURE


def location(head: RequestHead, port: int) -> bytes:
    """The line that sends a client to the same resource by https (RFC 9110, 10.2.2)."""
    authority = head.host if port == DEFAULT_PORT else b"%b:%d" % (head.host, port)
    return b"Location: https://%b%b\r\n" % (authority, head.target)


def _is_said_to_be_https(head: RequestHead) -> bool:
    """By the first of several proxies: the one that saw the user."""
    for name, value in head.forwarding or ():
        if name == b"x-forwarded-proto":
            return value.partition(b",")[0].strip(b" \t").lower() == b"https"
    return False
