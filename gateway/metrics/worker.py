"""What a worker counts: handles that the data plane keeps and adds to.

A handle is looked up once per route and service, then costs plain additions to
shared memory (`shared.py`) that outlives the worker. Must not know
prometheus_client, clocks or sockets.

Invariants: a handle never raises on the request path, also after its service
was retired or when the region is full (it then counts into private memory);
labels never hold what a client sent.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol


class Gauge(Protocol):
    """A number that goes up and down; zeroed when a successor takes the region over."""

    def add(self, amount: int) -> None:
        """Add `amount` (+1, -1)."""


class ServiceSeries(Protocol):
    """The handles of one service on one route. Cached: ask once, keep it with the pool."""

    in_flight: Gauge
    """Requests handed to the service and not finished."""
    websockets: Gauge
    """Open tunnels."""

    def finish(
        self, method: bytes, status: int, seconds: float, request_bytes: int, response_bytes: int
    ) -> None:
        """Count one finished request. `seconds`: from its head to the end of its answer.

        `status` is what the client was told. Does not touch `in_flight`.
        """

    def connect_seconds(self, seconds: float) -> None:
        """Count a new upstream connection and how long it took to open."""

    def upstream_error(self, reason: str) -> None:
        """Count a failure of the service by its two-letter reason (`UF`, `UT`, ...)."""

    def retried(self) -> None:
        """Count one more try of a request."""

    def spilled(self) -> None:
        """Count a request that this service took because another had no usable instance."""

    def sticky(self, result: str) -> None:
        """Count an affinity result: `new`, `hit` or `moved`; anything else is ignored."""


class WorkerMetrics(Protocol):
    """All a worker counts, in the memory region behind `fd` (kept open by the caller)."""

    def __init__(self, fd: int) -> None: ...

    def series(self, route: str, application: str, service: str, version: str) -> ServiceSeries:
        """The handles of `service` (full id) on `route`; the same object every time.

        A request that reached a route but no service is counted with
        `series(route, "", "", "")`.
        """

    def entrypoint(self, name: str) -> Gauge:
        """Open client connections of an entrypoint."""

    def unrouted(self, method: bytes, status: int) -> None:
        """Count a request that reached no route (404, 400, ...)."""

    def retire(self, services: Collection[str], routes: Collection[str] = ()) -> None:
        """Free the records of services and routes that are gone from the snapshot.

        Handles still held by open requests stay callable and count nowhere.
        """

    def retain(self, services: Collection[str], routes: Collection[str]) -> None:
        """Retire everything else: for the first snapshot that control sends a new worker.

        A predecessor may have left records of services removed since.
        """
