"""`gateway check`: would the gateway start with this configuration, and deploy these templates?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.cli.run import print_problems
from gateway.cli.style import style

if TYPE_CHECKING:
    from gateway.runtime.settings import Settings


@click.command(short_help="Check a configuration, and templates against it.")
@click.option(
    "-c",
    "--config",
    type=click.Path(path_type=Path, exists=True, dir_okay=False, readable=True),
    required=True,
    help="Configuration file (YAML).",
)
@click.option(
    "-f",
    "--file",
    "files",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    metavar="FILE",
    help="A template to check against it; repeatable.",
)
def check(config: Path, files: Sequence[Path]) -> None:
    """Check a configuration file, and templates against it, without starting anything.

    Every problem is printed on a line of its own with its place; the exit code is
    then 1, and 2 when the file can't be read.
    """
    from gateway.runtime import configuration

    try:
        settings = configuration.load(config)
    except configuration.BadConfiguration as bad:
        print_problems(bad)
        raise SystemExit(1) from None
    untimely = configuration.untimely(config)
    if untimely:
        print_problems(configuration.BadConfiguration(str(config), untimely))
    else:
        click.echo(f"{config}: {style('ok', 'green')}")
    results = [not untimely, *(_is_valid(file, settings) for file in files)]
    if not all(results):
        raise SystemExit(1)


def _is_valid(file: Path, settings: Settings) -> bool:
    from admin import templates
    from gateway.cli.harmless import harmless
    from gateway.cli.template_file import read
    from gateway.core.errors import Refused
    from gateway.runtime.configuration import Problem

    payload = read(file)
    try:
        text = templates.read_text(payload.content, payload.media_type)
    except Refused as refused:
        problems = [Problem(e.field, e.message) for e in refused.errors]
    else:
        found = templates.examine(text, "application", settings)
        problems = [Problem(p.place, p.message, p.line) for p in found.problems]
        for warning in found.warnings:
            click.echo(f"{file}: {style('warning', 'yellow')}: {harmless(warning)}", err=True)
    for problem in problems:
        click.echo(f"{style(str(file), bold=True)}: {harmless(str(problem))}", err=True)
    if not problems:
        click.echo(f"{file}: {style('ok', 'green')}")
    return not problems
