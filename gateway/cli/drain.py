"""`gateway drain` and `gateway resume`: take an instance out of service, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from gateway.cli.options import Target, admin_options, write_options, write_query

MARGIN_S = 15.0


@click.command()
@click.argument("instance")
@click.option(
    "--wait",
    type=click.FloatRange(0, 3600),
    default=0.0,
    metavar="SECONDS",
    help="Wait up to this long until nothing is open any more; then the exit code is 1 if "
    "something still is.",
)
@write_options
@admin_options
@click.pass_context
def drain(
    context: click.Context,
    target: Target,
    instance: str,
    wait: float,
    dry_run: bool,
    reason: str | None,
    as_json: bool,
) -> None:
    """Give INSTANCE no new work; what is open goes on.

    INSTANCE is an id that `gateway services show` lists, like shop-v1@10.0.0.5:80.
    """
    from gateway.cli.client import path
    from gateway.cli.output import print_applied, print_json

    answer = target.client().call(
        "POST",
        path("instances", instance, "drain"),
        write_query(dry_run, reason, wait=f"{wait:g}" if wait else None),
        timeout_s=wait + MARGIN_S,
    )
    if as_json:
        print_json(answer)
    else:
        print_applied(answer)
        if not dry_run:
            click.echo(_state(instance, answer))
    if wait and not (dry_run or answer["drained"]):
        context.exit(1)


@click.command()
@click.argument("instance")
@write_options
@admin_options
def resume(target: Target, instance: str, dry_run: bool, reason: str | None, as_json: bool) -> None:
    """Give a drained INSTANCE work again."""
    from gateway.cli.client import path
    from gateway.cli.output import print_applied, print_json

    answer = target.client().call(
        "POST", path("instances", instance, "resume"), write_query(dry_run, reason)
    )
    print_json(answer) if as_json else print_applied(answer)


def _state(instance: str, answer: Mapping[str, Any]) -> str:
    if answer["drained"]:
        return f"{instance} is drained: nothing is open"
    return f"open on {instance}: {answer['in_flight']} requests, {answer['websockets']} WebSockets"
