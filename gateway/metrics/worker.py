# cython: language_level=3, annotation_typing=False
"""What a worker counts: handles that the data plane keeps and adds to.

A handle is looked up once per route and service, then costs plain additions to
shared memory (`shared.py`) that outlives the worker. Must not know
prometheus_client, clocks or sockets.

Invariants: a handle never raises on the request path, also after its service
was retired or when the region is full (it then counts into private memory that
nobody reads); labels never hold what a client sent.

Fast and ugly on purpose is `ServiceSeries.finish`: constants instead of
look-ups in the layout, one `memoryview` per record. Measured interpreted under
CPython 3.11: 0.6 us, of which 0.05 us for each cell.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Collection, Iterable

from .catalogue import (
    CONNECT_BUCKETS_S,
    DURATION_BUCKETS_S,
    KEYS,
    LAYOUTS,
    REFUSALS,
    STICKY_RESULTS,
    Scope,
)
from .shared import Key, Region

METHODS = frozenset(
    {b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"CONNECT", b"OPTIONS", b"TRACE", b"PATCH"}
)
"""Methods with a label of their own (RFC 9110, RFC 5789); all others are `other`."""

_TRAFFIC = LAYOUTS[Scope.TRAFFIC].start
_DURATION = _TRAFFIC["gateway_request_duration_seconds"]
_DURATION_BUCKETS = _DURATION + 1
_REQUEST_BYTES = _TRAFFIC["gateway_request_bytes_total"]
_RESPONSE_BYTES = _TRAFFIC["gateway_response_bytes_total"]
_IN_FLIGHT = _TRAFFIC["gateway_in_flight_requests"]
_WAITING = _TRAFFIC["gateway_waiting_requests"]
_WEBSOCKETS = _TRAFFIC["gateway_websockets_open"]
_SPILLED = _TRAFFIC["gateway_spilled_requests_total"]
_STICKY = {
    result: _TRAFFIC["gateway_sticky_requests_total"] + i for i, result in enumerate(STICKY_RESULTS)
}
_SERVICE = LAYOUTS[Scope.SERVICE].start
_CONNECT = _SERVICE["gateway_upstream_connect_seconds"]
_CONNECT_BUCKETS = _CONNECT + 1
_RETRIES = _SERVICE["gateway_retries_total"]
_OPEN = LAYOUTS[Scope.ENTRYPOINT].start["gateway_open_connections"]
_REFUSED = {
    reason: LAYOUTS[Scope.ENTRYPOINT].start["gateway_refused_connections_total"] + offset
    for offset, reason in enumerate(REFUSALS)
}
_HANDSHAKE_FAILURES = LAYOUTS[Scope.ENTRYPOINT].start["gateway_tls_handshake_failures_total"]
_INSTANCE_IN_FLIGHT = LAYOUTS[Scope.INSTANCE].start["in_flight"]
_INSTANCE_WEBSOCKETS = LAYOUTS[Scope.INSTANCE].start["websockets"]
_DURATION_BOUNDS = memoryview(array("d", DURATION_BUCKETS_S))
_BOUNDS = len(DURATION_BUCKETS_S)
_NS = 1e9


def _private(scope: Scope) -> memoryview:
    """Cells that nobody reads."""
    return memoryview(bytearray(8 * LAYOUTS[scope].cells)).cast("q")


class Gauge:
    """A number that goes up and down; begins at 0 when a successor takes the region over."""

    __slots__ = ("_at", "_cells")

    def __init__(self, cells: memoryview, at: int) -> None:
        self._cells = cells
        self._at = at

    def add(self, amount: int) -> None:
        """Add `amount` (+1, -1)."""
        self._cells[self._at] += amount

    @property
    def value(self) -> int:
        """This worker's part of it."""
        value: int = self._cells[self._at]
        return value

    def detach(self) -> None:
        """Count nowhere from now on."""
        value = self.value
        self._cells = memoryview(bytearray(8)).cast("q")
        self._at = 0
        self._cells[0] = value


Codes = dict[bytes, dict[int, Gauge]]
"""Answers by method and status; methods without a label of their own stand under b""."""


class _ServiceCells:
    """What a service counts over all its routes in this worker."""

    __slots__ = ("_owner", "_reasons", "cells", "name")

    def __init__(self, owner: WorkerMetrics, name: str) -> None:
        self._owner: WorkerMetrics | None = owner
        self._reasons: dict[str, memoryview] = {}
        self.name = name
        self.cells = owner.take(Scope.SERVICE, (name,)) if name else _private(Scope.SERVICE)

    def upstream_error(self, reason: str) -> None:
        cells = self._reasons.get(reason)
        if cells is None:
            if self._owner is None:
                return
            cells = self._owner.take(Scope.UPSTREAM_ERROR, (self.name, reason))
            self._reasons[reason] = cells
        cells[0] += 1

    def detach(self) -> None:
        self._owner = None
        self._reasons.clear()
        self.cells = _private(Scope.SERVICE)


