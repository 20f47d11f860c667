"""Work done in turns: who begins, what makes a pair, what ends a run."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from bench import turns
from bench.bodies import peak
from bench.generators import Volley
from bench.programs import split_of
from bench.results import Scope
from bench.turns import Lane, Rounds, Sample, costs, order, pairs, ratio, take_turns

GOOD = Volley(1000, 2.0, 0, 1.0, 2.0)


class Meter:
    """A program that spends `cost_us` on each of the requests it gets."""

    def __init__(self, cost_us: float) -> None:
        self.cost_us = cost_us
        self.spent_s = 0.0
        self.seconds: list[int] = []

    def lane(self, name: str, work: str = "work", volley: Volley = GOOD) -> Lane:
        def fire(seconds: int) -> Volley:
            self.seconds.append(seconds)
            self.spent_s += self.cost_us * volley.requests / 1e6
            return volley

        return Lane(work, name, lambda: self.spent_s, fire)


@pytest.fixture
def scope(tmp_path: Path) -> Scope:
    return Scope(tmp_path, True, lambda word: None)


def test_each_round_begins_with_another() -> None:
    lanes = [Meter(1).lane(name, work) for work in ("one", "two") for name in "abc"]
    begun = ["".join(lane.name for lane in order(lanes, turn)) for turn in range(4)]
    assert begun == ["abcabc", "bcabca", "cabcab", "abcabc"]
    assert [lane.work for lane in order(lanes, 2)] == ["one"] * 3 + ["two"] * 3


def test_the_first_round_warms_up_and_does_not_count(scope: Scope) -> None:
    first, second = Meter(30), Meter(20)
    samples = take_turns(scope, [first.lane("a"), second.lane("b")], Rounds(3, 5, 0))
    assert first.seconds == [turns.WARM_S, 5, 5, 5]
    assert [s.cost_us for s in samples["work", "a"]] == pytest.approx([30] * 3)
    assert next(pairs(samples, "work", "a", "b")) == pytest.approx((30, 20))
    found = ratio(samples, "work", "a", "b")
    assert found.name == "work: a / b"
    assert found.value == pytest.approx(1.5)


@pytest.mark.parametrize("volley", [replace(GOOD, bad=1), replace(GOOD, requests=0)])
def test_a_request_that_fails_ends_the_run(scope: Scope, volley: Volley) -> None:
    with pytest.raises(RuntimeError, match="a failed"):
        take_turns(scope, [Meter(1).lane("a", volley=volley)], Rounds(1, 1, 0))


def test_costs_come_with_rates_and_ratios_with_intervals() -> None:
    samples = {
        ("w", "a"): [Sample(10.0 * n, GOOD) for n in (1, 2, 3)],
        ("w", "b"): [Sample(5.0 * n, GOOD) for n in (1, 2, 3)],
    }
    figures = list(costs(samples, "w", ["a", "b"], "messages"))
    assert [f.name for f in figures] == ["w: a", "w: b", "w: a / b"]
    assert figures[0].text == "20 us (10 to 30)"
    assert figures[0].note == "500 messages per second"
    assert figures[2].text == "2 (2 to 2)"


def test_the_most_is_what_was_seen_while_the_work_went_on() -> None:
    values = iter((10, 50))
    seen: list[int] = []
    enough = threading.Event()

    def memory() -> int:
        seen.append(next(values, 20))
        if len(seen) > 3:
            enough.set()
        return seen[-1]

    assert peak(memory, enough.wait) == 50


@pytest.mark.parametrize(
    ("usable", "wanted", "split"),
    [
        ({0}, 1, ({0}, {0})),
        ({0, 1}, 1, ({1}, {0})),
        ({0, 1}, 2, ({1}, {0})),
        ({0, 1, 2}, 2, ({2}, {0, 1})),
        ({0, 1, 2, 3}, 2, ({2, 3}, {0, 1})),
    ],
)
def test_those_who_are_measured_have_cpus_of_their_own(
    usable: set[int], wanted: int, split: tuple[set[int], set[int]]
) -> None:
    assert [set(cpus) for cpus in split_of(usable, wanted)] == list(split)
