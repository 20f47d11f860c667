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

from enum import StrEnum

from .pool import Pool


class Miss(StrEnum):
    """Why no route was found."""

    UNKNOWN_HOST = "unknown_host"
    """No route for this host and path."""
    INTERNAL_ONLY = "internal_only"
    """The route is served on internal entrypoints only."""


class _Site:
    """The routes of one host (or wildcard), by path prefix without trailing slash."""

    __slots__ = ("longest", "pools")

    def __init__(self) -> None:
        self.pools: dict[bytes, Pool] = {}
        self.longest = 0
        """No prefix is longer. Not lowered by removals: it is a bound."""

    def match(self, path: bytes) -> Pool | None:
        pools = self.pools
        if not self.longest:
            return pools.get(b"")
        end = len(path)
        if end > self.longest:  # begin at the last border that a prefix can reach
            end = path.rfind(b"/", 0, self.longest + 1)
        while end > 0:
            pool = pools.get(path[:end])
            if pool is not None:
                return pool
            end = path.rfind(b"/", 0, end)
        return pools.get(b"")


class Table:
    """All routes of a worker. Changed by `World` only."""

    __slots__ = ("_exact", "_longest_wild", "_wild")

    def __init__(self) -> None:
        self._exact: dict[bytes, _Site] = {}
        self._wild: dict[bytes, _Site] = {}
        """By suffix with its leading dot."""
        self._longest_wild = 0

    def match(self, host: bytes, path: bytes, internal: bool) -> Pool | Miss:
        """The route for a request.

        `host`: lower case, without port; `path`: the target up to `?`; `internal`: is
        the entrypoint an internal one?
        """
        site = self._exact.get(host)
        pool = site.match(path) if site is not None else None
        if pool is None:
            pool = self._match_wild(host, path)
            if pool is None:
                return Miss.UNKNOWN_HOST
        if pool.internal and not internal:
            return Miss.INTERNAL_ONLY
        return pool

    def put(self, pool: Pool) -> None:
        """Add a route, or replace the one of the same host and path."""
        sites, host = self._place(pool)
        site = sites.get(host)
        if site is None:
            site = sites[host] = _Site()
            if sites is self._wild:
                self._longest_wild = max(self._longest_wild, len(host))
        prefix = _prefix(pool)
        site.pools[prefix] = pool
        site.longest = max(site.longest, len(prefix))

    def remove(self, pool: Pool) -> None:
        """Take a route out, unless another has taken its place."""
        sites, host = self._place(pool)
        site = sites.get(host)
        prefix = _prefix(pool)
        if site is not None and site.pools.get(prefix) is pool:
            del site.pools[prefix]
            if not site.pools:
                del sites[host]

    def _match_wild(self, host: bytes, path: bytes) -> Pool | None:
        longest = self._longest_wild
        if not longest:
            return None
        at = host.find(b".", max(1, len(host) - longest))
        while at > 0:
            site = self._wild.get(host[at:])
            if site is not None and (pool := site.match(path)) is not None:
                return pool
            at = host.find(b".", at + 1)
        return None

    def _place(self, pool: Pool) -> tuple[dict[bytes, _Site], bytes]:
        host = pool.route.host.encode()
        return (self._wild, host[1:]) if host.startswith(b"*.") else (self._exact, host)


def _prefix(pool: Pool) -> bytes:
    return pool.route.path.rstrip("/").encode()
