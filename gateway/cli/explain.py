"""`gateway explain`: which route, service and instance a request would get, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import click

from gateway.cli.options import Target, admin_options, json_option
from gateway.cli.style import style


@click.command()
@click.argument("url")
@click.option(
    "-H", "--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="Repeatable."
)
@click.option("-b", "--cookie", "cookies", multiple=True, metavar="NAME=VALUE", help="Repeatable.")
@click.option(
    "--internal/--public",
    default=None,
    help="As seen from such an entrypoint.  [default: whichever knows the host]",
)
@json_option
@admin_options
def explain(
    target: Target,
    url: str,
    headers: Sequence[str],
    cookies: Sequence[str],
    internal: bool | None,
    as_json: bool,
) -> None:
    """Say where a request for URL would go, and why. Sends no request.

    \b
    gateway explain http://shop.example/cart
    gateway explain shop.example -H 'X-Gateway-Service: shop-v2'
    """
    from gateway.cli.client import path
    from gateway.cli.output import print_json

    host, wanted = split(url)
    query = [("host", host), ("path", wanted)]
    query += [("header", text) for text in headers]
    query += [("cookie", text) for text in cookies]
    if internal is not None:
        query.append(("internal", str(internal).lower()))
    answer = target.client().get(path("explain"), query)
    print_json(answer) if as_json else _show(answer)


def split(url: str) -> tuple[str, str]:
    """The host, as a Host field has it, and the path with its query."""
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
    except ValueError as error:
        raise click.UsageError(f"{url!r} is no URL: {error}") from error
    if not parts.netloc:
        raise click.UsageError(f"{url!r} names no host")
    wanted = parts.path or "/"
    return parts.netloc.rpartition("@")[2], f"{wanted}?{parts.query}" if parts.query else wanted


def _show(answer: Mapping[str, Any]) -> None:
    instance = answer["instance"]
    lines = {
        "verdict": answer["verdict"],
        "status": answer["status"],
        "route": answer["route"],
        "service": answer["service"],
        "instance": None if instance is None else instance["id"],
    }
    for key, value in lines.items():
        if value is not None:
            click.echo(f"{style(f'{key:<10}', bold=True)}{value}")
    for reason in answer["why"]:
        click.echo(f"  - {reason}")
