"""`gateway run`: be the supervisor until told to stop."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option(
    "-c",
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Configuration file (YAML).  [default: none, every key has its default]",
)
def run(config: Path | None) -> None:
    """Run the gateway in the foreground until SIGTERM or Ctrl-C.

    TERM drains and stops, HUP reads the configuration again, USR1 reopens logs. A
    configuration, port or folder that can't be used: one line and exit code 2.
    """
    from gateway.runtime import supervisor

    raise SystemExit(supervisor.run(config))