class ServiceSeries:
    """The handles of one service on one route. Ask once, keep it with the pool."""

    __slots__ = (
        "_codes",
        "_key",
        "_owner",
        "_service",
        "_traffic",
        "in_flight",
        "waiting",
        "websockets",
    )

    def __init__(
        self, owner: WorkerMetrics, key: tuple[str, str, str, str], service: _ServiceCells
    ) -> None:
        self._owner: WorkerMetrics | None = owner
        self._key = key
        self._service = service
        self._traffic = owner.take(Scope.TRAFFIC, key)
        self._codes: Codes = {}
        self.in_flight = Gauge(self._traffic, _IN_FLIGHT)
        """Requests handed to the service and not finished."""
        self.waiting = Gauge(self._traffic, _WAITING)
        """Requests that wait for room at the service."""
        self.websockets = Gauge(self._traffic, _WEBSOCKETS)
        """Open tunnels."""

    def finish(
        self, method: bytes, status: int, seconds: float, request_bytes: int, response_bytes: int
    ) -> None:
        """Count one finished request. `seconds`: from its head to the end of its answer.

        `status` is what the client was told. Does not touch `in_flight`.
        """
        of_method = self._codes.get(method)
        answers = None if of_method is None else of_method.get(status)
        if answers is None:
            answers = self._new_code(method, status)
        answers.add(1)
        cells = self._traffic
        nanoseconds = int(seconds * _NS)
        cells[_DURATION] += nanoseconds
        at = 0  # the buckets grow: nearly always one of the first
        while at < _BOUNDS and seconds > _DURATION_BOUNDS[at]:
            at += 1
        cells[_DURATION_BUCKETS + at] += 1
        cells[_REQUEST_BYTES] += request_bytes
        cells[_RESPONSE_BYTES] += response_bytes

    def _new_code(self, method: bytes, status: int) -> Gauge:
        if self._owner is None:
            return Gauge(_private(Scope.RESPONSE), 0)
        return self._owner.responses(self._codes, self._key, method, status)

    def connect_seconds(self, seconds: float) -> None:
        """Count a new upstream connection and how long it took to open."""
        cells = self._service.cells
        cells[_CONNECT] += int(seconds * _NS)
        cells[_CONNECT_BUCKETS + bisect_left(CONNECT_BUCKETS_S, seconds)] += 1

    def upstream_error(self, reason: str) -> None:
        """Count a failure of the service by its two-letter reason (`UF`, `UT`, ...)."""
        self._service.upstream_error(reason)

    def retried(self) -> None:
        """Count one more try of a request."""
        self._service.cells[_RETRIES] += 1

    def spilled(self) -> None:
        """Count a request that this service took because another had no usable instance."""
        self._traffic[_SPILLED] += 1

    def sticky(self, result: str) -> None:
        """Count an affinity result: `new`, `hit` or `moved`; anything else is ignored."""
        cell = _STICKY.get(result)
        if cell is not None:
            self._traffic[cell] += 1

    def detach(self) -> None:
        """Count nowhere from now on: open requests may still hold this."""
        self._owner = None
        self._codes.clear()
        self._traffic = _private(Scope.TRAFFIC)
        self.in_flight.detach()
        self.waiting.detach()
        self.websockets.detach()


