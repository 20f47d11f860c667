"""What the data plane counts: cheap, never raising, bounded, outliving the worker."""

from __future__ import annotations

import os
import timeit
from collections.abc import Iterator

import pytest

from gateway.metrics.catalogue import DURATION_BUCKETS_S, LAYOUTS, Scope
from gateway.metrics.reader import RegionReader
from gateway.metrics.shared import PAGE, Key, create_region
from gateway.metrics.worker import METHODS, ServiceSeries, WorkerMetrics

TRAFFIC = ("r", "app", "app/a-v1", "v1")


@pytest.fixture
def fd() -> Iterator[int]:
    fd = create_region("test", 64 * PAGE)
    yield fd
    os.close(fd)


def held(fd: int) -> dict[Key, tuple[int, ...]]:
    return {c.key: c.after for c in RegionReader(fd).poll() if c.after is not None}


def cell(fd: int, scope: Scope, values: tuple[str, ...], metric: str, offset: int = 0) -> int:
    return held(fd)[scope, values][LAYOUTS[scope].start[metric] + offset]


def a_series(metrics: WorkerMetrics) -> ServiceSeries:
    return metrics.series(*TRAFFIC)


def test_a_finished_request_is_counted_once_everywhere(fd: int) -> None:
    a_series(WorkerMetrics(fd)).finish(b"GET", 200, 0.004, 10, 2000)
    found = held(fd)
    assert found[Scope.RESPONSE, (*TRAFFIC, "GET", "200")] == (1,)
    duration = "gateway_request_duration_seconds"
    bucket = 1 + DURATION_BUCKETS_S.index(0.005)
    assert cell(fd, Scope.TRAFFIC, TRAFFIC, duration) == 4_000_000
    assert cell(fd, Scope.TRAFFIC, TRAFFIC, duration, bucket) == 1
    assert cell(fd, Scope.TRAFFIC, TRAFFIC, "gateway_request_bytes_total") == 10
    assert cell(fd, Scope.TRAFFIC, TRAFFIC, "gateway_response_bytes_total") == 2000
    assert sum(found[Scope.TRAFFIC, TRAFFIC]) == 4_000_000 + 1 + 10 + 2000


@pytest.mark.parametrize(
    ("seconds", "bucket"),
    [(0.0, 0), (0.0005, 0), (0.00051, 1), (60.0, 19), (60.1, 20), (1e6, 20)],
)
def test_a_bucket_holds_what_is_at_most_its_bound(fd: int, seconds: float, bucket: int) -> None:
    a_series(WorkerMetrics(fd)).finish(b"GET", 200, seconds, 0, 0)
    found = cell(fd, Scope.TRAFFIC, TRAFFIC, "gateway_request_duration_seconds", 1 + bucket)
    assert found == 1


def test_methods_that_clients_make_up_share_one_label_and_one_record(fd: int) -> None:
    metrics = WorkerMetrics(fd)
    for i in range(1000):
        a_series(metrics).finish(b"X%d" % i, 200, 0.1, 0, 0)
        metrics.unrouted(b"X%d" % i, 404)
    for method in METHODS:
        a_series(metrics).finish(method, 200, 0.1, 0, 0)
    responses = {k[1]: v for k, v in held(fd).items() if k[0] is Scope.RESPONSE}
    assert responses.pop((*TRAFFIC, "other", "200")) == (1000,)
    assert responses.pop(("", "", "", "", "other", "404")) == (1000,)
    assert responses == {(*TRAFFIC, m.decode(), "200"): (1,) for m in METHODS}
    assert len(a_series(metrics)._codes) == len(METHODS) + 1


def test_a_series_is_the_same_object_every_time(fd: int) -> None:
    metrics = WorkerMetrics(fd)
    assert a_series(metrics) is a_series(metrics)
    assert metrics.entrypoint("public") is metrics.entrypoint("public")


def test_connections_retries_and_errors_are_counted_per_service_over_all_routes(fd: int) -> None:
    metrics = WorkerMetrics(fd)
    for route in ("r", "s"):
        series = metrics.series(route, *TRAFFIC[1:])
        series.connect_seconds(0.003)
        series.retried()
        series.upstream_error("UF")
    service = ("app/a-v1",)
    assert cell(fd, Scope.SERVICE, service, "gateway_retries_total") == 2
    assert cell(fd, Scope.SERVICE, service, "gateway_upstream_connect_seconds") == 6_000_000
    assert held(fd)[Scope.UPSTREAM_ERROR, ("app/a-v1", "UF")] == (2,)


def test_spill_and_affinity_are_counted_by_result_and_others_ignored(fd: int) -> None:
    series = a_series(WorkerMetrics(fd))
    series.spilled()
    for result in ("new", "hit", "hit", "moved", "off", ""):
        series.sticky(result)
    assert cell(fd, Scope.TRAFFIC, TRAFFIC, "gateway_spilled_requests_total") == 1
    sticky = "gateway_sticky_requests_total"
    assert [cell(fd, Scope.TRAFFIC, TRAFFIC, sticky, i) for i in range(3)] == [1, 2, 1]


def test_gauges_follow_what_is_open(fd: int) -> None:
    metrics = WorkerMetrics(fd)
    series = a_series(metrics)
    for gauge in (series.in_flight, series.websockets, metrics.entrypoint("public")):
        gauge.add(2)
        gauge.add(-1)
        assert gauge.value == 1
    metrics.show_instance("app/a-v1", "i1", 3, 4)
    metrics.show_instance("app/a-v1", "i1", 2, 1)
    assert cell(fd, Scope.TRAFFIC, TRAFFIC, "gateway_in_flight_requests") == 1
    assert cell(fd, Scope.TRAFFIC, TRAFFIC, "gateway_websockets_open") == 1
    assert cell(fd, Scope.ENTRYPOINT, ("public",), "gateway_open_connections") == 1
    assert held(fd)[Scope.INSTANCE, ("app/a-v1", "i1")] == (2, 1)


