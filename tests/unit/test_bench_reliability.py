"""What campaigns of reliability have said, read and added up."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import (
    chaos,
    conformance,
    fuzzing,
)
from bench.results import Scope, Skipped


def test_a_fuzz_campaign_is_read_by_what_it_prints() -> None:
    said = (
        "seed 1, 1000 inputs\n"
        "       12  h11     bare LF after a field\n"
        "        3  llhttp  two lengths (same)\n"
        "1000 inputs in 3 s: 41.5% accepted by a reader, 38.0% by the gateway; "
        "2 classes of difference\n"
        "not in protocol.md: x (h11), 2 times, as in b'y'\n"
    )
    found = fuzzing.parse(said)
    assert (found.inputs, found.accepted, found.accepted_here) == (1000, 41.5, 38.0)
    assert found.counts == {"bare LF after a field (h11)": 12, "two lengths (same) (llhttp)": 3}
    assert len(found.complaints) == 1
    with pytest.raises(ValueError, match="its end"):
        fuzzing.parse("Traceback")


def test_rounds_of_chaos_are_added_up() -> None:
    one: dict[str, object] = {
        "answered": 10,
        "in_flight": 2,
        "stale": 1,
        "held": 1,
        "failed": 0,
        "astray": 0,
        "longest_s": 0.25,
        "struck": {"a worker killed": 2},
        "releases": {"confirm": 1},
    }
    other = {**one, "longest_s": 0.5, "astray": 1, "releases": {"rollback": 2}}
    figures = {f.name: f for f in chaos.found([one, other], "it has failed").figures}
    assert figures["requests"].value == 28
    assert figures["processes killed or stopped"].note == "4 times a worker killed"
    assert figures["releases meanwhile"].value == 3
    assert figures["longest of the other answers"].value == 500
    assert [f.name for f in figures.values() if f.is_broken] == [
        "answered by a version without traffic",
        "states, releases or counters that were wrong afterwards",
    ]


def test_without_its_list_conformance_is_left_out(tmp_path: Path) -> None:
    with pytest.raises(Skipped, match="--conformance"):
        conformance.run(Scope(tmp_path, True, lambda word: None))
