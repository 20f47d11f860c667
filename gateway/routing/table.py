# cython: language_level=3, annotation_typing=False
"""From a request's host and path to its route.

Hosts are looked up exactly, then by wildcard, the longest suffix first; within
a host the longest path prefix wins. `/api` matches `/api` and `/api/x`, not
`/apiary`. Paths are compared as sent, byte by byte: nothing is decoded.

A request is matched as if it came in on an internal entrypoint; if what it
matches is internal and its entrypoint is not, it gets nothing. It does not fall
through to a shorter prefix or to a wildcard: making `/admin` internal must not
hand `/admin` to the service on `/`.

Held routes answer requests that select one of their members, and for all others
do not exist. They have an index of their own, so that what requests without a
selector find cannot depend on them, and costs nothing more.

Cost: a few dict look-ups, bounded by the longest prefix and the longest wildcard
in the table, never by the number of routes or by what the client sent.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from .pool import SELECTOR_COOKIE, Pool


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

    def all(self, path: bytes) -> Iterator[Pool]:
        """Every route that fits, the longest prefix first."""
        pool = self.match(path)
        while pool is not None:
            yield pool
            prefix = _prefix(pool)
            pool = self.match(prefix[: prefix.rindex(b"/")]) if prefix else None


class _Index:
    """Routes by host, then by path prefix."""

    __slots__ = ("exact", "longest_wild", "wild")

    def __init__(self) -> None:
        self.exact: dict[bytes, _Site] = {}
        self.wild: dict[bytes, _Site] = {}
        """By suffix with its leading dot."""
        self.longest_wild = 0

    def match_wild(self, host: bytes, path: bytes) -> Pool | None:
        longest = self.longest_wild
        if not longest:
            return None
        at = host.find(b".", max(1, len(host) - longest))
        while at > 0:
            site = self.wild.get(host[at:])
            if site is not None and (pool := site.match(path)) is not None:
                return pool
            at = host.find(b".", at + 1)
        return None

    def all(self, host: bytes, path: bytes) -> Iterator[Pool]:
        """Every route that fits, the one that takes precedence first."""
        site = self.exact.get(host)
        if site is not None:
            yield from site.all(path)
        while (pool := self.match_wild(host, path)) is not None:
            pattern = pool.route.host.encode()
            yield from self.wild[pattern[1:]].all(path)
            host = pattern[2:]

    def put(self, pool: Pool) -> None:
        sites, host = self._place(pool)
        site = sites.get(host)
        if site is None:
            site = sites[host] = _Site()
            if sites is self.wild:
                self.longest_wild = max(self.longest_wild, len(host))
        prefix = _prefix(pool)
        site.pools[prefix] = pool
        site.longest = max(site.longest, len(prefix))

    def remove(self, pool: Pool) -> None:
        sites, host = self._place(pool)
        site = sites.get(host)
        prefix = _prefix(pool)
        if site is not None and site.pools.get(prefix) is pool:
            del site.pools[prefix]
            if not site.pools:
                del sites[host]

    def _place(self, pool: Pool) -> tuple[dict[bytes, _Site], bytes]:
        host = pool.route.host.encode()
        return (self.wild, host[1:]) if host.startswith(b"*.") else (self.exact, host)


class Table:
    """All routes of a worker. Changed by `World` only."""

    __slots__ = ("_exact", "_held", "_open", "has_held")

    def __init__(self) -> None:
        self._open = _Index()
        self._exact = self._open.exact
        self._held = _Index()
        self.has_held = False
        """Are there held routes: does it matter what a request selects?"""

    def match(self, host: bytes, path: bytes, internal: bool) -> Pool | Miss:
        """The route for a request that selects nothing.

        `host`: lower case, without port; `path`: the target up to `?`; `internal`: is
        the entrypoint an internal one?
        """
        site = self._exact.get(host)
        pool = site.match(path) if site is not None else None
        if pool is None:
            pool = self._open.match_wild(host, path)
            if pool is None:
                return Miss.UNKNOWN_HOST
        if pool.internal and not internal:
            return Miss.INTERNAL_ONLY
        return pool

    def match_selected(
        self,
        host: bytes,
        path: bytes,
        internal: bool,
        cookies: bytes | None,
        selector: bytes | None,
    ) -> Pool | Miss:
        """The route for a request that may select a service, see `Pool.decide`."""
        if selector is not None or (cookies is not None and SELECTOR_COOKIE in cookies):
            for pool in self.held_before(host, path):
                if pool.is_selected(cookies, selector):
                    return Miss.INTERNAL_ONLY if pool.internal and not internal else pool
        return self.match(host, path, internal)

    def held_before(self, host: bytes, path: bytes) -> Iterator[Pool]:
        """The held routes that would be matched if they were not, best first."""
        found = self.match(host, path, internal=True)
        for pool in self._held.all(host, path):
            if isinstance(found, Pool) and _rank(found) > _rank(pool):
                return
            yield pool

    def put(self, pool: Pool) -> None:
        """Add a route. One of the same host and path is replaced, if it is as held or as open."""
        (self._held if pool.route.held else self._open).put(pool)
        self.has_held = self.has_held or pool.route.held

    def remove(self, pool: Pool) -> None:
        """Take a route out, unless another has taken its place."""
        if pool.route.held:
            self._held.remove(pool)
            self.has_held = bool(self._held.exact or self._held.wild)
        else:
            self._open.remove(pool)


def _prefix(pool: Pool) -> bytes:
    return pool.route.path.rstrip("/").encode()


def _rank(pool: Pool) -> tuple[bool, int, int]:
    """Of two routes that fit a request, the one of greater rank gets it."""
    host = pool.route.host
    return not host.startswith("*."), len(host), len(pool.route.path)