def test_a_successor_goes_on_with_counters_and_begins_gauges_anew(fd: int) -> None:
    for _ in range(3):
        metrics = WorkerMetrics(fd)
        series = a_series(metrics)
        series.finish(b"GET", 200, 0.1, 5, 5)
        series.in_flight.add(1)
        metrics.unrouted(b"GET", 404)
        metrics.log_lines_dropped(2)
    found = held(fd)
    assert found[Scope.RESPONSE, (*TRAFFIC, "GET", "200")] == (3,)
    assert found[Scope.RESPONSE, ("", "", "", "", "GET", "404")] == (3,)
    assert found[Scope.WORKER, ()] == (6,)
    assert cell(fd, Scope.TRAFFIC, TRAFFIC, "gateway_in_flight_requests") == 1


def everything(metrics: WorkerMetrics, route: str, service: str) -> ServiceSeries:
    series = metrics.series(route, "app", service, "v1")
    series.finish(b"GET", 200, 0.1, 1, 1)
    series.finish(b"MADE-UP", 503, 0.1, 1, 1)
    series.upstream_error("UF")
    metrics.show_instance(service, f"{service}@1", 1, 0)
    return series


def test_retiring_a_service_frees_all_its_records_and_no_others(fd: int) -> None:
    metrics = WorkerMetrics(fd)
    everything(metrics, "r", "app/b")
    metrics.unrouted(b"GET", 404)
    before = held(fd)
    everything(metrics, "r", "app/a")
    everything(metrics, "s", "app/a")
    metrics.retire(["app/a", "app/never-seen", ""])
    assert held(fd) == before


def test_retiring_a_route_frees_its_records_and_keeps_those_of_its_services(fd: int) -> None:
    metrics = WorkerMetrics(fd)
    everything(metrics, "r", "app/a")
    before = held(fd)
    everything(metrics, "s", "app/a")
    metrics.series("s", "", "", "").finish(b"GET", 503, 0.1, 0, 0)
    metrics.retire((), ["s", "never-seen", ""])
    assert held(fd).keys() == before.keys()
    assert held(fd)[Scope.UPSTREAM_ERROR, ("app/a", "UF")] == (2,)


def test_retiring_an_instance_frees_its_record(fd: int) -> None:
    metrics = WorkerMetrics(fd)
    for name in ("i", "j"):
        metrics.show_instance("app/a", name, 1, 0)
    metrics.retire((), (), [("app/a", "i"), ("app/a", "never-seen")])
    assert [k[1] for k in held(fd) if k[0] is Scope.INSTANCE] == [("app/a", "j")]


def test_open_requests_of_a_retired_service_count_nowhere_and_do_not_raise(fd: int) -> None:
    metrics = WorkerMetrics(fd)
    old = everything(metrics, "r", "app/a")
    old.in_flight.add(1)
    metrics.retire(["app/a"])
    new = everything(metrics, "r", "app/a")  # in the very memory that was freed
    before = held(fd)
    assert new is not old
    old.finish(b"GET", 200, 0.1, 1, 1)
    old.finish(b"GET", 599, 0.1, 1, 1)
    old.connect_seconds(0.1)
    old.upstream_error("UT")
    old.retried()
    old.spilled()
    old.sticky("hit")
    old.websockets.add(1)
    old.in_flight.add(-1)
    assert old.in_flight.value == 0
    assert held(fd) == before


def test_a_new_worker_frees_what_was_removed_while_nobody_served(fd: int) -> None:
    metrics = WorkerMetrics(fd)
    everything(metrics, "r", "app/a")
    metrics.unrouted(b"GET", 404)
    before = held(fd).keys()
    everything(metrics, "r", "app/gone")
    everything(metrics, "gone", "app/a")
    successor = WorkerMetrics(fd)
    successor.retain({"app/a"}, {"r"})
    assert held(fd).keys() == before


def test_a_full_region_never_hurts_a_request() -> None:
    fd = create_region("test", 4 * PAGE)
    metrics = WorkerMetrics(fd)
    for i in range(500):
        series = metrics.series("r", "app", f"app/{i}", "v")
        series.finish(b"GET", 200, 0.1, 1, 1)
        series.in_flight.add(1)
        series.upstream_error("UF")
    metrics.unrouted(b"GET", 404)
    reader = RegionReader(fd)
    assert reader.unrecorded > 100
    # What was there before it was full goes on counting.
    metrics.series("r", "app", "app/0", "v").finish(b"GET", 200, 0.1, 1, 1)
    assert held(fd)[Scope.RESPONSE, ("r", "app", "app/0", "v", "GET", "200")] == (2,)
    os.close(fd)


def test_counting_a_request_is_cheap(fd: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Prints what it costs; asserts nothing about time, which belongs to the machine."""
    finish = a_series(WorkerMetrics(fd)).finish
    rounds = 20_000
    best = min(
        timeit.repeat(lambda: finish(b"GET", 200, 0.0123, 300, 1200), number=rounds, repeat=3)
    )
    with capsys.disabled():
        print(f"\nServiceSeries.finish: {best / rounds * 1e6:.2f} us")
    assert held(fd)[Scope.RESPONSE, (*TRAFFIC, "GET", "200")] == (3 * rounds,)
