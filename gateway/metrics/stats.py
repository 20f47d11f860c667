"""Traffic of the last minutes, per route and service, for people and dashboards.

For the control process, which samples once a second and passes the time in.
What grew is kept as sparse counts in slots of 5 s; each window carries a
running sum of its slots, so that a question costs what it asks for, and memory
follows the traffic, not the number of routes.

A window's span is therefore up to 5 s longer than its name says (and shorter
while the process is young); rates are over the real span. Quantiles are
interpolated inside the histogram's buckets (`DURATION_BUCKETS_S`), as
Prometheus does it.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from .catalogue import DURATION_BUCKETS_S, KEYS, LAYOUTS, STICKY_RESULTS, Scope
from .merge import Merger
from .shared import Key

WINDOWS_S = (60, 300)
SLOT_S = 5.0

Pair = tuple[str, str]
"""Route and service."""

_REQUESTS, _ERRORS, _STICKY, _BUCKETS = range(4)
_SIZE = _BUCKETS + len(DURATION_BUCKETS_S) + 1
_TRAFFIC = LAYOUTS[Scope.TRAFFIC].start
_FIRST_BUCKET = _TRAFFIC["gateway_request_duration_seconds"] + 1
_HIT = _TRAFFIC["gateway_sticky_requests_total"] + STICKY_RESULTS.index("hit")
_ROUTE = KEYS[Scope.TRAFFIC].index("route")
_SERVICE = KEYS[Scope.TRAFFIC].index("service")
_CODE = KEYS[Scope.RESPONSE].index("code")


@dataclass(frozen=True, slots=True)
class Traffic:
    """What went through a route or a service in a window. Quantiles are seconds, None without
    requests."""

    requests: int
    rate: float
    """Finished requests per second."""
    error_ratio: float
    """Part of the requests answered with 5xx."""
    p50_s: float | None
    p90_s: float | None
    p99_s: float | None
    in_flight: int
    """Now."""
    websockets: int
    """Open now."""
    sticky_share: float
    """Part of the requests that followed their pin and not the weights."""


@dataclass(frozen=True, slots=True)
class Report:
    """Everything with traffic in a window or open work now; requests that reached no route
    (or, in `services`, no service) stand under the empty name."""

    window_s: int
    span_s: float
    """The time it really covers."""
    routes: Mapping[str, Traffic]
    services: Mapping[str, Traffic]
    pairs: Mapping[Pair, Traffic]
    """By route and service."""


@dataclass(slots=True)
class _Slot:
    begin: float
    end: float
    grown: dict[Pair, dict[int, int]] = field(default_factory=dict)


class _Window:
    """The sums of the slots of the last `seconds`."""

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds
        self.slots: deque[_Slot] = deque()
        self.sums: dict[Pair, list[int]] = {}

    def add(
        self, slot: _Slot, grown: Mapping[Pair, Mapping[int, int]], lock: threading.Lock
    ) -> None:
        if not self.slots or self.slots[-1] is not slot:
            self.slots.append(slot)
        for pair, counts in grown.items():
            with lock:
                sums = self.sums.get(pair)
                if sums is None:
                    sums = self.sums[pair] = [0] * _SIZE
                for i, count in counts.items():
                    sums[i] += count

    def expire(self, now: float, lock: threading.Lock) -> None:
        while self.slots and self.slots[0].end <= now - self.seconds:
            for pair, counts in self.slots.popleft().grown.items():
                with lock:
                    sums = self.sums[pair]
                    for i, count in counts.items():
                        sums[i] -= count
                    if not any(sums):
                        del self.sums[pair]


class StatsWindow:
    """Samples a `Merger`; answers for the windows of `WINDOWS_S`.

    `sample` may run in another thread than those who ask, who wait for one pair at most.
    It takes the merger's growth: there must be one `StatsWindow` per merger.
    What was counted before it was made is not traffic of the last minutes.
    """

    def __init__(self, merger: Merger, now: float) -> None:
        self._merger = merger
        merger.refresh()
        merger.take_growth()
        self._sampled = now
        self._slot = _Slot(now, now)
        self._windows = {seconds: _Window(seconds) for seconds in WINDOWS_S}
        self._errors: Counter[str] = Counter()
        self._lock = threading.Lock()
        """Over the windows' sums; held for one pair by who samples."""
        self._slots: frozenset[int] = frozenset()

    def sample(self, now: float, live_slots: frozenset[int]) -> None:
        """Look at the counters. `live_slots`: workers alive, whose gauges count."""
        self._merger.refresh()
        self._slots = live_slots
        if now - self._slot.begin >= SLOT_S + 1e-9:
            self._slot = _Slot(self._sampled, now)
        self._slot.end = self._sampled = now
        grown = _grown(self._merger.take_growth())
        for pair, counts in grown.items():
            if errors := counts.get(_ERRORS):
                self._errors[pair[1]] += errors
            into = self._slot.grown.setdefault(pair, {})
            for i, count in counts.items():
                into[i] = into.get(i, 0) + count
        for window in self._windows.values():
            window.add(self._slot, grown, self._lock)
            window.expire(now, self._lock)

    def errors(self, service: str) -> int:
        """How many answers of a service were 5xx since this was made, as of the last sample."""
        return self._errors[service]

    def report(self, window_s: int) -> Report:
        """All of a window (one of `WINDOWS_S`, else KeyError) as of the last sample."""
        window = self._windows[window_s]
        work = self._open_work()
        with self._lock:
            return self._report(window, work)

    def _report(self, window: _Window, work: Mapping[Pair, tuple[int, int]]) -> Report:
        pairs = window.sums.keys() | work.keys()
        routes: dict[str, list[Pair]] = {}
        services: dict[str, list[Pair]] = {}
        for pair in pairs:
            routes.setdefault(pair[0], []).append(pair)
            services.setdefault(pair[1], []).append(pair)
        span = self._span(window)

        def of(pairs: Iterable[Pair]) -> Traffic:
            return _traffic(pairs, window.sums, work, span)

        return Report(
            window_s=window.seconds,
            span_s=span,
            routes={route: of(members) for route, members in routes.items()},
            services={service: of(members) for service, members in services.items()},
            pairs={pair: of([pair]) for pair in pairs},
        )

    def pair(self, route: str, service: str, window_s: int) -> Traffic:
        """One service on one route; all 0 if there was nothing."""
        window = self._windows[window_s]
        work = self._open_work()
        with self._lock:
            return _traffic([(route, service)], window.sums, work, self._span(window))

    def _span(self, window: _Window) -> float:
        begin = next((slot.begin for slot in list(window.slots)), self._sampled)
        return max(self._sampled - begin, 1.0)

    def _open_work(self) -> dict[Pair, tuple[int, int]]:
        work: dict[Pair, tuple[int, int]] = {}
        for place, name in enumerate(("gateway_in_flight_requests", "gateway_websockets_open")):
            values = self._merger.gauge(Scope.TRAFFIC, name, self._slots)
            for labels, value in values.items():
                pair = labels[_ROUTE], labels[_SERVICE]
                before = work.get(pair, (0, 0))
                work[pair] = (before[0], value) if place else (value, before[1])
        return work


