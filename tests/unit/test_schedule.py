from collections import Counter
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.routing.schedule import SKIP_MAX, STORED_MAX, Schedule, schedule

WEIGHTS = st.lists(st.integers(1, 60), min_size=1, max_size=9).map(tuple)


def turns(of: Schedule, count: int, start: int = 0) -> list[int]:
    cursor = of.cursor(start)
    return [cursor.next() for _ in range(count)]


def worst_error(weights: tuple[int, ...], drawn: list[int]) -> Fraction:
    """The most that a member was ever ahead of or behind its share, in turns."""
    total = sum(weights)
    had = [0] * len(weights)
    worst = Fraction(0)
    for turn, member in enumerate(drawn, start=1):
        had[member] += 1
        worst = max(
            worst, *(abs(h - Fraction(turn * w, total)) for h, w in zip(had, weights, strict=True))
        )
    return worst


@given(weights=WEIGHTS, start=st.integers(0, 10_000), rounds=st.integers(1, 3))
@settings(deadline=None, max_examples=80)
def test_any_full_round_holds_every_member_exactly_by_its_weight(
    weights: tuple[int, ...], start: int, rounds: int
) -> None:
    total = sum(weights)
    counts = Counter(turns(Schedule(weights), total * rounds, start))
    assert counts == {member: w * rounds for member, w in enumerate(weights)}


@given(weights=WEIGHTS)
@settings(deadline=None, max_examples=60)
def test_no_member_is_ever_a_whole_turn_away_from_its_share(weights: tuple[int, ...]) -> None:
    assert worst_error(weights, turns(Schedule(weights), sum(weights) * 2)) < 1


@pytest.mark.parametrize(
    "weights",
    [(100, *[1] * 50), (7, 5, 3, 2, 1, 1, 1), (50, 50, 1), (1,) * 300, (997, 2, 1), (299, 299, 1)],
)
def test_awkward_weights_stay_interleaved(weights: tuple[int, ...]) -> None:
    assert worst_error(weights, turns(Schedule(weights), sum(weights))) < 1


def test_two_equal_members_alternate() -> None:
    assert all(a != b for a, b in pairwise(turns(Schedule((1, 1)), 20)))


def test_a_round_too_long_to_be_kept_is_exact_too() -> None:
    weights = (STORED_MAX - 2, 2, 1)
    drawn = turns(Schedule(weights), sum(weights) * 2)
    assert Counter(drawn) == {0: 2 * (STORED_MAX - 2), 1: 4, 2: 2}


@given(weights=st.lists(st.integers(1, 1_000_000), min_size=2, max_size=6).map(tuple))
@settings(deadline=None, max_examples=20)
def test_any_part_of_a_very_long_round_is_interleaved(weights: tuple[int, ...]) -> None:
    assert worst_error(weights, turns(Schedule(weights), 400)) < 1


@given(weights=WEIGHTS, factor=st.integers(2, 1000))
@settings(deadline=None, max_examples=20)
def test_routes_with_the_same_ratio_share_a_schedule(weights: tuple[int, ...], factor: int) -> None:
    assert schedule(weights) is schedule(tuple(w * factor for w in weights))


def test_cursors_of_a_shared_schedule_do_not_move_each_other() -> None:
    shared = schedule((3, 2))
    one, other = shared.cursor(), shared.cursor()
    first = [one.next() for _ in range(7)]
    assert [other.next() for _ in range(7)] == first


@pytest.mark.parametrize("common", [99, 999])
@pytest.mark.parametrize("workers", [2, 3, 4, 8])
def test_workers_reach_a_rare_member_at_different_times(common: int, workers: int) -> None:
    of = Schedule((common, 1))
    firsts = sorted(turns(of, of.length, of.start_of(slot)).index(1) for slot in range(workers))
    assert all(b - a >= of.length / (2 * workers) for a, b in pairwise(firsts))


def test_starting_deep_in_a_long_round_costs_a_bounded_number_of_turns() -> None:
    long = Schedule((1_000_000, 999_999))
    assert long.cursor(1_999_000).position < SKIP_MAX


@pytest.mark.parametrize("weights", [(), (0,), (3, 0), (2, -1)])
def test_a_schedule_of_nothing_is_refused(weights: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="positive"):
        Schedule(weights)
