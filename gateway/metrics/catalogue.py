"""Every metric of the gateway: one entry each, and the cell layout that follows from them.

A worker's counters stand in shared memory as records of plain 64-bit cells
(`shared.py`). What a record is about is its `Scope`; the metrics of a scope lie
side by side in its records, in the order of this catalogue. So a new metric is
one entry here, and the line that counts it.

Must not know prometheus_client. Invariant: a counter or histogram carries
every label that tells two records of its scope apart (application and version
follow from the service), so one series is one record per worker and can't go
down because a sibling record was retired. Gauges may be summed over records.

Durations are stored in whole nanoseconds.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum


class Kind(Enum):
    """The Prometheus type of a metric."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Source(Enum):
    """Who knows the value."""

    WORKER = "worker"
    """Summed over the regions of all workers, the dead ones included."""
    INTERNAL = "internal"
    """Likewise, but for the control process only: never on the metrics page."""
    CONTROL = "control"
    """Handed in by the control process at the time of the scrape."""


class Scope(IntEnum):
    """What a record in a worker's region is about; the number is its wire form."""

    TRAFFIC = 1
    """A service on a route."""
    RESPONSE = 2
    """Answers of one method and status of a service on a route."""
    SERVICE = 3
    UPSTREAM_ERROR = 4
    """Failures of a service for one reason."""
    ENTRYPOINT = 5
    INSTANCE = 6
    WORKER = 7

    __hash__ = int.__hash__
    """That of Enum is written in Python and costs each look-up of a key 0.2 us."""


KEYS: Mapping[Scope, tuple[str, ...]] = {
    Scope.TRAFFIC: ("route", "application", "service", "version"),
    Scope.RESPONSE: ("route", "application", "service", "version", "method", "code"),
    Scope.SERVICE: ("service",),
    Scope.UPSTREAM_ERROR: ("service", "reason"),
    Scope.ENTRYPOINT: ("entrypoint",),
    Scope.INSTANCE: ("service", "instance"),
    Scope.WORKER: (),
}
"""The parts of a record's key, by their label names; `service` is its full id here."""

