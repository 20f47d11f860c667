"""`gateway shift`: move traffic between the old and the new services of a release."""

from __future__ import annotations

import math

import click

from gateway.cli.options import Target, admin_options, force_option, write_options, write_query


class Percent(click.ParamType[float]):
    """`25`, `12.5` or `25%`; whether the gateway takes the number is its own verdict."""

    name = "PERCENT"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """A finite number."""
        try:
            number = float(str(value).removesuffix("%"))
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            self.fail(f"{value!r} is no share in percent: a number from 0 to 100", param, ctx)
        return number


@click.command(short_help="Move traffic between the old and the new services.")
@click.argument("app")
@click.argument("percent", type=Percent())
@force_option
@write_options
@admin_options
def shift(
    target: Target,
    app: str,
    percent: float,
    force: bool,
    dry_run: bool,
    reason: str | None,
    as_json: bool,
) -> None:
    """Give the new services of APP's release PERCENT of its part of every route.

    All routes change in one step, and the command ends when every worker follows.
    Sessions stay where they are until the old services are removed.

    \b
    gateway shift shop 10
    gateway shift shop 100
    gateway shift shop 0
    """
    from gateway.cli.releasing import ask, tell

    body = {"new": int(percent) if percent.is_integer() else percent}
    query = write_query(dry_run, reason, force)
    answer = ask(target.client(), app, "shift", query, body)
    tell(target, answer, as_json)
