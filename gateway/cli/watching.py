"""Looking again and again until something is over.

The gateway may be away for a while: its control process is replaced, the
connection breaks. Whoever watches goes on asking, up to `AWAY_MAX_S`. That the
watching ends never ends what is watched; `Interrupted` says so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import IO, Any, TypeVar

import click

from gateway.cli.client import Refused, Unreachable
from gateway.cli.clock import Clock
from gateway.cli.screen import Screen

T = TypeVar("T")
P = TypeVar("P")

PAUSE_S = 0.5
AWAY_MAX_S = 60.0
ASK_S = 5.0
"""How long one look may take."""


class Interrupted(click.ClickException):
    """Ctrl-C while waiting: what was waited for goes on."""

    exit_code = 130

    def show(self, file: IO[Any] | None = None) -> None:
        """Print one line to standard error."""
        click.echo(self.message, err=True, file=file)


def watch(
    ask: Callable[[], T],
    picture: Callable[[T], P],
    is_over: Callable[[T], bool],
    screen: Screen[P],
    clock: Clock,
) -> T:
    """Show what `ask` gives until `is_over`; what it was then.

    Raises `Refused` when the gateway refuses to tell, `Unreachable` when it has been
    away too long.
    """
    away_since: float | None = None
    while True:
        try:
            found = ask()
        except (Unreachable, Refused) as failed:
            if isinstance(failed, Refused) and failed.status < 500:
                raise
            away_since = clock.monotonic() if away_since is None else away_since
            away_s = clock.monotonic() - away_since
            if away_s > AWAY_MAX_S:
                raise
            screen.away(failed.message, away_s)
        else:
            away_since = None
            screen.show(picture(found))
            if is_over(found):
                return found
        clock.sleep(PAUSE_S)
