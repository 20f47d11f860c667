"""The contract of `gateway.routing.balancers`, for every balancer of the registry."""

from collections import Counter
from dataclasses import dataclass
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.model import BalancerName
from gateway.routing.balancers import BALANCERS, Balancer

EVERY = pytest.mark.parametrize("name", sorted(BALANCERS))


@dataclass(eq=False)
class Copy:
    in_flight: int = 0


def make(name: BalancerName, slot: int = 0) -> Balancer:
    return BALANCERS[name](slot, Random(7).random)


def test_every_name_has_a_balancer() -> None:
    assert set(BALANCERS) == set(BalancerName)


@EVERY
@given(data=st.data(), loads=st.lists(st.integers(0, 9), max_size=6), slot=st.integers(0, 63))
@settings(deadline=None, max_examples=40)
def test_a_pick_is_a_candidate_that_was_not_tried_if_there_is_one(
    name: BalancerName, data: st.DataObject, loads: list[int], slot: int
) -> None:
    balancer = make(name, slot)
    for _ in range(4):  # another list at every call
        candidates = [Copy(n) for n in loads[: data.draw(st.integers(0, len(loads)))]]
        tried = data.draw(st.sets(st.sampled_from(candidates))) if candidates else set()
        left = [c for c in candidates if c not in tried]
        picked = balancer.pick(candidates, tried)
        assert picked in left if left else picked is None


@EVERY
@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_equally_busy_instances_get_like_numbers(name: BalancerName, count: int) -> None:
    balancer, candidates = make(name), [Copy() for _ in range(count)]
    picks = Counter(id(balancer.pick(candidates, ())) for _ in range(700))
    assert len(picks) == count
    assert max(picks.values()) - min(picks.values()) <= 700 / count * 0.5


@EVERY
def test_a_retry_after_retry_reaches_every_instance_once(name: BalancerName) -> None:
    balancer, candidates = make(name), tuple(Copy() for _ in range(5))
    tried: list[Copy] = []
    while (picked := balancer.pick(candidates, tried)) is not None:
        tried.append(picked)
    assert sorted(map(id, tried)) == sorted(map(id, candidates))


def test_round_robin_takes_every_instance_in_turn() -> None:
    balancer, candidates = make(BalancerName.ROUND_ROBIN), [Copy() for _ in range(3)]
    picked = [balancer.pick(candidates, ()) for _ in range(6)]
    assert picked == candidates * 2


def test_round_robin_of_several_workers_begins_at_different_instances() -> None:
    candidates = [Copy() for _ in range(3)]
    firsts = {id(make(BalancerName.ROUND_ROBIN, slot).pick(candidates, ())) for slot in range(3)}
    assert len(firsts) == 3


@given(loads=st.lists(st.integers(0, 9), min_size=1, max_size=8))
@settings(deadline=None, max_examples=40)
def test_least_requests_never_picks_a_busier_one(loads: list[int]) -> None:
    balancer, candidates = make(BalancerName.LEAST_REQUESTS), [Copy(n) for n in loads]
    for _ in range(len(loads)):
        picked = balancer.pick(candidates, ())
        assert picked is not None
        assert picked.in_flight == min(loads)


def test_two_random_choices_leaves_the_busiest_alone() -> None:
    balancer = make(BalancerName.TWO_RANDOM_CHOICES)
    candidates = [Copy(5), Copy(1), Copy(1)]
    assert all(balancer.pick(candidates, ()) is not candidates[0] for _ in range(200))


@pytest.mark.parametrize("name", [BalancerName.LEAST_REQUESTS, BalancerName.TWO_RANDOM_CHOICES])
def test_a_slow_instance_gets_less(name: BalancerName) -> None:
    """Every request to the slow one stays open for ten rounds, to the others for one."""
    balancer, slow, fast = make(name), Copy(), [Copy() for _ in range(3)]
    ends: dict[int, list[Copy]] = {}
    got: Counter[bool] = Counter()
    for now in range(600):
        for done in ends.pop(now, ()):
            done.in_flight -= 1
        for _ in range(3):
            picked = balancer.pick([slow, *fast], ())
            assert picked is not None
            picked.in_flight += 1
            ends.setdefault(now + (10 if picked is slow else 1), []).append(picked)
            got[picked is slow] += 1
    assert got[True] < got[False] / 3 * 0.6
