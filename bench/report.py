"""Results for people: a table in the terminal, and the figures of the pages in `docs/`.

A page's figures stand between two marks and are written from the kept results only,
so none is ever typed by hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .goals import GOALS, Judgement, judge
from .results import Figure, Result

_DOCS = Path(__file__).parents[1] / "docs"
PAGES = {group: _DOCS / f"{group}.md" for group in ("performance", "reliability", "docker")}
README = _DOCS.parent / "README.md"
BEGIN = "<!-- figures: written by `python -m bench --docs` from bench/results/ -->"
END = "<!-- end of figures -->"
GOALS_BEGIN = "<!-- goals: written by `python -m bench --docs` from bench/results/ -->"
GOALS_END = "<!-- end of goals -->"


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
    if judged := [one for one in judge(results) if one.figure is not None]:
        console.print(goals_table(judged))
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
    return _between(page, BEGIN, END, markdown(results))


def goals_table(judged: Sequence[Judgement]) -> Table:
    """Goals beside what was measured."""
    made = Table(title="Goals", title_justify="left")
    for column in ("work", "what", "value", "goal", ""):
        made.add_column(column, justify="right" if column in ("value", "goal") else "left")
    for one in judged:
        style = "green" if one.is_met else "bold red"
        verdict = Text(one.verdict, style=style)
        made.add_row(one.goal.work, one.goal.what, one.value, one.bound, verdict)
    return made


def goals_markdown(results: Sequence[Result]) -> str:
    """Every goal, measured or not, a row for each kind of work, and what was measured on."""
    used = {goal.benchmark for goal in GOALS}
    taken = [result for result in results if result.benchmark in used]
    lines = ["| work | measured | goal | |", "|---|---|---|---|"]
    for work, group in groupby(judge(results), lambda one: one.goal.work):
        judged = list(group)
        measured = "<br>".join(f"{one.goal.what} {one.value}".rstrip() for one in judged)
        bounds = [one.bound for one in judged]
        bound = bounds[0] if len(set(bounds)) == 1 else "<br>".join(bounds)
        verdicts = "<br>".join(one.verdict for one in judged)
        lines.append(f"| {work} | {measured} | {bound} | {verdicts} |")
    lines.append("")
    if taken:
        first = min(result.taken for result in taken)
        last = max(result.taken for result in taken)
        when = first if first == last else f"{first} to {last}"
        lines += [f"Taken {when} on: {machine_line(widest(taken))}.", ""]
    return "\n".join(lines)


def widest(results: Sequence[Result]) -> Result:
    """The one that was taken with the most programs."""
    return max(results, key=lambda result: len(result.machine))


def with_goals(page: str, results: Sequence[Result]) -> str:
    """The page with the table of goals. Raises `ValueError` when it has no place for it."""
    return _between(page, GOALS_BEGIN, GOALS_END, goals_markdown(results))


def _between(page: str, begin: str, end: str, text: str) -> str:
    start, stop = page.find(begin), page.find(end)
    if not 0 <= start < stop:
        raise ValueError("the page has no marks between which figures could stand")
    return f"{page[: start + len(begin)]}\n\n{text}\n{page[stop:]}"
