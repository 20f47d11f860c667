"""Traffic of the last minutes: right numbers, right time span, bounded memory."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.metrics.catalogue import DURATION_BUCKETS_S
from gateway.metrics.merge import Merger
from gateway.metrics.shared import PAGE, create_region
from gateway.metrics.stats import SLOT_S, StatsWindow, quantile
from gateway.metrics.worker import WorkerMetrics

LIVE = frozenset({0})


class World:
    """A worker, a clock and the window that watches."""

    def __init__(self) -> None:
        self.fd = create_region("test", 32 * PAGE)
        self.metrics = WorkerMetrics(self.fd)
        self.now = 1000.0
        self.stats = StatsWindow(Merger([self.fd]), self.now)

    def requests(
        self,
        count: int,
        service: str = "-/a",
        route: str = "r",
        status: int = 200,
        seconds: float = 0.01,
        sticky: str = "off",
    ) -> None:
        series = self.metrics.series(route, "-", service, "v")
        for _ in range(count):
            series.finish(b"GET", status, seconds, 0, 0)
            series.sticky(sticky)

    def tick(self, seconds: float = 1.0) -> None:
        self.now += seconds
        self.stats.sample(self.now, LIVE)


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    os.close(world.fd)


def test_nothing_happened_is_an_answer(world: World) -> None:
    report = world.stats.report(60)
    assert (dict(report.routes), dict(report.services), dict(report.pairs)) == ({}, {}, {})
    nothing = world.stats.pair("r", "-/a", 60)
    assert (nothing.requests, nothing.rate, nothing.error_ratio) == (0, 0.0, 0.0)
    assert nothing.p50_s is nothing.p90_s is nothing.p99_s is None


def test_a_steady_rate_is_told_within_a_slot(world: World) -> None:
    for _ in range(400):
        world.requests(10)
        world.tick()
    for window_s in (60, 300):
        report = world.stats.report(window_s)
        assert window_s <= report.span_s <= window_s + SLOT_S
        assert report.routes["r"].rate == pytest.approx(10, rel=0.02)
        assert report.routes["r"].requests == pytest.approx(10 * window_s, rel=0.1)


def test_a_young_gateway_divides_by_the_time_it_has_seen(world: World) -> None:
    for _ in range(3):
        world.requests(20)
        world.tick()
    assert world.stats.report(60).routes["r"].rate == pytest.approx(20)


def test_what_was_counted_before_the_watching_began_is_not_recent(world: World) -> None:
    world.requests(1000)
    world.stats = StatsWindow(Merger([world.fd]), world.now)
    world.requests(5)
    world.tick()
    assert world.stats.report(60).routes["r"].requests == 5


def test_traffic_leaves_the_window_after_its_time(world: World) -> None:
    world.requests(7)
    world.tick()
    for _ in range(59):
        world.tick()
    assert world.stats.report(60).routes["r"].requests == 7
    for _ in range(int(SLOT_S) + 1):
        world.tick()
    assert world.stats.report(60).routes == {}
    assert world.stats.report(300).routes["r"].requests == 7
    for _ in range(300):
        world.tick()
    assert world.stats.report(300).pairs == {}
    assert all(len(w.slots) <= w.seconds / SLOT_S + 2 for w in world.stats._windows.values())


def test_a_control_process_that_slept_spreads_what_it_missed(world: World) -> None:
    world.tick()
    world.requests(1000)
    world.tick(100.0)
    report = world.stats.report(60)
    assert report.span_s >= 100
    assert report.routes["r"].rate == pytest.approx(10, rel=0.02)


def test_routes_services_and_pairs_add_up(world: World) -> None:
    world.requests(3, "-/a", "r")
    world.requests(5, "-/b", "r")
    world.requests(7, "-/a", "s")
    world.metrics.unrouted(b"GET", 404)
    world.metrics.series("r", "", "", "").finish(b"GET", 503, 0.0, 0, 0)
    world.tick()
    report = world.stats.report(60)
    assert {r: t.requests for r, t in report.routes.items()} == {"r": 9, "s": 7, "": 1}
    assert {s: t.requests for s, t in report.services.items()} == {"-/a": 10, "-/b": 5, "": 2}
    assert report.pairs["s", "-/a"].requests == 7
    assert report.pairs["s", "-/a"] == world.stats.pair("s", "-/a", 60)
    assert report.routes["r"].error_ratio == pytest.approx(1 / 9)


def test_only_5xx_are_errors(world: World) -> None:
    for status in (200, 302, 404, 499, 500, 502, 503, 504):
        world.requests(1, status=status)
    world.tick()
    assert world.stats.report(60).services["-/a"].error_ratio == 0.5


def test_the_sticky_share_is_that_of_followed_pins(world: World) -> None:
    for sticky, count in (("hit", 6), ("new", 2), ("moved", 1), ("off", 3)):
        world.requests(count, sticky=sticky)
    world.tick()
    assert world.stats.report(60).routes["r"].sticky_share == 0.5


def test_work_that_is_open_now_is_shown_even_without_finished_requests(world: World) -> None:
    for route in ("r", "s"):
        series = world.metrics.series(route, "-", "-/a", "v")
        series.in_flight.add(2)
        series.websockets.add(1)
    world.tick()
    for _ in range(400):
        world.tick()
    report = world.stats.report(60)
    assert (report.routes["r"].in_flight, report.routes["r"].websockets) == (2, 1)
    assert (report.services["-/a"].in_flight, report.services["-/a"].websockets) == (4, 2)
    world.stats.sample(world.now, frozenset())  # the worker died
    assert world.stats.report(60).services == {}


def test_a_worker_that_is_replaced_leaves_no_dent(world: World) -> None:
    for _ in range(10):
        world.requests(10)
        world.tick()
        world.metrics = WorkerMetrics(world.fd)
    assert world.stats.report(60).routes["r"].requests == 100


def test_quantiles_come_from_the_last_minute_only(world: World) -> None:
    world.requests(1000, seconds=8.0)
    for _ in range(70):
        world.tick()
    world.requests(90, seconds=0.015)
    world.requests(10, seconds=0.4)
    world.tick()
    traffic = world.stats.report(60).routes["r"]
    assert traffic.p50_s is not None
    assert 0.01 < traffic.p50_s < 0.02
    assert traffic.p99_s is not None
    assert 0.3 < traffic.p99_s < 0.5


def test_an_unknown_window_is_a_key_error(world: World) -> None:
    with pytest.raises(KeyError):
        world.stats.report(61)


def test_a_quantile_above_all_bounds_is_the_highest_bound() -> None:
    assert quantile(0.5, [0, 0, 5], [1.0, 2.0]) == 2.0
    assert quantile(0.99, [], []) is None
    assert quantile(1.0, [4, 0, 0], [1.0, 2.0]) == 1.0
    assert quantile(0.5, [4, 0, 0], [1.0, 2.0]) == 0.5


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 400), st.integers())
def test_a_quantile_lies_in_the_bucket_of_the_true_one(size: int, seed: int) -> None:
    drawn = random.Random(seed)
    values = sorted(drawn.lognormvariate(-4, 2) for _ in range(size))
    bounds = (0.0, *DURATION_BUCKETS_S)
    counts = [sum(a < v <= b for v in values) for a, b in pairwise(bounds)]
    counts.append(sum(v > bounds[-1] for v in values))
    for q in (0.5, 0.9, 0.99):
        found = quantile(q, counts, DURATION_BUCKETS_S)
        true = values[max(0, -int(-q * size // 1) - 1)]
        assert found is not None
        upper = next((b for b in DURATION_BUCKETS_S if b >= true), bounds[-1])
        lower = bounds[bounds.index(upper) - 1]
        assert lower <= found <= upper


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.floats(0.1, 40), st.sampled_from("ab")), max_size=60)
)
def test_running_sums_are_those_of_the_slots_in_the_window(
    steps: list[tuple[int, float, str]],
) -> None:
    world = World()
    finished: list[tuple[float, float, int, str]] = []
    begin = world.now
    for count, seconds, service in steps:
        world.requests(count, f"-/{service}")
        before = world.now
        world.tick(seconds)
        finished.append((before, world.now, count, f"-/{service}"))
    for window_s in (60, 300):
        report = world.stats.report(window_s)
        for service in ("-/a", "-/b"):
            counted = world.stats.pair("r", service, window_s).requests
            surely = sum(n for b, _, n, s in finished if s == service and b >= world.now - window_s)
            at_most = sum(
                n
                for _, e, n, s in finished
                if s == service and e > world.now - window_s - SLOT_S - 1e-6
            )
            assert surely <= counted <= at_most
            in_report = report.pairs.get(("r", service))
            assert (in_report.requests if in_report else 0) == counted
        assert report.span_s <= max(1.0, world.now - begin) + 1e-6
    os.close(world.fd)


def test_who_asks_while_another_thread_samples_gets_sound_figures(world: World) -> None:
    """And nothing is counted twice or lost, whoever of them looks at the counters."""
    merger = Merger([world.fd])
    stats = StatsWindow(merger, world.now)
    routes = [f"r{n}" for n in range(40)]
    is_over = threading.Event()
    failed: list[BaseException] = []

    def sample() -> None:
        now = world.now
        try:
            while not is_over.is_set():
                now += 20.0  # windows grow and expire all the time
                stats.sample(now, LIVE)
            stats.sample(now + 1, LIVE)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=sample)
    thread.start()
    for _ in range(100):
        for route in routes:
            world.requests(1, route=route, status=500)
        merger.refresh()
        for figures in stats.report(60).pairs.values():
            assert 0 <= figures.requests <= 100
            assert figures.error_ratio in (0.0, 1.0)
    is_over.set()
    thread.join()
    assert not failed
    assert stats.errors("-/a") == 100 * len(routes)
