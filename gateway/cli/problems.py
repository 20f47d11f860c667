"""`gateway problems`: what is wrong with services that were found running."""

from __future__ import annotations

import click

from gateway.cli.options import Target, admin_options, json_option


@click.command()
@json_option
@admin_options
def problems(target: Target, as_json: bool) -> None:
    """List routes that are not served as the labels of containers say."""
    from gateway.cli.client import path
    from gateway.cli.harmless import harmless
    from gateway.cli.output import print_json, print_table

    answer = target.client().get(path("problems"))
    if as_json:
        print_json(answer)
        return
    gone = [provider for provider in answer["providers"] if not provider["up"]]
    for provider in gone:
        click.echo(f"{provider['name']} cannot be asked, what it said last counts:")
        click.echo(f"  {harmless(provider['problem'])}")
    if not answer["providers"]:
        click.echo(
            "no Engine was asked for containers: providers.docker of the configuration says which"
        )
        return
    if gone and not answer["problems"]:
        return
    print_table(
        ("ROUTE", "SERVICE", "REASON", "WHERE"),
        (
            (found["route"], found["service"], found["reason"], found["where"])
            for found in answer["problems"]
        ),
        empty="every route is served as the labels of containers say",
    )
    for found in answer["problems"]:
        click.echo(harmless(f"{found['service']} on {found['route']}: {found['message']}"))