DURATION_BUCKETS_S = (
    *(0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.03, 0.05),
    *(0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0),
)
CONNECT_BUCKETS_S = (
    *(0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
)
STICKY_RESULTS = ("new", "hit", "moved")
REFUSALS = ("address_limit", "proxy_header")


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. `labels` in the order they are shown; `service` is the short name there,
    so its application stands beside it.

    `variants` are the fixed values of the last label: such a metric has one
    cell for each of them in the same record.
    """

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str
    source: Source
    scope: Scope | None = None
    """None: not in the workers' memory."""
    buckets: tuple[float, ...] = ()
    """Upper bounds, the infinite one left out."""
    variants: tuple[str, ...] = ()

    @property
    def cells(self) -> int:
        """Cells it takes in a record; a histogram has its sum, then one a bucket."""
        if self.kind is Kind.HISTOGRAM:
            return len(self.buckets) + 2
        return len(self.variants) or 1


def _worker(
    name: str,
    kind: Kind,
    scope: Scope,
    labels: tuple[str, ...],
    text: str,
    buckets: tuple[float, ...] = (),
    variants: tuple[str, ...] = (),
) -> Metric:
    return Metric(name, kind, labels, text, Source.WORKER, scope, buckets, variants)


def _control(name: str, kind: Kind, labels: tuple[str, ...], text: str) -> Metric:
    return Metric(name, kind, labels, text, Source.CONTROL)


METRICS: tuple[Metric, ...] = (
    _worker(
        "gateway_requests_total",
        Kind.COUNTER,
        Scope.RESPONSE,
        ("route", "application", "service", "version", "method", "code"),
        "Requests by the status the client was told. Those that reached no route have empty "
        "labels route, application, service and version; methods HTTP does not name are `other`.",
    ),
    _worker(
        "gateway_request_duration_seconds",
        Kind.HISTOGRAM,
        Scope.TRAFFIC,
        ("route", "application", "service", "version"),
        "Time from a request's head to the end of its answer.",
        buckets=DURATION_BUCKETS_S,
    ),
    _worker(
        "gateway_request_bytes_total",
        Kind.COUNTER,
        Scope.TRAFFIC,
        ("route", "application", "service", "version"),
        "Bytes received from clients.",
    ),
    _worker(
        "gateway_response_bytes_total",
        Kind.COUNTER,
        Scope.TRAFFIC,
        ("route", "application", "service", "version"),
        "Bytes sent to clients.",
    ),
    _worker(
        "gateway_in_flight_requests",
        Kind.GAUGE,
        Scope.TRAFFIC,
        ("application", "service"),
        "Requests a service is working on now.",
    ),
    _worker(
        "gateway_waiting_requests",
        Kind.GAUGE,
        Scope.TRAFFIC,
        ("application", "service"),
        "Requests that wait for an instance with less than limits.in_flight requests.",
    ),
    _worker(
        "gateway_websockets_open",
        Kind.GAUGE,
        Scope.TRAFFIC,
        ("application", "service"),
        "Tunnels (WebSockets) open to a service now.",
    ),
    _worker(
        "gateway_spilled_requests_total",
        Kind.COUNTER,
        Scope.TRAFFIC,
        ("route", "application", "service"),
        "Requests a service took because the one they were meant for had no usable instance.",
    ),
    _worker(
        "gateway_sticky_requests_total",
        Kind.COUNTER,
        Scope.TRAFFIC,
        ("route", "application", "service", "result"),
        "Requests under session affinity: `new` got a pin, `hit` followed theirs, `moved` "
        "could not follow it and got another.",
        variants=STICKY_RESULTS,
    ),
    _worker(
        "gateway_upstream_connect_seconds",
        Kind.HISTOGRAM,
        Scope.SERVICE,
        ("application", "service"),
        "Time it took to open a connection to an instance.",
        buckets=CONNECT_BUCKETS_S,
    ),
    _worker(
        "gateway_retries_total",
        Kind.COUNTER,
        Scope.SERVICE,
        ("application", "service"),
        "Further tries of requests whose first try failed.",
    ),
    _worker(
        "gateway_upstream_errors_total",
        Kind.COUNTER,
        Scope.UPSTREAM_ERROR,
        ("application", "service", "reason"),
        "Failures of a service by Envoy's response flags: UH no healthy instance, "
        "UF connection failed, UT timeout, UC connection broke, UPE invalid answer, UO overload.",
    ),
    _worker(
        "gateway_open_connections",
        Kind.GAUGE,
        Scope.ENTRYPOINT,
        ("entrypoint",),
        "Open client connections.",
    ),
    _worker(
        "gateway_refused_connections_total",
        Kind.COUNTER,
        Scope.ENTRYPOINT,
        ("entrypoint", "reason"),
        "Client connections closed before a request: `address_limit` too many of one address, "
        "`proxy_header` no valid PROXY header, or from somebody who may not send one.",
        variants=REFUSALS,
    ),
    _worker(
        "gateway_tls_handshake_failures_total",
        Kind.COUNTER,
        Scope.ENTRYPOINT,
        ("entrypoint",),
        "TLS handshakes of clients that failed, were refused or took too long.",
    ),
    _worker(
        "gateway_access_log_dropped_lines_total",
        Kind.COUNTER,
        Scope.WORKER,
        (),
        "Lines of the access log that were lost because it could not be written.",
    ),
    _control(
        "gateway_route_weight",
        Kind.GAUGE,
        ("route", "application", "service"),
        "Desired weight of a service on a route.",
    ),
    _control(
        "gateway_route_invalid",
        Kind.GAUGE,
        ("route", "reason"),
        "1 for a route that cannot serve as it stands, or not as labels say, with the reason.",
    ),
    _control(
        "gateway_provider_up",
        Kind.GAUGE,
        ("provider",),
        "1 while a provider (docker) can be asked where instances are, 0 while what it said last counts.",
    ),
    _control(
        "gateway_instances",
        Kind.GAUGE,
        ("application", "service", "state"),
        "Instances of a service by state: up, draining, ejected, down.",
    ),
    _control(
        "gateway_release_phase",
        Kind.GAUGE,
        ("application", "phase"),
        "1 for the phase of an application's latest release, 0 for the others.",
    ),
    _control(
        "gateway_release_phase_seconds",
        Kind.GAUGE,
        ("application",),
        "How long an application's latest release has been in its phase.",
    ),
    _control(
        "gateway_config_generation",
        Kind.GAUGE,
        (),
        "Generation of the published snapshot.",
    ),
    _control(
        "gateway_snapshot_age_seconds",
        Kind.GAUGE,
        (),
        "Time since the published snapshot was made.",
    ),
    _control(
        "gateway_control_up",
        Kind.GAUGE,
        (),
        "1 while the control process can change things, 0 while it only reports.",
    ),
    _control(
        "gateway_apply_lag_seconds",
        Kind.GAUGE,
        (),
        "How long the slowest serving worker took to apply the published snapshot, or has been "
        "late by now.",
    ),
    _control(
        "gateway_worker_restarts_total",
        Kind.COUNTER,
        (),
        "Workers started in place of one that had died.",
    ),
    _control(
        "gateway_certificate_expiry_timestamp_seconds",
        Kind.GAUGE,
        ("certificate",),
        "When a certificate in use ends to be valid, in seconds since the epoch, by its file.",
    ),
    _control(
        "gateway_certificate_reload_failed",
        Kind.GAUGE,
        ("certificate",),
        "1 while what stands in the files of a certificate is not usable and the one before "
        "is shown instead.",
    ),
    _control(
        "gateway_unrecorded_series",
        Kind.GAUGE,
        (),
        "Series that found no room in the workers' counter memory and are missing on this page.",
    ),
)

INTERNAL: tuple[Metric, ...] = tuple(
    Metric(name, Kind.GAUGE, ("service", "instance"), text, Source.INTERNAL, Scope.INSTANCE)
    for name, text in (
        ("in_flight", "Requests an instance is working on now: has it drained?"),
        ("websockets", "Tunnels open to an instance now."),
    )
)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the metrics of a scope lie in its records, counted in cells."""

    cells: int
    start: Mapping[str, int]
    """First cell, by metric name."""
    gauges: tuple[int, ...]
    """Cells that hold gauges."""


def _layout(scope: Scope) -> Layout:
    start: dict[str, int] = {}
    gauges: list[int] = []
    cells = 0
    for metric in (*METRICS, *INTERNAL):
        if metric.scope is scope:
            start[metric.name] = cells
            if metric.kind is Kind.GAUGE:
                gauges.extend(range(cells, cells + metric.cells))
            cells += metric.cells
    return Layout(cells, start, tuple(gauges))


LAYOUTS: Mapping[Scope, Layout] = {scope: _layout(scope) for scope in Scope}

FINGERPRINT = zlib.crc32(
    repr(
        [(m.name, m.scope, m.cells, KEYS[m.scope]) for m in (*METRICS, *INTERNAL) if m.scope]
    ).encode()
)
"""Of the layout: memory written by a program with another one is not read."""
