"""`gateway check`: is this configuration one the gateway would start with?"""

from __future__ import annotations

from pathlib import Path

import click

from gateway.cli.run import print_problems
from gateway.cli.style import style


@click.command()
@click.option(
    "-c",
    "--config",
    type=click.Path(path_type=Path, exists=True, dir_okay=False, readable=True),
    required=True,
    help="Configuration file (YAML).",
)
def check(config: Path) -> None:
    """Check a configuration file without starting anything.

    Every problem is printed on a line of its own with its place; the exit code is
    then 1, and 2 when the file can't be read.
    """
    from gateway.runtime import configuration

    try:
        configuration.load(config)
    except configuration.BadConfiguration as bad:
        print_problems(bad)
        raise SystemExit(1) from None
    click.echo(f"{config}: {style('ok', 'green')}")
