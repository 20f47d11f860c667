"""`python -m bench [--quick] [NAME...]`: run benchmarks, print and keep what they find.

Exit codes: 0 done; 1 a promise was broken, or a benchmark could not be run to its end; 2 usage.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import click
from rich.console import Console

from . import machine, report, results, tools
from .results import Benchmark, Result, Scope
from .suite import SUITE

WIDTH = 140
"""Of what goes into a file or pipe."""
NAMES = [benchmark.name for benchmark in SUITE]


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(NAMES), metavar="[NAME]...")
@click.option(
    "--quick", is_flag=True, help="Two minutes in all: shows that it works, proves little."
)
@click.option("--install", is_flag=True, help="Install missing programs with apt, as root.")
@click.option("--docs", is_flag=True, help="Write the kept results into docs/performance.md.")
def main(names: tuple[str, ...], quick: bool, install: bool, docs: bool) -> None:
    """Run the benchmarks NAME (all without one), print a table, keep results as JSON."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    if docs:
        write_docs()
        console.print(f"{report.PAGE} has the figures of {results.FOLDER}")
        return
    look_for_tools(console, install)
    found: list[Result] = []
    has_failed = False
    for benchmark in SUITE:
        if names and benchmark.name not in names:
            continue
        try:
            found.append(run(benchmark, quick, console))
        except Exception:
            has_failed = True
            console.print_exception(max_frames=3)
    report.show(found, console)
    broken = any(figure.is_broken for result in found for figure in result.figures)
    sys.exit(1 if broken or has_failed else 0)


def look_for_tools(console: Console, install: bool) -> None:
    """Say, or mend, what is missing."""
    missing = tools.missing()
    if not missing:
        return
    why_not = tools.install(missing) if install else None
    missing = tools.missing()
    if missing:
        names = ", ".join(tool.value for tool in missing)
        reason = f" ({why_not})" if why_not else ""
        console.print(
            f"[yellow]{names} missing{reason}: their rows are left out, or measured with our own "
            f"clients and backend.[/] On Debian or Ubuntu: {tools.advice(missing)}"
        )


def run(benchmark: Benchmark, quick: bool, console: Console) -> Result:
    """Run one and keep its result."""
    began, taken = time.monotonic(), results.utc_now()
    with (
        tempfile.TemporaryDirectory(prefix="gateway-bench-") as folder,
        console.status(benchmark.title) as status,
    ):
        scope = Scope(Path(folder), quick, lambda word: status.update(f"{benchmark.title}: {word}"))
        findings = benchmark.run(scope)
    result = Result(
        benchmark=benchmark.name,
        title=benchmark.title,
        quick=quick,
        taken=taken,
        took_s=round(time.monotonic() - began, 1),
        machine=machine.facts(),
        figures=findings.figures,
        details=findings.details,
    )
    results.save(result)
    return result


def kept() -> list[Result]:
    """The results of full runs that stand in the folder, in the suite's order."""
    files = (results.FOLDER / f"{name}.json" for name in NAMES)
    return [results.load(file.read_bytes()) for file in files if file.exists()]


def write_docs() -> None:
    """Put the kept results into the page."""
    page = report.PAGE.read_text()
    report.PAGE.write_text(report.with_figures(page, kept()))


if __name__ == "__main__":
    main()
