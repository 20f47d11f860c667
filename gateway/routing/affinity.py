"""Session affinity: what a cookie's token looks like, and cookies in a header.

A token is opaque to the client and says nothing to anybody without the key:

    1 k ssssssssssssssss iiiiiiiiiiiiiiii
    | | |                keyed digest of (route, service, instance), 12 bytes as base64url
    | | keyed digest of (route, service), 12 bytes as base64url
    | id of the key
    format

Tokens are never decoded. Whoever holds the key computes those of all instances
beforehand and looks up what a client sends; what is not there (forged, stale,
of another route, of a dropped key) does not exist. The service's part is looked
up by itself when the whole is unknown: an instance that is gone leaves its
clients on its service.
"""

from __future__ import annotations

from collections.abc import Iterator


def find_cookie(header: bytes, name: bytes) -> Iterator[bytes]:
    """The values of every cookie called `name`, in order; quotes around a value are dropped."""
    raise NotImplementedError


def strip_cookie(header: bytes, name: bytes) -> bytes | None:
    """`header` without the cookies called `name`; None if no cookie is left."""
    raise NotImplementedError
