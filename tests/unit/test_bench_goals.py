"""Goals: which figure each is about, what is met, and what the table says."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from bench import report, results
from bench.__main__ import kept
from bench.goals import GOALS, Goal, Judgement, judge
from bench.instructions import LOOKUPS
from bench.results import Figure, Result
from bench.suite import SUITE

GOAL = Goal("work", "what", "cpu", "plain route: gateway / nginx", 1.0)
MACHINE = {
    "cpu": "C",
    "cpus": "2",
    "memory": "4 GiB",
    "system": "S",
    "kernel": "6",
    "python": "3.11.0",
}
PAGES = [report.PAGES["performance"], report.README]


def a_result(benchmark: str, *figures: Figure, **facts: str) -> Result:
    taken = "2026-01-01T00:00:00Z"
    return Result(benchmark, "Title", False, taken, 1.0, {**MACHINE, **facts}, figures, {})


@pytest.mark.parametrize(
    ("value", "is_met", "verdict"),
    [
        (0.5, True, "met, 50 % below"),
        (1.0, True, "met"),
        (1.5, False, "missed by 50 %"),
        (3.09, False, "missed by 209 %"),
    ],
)
def test_what_is_beyond_its_bound_is_missed_by_so_much(
    value: float, is_met: bool, verdict: str
) -> None:
    judged = Judgement(GOAL, Figure(GOAL.figure, value))
    assert judged.is_met is is_met
    assert judged.verdict == verdict


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    judged = Judgement(replace(GOAL, unit="us"), None)
    assert judged.is_met is None
    assert (judged.value, judged.bound, judged.verdict) == ("", "<= 1 us", "not measured")


def test_a_figure_belongs_to_its_benchmark() -> None:
    name = "plain route: gateway / nginx"
    other = a_result("cpu-others", Figure(name, 9.0))
    own = a_result("cpu", Figure(name, 0.9, "", 0.8, 1.1))
    found = {one.goal.figure: one for one in judge([other, own]) if one.goal.benchmark == "cpu"}
    assert found[name].value == "0.90 (0.80 to 1.10)"
    assert found[name].is_met
    assert len(list(judge([]))) == len(GOALS)


def test_every_goal_is_measured_by_a_full_run() -> None:
    assert {goal.benchmark for goal in GOALS} <= {benchmark.name for benchmark in SUITE}
    assert LOOKUPS in {goal.figure for goal in GOALS}
    assert len({(goal.benchmark, goal.figure) for goal in GOALS}) == len(GOALS)


def test_kept_results_have_the_figures_that_goals_name() -> None:
    for result in kept("performance"):
        figures = {figure.name: figure for figure in result.figures}
        for goal in GOALS:
            if goal.benchmark == result.benchmark and goal.figure in figures:
                assert figures[goal.figure].unit == goal.unit, goal


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_a_page_shows_the_goals_beside_the_kept_results(page: Path) -> None:
    text = page.read_text()
    assert report.with_goals(text, kept("performance")) == text, "run `python -m bench --docs`"


def test_the_table_says_on_what_it_was_measured() -> None:
    figure = Figure("plain route: gateway / nginx", 2.0)
    text = report.goals_markdown([a_result("cpu", figure, nginx="1.22"), a_result("kills")])
    row = "x nginx 2<br>x HAProxy | <= 1 | missed by 100 %<br>not measured |"
    assert f"| CPU for small answers | {row}" in text
    assert text.count("not measured") == len(GOALS) - 1
    assert "Taken 2026-01-01T00:00:00Z on: C, 2 CPUs" in text
    assert "nginx 1.22" in text
    assert "Taken" not in report.goals_markdown([])


def test_a_terminal_sees_the_goals_of_what_was_measured() -> None:
    said = StringIO()
    figure = Figure("idle worker", 22.0, "MB")
    report.show([a_result("memory", figure)], Console(width=160, file=said))
    text = said.getvalue()
    assert "met, 27 % below" in text
    assert "not measured" not in text


def test_results_have_a_place_for_the_plot() -> None:
    assert results.FOLDER.joinpath("cpu.svg").relative_to(report.README.parent).as_posix() in (
        report.README.read_text()
    )
