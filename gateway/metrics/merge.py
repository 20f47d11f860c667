"""The workers' counters as one set of numbers, and as a page for Prometheus.

For the control process. `Merger` adds up what grew in the regions of all
workers since it last looked; `Collector` shows that, and what the control
process itself knows (`ControlFacts`), in the form of the catalogue.

Invariants: a live series never goes down, whatever dies, starts or is retired:
growth is added, a record that vanishes takes nothing away, and a total is only
forgotten once no worker has a record of it and it is not live. Series of
services and routes that are not live are not shown. Gauges count for workers
that are alive. Keys hold the full id of a service; only the page has it as two
labels, its application and its short name.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector as BaseCollector

from gateway.core.model import ServiceId, split_service_id
from gateway.core.release import Phase

from .catalogue import KEYS, LAYOUTS, METRICS, Kind, Metric, Scope, Source
from .reader import Change, RegionReader
from .shared import Key

Totals = dict[tuple[str, ...], list[int]]
"""Cells of one scope, by key. Gauges in them are of live workers."""


@dataclass(frozen=True, slots=True)
class Live:
    """What there is now: slots of workers that are alive, and the published world."""

    slots: frozenset[int]
    services: frozenset[str]
    """Full ids, of leaving services too."""
    routes: frozenset[str]

    def has(self, key: Key) -> bool:
        """May the series be shown? Empty labels stand for requests that got nowhere."""
        scope, values = key
        labels = KEYS[scope]
        service = values[labels.index("service")] if "service" in labels else ""
        route = values[labels.index("route")] if "route" in labels else ""
        return (not service or service in self.services) and (not route or route in self.routes)


@dataclass(frozen=True, slots=True)
class ControlFacts:
    """What the control process knows at the time of a scrape. Times in seconds."""

    live: Live
    weights: Mapping[tuple[str, ServiceId], int] = field(default_factory=dict)
    """By route and service."""
    invalid_routes: Iterable[tuple[str, str]] = ()
    """Route and reason (a word, such as `no_weight`)."""
    providers: Mapping[str, bool] = field(default_factory=dict)
    """By name: can it be asked?"""
    instances: Mapping[tuple[ServiceId, str], int] = field(default_factory=dict)
    """By service and state (`up`, `draining`, `ejected`, `down`)."""
    release_phases: Mapping[str, tuple[Phase, float]] = field(default_factory=dict)
    """By application: the phase of its latest release, and for how long."""
    generation: int = 0
    snapshot_age_s: float = 0.0
    is_up: bool = True
    """False while the control process cannot change things, e.g. without its store."""
    apply_lag_s: float = 0.0
    worker_restarts: int = 0
    """Of all slots since the supervisor started."""
    certificates: Mapping[str, tuple[float, bool]] = field(default_factory=dict)
    """By file: until when it is valid, and whether a newer one could not be taken."""


class Merger:
    """Sums over the regions of all slots. Safe to use from several threads.

    `fds` are the regions' descriptors in the order of slots; raises BadRegion.
    """

    def __init__(self, fds: Sequence[int]) -> None:
        self._readers = [RegionReader(fd) for fd in fds]
        self._totals: dict[Scope, Totals] = {scope: {} for scope in Scope}
        self._growth: dict[Key, list[int]] = {}
        self._holders: dict[Key, dict[tuple[int, int], tuple[int, ...]]] = {}
        """The cells of each record of it, by slot and record."""
        self._open: set[Key] = set()
        """Keys with a gauge that is not 0 somewhere."""
        self._orphans: set[Key] = set()
        self._names: dict[Key, Key] = {}
        self._lock = threading.Lock()

    def refresh(self) -> None:
        """Look at the regions; others that ask meanwhile wait for a page at most."""
        for slot, reader in enumerate(self._readers):
            for number in reader.pages():
                with self._lock:
                    for change in reader.poll_page(number):
                        self._merge(slot, change)

    def _merge(self, slot: int, change: Change) -> None:
        # One key object for all workers' records of it.
        key = self._names.setdefault(change.key, change.key)
        scope, values = key
        holders = self._holders.setdefault(key, {})
        totals = self._totals[scope].get(values)
        if totals is None:
            totals = self._totals[scope][values] = [0] * LAYOUTS[scope].cells
        if change.after is None:
            holders.pop((slot, change.record), None)
            self._note_gauges(key)
            if not holders:
                self._orphans.add(key)
            return
        self._orphans.discard(key)
        holders[slot, change.record] = change.after
        self._note_gauges(key)
        growth = self._growth.get(key)
        if growth is None:
            growth = self._growth[key] = [0] * len(change.after)
        before = change.before or (0,) * len(change.after)
        for i, (old, new) in enumerate(zip(before, change.after, strict=True)):
            if new > old:
                totals[i] += new - old
                growth[i] += new - old

    def _note_gauges(self, key: Key) -> None:
        cells = LAYOUTS[key[0]].gauges
        if not cells:
            return
        if any(held[cell] for held in self._holders[key].values() for cell in cells):
            self._open.add(key)
        else:
            self._open.discard(key)

    def gauge(self, scope: Scope, name: str, slots: frozenset[int]) -> dict[tuple[str, ...], int]:
        """The values of a gauge that are not 0, by key, summed over the live slots."""
        cell = LAYOUTS[scope].start[name]
        with self._lock:
            values = {key[1]: self._sum(key, cell, slots) for key in self._open if key[0] is scope}
        return {labels: value for labels, value in values.items() if value}

    def _sum(self, key: Key, cell: int, slots: frozenset[int]) -> int:
        holders = self._holders[key]
        return sum(held[cell] for (slot, _), held in holders.items() if slot in slots)

    def take_growth(self) -> dict[Key, list[int]]:
        """How much each cell grew since the last call; those of gauges mean nothing."""
        with self._lock:
            growth, self._growth = self._growth, {}
            return growth

    def totals(self, live: Live) -> dict[Scope, Totals]:
        """Copies of what is live; forgets what is neither live nor held by a worker."""
        with self._lock:
            for key in [k for k in self._orphans if not live.has(k)]:
                self._orphans.discard(key)
                del self._totals[key[0]][key[1]]
                del self._holders[key]
                del self._names[key]
            return {
                scope: {
                    values: self._with_gauges((scope, values), cells, live.slots)
                    for values, cells in totals.items()
                    if live.has((scope, values))
                }
                for scope, totals in self._totals.items()
            }

    def _with_gauges(self, key: Key, cells: list[int], slots: frozenset[int]) -> list[int]:
        cells = cells.copy()
        for cell in LAYOUTS[key[0]].gauges:
            cells[cell] = self._sum(key, cell, slots)
        return cells

    def unrecorded(self) -> int:
        """Series that found no room in their worker's region."""
        return sum(reader.unrecorded for reader in self._readers)


