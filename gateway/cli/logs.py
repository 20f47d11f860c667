"""`gateway logs`: what the programs of an application wrote."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

import click

from gateway.cli.options import Target, admin_options, json_option

COLOURS = ("cyan", "green", "yellow", "blue", "magenta", "red")


@click.command(short_help="Print what the instances of an application wrote.")
@click.argument("app")
@click.argument("service", required=False)
@click.option("--follow", is_flag=True, help="Go on with what is written from now on.")
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(1, 10_000),
    default=100,
    show_default=True,
    help="The last so many lines.",
)
@json_option
@admin_options
def logs(
    target: Target, app: str, service: str | None, follow: bool, lines: int, as_json: bool
) -> None:
    """Print what the instances of application APP wrote, or of its SERVICE only.

    Each line names its instance. What instances wrote that have ended is still there.
    With --follow --json each line is an object of its own.
    """
    from gateway.cli.client import Refused, Unreachable, path
    from gateway.cli.output import print_json
    from gateway.cli.watching import AWAY_MAX_S, PAUSE_S

    client, where = target.client(), path("applications", app, "logs")
    query = [("lines", str(lines))]
    if service is not None:
        query.append(("service", service))
    answer = client.get(where, query)
    if as_json and not follow:
        print_json(answer)
        return
    printer = Printer(as_json)
    printer.print(answer)
    if not follow:
        if not answer["lines"]:
            click.echo("nothing was written", err=True)
        return
    away_since: float | None = None
    try:
        while True:
            # more may be there already when a whole page came
            if len(answer["lines"]) < lines:
                target.clock.sleep(PAUSE_S)
            try:
                answer = client.get(where, [*query, ("after", str(answer["after"]))])
            except (Unreachable, Refused) as failed:
                now = target.clock.monotonic()
                away_since = now if away_since is None else away_since
                is_final = isinstance(failed, Refused) and failed.status < 500
                if is_final or now - away_since > AWAY_MAX_S:
                    raise
                target.clock.sleep(PAUSE_S)
                continue
            away_since = None
            printer.print(answer)
    except KeyboardInterrupt:
        return


class Printer:
    """Prints lines, an instance always in the same colour."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._colours: dict[str, str] = {}

    def print(self, answer: Mapping[str, Any]) -> None:
        """Print the lines of an answer."""
        from gateway.cli.harmless import harmless
        from gateway.cli.style import style

        for entry in answer["lines"]:
            if self._as_json:
                click.echo(json.dumps(entry, ensure_ascii=False))
                continue
            instance = entry["instance"]
            colour = self._colours.setdefault(instance, COLOURS[len(self._colours) % len(COLOURS)])
            line = harmless(entry["line"], colours=True)
            click.echo(f"{style(instance, colour)} | {line}")
        sys.stdout.flush()
