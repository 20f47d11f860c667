"""Results for people: a table in the terminal, and the figures of the pages in `docs/`.

A page's figures stand between two marks and are written from the kept results only,
so none is ever typed by hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .results import Figure, Result

_DOCS = Path(__file__).parents[1] / "docs"
PAGES = {group: _DOCS / f"{group}.md" for group in ("performance", "reliability")}
BEGIN = "<!-- figures: written by `python -m bench --docs` from bench/results/ -->"
END = "<!-- end of figures -->"


def table(results: Sequence[Result]) -> Table:
    """All figures, one section per benchmark."""
    made = Table(title="Figures", title_justify="left", show_lines=False)
    made.add_column("what")
    made.add_column("value", justify="right")
    made.add_column("remark")
    for result in results:
        quick = " (quick run)" if result.quick else ""
        made.add_section()
        made.add_row(Text(result.title + quick, style="bold"), "", f"{result.took_s:.0f} s")
        for figure in result.figures:
            made.add_row(f"  {figure.name}", _value(figure), remark(figure))
    return made


def remark(figure: Figure) -> str:
    """What is said beside a value."""
    if figure.promise is None:
        return figure.note
    kept = "promise broken" if figure.is_broken else "as promised"
    return f"{kept}; {figure.note}" if figure.note else kept


def _value(figure: Figure) -> Text:
    style = "" if figure.promise is None else "bold red" if figure.is_broken else "green"
    return Text(figure.text, style=style)


def show(results: Sequence[Result], console: Console) -> None:
    """Print the table, and what was measured on."""
    if not results:
        return
    console.print(table(results))
    console.print(machine_line(results[-1]), style="dim")


def machine_line(result: Result) -> str:
    """The machine in one line."""
    facts = dict(result.machine)
    first = (
        f"{facts.pop('cpu')}, {facts.pop('cpus')} CPUs, {facts.pop('memory')}, "
        f"{facts.pop('system')}, Linux {facts.pop('kernel')}"
    )
    return ", ".join([first, *(f"{name} {version}" for name, version in facts.items())])


def markdown(results: Sequence[Result]) -> str:
    """The figures as the page shows them."""
    lines: list[str] = []
    for result in results:
        lines += [
            f"### {result.title} (`{result.benchmark}`)",
            "",
            f"Taken {result.taken} on: {machine_line(result)}.",
            "",
            "| what | value | remark |",
            "|---|---|---|",
            *(f"| {f.name} | {f.text} | {remark(f)} |" for f in result.figures),
            "",
        ]
    return "\n".join(lines)


def with_figures(page: str, results: Sequence[Result]) -> str:
    """The page with these figures. Raises `ValueError` when it has no place for them."""
    start, end = page.find(BEGIN), page.find(END)
    if not 0 <= start < end:
        raise ValueError("the page has no marks between which figures could stand")
    return f"{page[: start + len(BEGIN)]}\n\n{markdown(results)}\n{page[end:]}"
