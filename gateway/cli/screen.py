"""Where progress is shown: a terminal that is painted over, or lines one after the other.

Both take the same pictures. On a terminal the picture is drawn anew each time;
anywhere else a line is printed for each fact that is new or has changed, with the
seconds since the watching began, so that a log of a pipeline reads as a story.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import click

from gateway.cli.clock import Clock
from gateway.cli.output import console
from gateway.cli.picture import Picture

if TYPE_CHECKING:
    from rich.live import Live

P = TypeVar("P", contravariant=True)

LEAVING = ("instance:", "service:", "route:", "application:")
"""Facts whose end is worth a line."""


class Screen(Protocol[P]):
    """Somewhere to show the present state, as pictures or as what the API answers."""

    def show(self, picture: P) -> None:
        """Show the present state."""

    def away(self, why: str, for_s: float) -> None:
        """Say that the gateway does not answer."""


class Lines:
    """Prints what is new. `err`: to standard error, where standard output has JSON."""

    def __init__(self, clock: Clock, err: bool = False) -> None:
        self._clock = clock
        self._begun = clock.monotonic()
        self._err = err
        self._facts: dict[str, str] = {}
        self._is_away = False

    def show(self, picture: Picture) -> None:
        """Print each fact that is new or differs, and which instances are gone."""
        if self._is_away:
            self._is_away = False
            self._say("the gateway answers again")
        for key in self._facts:
            if key not in picture.facts and key.startswith(LEAVING):
                self._say(f"{key.partition(':')[2]} is gone")
        for key, text in picture.facts.items():
            if self._facts.get(key) != text:
                self._say(text)
        self._facts = dict(picture.facts)

    def away(self, why: str, for_s: float) -> None:
        """Say so once."""
        if not self._is_away:
            self._is_away = True
            self._say(f"no answer, trying on: {why}")

    def _say(self, text: str) -> None:
        before = f"{self._clock.monotonic() - self._begun:5.0f} s  "
        first, *rest = text.split("\n")
        click.echo(before + first, err=self._err)
        for line in rest:
            click.echo(" " * len(before) + line, err=self._err)


class Painted:
    """Draws each picture over the one before."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._last: Picture | None = None

    def show(self, picture: Picture) -> None:
        """Draw it."""
        self._last = picture
        self._live.update(picture.draw(self._live.console.height), refresh=True)

    def away(self, why: str, for_s: float) -> None:
        """Draw the last one with a line about it above."""
        from rich.console import Group
        from rich.text import Text

        said = Text(f"no answer for {for_s:.0f} s, trying on: {why}", style="yellow")
        last = () if self._last is None else (self._last.draw(self._live.console.height),)
        self._live.update(Group(said, *last), refresh=True)


class Answers:
    """Prints an answer as a line of JSON whenever it differs from the one before."""

    def __init__(self) -> None:
        self._last: dict[str, Any] | None = None

    def show(self, picture: dict[str, Any]) -> None:
        """Print it."""
        if picture != self._last:
            self._last = picture
            click.echo(json.dumps(picture, ensure_ascii=False))

    def away(self, why: str, for_s: float) -> None:
        """Standard output is for answers; there is none."""


@contextmanager
def screen(clock: Clock, as_json: bool = False) -> Iterator[Screen[Picture]]:
    """The screen for this output. `as_json`: standard output is kept for JSON."""
    if as_json or not sys.stdout.isatty():
        yield Lines(clock, err=as_json)
        return
    from rich.live import Live

    with Live(console=console(), auto_refresh=False) as live:
        yield Painted(live)


def print_picture(picture: Picture) -> None:
    """A single look."""
    console().print(picture.draw(None))
