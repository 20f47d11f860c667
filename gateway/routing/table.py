"""From a request's host and path to its route.

Hosts are looked up exactly, then by wildcard, the longest suffix first; within
a host the longest path prefix wins. `/api` matches `/api` and `/api/x`, not
`/apiary`. Paths are compared as sent, byte by byte: nothing is decoded.

A request is matched as if it came in on an internal entrypoint; if what it
matches is internal and its entrypoint is not, it gets nothing. It does not fall
through to a shorter prefix or to a wildcard: making `/admin` internal must not
hand `/admin` to the service on `/`.

Cost: a few dict look-ups, bounded by the longest prefix and the longest wildcard
in the table, never by the number of routes or by what the client sent.
"""

from __future__ import annotations

from enum import Enum

from .pool import Pool


class Miss(Enum):
    """Why no route was found."""

    UNKNOWN_HOST = "unknown_host"
    """No route for this host and path."""
    INTERNAL_ONLY = "internal_only"
    """The route is served on internal entrypoints only."""


class Table:
    """All routes of a worker."""

    __slots__ = ()

    def match(self, host: bytes, path: bytes, internal: bool) -> Pool | Miss:
        """The route for a request.

        `host`: lower case, without port; `path`: the target up to `?`; `internal`: is
        the entrypoint an internal one?
        """
        raise NotImplementedError
