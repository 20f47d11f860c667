"""What a benchmark found, as values: figures for people, details for whoever doubts them.

Kept as JSON in `results/NAME.json` (`NAME.quick.json` for short runs, which prove that a
benchmark works and little more).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from .machine import Facts
from .tools import USUAL, Tool

FOLDER = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of a result."""

    name: str
    value: float
    unit: str = ""
    low: float | None = None
    """With `high`: the interval the value lies in."""
    high: float | None = None
    promise: float | None = None
    """What the value must be; None: whatever comes out."""
    note: str = ""

    @property
    def is_broken(self) -> bool:
        """A promise that was not kept."""
        return self.promise is not None and self.value != self.promise

    @property
    def text(self) -> str:
        """The value with its unit and interval."""
        unit = f" {self.unit}" if self.unit else ""
        if self.low is None or self.high is None:
            return f"{number(self.value)}{unit}"
        return f"{number(self.value)}{unit} ({number(self.low)} to {number(self.high)})"


@dataclass(frozen=True, slots=True)
class Findings:
    """What one benchmark found."""

    figures: tuple[Figure, ...]
    details: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Result:
    """Findings with what is to be known about their origin."""

    benchmark: str
    title: str
    quick: bool
    taken: str
    """UTC."""
    took_s: float
    machine: Facts
    figures: tuple[Figure, ...]
    details: Mapping[str, object]

    @property
    def file(self) -> Path:
        """Where it is kept."""
        return FOLDER / f"{self.benchmark}{'.quick' if self.quick else ''}.json"


class Skipped(Exception):  # noqa: N818 - says what happened
    """A benchmark cannot be run here; the message says why, and what would help."""


@dataclass(frozen=True, slots=True)
class Options:
    """What some benchmarks may be told."""

    conformance: Path | None = None
    """A program with cases for HTTP/1.1 proxies."""
    soak_s: float | None = None


@dataclass(frozen=True, slots=True)
class Scope:
    """What a benchmark is given: a scratch folder, and whether to be quick."""

    folder: Path
    quick: bool
    say: Callable[[str], None]
    """Tells the user what is going on."""
    options: Options = Options()


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A named measurement."""

    name: str
    title: str
    run: Callable[[Scope], Findings]
    needs: tuple[Tool, ...] = USUAL
    """The programs it is taken with, where they are there."""


def number(value: float) -> str:
    """Three significant digits, but whole numbers whole."""
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    digits = 2 if abs(value) < 10 else 1
    return f"{value:.{digits}f}" if abs(value) >= 0.1 else f"{value:.3g}"


def utc_now() -> str:
    """RFC 3339."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def save(result: Result) -> None:
    """Write it to its file."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    FOLDER.mkdir(exist_ok=True)
    result.file.write_bytes(orjson.dumps(result, option=options))


def load(data: bytes) -> Result:
    """The inverse of what `save` writes."""
    value = orjson.loads(data)
    value["figures"] = tuple(Figure(**figure) for figure in value["figures"])
    return Result(**value)
