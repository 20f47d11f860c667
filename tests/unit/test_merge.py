"""The metrics page: sums over workers, live series that never go down, valid output."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from gateway.core.model import ServiceId
from gateway.core.release import Phase
from gateway.metrics.catalogue import METRICS, Kind, Scope
from gateway.metrics.merge import Collector, ControlFacts, Live, Merger
from gateway.metrics.shared import PAGE, BadRegion, create_region
from gateway.metrics.worker import WorkerMetrics

Series = tuple[str, tuple[tuple[str, str], ...]]
SERVICES = (ServiceId("app/a-v1"), ServiceId("app/a-v2"))
SHOWN = {"application": "app", "service": "a-v1"}
"""How the first of them stands on the page."""
ROUTES = ("r", "s")


@dataclass
class Gateway:
    """Workers over regions, and the page they give."""

    fds: list[int]
    workers: list[WorkerMetrics] = field(default_factory=list)
    slots: set[int] = field(default_factory=set)
    services: set[str] = field(default_factory=lambda: set(SERVICES))
    routes: set[str] = field(default_factory=lambda: set(ROUTES))
    facts: Callable[[Live], ControlFacts] = ControlFacts

    def __post_init__(self) -> None:
        self.workers = [WorkerMetrics(fd) for fd in self.fds]
        self.slots = set(range(len(self.fds)))
        self.merger = Merger(self.fds)
        self.registry = CollectorRegistry()
        self.registry.register(Collector(self.merger, lambda: self.facts(self.live)))

    @property
    def live(self) -> Live:
        return Live(frozenset(self.slots), frozenset(self.services), frozenset(self.routes))

    def request(
        self, slot: int, service: str = SERVICES[0], route: str = "r", status: int = 200
    ) -> None:
        series = self.workers[slot].series(route, "app", service, service[-2:])
        series.finish(b"GET", status, 0.01, 100, 1000)
        series.connect_seconds(0.001)
        series.retried()
        series.spilled()
        series.sticky("hit")
        series.upstream_error("UF")

    def restart(self, slot: int) -> None:
        self.workers[slot] = WorkerMetrics(self.fds[slot])
        self.slots.add(slot)

    def page(self) -> dict[Series, float]:
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in parse_text(generate_latest(self.registry).decode())
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float | None:
        return self.page().get((name, tuple(sorted(labels.items()))))

    def total(self, name: str, **labels: str) -> float:
        return sum(
            value
            for (found, has), value in self.page().items()
            if found == name and labels.items() <= dict(has).items()
        )


@contextmanager
def gateway(workers: int = 2) -> Iterator[Gateway]:
    fds = [create_region(f"test-{i}", 16 * PAGE) for i in range(workers)]
    try:
        yield Gateway(fds)
    finally:
        for fd in fds:
            os.close(fd)


def test_values_are_sums_over_all_workers_the_dead_ones_included() -> None:
    with gateway() as g:
        g.request(0)
        g.request(1)
        g.slots.remove(1)
        labels = SHOWN | {"route": "r", "version": "v1"}
        assert g.value("gateway_requests_total", **labels, method="GET", code="200") == 2
        assert g.value("gateway_request_duration_seconds_count", **labels) == 2
        assert g.value("gateway_request_duration_seconds_sum", **labels) == 0.02
        assert g.value("gateway_request_duration_seconds_bucket", **labels, le="0.0075") == 0
        assert g.value("gateway_request_duration_seconds_bucket", **labels, le="0.01") == 2
        assert g.value("gateway_request_duration_seconds_bucket", **labels, le="+Inf") == 2
        assert g.value("gateway_request_bytes_total", **labels) == 200
        assert g.value("gateway_response_bytes_total", **labels) == 2000
        assert g.value("gateway_upstream_connect_seconds_count", **SHOWN) == 2
        assert g.value("gateway_retries_total", **SHOWN) == 2
        assert g.value("gateway_upstream_errors_total", **SHOWN, reason="UF") == 2
        assert g.value("gateway_spilled_requests_total", **SHOWN, route="r") == 2
        assert g.value("gateway_sticky_requests_total", **SHOWN, route="r", result="hit") == 2
        assert g.value("gateway_sticky_requests_total", **SHOWN, route="r", result="new") == 0


def test_gauges_are_summed_over_routes_and_live_workers_only() -> None:
    with gateway() as g:
        for worker in g.workers:
            worker.entrypoint("public").add(5)
            for route in ROUTES:
                worker.series(route, "app", SERVICES[0], "v1").in_flight.add(1)
        assert g.value("gateway_in_flight_requests", **SHOWN) == 4
        assert g.value("gateway_open_connections", entrypoint="public") == 10
        g.slots.remove(1)
        assert g.value("gateway_in_flight_requests", **SHOWN) == 2
        assert g.value("gateway_open_connections", entrypoint="public") == 5
        g.restart(1)
        assert g.value("gateway_in_flight_requests", **SHOWN) == 2
        assert g.merger.gauge(Scope.ENTRYPOINT, "gateway_open_connections", frozenset({0, 1})) == {
            ("public",): 5
        }


def test_open_work_of_an_instance_is_known_but_not_on_the_page() -> None:
    with gateway() as g:
        g.workers[0].show_instance(SERVICES[0], "i", 2, 1)
        g.workers[1].show_instance(SERVICES[0], "i", 3, 0)
        page = g.page()
        assert g.merger.gauge(Scope.INSTANCE, "in_flight", frozenset({0, 1})) == {
            (SERVICES[0], "i"): 5
        }
        assert g.merger.gauge(Scope.INSTANCE, "websockets", frozenset({1})) == {}
        assert not [s for s in page if dict(s[1]).get("instance")]


def test_requests_without_route_or_service_have_empty_labels() -> None:
    with gateway() as g:
        g.workers[0].unrouted(b"GET", 404)
        g.workers[0].series("r", "", "", "").finish(b"GET", 503, 0.1, 0, 0)
        nobody = {"application": "", "service": "", "version": "", "method": "GET"}
        assert g.value("gateway_requests_total", route="", code="404", **nobody) == 1
        assert g.value("gateway_requests_total", route="r", code="503", **nobody) == 1


def test_the_series_of_a_removed_service_or_route_disappear() -> None:
    with gateway() as g:
        for route in ROUTES:
            for service in SERVICES:
                g.request(0, service, route)
        g.services.remove(SERVICES[0])
        shown = [dict(labels) for _, labels in g.page()]
        assert not [labels for labels in shown if labels.get("service") == "a-v1"]
        assert [labels for labels in shown if labels.get("service") == "a-v2"]
        g.routes.remove("s")
        shown = [dict(labels) for _, labels in g.page()]
        assert not [labels for labels in shown if labels.get("route") == "s"]
        assert [labels for labels in shown if labels.get("route") == "r"]


def test_a_live_series_does_not_go_down_when_a_late_worker_frees_it() -> None:
    with gateway() as g:
        g.request(0)
        g.request(1)
        assert g.total("gateway_requests_total") == 2
        g.services.remove(SERVICES[0])
        g.workers[0].retire([SERVICES[0]])
        assert g.total("gateway_requests_total") == 0
        g.services.add(SERVICES[0])
        before = g.total("gateway_requests_total")
        g.workers[1].retire([SERVICES[0]])  # had slept through all of it
        assert g.total("gateway_requests_total") >= before
        g.request(1)
        assert g.total("gateway_requests_total") == before + 1


def test_a_service_that_all_forgot_begins_anew() -> None:
    with gateway() as g:
        g.request(0)
        g.page()
        g.services.remove(SERVICES[0])
        g.workers[0].retire([SERVICES[0]])
        g.page()
        g.services.add(SERVICES[0])
        assert g.total("gateway_requests_total") == 0
        g.request(0)
        assert g.total("gateway_requests_total") == 1


def test_a_record_made_again_within_one_look_counts_on() -> None:
    with gateway() as g:
        g.workers[0].entrypoint("public")
        g.request(0)
        g.page()
        g.workers[0].retire([SERVICES[0]])
        g.request(0)
        g.workers[0].series("r", "app", SERVICES[0], "v1").in_flight.add(1)
        assert g.total("gateway_requests_total") == 2
        assert g.value("gateway_in_flight_requests", **SHOWN) == 1


def test_a_series_that_was_hidden_goes_on_from_where_it_was() -> None:
    with gateway() as g:
        g.request(0)
        g.workers[0].retire([SERVICES[0]])
        assert g.total("gateway_requests_total") == 0
        g.request(1)
        g.page()
        g.workers[1].retire([SERVICES[0]])
        g.page()
        g.request(1)
        assert g.total("gateway_requests_total") == 2
        g.services.remove(SERVICES[0])
        assert g.total("gateway_requests_total") == 0
        g.services.add(SERVICES[0])
        assert g.total("gateway_requests_total") == 2


def test_a_counter_that_was_damaged_takes_nothing_away() -> None:
    with gateway(1) as g:
        g.workers[0].log_lines_dropped(5)
        name = "gateway_access_log_dropped_lines_total"
        assert g.value(name) == 5
        g.workers[0].log_lines_dropped(-3)
        assert g.value(name) == 5
        g.workers[0].log_lines_dropped(1)
        assert g.value(name) == 6


def test_a_new_control_process_sees_what_was_counted_before() -> None:
    with gateway() as g:
        g.request(0)
        again = Merger(g.fds)
        again.refresh()
        g.page()
        assert again.totals(g.live) == g.merger.totals(g.live)


@dataclass(frozen=True)
class Step:
    """One thing that happens, to the slot and service it concerns."""

    what: str
    slot: int
    service: str
    route: str
    status: int


STEPS = st.lists(
    st.builds(
        Step,
        st.sampled_from(["request", "kill", "restart", "remove", "add", "retire", "look"]),
        st.integers(0, 2),
        st.sampled_from(SERVICES),
        st.sampled_from(ROUTES),
        st.sampled_from([200, 503]),
    ),
    max_size=40,
)


@settings(deadline=None, max_examples=60)
@given(STEPS)
def test_a_live_series_never_goes_down_whatever_happens(steps: list[Step]) -> None:
    rising = {m.name.removesuffix("_total") for m in METRICS if m.kind is not Kind.GAUGE}
    with gateway(3) as g:
        before: dict[Series, float] = {}
        for step in steps:
            match step.what:
                case "request":
                    if step.slot in g.slots and step.service in g.services:
                        g.request(step.slot, step.service, step.route, step.status)
                case "kill":
                    g.slots.discard(step.slot)
                case "restart":
                    g.restart(step.slot)
                case "remove":
                    g.services.discard(step.service)
                case "add":
                    g.services.add(step.service)
                case "retire":
                    g.workers[step.slot].retire([step.service])
            now = {
                (name, labels): value
                for (name, labels), value in g.page().items()
                if any(name.startswith(metric) for metric in rising)
            }
            for series, value in before.items():
                # Absent only if its service is: then it may begin anew.
                labels = dict(series[1])
                if f"{labels.get('application')}/{labels.get('service')}" in g.services:
                    assert now[series] >= value
            before = now


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(["request", "restart", "look"]), st.integers(0, 2))))
def test_no_request_is_lost_or_counted_twice(steps: list[tuple[str, int]]) -> None:
    with gateway(3) as g:
        for step, slot in steps:
            match step:
                case "request":
                    g.request(slot)
                case "restart":
                    g.restart(slot)
                case _:
                    g.merger.refresh()
        requests = sum(step == "request" for step, _ in steps)
        assert g.total("gateway_requests_total") == requests
        assert g.total("gateway_request_duration_seconds_count") == requests


def busy_facts(live: Live) -> ControlFacts:
    return ControlFacts(
        live=live,
        weights={("r", SERVICES[0]): 100, ("r", SERVICES[1]): 0},
        invalid_routes=[("s", "no_weight")],
        instances={(SERVICES[0], "up"): 2, (SERVICES[0], "down"): 0},
        release_phases={"shop": (Phase.PENDING_CONFIRMATION, 12.5)},
        generation=17,
        snapshot_age_s=1.5,
        is_up=False,
        apply_lag_s=0.25,
        worker_restarts=3,
    )


def test_the_page_shows_what_control_knows() -> None:
    with gateway() as g:
        g.facts = busy_facts
        assert g.value("gateway_route_weight", **SHOWN, route="r") == 100
        other = SHOWN | {"service": "a-v2"}
        assert g.value("gateway_route_weight", **other, route="r") == 0
        assert g.value("gateway_route_invalid", route="s", reason="no_weight") == 1
        assert g.value("gateway_instances", **SHOWN, state="up") == 2
        assert g.value("gateway_instances", **SHOWN, state="down") == 0
        phases = {p: g.value("gateway_release_phase", application="shop", phase=p) for p in Phase}
        assert phases == {p: int(p is Phase.PENDING_CONFIRMATION) for p in Phase}
        assert g.value("gateway_release_phase_seconds", application="shop") == 12.5
        assert g.value("gateway_config_generation") == 17
        assert g.value("gateway_snapshot_age_seconds") == 1.5
        assert g.value("gateway_control_up") == 0
        assert g.value("gateway_apply_lag_seconds") == 0.25
        assert g.value("gateway_worker_restarts_total") == 3
        assert g.value("gateway_unrecorded_series") == 0


def test_one_service_has_the_same_labels_on_every_metric_that_names_it() -> None:
    with gateway() as g:
        g.facts = busy_facts
        g.request(0, SERVICES[0])
        g.request(0, SERVICES[1])
        named = {m.name for m in METRICS if "service" in m.labels}
        seen: dict[str, set[tuple[str, str]]] = {name: set() for name in named}
        for sample, labels in g.page():
            for name in named:
                if sample == name or sample.removesuffix("_count") == name:
                    seen[name].add((dict(labels)["application"], dict(labels)["service"]))
        both = {("app", "a-v1"), ("app", "a-v2")}
        assert seen.pop("gateway_instances") == {("app", "a-v1")}
        assert seen == dict.fromkeys(named - {"gateway_instances"}, both)


def test_services_of_one_short_name_are_told_apart_by_their_application() -> None:
    with gateway(1) as g:
        g.services |= {"one/web", "two/web"}
        g.workers[0].series("r", "one", "one/web", "web").retried()
        g.workers[0].series("r", "two", "two/web", "web")
        assert g.value("gateway_retries_total", application="one", service="web") == 1
        assert g.value("gateway_retries_total", application="two", service="web") == 0


def test_series_without_room_are_admitted() -> None:
    with gateway(1) as g:
        for i in range(2000):
            g.workers[0].series("r", "app", f"app/{i}", "v")
        unrecorded = g.value("gateway_unrecorded_series")
        assert unrecorded is not None
        assert unrecorded > 1000


def families_text(registry: CollectorRegistry) -> Iterable[Family]:
    return parse_text(generate_latest(registry).decode())


def families_openmetrics(registry: CollectorRegistry) -> Iterator[Family]:
    page: bytes = generate_openmetrics(registry)  # type: ignore[no-untyped-call]
    found: Iterator[Family] = parse_openmetrics(page.decode())  # type: ignore[no-untyped-call]
    return found


@pytest.mark.parametrize("read", [families_text, families_openmetrics])
@pytest.mark.parametrize("is_busy", [False, True], ids=["fresh", "busy"])
def test_both_formats_are_valid_and_complete(
    read: Callable[[CollectorRegistry], Iterable[Family]], is_busy: bool
) -> None:
    with gateway() as g:
        if is_busy:
            g.facts = busy_facts
            odd = 'odd"name\\with\nall'
            g.services.add(odd)
            for service in (*SERVICES, odd):
                g.request(0, service, status=503)
            g.workers[1].entrypoint("public").add(1)
        found = {family.name: family.type for family in read(g.registry)}
        assert found == {m.name.removesuffix("_total"): m.kind.value for m in METRICS}


def test_registering_does_not_ask_for_facts() -> None:
    def fail() -> ControlFacts:
        raise AssertionError

    CollectorRegistry(auto_describe=True).register(Collector(Merger([]), fail))


def test_a_descriptor_that_is_no_region_is_refused() -> None:
    fd = os.memfd_create("empty")
    with pytest.raises(BadRegion):
        Merger([fd])
    os.close(fd)
