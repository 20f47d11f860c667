"""Results as they are kept and shown, on pages and by name."""

from __future__ import annotations

import re
from dataclasses import replace

import orjson
import pytest

from bench import (
    report,
    results,
)
from bench.__main__ import chosen
from bench.results import Figure, Result
from bench.suite import EVERY, GROUPS, SUITE

RESULT = Result(
    benchmark="kills",
    title="Kills",
    quick=False,
    taken="2026-01-01T00:00:00Z",
    took_s=1.5,
    machine={
        "cpu": "C",
        "cpus": "2",
        "memory": "4 GiB",
        "system": "S",
        "kernel": "6",
        "python": "3.11.0",
    },
    figures=(
        Figure("failed", 0, promise=0),
        Figure("astray", 3, promise=0, note="of 10"),
        Figure("cost", 21.34, "us", 20.0, 22.5),
    ),
    details={"order": ["a"]},
)


def test_results_are_the_same_after_being_kept() -> None:
    assert results.load(orjson.dumps(RESULT)) == RESULT


def test_quick_results_do_not_replace_full_ones() -> None:
    assert RESULT.file != replace(RESULT, quick=True).file


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (1234567, "1,234,567"), (21.34, "21.3"), (4.7, "4.70"), (0.01234, "0.0123")],
)
def test_numbers_are_written_with_three_digits(value: float, text: str) -> None:
    assert results.number(value) == text


def test_a_broken_promise_is_told() -> None:
    assert [figure.is_broken for figure in RESULT.figures] == [False, True, False]
    text = report.markdown([RESULT])
    assert "| astray | 3 | promise broken; of 10 |" in text
    assert "| failed | 0 | as promised |" in text
    assert "| cost | 21.3 us (20 to 22.5) |  |" in text
    assert "Python" not in text
    assert "python 3.11.0" in text


def test_figures_replace_what_stands_between_the_marks() -> None:
    page = f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n"
    once = report.with_figures(page, [RESULT])
    assert "old" not in once
    assert once.startswith("before\n")
    assert once.endswith("after\n")
    assert report.with_figures(once, [RESULT]) == once
    with pytest.raises(ValueError, match="marks"):
        report.with_figures("no marks", [RESULT])


@pytest.mark.parametrize("group", GROUPS)
def test_a_page_shows_the_kept_results_and_no_others(group: str) -> None:
    files = [results.FOLDER / f"{benchmark.name}.json" for benchmark in GROUPS[group]]
    kept = [results.load(file.read_bytes()) for file in files if file.exists()]
    page = report.PAGES[group].read_text()
    assert report.with_figures(page, kept) == page, "run `python -m bench --docs`"


@pytest.mark.parametrize("group", GROUPS)
def test_a_page_tells_of_every_benchmark_of_its_group(group: str) -> None:
    page = report.PAGES[group].read_text()
    names = [b.name for b in GROUPS[group]]
    assert [n for n in names if not re.search(rf"^## .*`{n}`", page, re.MULTILINE)] == []


def test_a_name_may_be_a_groups_and_none_means_performance() -> None:
    assert chosen([]) == chosen(["performance"]) == list(SUITE)
    assert [b.name for b in chosen(["soak", "fuzz"])] == ["fuzz", "soak"]
    names = [b.name for b in chosen([*GROUPS])]
    assert names == [b.name for b in EVERY]
    assert len(names) == len(set(names))
