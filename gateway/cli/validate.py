"""`gateway validate`: does a running gateway understand this template, or configuration?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gateway.cli.options import Target, admin_options, json_option
from gateway.cli.style import style

KINDS = ("template", "configuration")


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@click.option(
    "--kind", type=click.Choice(KINDS), help="What FILE is.  [default: what it looks like]"
)
@json_option
@admin_options
@click.pass_context
def validate(
    context: click.Context, target: Target, file: Path, kind: str | None, as_json: bool
) -> None:
    """Check a template or a configuration; nothing is changed. FILE - is standard input.

    A template is checked against the images and ports of the gateway asked, as a
    deployment would be. Every problem is printed on a line of its own with its place;
    the exit code is then 1.
    """
    from gateway.cli.client import path
    from gateway.cli.output import print_json
    from gateway.cli.template_file import read

    query = [] if kind is None else [("kind", kind)]
    answer = target.client().call("POST", path("validate"), query, read(file))
    if as_json:
        print_json(answer)
    else:
        _show(file, answer)
    if not answer["valid"]:
        context.exit(1)


def _show(file: Path, answer: dict[str, Any]) -> None:
    from gateway.cli.harmless import harmless
    from gateway.cli.output import print_table

    for problem in answer["problems"]:
        line = f"line {problem['line']}: " if problem["line"] else ""
        place = f"{problem['field']}: " if problem["field"] else ""
        text = harmless(f"{line}{place}{problem['message']}")
        click.echo(f"{style(str(file), bold=True)}: {text}", err=True)
    for warning in answer["warnings"]:
        click.echo(f"{style('warning', 'yellow')}: {harmless(warning)}", err=True)
    if not answer["valid"]:
        return
    click.echo(f"{file}: {style('ok', 'green')}, a {answer['kind']}")
    if answer["services"]:
        print_table(
            ("SERVICE", "IMAGE", ">SCALE", "ROUTES"),
            (
                (
                    service["name"],
                    service["image"] or ", ".join(service["endpoints"]),
                    service["scale"],
                    ", ".join(route["route"] for route in service["routes"]),
                )
                for service in answer["services"]
            ),
        )
