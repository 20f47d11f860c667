"""Percentiles, and how sure a median is."""

from __future__ import annotations

import random
from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.stats import estimate, percentile

values = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50)


@given(values, st.floats(0, 100))
@settings(deadline=None)
def test_a_percentile_lies_among_the_values(given_values: list[float], percent: float) -> None:
    found = percentile(given_values, percent)
    assert min(given_values) <= found <= max(given_values)


@given(values)
@settings(deadline=None)
def test_the_50th_percentile_is_the_median(given_values: list[float]) -> None:
    assert percentile(given_values, 50) == pytest.approx(median(given_values))


def test_percentiles_are_interpolated() -> None:
    assert percentile([1, 2, 3, 4, 5], 25) == 2
    assert percentile([1, 2], 75) == 1.75
    assert percentile([7], 99) == 7
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


def test_an_estimate_is_the_median_with_an_interval_around_it() -> None:
    drawn = random.Random(3)
    found = estimate([drawn.gauss(10, 1) for _ in range(40)])
    assert 9 < found.low < found.median < found.high < 11
    assert estimate([5.0, 5.0, 5.0]) == estimate([5.0])
    with pytest.raises(ValueError, match="no values"):
        estimate([])


def test_an_estimate_is_the_same_every_time() -> None:
    assert estimate([1.0, 2.0, 4.0, 8.0]) == estimate([1.0, 2.0, 4.0, 8.0])
