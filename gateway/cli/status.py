"""`gateway status`: applications, their services and the release in flight."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from gateway.cli.calling import program
from gateway.cli.options import Target, admin_options, json_option

if TYPE_CHECKING:
    from gateway.cli.client import AdminClient
    from gateway.cli.picture import Picture

watch_option = click.option("--watch", is_flag=True, help="Go on showing it until Ctrl-C.")


@click.command()
@click.argument("app", required=False)
@watch_option
@json_option
@admin_options
def status(target: Target, app: str | None, watch: bool, as_json: bool) -> None:
    """Show application APP, or all applications.

    Its services with their instances and, while a release is in flight, colours,
    weights of both sides, what it waits for and what can be done next.
    With --watch a terminal is painted over; piped, a line is printed for each change.
    With --watch --json an answer is printed on a line whenever it differs.
    """
    client = target.client()
    look(target, client, _asking(client, app), _picture(target, client, app), watch, as_json)


def look(
    target: Target,
    client: AdminClient,
    ask: Callable[[], dict[str, Any]],
    picture: Callable[[dict[str, Any]], Picture],
    watch: bool,
    as_json: bool,
) -> None:
    """Show what `ask` gives, once or until Ctrl-C."""
    from gateway.cli.output import print_json
    from gateway.cli.screen import Answers, print_picture, screen
    from gateway.cli.watching import watch as go_on

    if not watch:
        found = ask()
        print_json(found) if as_json else print_picture(picture(found))
        return
    try:
        if as_json:
            answers = Answers()
            go_on(ask, lambda found: found, lambda found: False, answers, target.clock)
        else:
            with screen(target.clock) as shown:
                go_on(ask, picture, lambda found: False, shown, target.clock)
    except KeyboardInterrupt:
        click.echo("no longer watching; nothing was changed by that", err=True)


def _asking(client: AdminClient, app: str | None) -> Callable[[], dict[str, Any]]:
    from gateway.cli.client import path

    if app is not None:
        return lambda: client.get(path("applications", app))
    return lambda: {"applications": list(client.items(path("applications"), "applications"))}


def _picture(
    target: Target, client: AdminClient, app: str | None
) -> Callable[[dict[str, Any]], Picture]:
    from gateway.cli.picture import picture_of_all, picture_of_application
    from gateway.cli.standing import application_of

    if app is None:
        return lambda found: picture_of_all([application_of(a) for a in found["applications"]])
    gateway = program(target.admin)
    return lambda found: picture_of_application(application_of(found), client.time(), gateway)
