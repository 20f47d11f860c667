import pytest

from gateway.routing.outlier import EjectionPolicy, record_failure, record_success
from gateway.routing.service import InstanceState
from gateway.routing.world import World
from tests.support.worlds import UP, a_route, a_service, a_snapshot, a_world

POLICY = EjectionPolicy(failures=3, seconds=10, max_seconds=60)


@pytest.fixture
def world() -> World:
    return a_world(a_snapshot([a_route({"v1": 1})], [a_service("v1", UP, UP)]))


@pytest.fixture
def instance(world: World) -> InstanceState:
    (service,) = world.services.values()
    return service.instances[0]


def fail(instance: InstanceState, times: int, now: float = 0.0) -> float | None:
    until = None
    for _ in range(times):
        until = record_failure(instance, now, POLICY)
    return until


def eject(world: World, instance: InstanceState, now: float) -> float:
    """Fails until ejected; the ejection's length."""
    until = fail(instance, 3, now)
    assert until is not None
    assert world.eject(instance, until)
    return until - now


def test_the_nth_failure_in_a_row_ejects(instance: InstanceState) -> None:
    assert fail(instance, 2) is None
    assert record_failure(instance, 100.0, POLICY) == 110.0


def test_a_success_in_between_starts_the_count_again(instance: InstanceState) -> None:
    fail(instance, 2)
    record_success(instance)
    assert fail(instance, 2) is None
    assert fail(instance, 1) is not None


def test_an_ejection_that_was_refused_is_proposed_again_at_the_next_failure(
    instance: InstanceState,
) -> None:
    assert fail(instance, 3) is not None
    assert fail(instance, 1) is not None


def test_failures_of_requests_that_were_under_way_do_not_count_while_ejected(
    world: World, instance: InstanceState
) -> None:
    eject(world, instance, 0.0)
    assert fail(instance, 20) is None
    assert instance.ejections == 1


def test_each_ejection_in_close_succession_is_twice_as_long_up_to_the_longest(
    world: World, instance: InstanceState
) -> None:
    lengths, now = [], 0.0
    for _ in range(5):
        lengths.append(eject(world, instance, now))
        now += lengths[-1]
        world.tick(now)
    assert lengths == [10, 20, 40, 60, 60]


def test_thousands_of_ejections_do_not_overflow(world: World, instance: InstanceState) -> None:
    instance.ejections = 100_000
    assert fail(instance, 3) == 60


def test_after_a_time_in_peace_an_ejection_is_short_again(
    world: World, instance: InstanceState
) -> None:
    eject(world, instance, 0.0)
    world.tick(10.0)
    assert eject(world, instance, 10.0 + 60.0) == 20
    world.tick(90.0)
    assert eject(world, instance, 90.0 + 60.1) == 10


def test_after_an_ejection_it_takes_as_many_failures_as_before(
    world: World, instance: InstanceState
) -> None:
    eject(world, instance, 0.0)
    world.tick(10.0)
    assert fail(instance, 2, 10.0) is None


def test_zero_failures_switch_ejection_off(instance: InstanceState) -> None:
    off = EjectionPolicy(failures=0)
    assert all(record_failure(instance, 0.0, off) is None for _ in range(50))
