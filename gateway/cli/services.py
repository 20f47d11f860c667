"""`gateway services`: what is registered, its instances, and registering by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from gateway.cli.options import (
    Target,
    admin_options,
    drain_timeout_option,
    force_option,
    json_option,
    write_options,
    write_query,
)


@click.group(invoke_without_command=True)
@json_option
@admin_options
@click.pass_context
def services(context: click.Context, target: Target, as_json: bool) -> None:
    """List services; show, register and delete them."""
    if context.invoked_subcommand is not None:
        return
    from gateway.cli.client import path
    from gateway.cli.output import print_json, print_table

    found = list(target.client().items(path("services"), "services"))
    if as_json:
        print_json({"services": found})
        return
    print_table(
        ("SERVICE", "APPLICATION", "ROUTES", ">HEALTHY", "BALANCER", ""),
        (_row(service) for service in found),
        empty="no services yet; see: gateway services register --help",
    )


@services.command()
@click.argument("name")
@json_option
@admin_options
def show(target: Target, name: str, as_json: bool) -> None:
    """List the instances of service NAME with their health and open work."""
    from gateway.cli.client import path
    from gateway.cli.output import print_json, print_table

    answer = target.client().get(path("services", name, "instances"))
    if as_json:
        print_json(answer)
        return
    print_table(
        ("INSTANCE", "ADDRESS", "HEALTH", "STATE", ">IN FLIGHT", ">WEBSOCKETS"),
        (
            (
                instance["id"],
                instance["address"],
                instance["health"],
                instance["state"],
                instance["in_flight"],
                instance["websockets"],
            )
            for instance in answer["instances"]
        ),
        empty=f"{name} has no instances",
    )


@services.command()
@click.argument("name")
@click.option(
    "--route",
    "routes",
    multiple=True,
    required=True,
    metavar="HOST[/PATH]",
    help="Route to join; repeatable. A host without a dot is published under the domain.",
)
@click.option(
    "--endpoint",
    "endpoints",
    multiple=True,
    required=True,
    metavar="[https://]HOST:PORT",
    help="Where an instance listens; repeatable.",
)
@click.option("--coexist", is_flag=True, help="Join, with weight 0, a route another service holds.")
@click.option("--check", "check_path", metavar="PATH", help="Check health by GET PATH, not by TCP.")
@click.option(
    "--balancer",
    type=click.Choice(("round_robin", "least_requests", "two_random_choices")),
    default="round_robin",
    show_default=True,
    help="How requests spread over the instances.",
)
@click.option(
    "--in-flight",
    type=click.IntRange(min=1),
    metavar="N",
    help="Requests an instance is given at a time.  [default: limits.in_flight]",
)
@click.option(
    "--server-name",
    metavar="HOST",
    help="What certificates of https endpoints must be for.  [default: the endpoint's host]",
)
@click.option(
    "--no-verify", is_flag=True, help="Believe https endpoints whatever their certificates say."
)
@write_options
@admin_options
def register(
    target: Target,
    name: str,
    routes: Sequence[str],
    endpoints: Sequence[str],
    coexist: bool,
    check_path: str | None,
    balancer: str,
    in_flight: int | None,
    server_name: str | None,
    no_verify: bool,
    dry_run: bool,
    reason: str | None,
    as_json: bool,
) -> None:
    """Register service NAME, or replace its registration.

    The first service of a route gets weight 100, one that coexists gets 0.

    \b
    gateway services register shop-v1 --route shop.example --endpoint 10.0.0.5:80
    gateway services register shop-v2 --route shop.example --endpoint 10.0.0.6:80 --coexist
    """
    from gateway.cli.client import path
    from gateway.cli.output import percent, print_applied, print_json, print_table

    body: dict[str, Any] = {
        "routes": [claim(text) for text in routes],
        "endpoints": list(endpoints),
        "coexist": coexist,
        "balancer": balancer,
    }
    if check_path is not None:
        body["health"] = {"path": check_path}
    if in_flight is not None:
        body["limits"] = {"in_flight": in_flight}
    if server_name is not None or no_verify:
        body["tls"] = {"server_name": server_name, "verify": not no_verify}
    answer = target.client().call(
        "PUT", path("services", name), write_query(dry_run, reason), body=body
    )
    if as_json:
        print_json(answer)
        return
    print_table(
        ("ROUTE", ">WEIGHT", ">SHARE"),
        (
            (joined["route"], joined["weight"], percent(joined["share"] or 0.0))
            for joined in answer["service"]["routes"]
        ),
    )
    print_applied(answer)


@services.command()
@click.argument("name")
@drain_timeout_option
@force_option
@write_options
@admin_options
def delete(
    target: Target,
    name: str,
    drain_timeout: float | None,
    force: bool,
    dry_run: bool,
    reason: str | None,
    as_json: bool,
) -> None:
    """Remove service NAME from its routes at once; it is gone when its work has ended."""
    from gateway.cli.client import path
    from gateway.cli.output import print_applied, print_json

    answer = target.client().call(
        "DELETE",
        path("services", name),
        write_query(dry_run, reason, force, drain_timeout=drain_timeout),
    )
    if as_json:
        print_json(answer)
        return
    print_applied(answer)
    if not (dry_run or answer["removed"]):
        click.echo(
            f"{name} is gone once these have ended: {answer['in_flight']} requests, "
            f"{answer['websockets']} WebSockets"
        )


def claim(text: str) -> dict[str, str]:
    """`HOST[/PATH]` as the API has it."""
    host, slash, rest = text.partition("/")
    return {"host": host, "path": slash + rest} if slash else {"host": host}


def _row(service: dict[str, Any]) -> tuple[object, ...]:
    instances = service["instances"]
    healthy = sum(instance["health"] == "healthy" for instance in instances)
    return (
        service["name"],
        service["application"],
        ", ".join(route["route"] for route in service["routes"]),
        f"{healthy}/{len(instances)}",
        service["balancer"],
        "leaving" if service["leaving"] else "",
    )
