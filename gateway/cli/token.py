"""`gateway token`: who may use the admin API over TCP."""

from __future__ import annotations

import click

from gateway.cli.options import Target, admin_options, json_option

ROLES = ("viewer", "operator", "admin")


@click.group()
def token() -> None:
    """Make, list and delete tokens of the admin API.

    The Unix socket needs no token, so the first one is made through it:
    gateway --admin state/admin.sock token create NAME --role admin
    """


@token.command()
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice(ROLES),
    required=True,
    help="viewer reads, operator changes weights and releases, admin does everything.",
)
@json_option
@admin_options
def create(target: Target, name: str, role: str, as_json: bool) -> None:
    """Make a token called NAME and print it; it can't be shown again."""
    from gateway.cli.client import path
    from gateway.cli.output import print_json

    answer = target.client().call("POST", path("tokens"), body={"name": name, "role": role})
    if as_json:
        print_json(answer)
        return
    click.echo(answer["token"])
    click.echo("keep it now: it can't be shown again; use it as GATEWAY_TOKEN", err=True)


@token.command("list")
@json_option
@admin_options
def list_(target: Target, as_json: bool) -> None:
    """List tokens: names and roles, never the tokens themselves."""
    from gateway.cli.client import path
    from gateway.cli.output import print_json, print_table

    answer = target.client().get(path("tokens"))
    if as_json:
        print_json(answer)
        return
    print_table(
        ("NAME", "ROLE", "CREATED"),
        ((item["name"], item["role"], item.get("created")) for item in answer["tokens"]),
        empty="no tokens yet; see: gateway token create --help",
    )


@token.command()
@click.argument("name")
@admin_options
def delete(target: Target, name: str) -> None:
    """Delete the token called NAME; it is refused from now on."""
    from gateway.cli.client import path

    target.client().call("DELETE", path("tokens", name))
    click.echo(f"token {name} is deleted")
