"""`gateway weights`: show or set how a route is split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from gateway.cli.options import Target, admin_options, force_option, write_options, write_query


class Pair(click.ParamType[tuple[str, int]]):
    """`SERVICE=WEIGHT`; whether the gateway takes the number is its own verdict."""

    name = "SERVICE=WEIGHT"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        """Split at the last `=`."""
        if isinstance(value, tuple):
            return value
        service, equals, number = str(value).rpartition("=")
        if not equals or not service:
            self.fail(f"{value!r} does not have the form SERVICE=WEIGHT", param, ctx)
        try:
            return service, int(number)
        except ValueError:
            self.fail(f"{value!r}: a weight is a whole number from 0 to 1000000", param, ctx)


@click.command()
@click.argument("route")
@click.argument("pairs", nargs=-1, type=Pair(), metavar="[SERVICE=WEIGHT]...")
@click.option("--patch", is_flag=True, help="Change only the services named, not the whole set.")
@force_option
@write_options
@admin_options
def weights(
    target: Target,
    route: str,
    pairs: Sequence[tuple[str, int]],
    patch: bool,
    force: bool,
    dry_run: bool,
    reason: str | None,
    as_json: bool,
) -> None:
    """Show the weights of ROUTE, or set them in one step.

    ROUTE is a host and path prefix as `gateway routes` lists it. Without --patch
    every service of the route must be named. The command ends when every worker
    splits by the new weights.

    \b
    gateway weights shop.example
    gateway weights shop.example shop-v1=90 shop-v2=10
    gateway weights shop.example/api api-v2=50 --patch
    """
    from gateway.cli.client import path
    from gateway.cli.output import print_applied, print_json

    client = target.client()
    where = path("routes", route, "weights")
    if not pairs:
        current = client.get(where)
        print_json(current) if as_json else _show(route, current)
        return
    wanted = dict(pairs)
    if len(wanted) < len(pairs):
        raise click.UsageError("a service is named twice")
    answer = client.call(
        "PATCH" if patch else "PUT", where, write_query(dry_run, reason, force), body=wanted
    )
    if as_json:
        print_json(answer)
        return
    _show(route, answer["weights"])
    print_applied(answer)


def _show(route: str, current: dict[str, int]) -> None:
    from gateway.cli.output import percent, print_table

    total = sum(current.values())
    print_table(
        ("SERVICE", ">WEIGHT", ">SHARE"),
        ((name, n, percent(n / total if total else 0.0)) for name, n in current.items()),
        empty=f"{route} has no services",
    )
