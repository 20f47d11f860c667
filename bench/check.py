"""`python -m bench.check`: has an operation become more expensive than the committed baseline says?

Counted as `instructions` does it, interpreted and, where anything is compiled, compiled too.

Exit codes: 0 no; 1 yes; 2 it could not be counted, or there is no baseline for this interpreter.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from . import baseline, installing
from .baseline import TOLERANCE, Comparison, Verdict
from .instructions import build, count_all
from .operations import OPERATIONS, is_compiled
from .tools import Tool, advice, missing

WIDTH = 140
_STYLES = {Verdict.SAME: "", Verdict.CHEAPER: "green"}


@click.command()
@click.option("--record", is_flag=True, help="Make what is counted now the baseline.")
@click.option(
    "--install", is_flag=True, help="Install valgrind with apt, as root, if it is missing."
)
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0),
    default=100 * TOLERANCE,
    metavar="PERCENT",
    help=f"Still the same; {100 * TOLERANCE:.0f} if not given.",
)
def main(record: bool, install: bool, tolerance: float) -> None:
    """Count the instructions of each operation and compare them with bench/baseline.json."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    if install:
        installing.install(missing((Tool.VALGRIND,)))
    if lacking := missing((Tool.VALGRIND,)):
        console.print(f"valgrind is missing: {advice(lacking)}", style="red")
        sys.exit(2)
    codes = [
        _check(console, record, tolerance / 100, interpreted)
        for interpreted in ((True, False) if is_compiled() else (True,))
    ]
    sys.exit(max(codes))


def _check(console: Console, record: bool, tolerance: float, interpreted: bool) -> int:
    """The exit code of one build."""
    name = build(interpreted=interpreted)
    before = baseline.load().get(name)
    if before is None and not record:
        known = "\n".join(f"  {known}" for known in baseline.load()) or "  none"
        console.print(
            f"No baseline for {name}.\nThere are some for:\n{known}\n"
            "Count one on the commit to compare with: make bench-baseline",
            style="yellow",
            highlight=False,
        )
        return 2
    with console.status(f"counting: {name}"):
        now = count_all(tuple(OPERATIONS), interpreted=interpreted)
    found = list(baseline.compare(before or {}, now, tolerance))
    console.print(table(name, found))
    if record:
        baseline.record(name, now)
        console.print(f"Recorded in {baseline.FILE.name}.")
        return 0
    bad = [one for one in found if one.verdict.is_bad]
    if bad:
        console.print(
            f"{len(bad)} of {len(found)} do not fit the baseline (tolerance {tolerance:.0%}). If that is"
            " what it has to cost: make bench-baseline, and say why in the commit.",
            style="red",
        )
    return 1 if bad else 0


def table(title: str, comparisons: Sequence[Comparison]) -> Table:
    """For people."""
    made = Table(title=f"Instructions per operation: {title}", title_justify="left")
    made.add_column("operation")
    made.add_column("baseline", justify="right")
    made.add_column("now", justify="right")
    made.add_column("change", justify="right")
    made.add_column("")
    for one in comparisons:
        made.add_row(
            one.name,
            _number(one.before),
            _number(one.now),
            "" if one.change is None else f"{one.change:+.1%}",
            Text(one.verdict.value, style=_STYLES.get(one.verdict, "bold red")),
        )
    return made


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"


if __name__ == "__main__":
    main()
