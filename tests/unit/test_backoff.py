"""How long until a child is started again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.runtime.backoff import CALM_S, MAX_S, Backoff


def test_the_first_time_at_once_then_doubling_from_a_tenth_of_a_second_to_ten() -> None:
    backoff = Backoff()
    delays = [backoff.next_delay_s(0.0) for _ in range(11)]
    assert delays == [0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0, 10.0]


def test_a_child_that_lived_long_enough_begins_anew() -> None:
    backoff = Backoff()
    for _ in range(8):
        backoff.next_delay_s(CALM_S - 0.1)
    assert backoff.failures == 8
    assert backoff.next_delay_s(CALM_S) == 0.0
    assert backoff.failures == 1


@given(st.lists(st.floats(0, 100), max_size=60))
def test_a_delay_is_never_above_the_most_nor_negative(lives: list[float]) -> None:
    backoff = Backoff()
    assert all(0 <= backoff.next_delay_s(lived) <= MAX_S for lived in lives)


def test_failing_for_days_does_not_overflow() -> None:
    backoff = Backoff()
    assert [backoff.next_delay_s(0) for _ in range(5000)][-1] == MAX_S
