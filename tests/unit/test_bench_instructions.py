"""Counting instructions: what is counted, what it is compared with, and that nothing compiled gets in."""

from __future__ import annotations

import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from bench import baseline, check, instructions
from bench.baseline import Comparison, Verdict, compare
from bench.operations import OPERATIONS, ROOT


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_can_be_done_over_and_over(name: str) -> None:
    operation = OPERATIONS[name]()
    for _ in range(130):
        operation()


def test_look_ups_find_their_routes() -> None:
    match = OPERATIONS["route-match-1000"]()
    found = {match() for _ in range(64)}
    assert len(found) == 64
    assert not any(isinstance(one, str) for one in found)


def test_a_token_is_recalled_and_a_new_client_is_not() -> None:
    from gateway.routing.decision import Sticky

    recall = OPERATIONS["affinity"]()
    assert {getattr(recall(), "sticky", None) for _ in range(64)} == {Sticky.HIT}


def test_a_count_is_read_from_what_callgrind_says() -> None:
    assert instructions.parse("==7== Events    : Ir\n==7== Collected : 334263562\n") == 334263562
    with pytest.raises(ValueError, match="no count"):
        instructions.parse("valgrind: no such tool")


def test_builds_are_told_apart() -> None:
    compiled, interpreted = (instructions.build(interpreted=choice) for choice in (False, True))
    assert compiled != interpreted
    assert interpreted.endswith("interpreted")
    assert "/" not in interpreted.replace("/n", ""), "no path of a machine"


@pytest.mark.parametrize(
    ("before", "now", "verdict"),
    [
        (100.0, 100.0, Verdict.SAME),
        (100.0, 103.0, Verdict.SAME),
        (100.0, 103.1, Verdict.DEARER),
        (100.0, 97.0, Verdict.SAME),
        (100.0, 96.9, Verdict.CHEAPER),
    ],
)
def test_what_is_within_the_tolerance_is_the_same(
    before: float, now: float, verdict: Verdict
) -> None:
    (found,) = compare({"a": before}, {"a": now}, 0.03)
    assert found.verdict is verdict
    assert found.verdict.is_bad == (verdict is Verdict.DEARER)
    assert found.change == pytest.approx(now / 100 - 1)


def test_operations_that_come_or_go_do_not_pass_unseen() -> None:
    found = list(compare({"gone": 1.0}, {"new": 2.0}))
    assert found == [
        Comparison("gone", 1.0, None, Verdict.GONE),
        Comparison("new", None, 2.0, Verdict.NEW),
    ]
    assert all(one.verdict.is_bad for one in found)
    assert [one.change for one in found] == [None, None]


def test_a_new_baseline_leaves_those_of_other_builds(tmp_path: Path) -> None:
    file = tmp_path / "baseline.json"
    assert baseline.load(file) == {}
    baseline.record("one", {"a": 1.04}, file)
    baseline.record("two", {"a": 2.0}, file)
    baseline.record("one", {"b": 3.0}, file)
    assert baseline.load(file) == {"one": {"b": 3.0}, "two": {"a": 2.0}}


def test_the_committed_baseline_has_every_operation() -> None:
    for build, counts in baseline.load().items():
        assert sorted(counts) == sorted(OPERATIONS), build


def test_the_table_says_what_became_of_each() -> None:
    said = StringIO()
    Console(width=120, file=said).print(
        check.table("a build", list(compare({"a": 1000.0}, {"a": 1100.0, "b": 5.0})))
    )
    text = said.getvalue()
    assert "a build" in text
    assert "1,100" in text
    assert "+10.0%" in text
    assert "more expensive" in text
    assert "not in the baseline" in text


def test_an_interpreted_run_takes_nothing_compiled() -> None:
    program = (
        "import sys; from bench.operations import OPERATIONS, forgo_compiled; forgo_compiled()\n"
        "for make in OPERATIONS.values(): make()\n"
        "from gateway.compiled import MODULES\n"
        "loaded = [sys.modules[name] for name in MODULES if name in sys.modules]\n"
        "print({module.__file__.rpartition('.')[2] for module in loaded})"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout == "{'py'}\n", done.stderr
