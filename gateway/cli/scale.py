"""`gateway scale`: how many instances of a service are kept running."""

from __future__ import annotations

import shlex

import click

from gateway.cli.calling import program
from gateway.cli.options import Target, admin_options, write_options, write_query


@click.command()
@click.argument("service")
@click.argument("number", type=int, metavar="N")
@write_options
@admin_options
def scale(
    target: Target, service: str, number: int, dry_run: bool, reason: str | None, as_json: bool
) -> None:
    """Keep N instances of SERVICE running.

    SERVICE is a service of an application, by its name or as APP/SERVICE where several
    have that name. Instances that are too many get no new work, finish what they have
    and are stopped. Holds through releases, also when one is rolled back.
    """
    from gateway.cli.client import path
    from gateway.cli.output import print_applied, print_json

    answer = target.client().write(
        "PATCH", path("services", service), write_query(dry_run, reason), {"scale": number}
    )
    if as_json:
        print_json(answer)
        return
    print_applied(answer)
    if dry_run:
        return
    found = answer["service"]
    up = sum(instance["health"] == "healthy" for instance in found["instances"])
    gateway, app = program(target.admin), shlex.quote(found["application"])
    click.echo(
        f"{found['name']}: {up} healthy, {number} wanted; follow it: {gateway} status {app} --watch"
    )
