"""The `gateway` command: global options and the list of commands.

One file per command group, imported when the command is asked for; each imports what
it needs inside its functions, so that `gateway run` starts, and tab completion answers, fast. A command either talks to a
running gateway through `client.py` or starts one; none touches its state files.

Exit codes: 0 done, 1 refused, 2 usage or configuration, 3 gateway not reachable.
"""

from __future__ import annotations

from importlib import import_module

import click

from gateway.cli.options import target_options

COMMANDS = {
    "check": "check",
    "confirm": "confirm",
    "demo": "demo",
    "deploy": "deploy",
    "drain": "drain",
    "explain": "explain",
    "logs": "logs",
    "problems": "problems",
    "release": "releases",
    "releases": "releases",
    "remove": "remove",
    "resume": "drain",
    "rollback": "rollback",
    "routes": "routes",
    "run": "run",
    "scale": "scale",
    "services": "services",
    "shift": "shift",
    "status": "status",
    "token": "token",
    "validate": "validate",
    "weights": "weights",
}
"""The module in which the command of each name stands, as a function of that name."""


def import_command(name: str) -> click.Command:
    """One of `COMMANDS`."""
    command: click.Command = getattr(import_module(f"gateway.cli.{COMMANDS[name]}"), name)
    return command


class Commands(click.Group):
    """A group whose commands are imported one by one, when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name."""
        return import_command(cmd_name) if cmd_name in COMMANDS else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """What was asked for; where there is no such one, all are there to suggest the one meant."""
        if args[0] not in COMMANDS:
            for name in COMMANDS:
                self.add_command(import_command(name))
        return super().resolve_command(ctx, args)


def _say_version(ctx: click.Context, _option: click.Parameter, is_given: bool) -> None:
    if not is_given or ctx.resilient_parsing:
        return
    from gateway import compiled
    from gateway.runtime.programs import installed_version

    click.echo(f"gateway, version {installed_version()}, data plane {compiled.finding()}")
    ctx.exit()


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 refused, 2 usage, 3 gateway not reachable.",
)
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_say_version,
    help="Show the version, and how the data plane runs, and exit.",
)
@target_options
def cli() -> None:
    """A weighted reverse-proxy gateway that releases software without anybody noticing.

    `run`, `check` and `demo` work by themselves; every other command talks to the
    admin API of a running gateway.
    """


def main() -> None:
    """Entry point of the `gateway` command; leaves by `SystemExit`."""
    cli(prog_name="gateway")
