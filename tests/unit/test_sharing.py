"""How weights move between two sides of a route: exact for those who stand aside."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.model import WEIGHT_MAX, ServiceId
from gateway.core.sharing import given_back, moved, part, rounded
from tests.support.releases import shares

A, B, C, D = (ServiceId(f"shop/{name}") for name in "abcd")
X, Y = ServiceId("-/x"), ServiceId("other/y")

weight = st.integers(0, 1_000)
percent = st.integers(0, 10_000).map(lambda n: Fraction(n, 10_000))


def test_a_shift_on_a_route_of_the_release_alone_sums_up_to_100() -> None:
    for new in (0, 1, 25, 50, 99, 100):
        assert moved({A: 100, B: 0}, (A,), (B,), Fraction(new, 100), {}) == {
            A: 100 - new,
            B: new,
        }


def test_a_share_finer_than_a_percent_is_exact() -> None:
    assert moved({A: 100, B: 0}, (A,), (B,), Fraction("0.001"), {}) == {A: 999, B: 1}
    assert moved({A: 100, B: 0}, (A,), (B,), Fraction(1, 3), {}) == {A: 2, B: 1}


def test_odd_numbers_are_taken_to_familiar_ones() -> None:
    assert moved({A: 60, B: 0}, (A,), (B,), Fraction(1, 4), {}) == {A: 75, B: 25}


def test_others_keep_their_very_numbers_where_that_is_possible() -> None:
    assert moved({X: 50, A: 100, B: 0}, (A,), (B,), Fraction(1, 4), {}) == {X: 50, A: 75, B: 25}


def test_the_whole_route_is_rescaled_where_others_could_not_keep_their_share() -> None:
    before = {X: 50, A: 50, B: 0}
    after = moved(before, (A,), (B,), Fraction(1, 3), {})
    assert shares(after) == {X: Fraction(1, 2), A: Fraction(1, 3), B: Fraction(1, 6)}


def test_the_ratios_inside_a_side_stay() -> None:
    after = moved({A: 30, B: 10, C: 0}, (A, B), (C,), Fraction(1, 2), {})
    assert shares(after) == {A: Fraction(3, 8), B: Fraction(1, 8), C: Fraction(1, 2)}


def test_a_side_without_weight_is_divided_as_it_was_before() -> None:
    after = moved({A: 0, B: 0, C: 100}, (A, B), (C,), Fraction(0), {A: 1, B: 3})
    assert after == {A: 25, B: 75, C: 0}


def test_a_side_that_never_had_weight_is_divided_equally() -> None:
    assert moved({A: 100, B: 0, C: 0}, (A,), (B, C), Fraction(1), {}) == {A: 0, B: 50, C: 50}


def test_a_release_without_a_part_stays_without_where_others_serve() -> None:
    before = {X: 100, A: 0, B: 0}
    assert moved(before, (A,), (B,), Fraction(1, 2), {}) == before


def test_where_nobody_has_weight_the_release_has_the_whole_route() -> None:
    assert moved({X: 0, A: 0, B: 0}, (A,), (B,), Fraction(1, 4), {}) == {X: 0, A: 75, B: 25}


def test_given_back_is_what_it_was() -> None:
    assert given_back({A: 0, B: 100}, (A,), (B,), {A: 100}) == {A: 100}
    assert given_back({A: 5, C: 5, B: 90}, (A, C), (B,), {A: 30, C: 70}) == {A: 30, C: 70}


def test_given_back_beside_others_is_the_part_of_the_release_in_the_old_ratio() -> None:
    after = given_back({X: 10, A: 1, C: 2, B: 7}, (A, C), (B,), {A: 30, C: 70})
    assert shares(after) == {X: Fraction(1, 2), A: Fraction(3, 20), C: Fraction(7, 20)}


def test_given_back_to_those_who_had_left_the_route_already() -> None:
    assert given_back({X: 50, B: 50}, (A,), (B,), {A: 100}) == {X: 50, A: 50}


def test_given_back_of_nothing_takes_nothing_from_others() -> None:
    assert given_back({X: 100, A: 0, B: 0}, (A,), (B,), {A: 100}) == {X: 100, A: 0}


def test_old_ones_that_had_nothing_get_nothing() -> None:
    assert given_back({X: 50, A: 0, B: 50}, (A,), (B,), {A: 0}) == {X: 50, A: 0}


def _near(one: Fraction, other: Fraction) -> bool:
    """As exact as weights up to a million can say it."""
    return abs(one - other) <= Fraction(1, 10_000)


@settings(deadline=None, max_examples=200)
@given(
    st.dictionaries(st.sampled_from([A, B, C, D, X, Y]), weight, min_size=1),
    percent,
    st.dictionaries(st.sampled_from([A, B]), weight),
)
def test_a_shift_is_exact_as_can_be_and_touches_nobody_elses_share(
    weights: dict[ServiceId, int], share: Fraction, ratios: dict[ServiceId, int]
) -> None:
    old = [s for s in (A, B) if s in weights]
    new = [s for s in (C, D) if s in weights]
    if not old or not new:
        return
    after = moved(weights, old, new, share, ratios)
    assert list(after) == list(weights), "members and their order stay"
    assert all(type(w) is int and 0 <= w <= WEIGHT_MAX for w in after.values())
    was, now = shares(weights), shares(after)
    for other in (X, Y):
        assert now.get(other) == was.get(other)
    whole = part(weights, [*old, *new])
    if whole or not any(weights.values()):
        assert _near(Fraction(part(after, new), part(after, [*old, *new])), share)
    for side in (old, new):
        had, has, all_of_it = part(weights, side), part(after, side), part(after, [*old, *new])
        for s in side if had and all_of_it else ():
            assert _near(Fraction(after[s], all_of_it), Fraction(weights[s] * has, had * all_of_it))


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_back_and_forth_never_wears_others_down(data: st.DataObject) -> None:
    weights = {s: data.draw(weight) for s in (X, A, B, Y)}
    others = {s: shares(weights)[s] for s in (X, Y)}
    for _ in range(8):
        weights = moved(weights, (A,), (B,), data.draw(percent), {A: 100})
        if weights[A] + weights[B]:
            assert {s: shares(weights)[s] for s in (X, Y)} == others
    after = given_back(weights, (A,), (B,), {A: 100})
    if weights[A] + weights[B]:
        assert {s: shares(after)[s] for s in (X, Y)} == others
    assert B not in after


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from([A, B, C]), st.fractions(0, 10**9, max_denominator=10**9)))
def test_any_proportions_become_weights_in_range_and_nobody_loses_his_last(
    exact: dict[ServiceId, Fraction],
) -> None:
    after = rounded(exact) if exact else {}
    assert all(0 <= w <= WEIGHT_MAX for w in after.values())
    assert {s for s, w in after.items() if w} == {s for s, w in exact.items() if w}
    if any(after.values()):
        total, sum_of = sum(exact.values()), sum(after.values())
        for s in exact:
            assert abs(Fraction(after[s], sum_of) - exact[s] / total) < Fraction(1, 100_000)


def test_what_no_weights_can_say_is_near_and_leaves_others_exact() -> None:
    after = moved({X: 7, A: 999_983, B: 0}, (A,), (B,), Fraction(1, 3), {})
    assert after == {X: 7, A: 666_656, B: 333_327}


@pytest.mark.parametrize("share", [Fraction(0), Fraction(1, 2), Fraction(1)])
def test_the_largest_weights_move_too(share: Fraction) -> None:
    full = {X: WEIGHT_MAX, A: WEIGHT_MAX, B: 0}
    after = moved(full, (A,), (B,), share, {})
    assert shares(after) == {X: Fraction(1, 2), A: (1 - share) / 2, B: share / 2}
