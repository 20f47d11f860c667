"""`gateway run`: be the supervisor until told to stop."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.cli.style import style

if TYPE_CHECKING:
    from gateway.runtime.configuration import BadConfiguration
    from gateway.runtime.settings import Settings


@click.command()
@click.option(
    "-c",
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Configuration file (YAML).  [default: none, every key has its default]",
)
def run(config: Path | None) -> None:
    """Run the gateway in the foreground until SIGTERM or Ctrl-C.

    TERM drains and stops, HUP reads the configuration again, USR1 reopens logs, USR2 has
    the program take over that is installed now, without a pause in service. A configuration, port or folder that can't be used: a line saying so and exit code 2.
    """
    # What is imported stays: `running` looks for garbage again when all is there.
    gc.disable()
    from gateway.runtime import running, upgrade
    from gateway.runtime.settings import Settings

    # Who takes over has settings that were checked a moment ago; the file may be another one by now.
    settings = Settings() if upgrade.is_under_way(os.environ) else settings_of(config)
    raise SystemExit(running.run(settings, config))


def settings_of(config: Path | None) -> Settings:
    """The checked configuration; ends the command with code 2 when there is a problem."""
    from gateway.runtime import configuration
    from gateway.runtime.settings import Settings

    if config is None:
        return Settings()
    try:
        return configuration.load(config)
    except configuration.BadConfiguration as bad:
        print_problems(bad)
        raise SystemExit(2) from None


def print_problems(bad: BadConfiguration) -> None:
    """Each problem on a line with its place, to standard error."""
    for problem in bad.problems:
        click.echo(f"{style(bad.source, bold=True)}: {problem}", err=True)
