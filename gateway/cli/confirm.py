"""`gateway confirm`: keep the new services of a release, remove the old ones."""

from __future__ import annotations

import click

from gateway.cli.options import Target, admin_options, wait_option, write_options, write_query
from gateway.core.release import Phase


@click.command(short_help="Keep the new services, remove the old ones.")
@click.argument("app")
@click.option(
    "--smooth",
    is_flag=True,
    help="Move all traffic first; confirm after some seconds without errors, else give it back.",
)
@click.option(
    "--force", is_flag=True, help="Move all traffic and confirm, whatever the guards say."
)
@wait_option
@write_options
@admin_options
@click.pass_context
def confirm(
    context: click.Context,
    target: Target,
    app: str,
    smooth: bool,
    force: bool,
    wait: bool,
    dry_run: bool,
    reason: str | None,
    as_json: bool,
) -> None:
    """Keep the new services of APP's release; the old ones are drained and removed.

    All traffic must be on the new services (`gateway shift`), or --smooth moves it.
    With --wait the exit code is 0 when the old services are gone.
    """
    if smooth and force:
        raise click.UsageError("--smooth and --force exclude each other")
    from gateway.cli.releasing import ask, confirmed, follow, tell

    client = target.client()
    query = write_query(dry_run, reason, force, smooth="true" if smooth else None)
    goal = (Phase.CONFIRMING, Phase.CONFIRMED)
    answer = ask(client, app, "confirm", query, goal=goal)
    if wait and not dry_run:
        follow(context, target, client, answer, confirmed, as_json)
    else:
        tell(target, answer, as_json)
