"""`gateway rollback`: keep the old services of a release, remove the new ones."""

from __future__ import annotations

import click

from gateway.cli.options import (
    Target,
    admin_options,
    force_option,
    wait_option,
    write_options,
    write_query,
)
from gateway.core.release import Phase


@click.command(short_help="Keep the old services, remove the new ones.")
@click.argument("app")
@force_option
@wait_option
@write_options
@admin_options
@click.pass_context
def rollback(
    context: click.Context,
    target: Target,
    app: str,
    force: bool,
    wait: bool,
    dry_run: bool,
    reason: str | None,
    as_json: bool,
) -> None:
    """Give all traffic back to the old services of APP's release; remove the new ones.

    The old services have their weights again when the command ends; the new ones are
    then drained and removed. With --wait the exit code is 0 when they are gone.
    """
    from gateway.cli.releasing import ask, follow, rolled_back, tell

    client = target.client()
    goal = (Phase.ROLLING_BACK, Phase.ROLLED_BACK)
    answer = ask(client, app, "rollback", write_query(dry_run, reason, force), goal=goal)
    if wait and not dry_run:
        follow(context, target, client, answer, rolled_back, as_json)
    else:
        tell(target, answer, as_json)