class WorkerMetrics:
    """All a worker counts, in the memory region behind `fd`.

    There must be one `WorkerMetrics` per region at a time.
    """

    def __init__(self, fd: int) -> None:
        """Goes on where a predecessor ended. Raises BadRegion if `fd` is no region."""
        self._region = Region(fd)
        self._series: dict[tuple[str, str], ServiceSeries] = {}
        self._services: dict[str, _ServiceCells] = {}
        self._entrypoints: dict[str, Gauge] = {}
        self._instances: dict[tuple[str, str], memoryview] = {}
        self._unrouted: Codes = {}
        self._of_service: dict[str, set[Key]] = {}
        self._of_route: dict[str, set[Key]] = {}
        for key in self._region:
            self._note(key)
        self._worker = self.take(Scope.WORKER, ())

    def series(self, route: str, application: str, service: str, version: str) -> ServiceSeries:
        """The handles of `service` (full id) on `route`; the same object every time.

        A request that reached a route but no service is counted with
        `series(route, "", "", "")`.
        """
        series = self._series.get((route, service))
        if series is None:
            of_service = self._services.get(service)
            if of_service is None:
                of_service = self._services[service] = _ServiceCells(self, service)
            series = ServiceSeries(self, (route, application, service, version), of_service)
            self._series[route, service] = series
        return series

    def entrypoint(self, name: str) -> Gauge:
        """Open client connections of an entrypoint; the same object every time."""
        gauge = self._entrypoints.get(name)
        if gauge is None:
            gauge = Gauge(self.take(Scope.ENTRYPOINT, (name,)), _OPEN)
            self._entrypoints[name] = gauge
        return gauge

    def connection_refused(self, entrypoint: str, reason: str) -> None:
        """Count a connection that was closed before a request; `reason` is one of `REFUSALS`."""
        self.take(Scope.ENTRYPOINT, (entrypoint,))[_REFUSED[reason]] += 1

    def handshake_failed(self, entrypoint: str) -> None:
        """Count a TLS handshake that came to nothing."""
        self.take(Scope.ENTRYPOINT, (entrypoint,))[_HANDSHAKE_FAILURES] += 1

    def show_instance(self, service: str, instance: str, in_flight: int, websockets: int) -> None:
        """What is open to `instance` of `service` (full id) now; as often as control should see it."""
        cells = self._instances.get((service, instance))
        if cells is None:
            cells = self.take(Scope.INSTANCE, (service, instance))
            self._instances[service, instance] = cells
        cells[_INSTANCE_IN_FLIGHT] = in_flight
        cells[_INSTANCE_WEBSOCKETS] = websockets

    def log_lines_dropped(self, lines: int) -> None:
        """Count lines of the access log that were lost."""
        self._worker[0] += lines

    def unrouted(self, method: bytes, status: int) -> None:
        """Count a request that reached no route (404, 400, ...)."""
        answers = self._unrouted.get(method, {}).get(status)
        if answers is None:
            answers = self.responses(self._unrouted, ("", "", "", ""), method, status)
        answers.add(1)

    def retire(
        self,
        services: Collection[str],
        routes: Collection[str] = (),
        instances: Collection[tuple[str, str]] = (),
    ) -> None:
        """Free the records of what is gone from the snapshot; instances by service and id.

        Handles still held by open requests stay callable and count nowhere. A
        service that comes back begins anew.
        """
        gone_services = frozenset(services) - {""}
        gone_routes = frozenset(routes) - {""}
        gone_instances = frozenset(instances)
        for pair in [p for p in self._series if p[0] in gone_routes or p[1] in gone_services]:
            self._series.pop(pair).detach()
        for pair in [p for p in self._instances if p in gone_instances or p[0] in gone_services]:
            del self._instances[pair]
        self._release((Scope.INSTANCE, pair) for pair in gone_instances)
        for service in gone_services:
            of_service = self._services.pop(service, None)
            if of_service is not None:
                of_service.detach()
            self._release(self._of_service.get(service, ()))
        for route in gone_routes:
            self._release(self._of_route.get(route, ()))

    def retain(self, services: Collection[str], routes: Collection[str]) -> None:
        """Retire everything else: for the first snapshot that control sends a new worker.

        A predecessor may have left records of what was removed since.
        """
        self.retire(
            self._of_service.keys() - frozenset(services),
            self._of_route.keys() - frozenset(routes),
        )

    # For the handles.

    def take(self, scope: Scope, values: tuple[str, ...]) -> memoryview:
        """The cells of a record; private ones if the region has no room."""
        cells = self._region.take(scope, values)
        if cells is None:
            return _private(scope)
        self._note((scope, values))
        return cells

    def responses(
        self,
        cache: Codes,
        key: tuple[str, str, str, str],
        method: bytes,
        status: int,
    ) -> Gauge:
        """The cell that counts answers of `status` to `method`, kept in `cache`."""
        if method in METHODS:
            label = method.decode()
        else:  # what a client made up is no key of ours either
            method, label = b"", "other"
            known = cache.get(method, {}).get(status)
            if known is not None:
                return known
        answers = Gauge(self.take(Scope.RESPONSE, (*key, label, str(status))), 0)
        cache.setdefault(method, {})[status] = answers
        return answers

    def _note(self, key: Key) -> None:
        scope, values = key
        labels = KEYS[scope]
        if "service" in labels:
            self._of_service.setdefault(values[labels.index("service")], set()).add(key)
        if "route" in labels:
            self._of_route.setdefault(values[labels.index("route")], set()).add(key)

    def _release(self, keys: Iterable[Key]) -> None:
        for key in list(keys):
            self._region.release(key)
            scope, values = key
            for label, index in (("service", self._of_service), ("route", self._of_route)):
                if label in KEYS[scope]:
                    name = values[KEYS[scope].index(label)]
                    keys_of = index.get(name, set())
                    keys_of.discard(key)
                    if not keys_of:
                        index.pop(name, None)
