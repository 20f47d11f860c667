"""`gateway routes`: what is published where, and how it is split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click

from gateway.cli.options import Target, admin_options, json_option


@click.command()
@json_option
@admin_options
def routes(target: Target, as_json: bool) -> None:
    """List all routes with their services, weights and shares."""
    from gateway.cli.client import path
    from gateway.cli.output import print_json, print_table

    found = list(target.client().items(path("routes"), "routes"))
    if as_json:
        print_json({"routes": found})
        return
    print_table(
        ("ROUTE", "SERVICE", ">WEIGHT", ">SHARE", ">HEALTHY", ">REQ/S", ">ERRORS", ">P99 MS"),
        (row for route in found for row in rows(route)),
        empty="no routes yet; see: gateway services register --help",
    )
    wrong = sum(len(route.get("problems", ())) for route in found)
    if wrong:
        click.echo(f"{wrong} of what containers ask for is not served; see: gateway problems")


def rows(route: Mapping[str, Any]) -> Iterator[tuple[object, ...]]:
    """A route's lines: one for each service, the name of the route on the first."""
    from gateway.cli.output import percent

    name = route["route"] + ("  (internal)" if route.get("internal") else "")
    if not route["services"]:
        yield (name, *(None,) * 7)
    for service in route["services"]:
        traffic = service["traffic"] or {}
        p99 = traffic.get("p99")
        yield (
            name,
            service["name"],
            service["weight"],
            percent(service["share"]),
            f"{service['healthy']}/{service['instances']}",
            f"{traffic.get('rate') or 0:.1f}",
            percent(traffic.get("error_ratio") or 0),
            None if p99 is None else f"{p99 * 1000:.0f}",
        )
        name = ""