class Collector(BaseCollector):
    """The metrics page: register it with a `CollectorRegistry`. `facts` is asked per scrape."""

    def __init__(self, merger: Merger, facts: Callable[[], ControlFacts]) -> None:
        self._merger = merger
        self._facts = facts

    def describe(self) -> Iterable[Family]:
        """All families, empty: registering must not read the regions."""
        return [_empty_family(metric) for metric in METRICS]

    def collect(self) -> Iterator[Family]:
        """Every metric of the catalogue."""
        facts = self._facts()
        self._merger.refresh()
        totals = self._merger.totals(facts.live)
        known = _known(facts, self._merger.unrecorded())
        for metric in METRICS:
            if metric.source is Source.CONTROL:
                family = _plain_family(metric)
                for labels, value in known[metric.name]:
                    family.add_metric(labels, value)
                yield family
            elif metric.scope is not None:
                yield _merged_family(metric, metric.scope, totals[metric.scope])


def _known(
    facts: ControlFacts, unrecorded: int
) -> Mapping[str, Iterable[tuple[tuple[str, ...], float]]]:
    return {
        "gateway_route_weight": [
            ((route, *split_service_id(service)), weight)
            for (route, service), weight in facts.weights.items()
        ],
        "gateway_route_invalid": [(labels, 1) for labels in facts.invalid_routes],
        "gateway_provider_up": [((name,), int(is_up)) for name, is_up in facts.providers.items()],
        "gateway_instances": [
            ((*split_service_id(service), state), count)
            for (service, state), count in facts.instances.items()
        ],
        "gateway_release_phase": [
            ((application, phase.value), int(phase is current))
            for application, (current, _) in facts.release_phases.items()
            for phase in Phase
        ],
        "gateway_release_phase_seconds": [
            ((application,), seconds) for application, (_, seconds) in facts.release_phases.items()
        ],
        "gateway_config_generation": [((), facts.generation)],
        "gateway_snapshot_age_seconds": [((), facts.snapshot_age_s)],
        "gateway_control_up": [((), int(facts.is_up))],
        "gateway_apply_lag_seconds": [((), facts.apply_lag_s)],
        "gateway_worker_restarts_total": [((), facts.worker_restarts)],
        "gateway_certificate_expiry_timestamp_seconds": [
            ((name,), expiry) for name, (expiry, _) in facts.certificates.items()
        ],
        "gateway_certificate_reload_failed": [
            ((name,), int(has_failed)) for name, (_, has_failed) in facts.certificates.items()
        ],
        "gateway_unrecorded_series": [((), unrecorded)],
    }


def _empty_family(metric: Metric) -> Family:
    return Family(metric.name.removesuffix("_total"), metric.help, metric.kind.value)


def _plain_family(metric: Metric) -> CounterMetricFamily | GaugeMetricFamily:
    kind = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
    return kind(metric.name, metric.help, labels=metric.labels)


def _merged_family(metric: Metric, scope: Scope, totals: Totals) -> Family:
    sums = _project(metric, scope, totals)
    if metric.kind is Kind.HISTOGRAM:
        histogram = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
        bounds = [*map(repr, metric.buckets), "+Inf"]
        for labels, cells in sums.items():
            counts = map(float, accumulate(cells[1:]))
            histogram.add_metric(labels, list(zip(bounds, counts, strict=True)), cells[0] / 1e9)
        return histogram
    family = _plain_family(metric)
    for labels, cells in sums.items():
        if metric.variants:
            for variant, value in zip(metric.variants, cells, strict=True):
                family.add_metric((*labels, variant), value)
        else:
            family.add_metric(labels, cells[0])
    return family


def _project(metric: Metric, scope: Scope, totals: Totals) -> Totals:
    """The cells of a metric, by those labels of its scope that it shows."""
    names = KEYS[scope]
    full_id = names.index("service") if "service" in names else None
    if full_id is not None:
        names = (*names, "application", "service")
    # The last of a name: a service's id has its two parts behind the key.
    place_of = {name: place for place, name in enumerate(names)}
    shown = metric.labels[:-1] if metric.variants else metric.labels
    places = [place_of[label] for label in shown]
    begin = LAYOUTS[scope].start[metric.name]
    end = begin + metric.cells
    sums: Totals = {}
    for values, cells in totals.items():
        if full_id is not None:
            values = (*values, *split_service_id(ServiceId(values[full_id])))
        labels = tuple(values[place] for place in places)
        mine = cells[begin:end]
        known = sums.get(labels)
        if known is not None:
            mine = [a + b for a, b in zip(known, mine, strict=True)]
        sums[labels] = mine
    return sums
