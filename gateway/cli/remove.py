"""`gateway remove`: end an application."""

from __future__ import annotations

import shlex

import click

from gateway.cli.calling import program
from gateway.cli.options import (
    Target,
    admin_options,
    drain_timeout_option,
    force_option,
    wait_option,
    write_options,
    write_query,
)


@click.command()
@click.argument("app")
@drain_timeout_option
@force_option
@wait_option
@write_options
@admin_options
def remove(
    target: Target,
    app: str,
    drain_timeout: float | None,
    force: bool,
    wait: bool,
    dry_run: bool,
    reason: str | None,
    as_json: bool,
) -> None:
    """Drain and remove all services of application APP, then itself.

    Its routes answer 404 from now on, unless other services are on them too. What its
    programs wrote stays. With --wait the command ends when nothing of it is left: what was
    open has ended, then its programs, which are told to and have their grace for that.
    """
    from gateway.cli.client import path
    from gateway.cli.output import print_applied, print_json

    client = target.client()
    answer = client.write(
        "DELETE",
        path("applications", app),
        write_query(dry_run, reason, force, drain_timeout=drain_timeout),
    )
    if not as_json:
        print_applied(answer)
    removed = bool(answer["removed"])
    if wait and not (dry_run or removed):
        _follow(target, app, as_json)
        removed = True
    if as_json:
        print_json(answer | {"removed": removed})
    elif removed:
        click.echo(f"{app} is gone")
    elif not dry_run:
        gateway = program(target.admin)
        click.echo(
            f"{app} is gone once these have ended: {answer['in_flight']} requests, "
            f"{answer['websockets']} WebSockets; follow it: "
            f"{gateway} status {shlex.quote(app)} --watch"
        )


def _follow(target: Target, app: str, as_json: bool) -> None:
    from gateway.cli.client import Refused, path
    from gateway.cli.picture import Picture, picture_of_application
    from gateway.cli.screen import screen
    from gateway.cli.standing import Application, application_of
    from gateway.cli.watching import Interrupted, watch

    client, gateway = target.client(), program(target.admin)

    def ask() -> Application | None:
        try:
            return application_of(client.get(path("applications", app)))
        except Refused as refused:
            if refused.status == 404:
                return None
            raise

    def picture(found: Application | None) -> Picture:
        if found is None:
            return Picture({}, lambda lines: "")
        return picture_of_application(found, client.time(), gateway)

    try:
        with screen(target.clock, as_json) as shown:
            watch(ask, picture, lambda found: found is None, shown, target.clock)
    except KeyboardInterrupt:
        raise Interrupted(f"no longer watching; {app} goes on being removed") from None
