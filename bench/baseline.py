"""What operations may cost: the committed counts of instructions, by build, and how others compare.

The file is `baseline.json`. Pure but for reading and writing it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import orjson

FILE = Path(__file__).parent / "baseline.json"
TOLERANCE = 0.03
"""So much more, in relation to the baseline, is still the same."""

Counts = Mapping[str, float]
"""Instructions by operation."""


class Verdict(Enum):
    """How a count compares with the baseline."""

    SAME = "same"
    CHEAPER = "cheaper"
    DEARER = "more expensive"
    NEW = "not in the baseline"
    GONE = "not counted any more"

    @property
    def is_bad(self) -> bool:
        """Does it fail the check?"""
        return self in (Verdict.DEARER, Verdict.NEW, Verdict.GONE)


@dataclass(frozen=True, slots=True)
class Comparison:
    """One operation."""

    name: str
    before: float | None
    now: float | None
    verdict: Verdict

    @property
    def change(self) -> float | None:
        """In relation to the baseline: 0.1 is a tenth more."""
        if self.before is None or self.now is None:
            return None
        return self.now / self.before - 1


def compare(before: Counts, now: Counts, tolerance: float = TOLERANCE) -> Iterator[Comparison]:
    """Every operation that is in one or the other."""
    for name in dict.fromkeys((*before, *now)):
        old, new = before.get(name), now.get(name)
        if old is None:
            verdict = Verdict.NEW
        elif new is None:
            verdict = Verdict.GONE
        elif new > old * (1 + tolerance):
            verdict = Verdict.DEARER
        elif new < old * (1 - tolerance):
            verdict = Verdict.CHEAPER
        else:
            verdict = Verdict.SAME
        yield Comparison(name, old, new, verdict)


def load(file: Path = FILE) -> dict[str, dict[str, float]]:
    """Build to counts; empty where there is no file."""
    if not file.exists():
        return {}
    found: dict[str, dict[str, float]] = orjson.loads(file.read_bytes())
    return found


def record(build: str, counts: Counts, file: Path = FILE) -> None:
    """From now on these are the baseline of that build; those of others stay."""
    whole = {name: round(value, 1) for name, value in counts.items()}
    options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE | orjson.OPT_SORT_KEYS
    file.write_bytes(orjson.dumps({**load(file), build: whole}, option=options))
