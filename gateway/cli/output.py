"""How commands show what they found: tables for people, JSON for programs.

Colour and box width only on a terminal, never with NO_COLOR set; piped output
is plain text that is neither wrapped nor cut. Text from the gateway is shown
as it is, never read as markup.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from gateway.cli.harmless import harmless
from gateway.cli.style import style

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

PIPED_WIDTH = 1_000
_OBEYED = re.compile(r"[\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
"""What JSON lets stand as it is and terminals do not."""

STYLES: Mapping[str, str] = {
    "healthy": "green",
    "up": "green",
    "unknown": "yellow",
    "draining": "yellow",
    "leaving": "yellow",
    "ejected": "yellow",
    "unhealthy": "red",
    "down": "red",
    "green": "green",
    "blue": "blue",
    "yellow": "yellow",
}


def print_json(value: object) -> None:
    """The API's answer, indented; characters that a terminal would obey are escaped."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    click.echo(_OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", text))


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], empty: str = "nothing there"
) -> None:
    """A table; a column that starts with `>` is aligned right. `empty` is said for no rows."""
    rows = list(rows)
    if not rows:
        click.echo(empty)
        return
    console().print(table(columns, rows))


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """A table to draw; a column that starts with `>` is aligned right."""
    from rich.table import Table

    drawn = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 3, 0, 0))
    for column in columns:
        right = column.startswith(">")
        drawn.add_column(
            column.removeprefix(">"), justify="right" if right else "left", overflow="fold"
        )
    for row in rows:
        drawn.add_row(*(_cell(value) for value in row))
    return drawn


def console() -> Console:
    """Standard output; as wide as a terminal is, or so wide that nothing is wrapped."""
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else PIPED_WIDTH)


def print_applied(answer: Mapping[str, Any] | None) -> None:
    """Say that a change has reached the workers, or which one it has not reached yet."""
    if not isinstance(answer, Mapping):
        return
    for warning in answer.get("warnings") or ():
        click.echo(f"{style('warning', 'yellow')}: {harmless(str(warning))}", err=True)
    applied = answer.get("applied")
    if answer.get("dry_run"):
        click.echo("dry run: nothing was changed")
    elif isinstance(applied, Mapping):
        reached, total = applied.get("workers", 0), applied.get("of", 0)
        text = (
            f"applied by {reached} of {total} workers, generation {answer.get('generation', '?')}"
        )
        if late := applied.get("late"):
            text += f"; still waiting for {', '.join(map(str, late))} (the change stands)"
        click.echo(style(text, "yellow" if late else "green"))


def percent(share: float) -> str:
    """`0.9` -> `90 %`, `0.123` -> `12.3 %`."""
    return f"{share * 100:.1f}".rstrip("0").rstrip(".") + " %"


def _cell(value: object) -> Text:
    from rich.text import Text

    text = "-" if value is None else "\n".join(map(harmless, str(value).split("\n")))
    return Text(text, style=STYLES.get(text, ""))
