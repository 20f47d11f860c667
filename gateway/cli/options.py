"""Options that many commands share: which gateway to talk to, and JSON output.

`--admin` and `--token` are understood before and after the command's name; the
later one wins. `Target` carries them; it opens nothing by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

import click

from gateway.cli.clock import Clock, SystemClock

if TYPE_CHECKING:
    from gateway.cli.client import AdminClient

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(slots=True)
class Target:
    """The gateway a command is for, as the user named it."""

    admin: str | None = None
    token: str | None = None
    clock: Clock = field(default_factory=SystemClock)

    def client(self) -> AdminClient:
        """A client of its admin API; connects at the first call only."""
        from gateway.cli.client import AdminClient, addresses

        return AdminClient(addresses(self.admin), self.token, self.clock)


def admin_options(function: Callable[Concatenate[Target, P], R]) -> Callable[P, R]:
    """`--admin` and `--token`; the function gets a `Target` first."""
    return target_options(click.make_pass_decorator(Target, ensure=True)(function))


def target_options(function: Callable[P, R]) -> Callable[P, R]:
    """`--admin` and `--token`, kept for the commands below in the context."""
    for option in (
        click.option(
            "--token",
            metavar="TOKEN",
            envvar="GATEWAY_TOKEN",
            expose_value=False,
            callback=_keep,
            help="Bearer token for an admin API on TCP; the environment's GATEWAY_TOKEN is safer.",
        ),
        click.option(
            "--admin",
            metavar="URL|SOCKET",
            envvar="GATEWAY_ADMIN",
            expose_value=False,
            callback=_keep,
            help="Admin API: a URL, HOST:PORT or the path of its Unix socket (GATEWAY_ADMIN).  "
            "[default: ./state/admin.sock if there is one, else http://127.0.0.1:8900]",
        ),
    ):
        function = option(function)
    return function


def _keep(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    target = context.ensure_object(Target)
    name = str(parameter.name)
    said_here = context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
    if said_here or getattr(target, name) is None:
        setattr(target, name, value)


json_option = click.option("--json", "as_json", is_flag=True, help="Print the API's JSON answer.")
wait_option = click.option(
    "--wait", is_flag=True, help="Show what happens until it is over; the exit code then tells."
)
drain_timeout_option = click.option(
    "--drain-timeout",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Cut what is still open after this time.  [default: timeouts.drain]",
)
force_option = click.option("--force", is_flag=True, help="Overrule the guard that refuses.")


def write_options(function: Callable[P, R]) -> Callable[P, R]:
    """`--dry-run`, `--reason` and `--json` of every command that changes something."""
    for option in (
        json_option,
        click.option("--reason", metavar="TEXT", help="Why; stands in the audit."),
        click.option("--dry-run", is_flag=True, help="Check and plan only; change nothing."),
    ):
        function = option(function)
    return function


def write_query(
    dry_run: bool, reason: str | None, force: bool = False, **more: object
) -> list[tuple[str, str]]:
    """The query parameters of a write; `more` are left out where None."""
    query = [("dry_run", "true")] if dry_run else []
    if force:
        query.append(("force", "true"))
    if reason is not None:
        query.append(("reason", reason))
    query.extend((name, str(value)) for name, value in more.items() if value is not None)
    return query
