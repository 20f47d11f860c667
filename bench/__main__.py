"""`python -m bench [--quick] [NAME...]`: run benchmarks, print and keep what they find.

A name may be that of a group: `performance`, which runs without any name, or `reliability`.

Exit codes: 0 done; 1 a promise was broken, or a benchmark could not be run to its end; 2 usage.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Collection, Sequence
from pathlib import Path

import click
from rich.console import Console

from . import installing, machine, plot, report, results, tools
from .results import Benchmark, Options, Result, Scope, Skipped
from .suite import EVERY, GROUPS, SUITE
from .tools import Tool

WIDTH = 140
"""Of what goes into a file or pipe."""
NAMES = [*GROUPS, *(benchmark.name for benchmark in EVERY)]


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(NAMES), metavar="[NAME]...")
@click.option(
    "--quick", is_flag=True, help="Two minutes in all: shows that it works, proves little."
)
@click.option("--install", is_flag=True, help="Install missing programs with apt, as root.")
@click.option("--docs", is_flag=True, help="Write the kept results into the pages of docs/.")
@click.option(
    "--conformance",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The program with the cases for HTTP/1.1 proxies, which is not in this repository.",
)
@click.option("--soak", "soak_s", type=float, metavar="SECONDS", help="How long `soak` takes.")
def main(
    names: tuple[str, ...],
    quick: bool,
    install: bool,
    docs: bool,
    conformance: Path | None,
    soak_s: float | None,
) -> None:
    """Run the benchmarks NAME (those of `performance` without one), print a table, keep results as JSON."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    if docs:
        write_docs()
        console.print(f"The pages have the figures of {results.FOLDER}")
        return
    picked = chosen(names)
    look_for_tools(console, {tool for benchmark in picked for tool in benchmark.needs}, install)
    found: list[Result] = []
    has_failed = False
    options = Options(conformance, soak_s)
    for benchmark in picked:
        try:
            found.append(run(benchmark, quick, options, console))
        except Skipped as why:
            console.print(f"[yellow]{benchmark.name} is left out: {why}[/]")
        except Exception:
            has_failed = True
            console.print_exception(max_frames=3)
    report.show(found, console)
    broken = any(figure.is_broken for result in found for figure in result.figures)
    sys.exit(1 if broken or has_failed else 0)


def chosen(names: Sequence[str]) -> list[Benchmark]:
    """What these names mean, each once."""
    if not names:
        return list(SUITE)
    groups = {b.name for name in names for b in GROUPS.get(name, ())}
    return [b for b in EVERY if b.name in groups or b.name in names]


def look_for_tools(console: Console, needed: Collection[Tool], install: bool) -> None:
    """Say, or mend, what is missing."""
    missing = tools.missing(needed)
    if not missing:
        return
    why_not = installing.install(missing) if install else ()
    missing = tools.missing(needed)
    if missing:
        names = ", ".join(tool.value for tool in missing)
        reason = f" ({'; '.join(why_not)})" if why_not else ""
        console.print(
            f"[yellow]{names} missing{reason}: their rows are left out, or measured with our own "
            f"clients and backend.[/] To install: {tools.advice(missing)}"
        )


def run(benchmark: Benchmark, quick: bool, options: Options, console: Console) -> Result:
    """Run one and keep its result."""
    began, taken = time.monotonic(), results.utc_now()
    with (
        tempfile.TemporaryDirectory(prefix="gateway-bench-") as folder,
        console.status(benchmark.title) as status,
    ):

        def say(word: str) -> None:
            status.update(f"{benchmark.title}: {word}")

        scope = Scope(Path(folder), quick, say, options)
        findings = benchmark.run(scope)
    result = Result(
        benchmark=benchmark.name,
        title=benchmark.title,
        quick=quick,
        taken=taken,
        took_s=round(time.monotonic() - began, 1),
        machine=machine.facts(benchmark.needs),
        figures=findings.figures,
        details=findings.details,
    )
    results.save(result)
    if not quick and benchmark.name in plot.BENCHMARKS:
        plot.write(kept("performance"))
    return result


def kept(group: str) -> list[Result]:
    """The results of full runs that stand in the folder, in the group's order."""
    files = (results.FOLDER / f"{benchmark.name}.json" for benchmark in GROUPS[group])
    return [results.load(file.read_bytes()) for file in files if file.exists()]


def write_docs() -> None:
    """Put the kept results into the pages, and draw the plot of them."""
    for group, page in report.PAGES.items():
        page.write_text(report.with_figures(page.read_text(), kept(group)))
    found = kept("performance")
    for page in (report.PAGES["performance"], report.README):
        page.write_text(report.with_goals(page.read_text(), found))
    plot.write(found)


if __name__ == "__main__":
    main()
