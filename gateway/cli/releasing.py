"""What the commands that change a release share: asking, waiting, telling.

A command says what it wants and when it has it; here stands how the answer is
shown, what comes next, and how the end of the waiting becomes an exit code.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from gateway.cli.calling import program
from gateway.cli.harmless import harmless
from gateway.cli.options import Target
from gateway.cli.style import style
from gateway.core.release import OnDeadline, Phase, Strategy

if TYPE_CHECKING:
    from gateway.cli.client import AdminClient
    from gateway.cli.picture import Picture
    from gateway.cli.standing import Failure, Release

LATE_S = 3.0
"""A held release that is so long past its deadline is not about to end by itself."""

Verdict = Callable[["Release", float], int | None]
"""The exit code a release means at a time, None: it is not over."""


def deployed(release: Release, now: float) -> int | None:
    """Done when the new services are there for the operator to decide, or for good."""
    if release.phase == Phase.PENDING_CONFIRMATION and release.strategy != Strategy.STANDARD:
        return 0
    is_held = release.on_deadline == OnDeadline.HOLD and release.phase == Phase.RELEASING
    if is_held and release.deadline is not None and now > release.deadline + LATE_S:
        return 1
    return _over(release, Phase.CONFIRMED)


def confirmed(release: Release, now: float) -> int | None:
    """Done when the old services are gone; not so when a smooth confirmation gave up."""
    if release.phase == Phase.PENDING_CONFIRMATION and not release.smooth:
        return 1
    return _over(release, Phase.CONFIRMED)


def rolled_back(release: Release, now: float) -> int | None:
    """Done when the new services are gone."""
    return _over(release, Phase.ROLLED_BACK)


def _over(release: Release, wanted: Phase) -> int | None:
    return (0 if release.phase == wanted else 1) if release.is_over else None


def ask(
    client: AdminClient,
    app: str,
    verb: str,
    query: Iterable[tuple[str, str]],
    body: object = None,
    goal: Sequence[Phase] = (),
) -> dict[str, Any]:
    """Change the release of an application, once.

    When the answer was lost and the repetition is refused, because the release is in
    one of the phases of `goal` already, then the first call did it: the release as it
    is now is the answer.
    """
    from gateway.cli.client import Refused, path

    try:
        return client.write("POST", path("applications", app, verb), query, body)
    except Refused as refused:
        if not (refused.is_repeated and goal):
            raise
        last = client.get(path("releases"), [("application", app), ("limit", "1")])["releases"]
        if last and last[0]["phase"] in goal:
            return dict(last[0])
        raise


def tell(target: Target, answer: dict[str, Any], as_json: bool) -> None:
    """Show what a change did and what comes next; warnings only if they came with it."""
    from gateway.cli.advice import next_steps, outlook
    from gateway.cli.output import print_applied, print_json
    from gateway.cli.picture import picture_of_release
    from gateway.cli.screen import print_picture
    from gateway.cli.standing import release_of

    if as_json:
        print_json(answer)
        return
    new = _new_warnings(answer)
    release, gateway = release_of(answer | {"warnings": new}), program(target.admin)
    if answer.get("dry_run"):
        print_picture(picture_of_release(release, target.clock.time()))
        print_applied(answer | {"warnings": ()})
        return
    print_applied(answer | {"warnings": new})
    click.echo(outlook(release, gateway))
    for step in next_steps(release, gateway):
        click.echo(f"  {style(step.command, bold=True)}  # {step.effect}")


def follow(
    context: click.Context,
    target: Target,
    client: AdminClient,
    answer: dict[str, Any],
    verdict: Verdict,
    as_json: bool,
) -> None:
    """Show a release until the verdict is given, then end with its exit code.

    A warning is told once: those that came with the change at once, later ones when they
    come, those from before not again.
    """
    from gateway.cli.client import path
    from gateway.cli.output import print_applied, print_json
    from gateway.cli.picture import picture_of_release
    from gateway.cli.screen import screen
    from gateway.cli.standing import release_of
    from gateway.cli.watching import Interrupted, watch

    id, gateway = answer["id"], program(target.admin)
    failures: dict[str, Failure] = {}
    told = frozenset(answer.get("warnings") or ())

    def picture(found: dict[str, Any]) -> Picture:
        release = release_of(found)
        release = replace(release, warnings=tuple(w for w in release.warnings if w not in told))
        # the gateway forgets what went wrong with a service when it is gone
        failures.update((s.id, s.failures[0]) for s in release.services if s.failures)
        return picture_of_release(release, client.time())

    if not as_json:
        print_applied(answer | {"warnings": _new_warnings(answer)})
    try:
        with screen(target.clock, as_json) as shown:
            last = watch(
                lambda: client.get(path("releases", id)),
                picture,
                lambda found: verdict(release_of(found), client.time()) is not None,
                shown,
                target.clock,
            )
    except KeyboardInterrupt:
        app = shlex.quote(answer["application"])
        raise Interrupted(
            f"no longer watching; {id} goes on: {gateway} status {app} --watch"
        ) from None
    release = release_of(last)
    code = verdict(release, client.time()) or 0
    if code:
        _tell_failures(release, list(failures.values()))
    if as_json:
        print_json(last)
    else:
        _tell_end(release, code, gateway)
    context.exit(code)


def _new_warnings(answer: Mapping[str, Any]) -> list[str]:
    found = answer.get("new_warnings")
    return list((answer.get("warnings") if found is None else found) or ())


def _tell_end(release: Release, code: int, gateway: str) -> None:
    """The last words of a wait; to standard error when it did not become what was wanted."""
    from gateway.cli.advice import first_line, next_steps, situation

    words = situation(release)
    if code and release.phase == Phase.PENDING_CONFIRMATION:
        words += f"; {harmless(first_line(release.reason))}"
    elif code and not release.is_over:
        words += f"; the deadline has passed: {harmless(release.waiting_for or 'it is held')}"
    click.echo(style(words, "red" if code else "green"), err=bool(code))
    for step in next_steps(release, gateway):
        click.echo(f"  {style(step.command, bold=True)}  # {step.effect}", err=bool(code))


def _tell_failures(release: Release, failures: Sequence[Failure]) -> None:
    from gateway.cli.picture import failure_lines

    if not failures:
        # nobody looked while they were there; the timeline has the last words
        for line in release.reason.split("\n")[1:]:
            click.echo(harmless(line), err=True)
    for failure in failures:
        for line in failure_lines(failure):
            click.echo(line, err=True)
