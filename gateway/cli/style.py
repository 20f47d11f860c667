"""Colour in one line of text: on a terminal only, and never with NO_COLOR set."""

from __future__ import annotations

import os

import click


def style(text: str, colour: str | None = None, bold: bool = False) -> str:
    """`text` as it is shown; `click.echo` takes the colour out again when piped."""
    if os.environ.get("NO_COLOR"):
        colour = None
    return click.style(text, fg=colour, bold=bold or None)
