"""`gateway releases` and `gateway release`: what was released, and how it went."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from gateway.cli.calling import program
from gateway.cli.harmless import harmless
from gateway.cli.options import Target, admin_options, json_option
from gateway.cli.status import look, watch_option
from gateway.core.release import Phase

if TYPE_CHECKING:
    from gateway.cli.standing import Release

ROLLING_BACK, ROLLED_BACK = Phase.ROLLING_BACK, Phase.ROLLED_BACK


@click.command()
@click.argument("app", required=False)
@click.option(
    "-n",
    "--limit",
    type=click.IntRange(1, 10_000),
    default=20,
    show_default=True,
    help="At most so many, newest first.",
)
@json_option
@admin_options
def releases(target: Target, app: str | None, limit: int, as_json: bool) -> None:
    """List the releases of application APP, or of all, newest first."""
    from gateway.cli.client import path
    from gateway.cli.output import print_json, print_table

    query = [] if app is None else [("application", app)]
    found = list(islice(target.client().items(path("releases"), "releases", query), limit))
    if as_json:
        print_json({"releases": found})
        return
    print_table(
        ("RELEASE", "APPLICATION", "STRATEGY", "PHASE", "CREATED", "BY", "REASON"),
        (_row(release) for release in found),
        empty="no releases yet; see: gateway deploy --help"
        if app is None
        else f"no releases of {harmless(app)!r}; `gateway status` lists the applications",
    )


@click.command(short_help="Show a release with its timeline.")
@click.argument("id")
@watch_option
@json_option
@admin_options
def release(target: Target, id: str, watch: bool, as_json: bool) -> None:
    """Show release ID, one that `gateway releases` lists, with its timeline."""
    from gateway.cli.client import path
    from gateway.cli.picture import picture_of_release
    from gateway.cli.standing import release_of

    client, gateway = target.client(), program(target.admin)
    look(
        target,
        client,
        lambda: client.get(path("releases", id)),
        lambda found: picture_of_release(
            release_of(found), client.time(), gateway, has_timeline=True
        ),
        watch,
        as_json,
    )


def _row(release: Mapping[str, Any]) -> tuple[object, ...]:
    from gateway.cli.picture import phase_words, short_time
    from gateway.cli.standing import release_of

    timeline = release["timeline"]
    return (
        release["id"],
        release["application"],
        release["strategy"],
        phase_words(release["phase"]),
        short_time(release["created"]),
        timeline[0]["by"] if timeline else None,
        _reason(release_of(release)) if timeline else None,
    )


def _reason(release: Release) -> str:
    from gateway.cli.advice import first_line

    cause = release.cause
    if cause is None or cause.reason or release.phase not in (ROLLING_BACK, ROLLED_BACK):
        return harmless(first_line(release.reason))
    return f"asked for by {harmless(cause.by)}"