def _grown(growth: Mapping[Key, Sequence[int]]) -> dict[Pair, dict[int, int]]:
    grown: dict[Pair, dict[int, int]] = {}
    for (scope, labels), cells in growth.items():
        if scope is Scope.RESPONSE:
            counts = {_REQUESTS: cells[0]}
            if labels[_CODE].startswith("5"):
                counts[_ERRORS] = cells[0]
        elif scope is Scope.TRAFFIC:
            buckets = cells[_FIRST_BUCKET : _FIRST_BUCKET + len(DURATION_BUCKETS_S) + 1]
            counts = {_BUCKETS + i: count for i, count in enumerate(buckets) if count}
            if cells[_HIT]:
                counts[_STICKY] = cells[_HIT]
        else:
            continue
        into = grown.setdefault((labels[_ROUTE], labels[_SERVICE]), {})
        for i, count in counts.items():
            into[i] = into.get(i, 0) + count
    return grown


def _traffic(
    pairs: Iterable[Pair],
    sums: Mapping[Pair, Sequence[int]],
    work: Mapping[Pair, tuple[int, int]],
    span_s: float,
) -> Traffic:
    total = [0] * _SIZE
    in_flight = websockets = 0
    for pair in pairs:
        counted = sums.get(pair)
        if counted is not None:
            total = [a + b for a, b in zip(total, counted, strict=True)]
        now = work.get(pair, (0, 0))
        in_flight += now[0]
        websockets += now[1]
    requests = total[_REQUESTS]
    buckets = total[_BUCKETS:]
    return Traffic(
        requests=requests,
        rate=requests / span_s,
        error_ratio=total[_ERRORS] / requests if requests else 0.0,
        p50_s=quantile(0.5, buckets, DURATION_BUCKETS_S),
        p90_s=quantile(0.9, buckets, DURATION_BUCKETS_S),
        p99_s=quantile(0.99, buckets, DURATION_BUCKETS_S),
        in_flight=in_flight,
        websockets=websockets,
        sticky_share=min(1.0, total[_STICKY] / requests) if requests else 0.0,
    )


def quantile(q: float, counts: Sequence[int], bounds: Sequence[float]) -> float | None:
    """The `q`-quantile of a histogram, linear inside a bucket; None if it is empty.

    `counts` has one more entry than `bounds`, for what lies above them all; a
    quantile there is given as the highest bound (as by Prometheus).
    """
    total = sum(counts)
    if not total:
        return None
    rank = q * total
    below = 0
    lower = 0.0
    for count, upper in zip(counts, bounds, strict=False):
        if count and below + count >= rank:
            return lower + (upper - lower) * (rank - below) / count
        below += count
        lower = upper
    return bounds[-1]
