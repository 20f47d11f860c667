"""Where a release stands in words, and what an operator may do next.

Pure: a release in, texts out. Only commands that the release's phase allows are
given, in the form a shell takes them.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from gateway.cli.harmless import harmless
from gateway.cli.standing import Application, Release
from gateway.core.phases import Event
from gateway.core.release import Colour, OnDeadline, Phase, Strategy

CANARY_MAX = 50
STEPS = {
    Strategy.BLUE_GREEN: (100,),
    Strategy.CANARY: (10, 25, CANARY_MAX),
    Strategy.GRAY: (10, 25, 50, 75, 100),
    Strategy.AB: (50, 100),
    Strategy.STANDARD: (100,),
}
"""Shares of the new services, in percent, that are worth suggesting."""


@dataclass(frozen=True, slots=True)
class Step:
    """A command to paste, and what it does."""

    command: str
    effect: str


def situation(release: Release) -> str:
    """A sentence on where the release stands."""
    new, old = names(release.names(Colour.GREEN)), names(release.names(Colour.BLUE))
    match release.phase:
        case Phase.RELEASING:
            return f"{new or 'the new version'} {are(release, Colour.GREEN)} starting"
        case Phase.PENDING_CONFIRMATION if release.smooth:
            return "all traffic moves to the new services; confirmed after a while without errors"
        case Phase.PENDING_CONFIRMATION if not new:
            return f"nothing new has to start; {old} {are(release, Colour.BLUE)} to go"
        case Phase.PENDING_CONFIRMATION if not old:
            return f"{new} {are(release, Colour.GREEN)} there, nothing has to go"
        case Phase.PENDING_CONFIRMATION:
            return f"{new} and {old} run side by side{_split(release, new)}"
        case Phase.CONFIRMING:
            return f"{old or 'what is old'} {are(release, Colour.BLUE)} drained and removed"
        case Phase.CONFIRMED if release.is_first:
            return f"{release.application} is deployed: {new}"
        case Phase.CONFIRMED:
            return f"{release.id} is confirmed{f'; {old} removed' if old else ''}"
        case Phase.ROLLING_BACK:
            return f"{new or 'what is new'} {are(release, Colour.GREEN)} drained and removed"
        case Phase.ROLLED_BACK:
            why = harmless(first_line(release.reason))
            return f"{release.id} is rolled back{f': {why}' if why else ''}"
    return f"{release.id}: {release.phase}"


def next_steps(release: Release, gateway: str = "gateway") -> tuple[Step, ...]:
    """What may be done now, the usual first. `gateway`: how the shell calls this program."""
    return tuple(_next_steps(release, gateway))


def outlook(release: Release, gateway: str = "gateway") -> str:
    """Where the release stands, and the one thing that usually comes next."""
    now = situation(release)
    app = shlex.quote(release.application)
    if release.phase == Phase.RELEASING:
        if release.is_first:
            return f"{now}; it serves as soon as it is healthy"
        if release.strategy == Strategy.STANDARD:
            return f"{now}; then it shifts and confirms by itself"
        if release.names(Colour.BLUE):
            return f"{now}; then: {gateway} shift {app} {_shift(release) or 100}"
        return f"{now}; then: {gateway} confirm {app}"
    if release.is_over or release.smooth:
        return now
    steps = [s for s in next_steps(release, gateway) if " status " not in s.command]
    if release.phase == Phase.PENDING_CONFIRMATION and steps:
        return f"{now}; next: {steps[0].command}"
    return now


def application_steps(application: Application, gateway: str = "gateway") -> tuple[Step, ...]:
    """What may be done with an application."""
    if application.release is not None:
        return next_steps(application.release, gateway)
    if application.leaving:
        return ()
    app = shlex.quote(application.name)
    steps = [Step(f"{gateway} deploy {app} -f FILE", "release the next version")]
    if application.has_previous:
        steps.append(Step(f"{gateway} deploy {app} --previous", "release the one before again"))
    return tuple(steps)


def remaining(release: Release, now: float) -> str | None:
    """How long the new services still may take, and what becomes of the release then."""
    if release.phase != Phase.RELEASING or release.deadline is None:
        return None
    then = "then it is held" if release.on_deadline == OnDeadline.HOLD else "then rolled back"
    left = release.deadline - now
    if left <= 0:
        return f"deadline passed {duration(-left)} ago; {then.removeprefix('then ')}"
    return f"{duration(left)} to the deadline, {then}"


def duration(seconds: float) -> str:
    """`75` -> `1 min 15 s`."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def first_line(text: str) -> str:
    """A text's first line."""
    return text.partition("\n")[0]


def names(found: tuple[str, ...]) -> str:
    """`a, b and c`; a long list is cut."""
    if len(found) > 4:
        return f"{', '.join(found[:3])} and {len(found) - 3} more services"
    return " and ".join(filter(None, (", ".join(found[:-1]), *found[-1:])))


def are(release: Release, colour: Colour) -> str:
    """Is or are, by the number of services of that colour."""
    return "are" if len(release.names(colour)) > 1 else "is"


def _next_steps(release: Release, gateway: str) -> Iterator[Step]:
    app = shlex.quote(release.application)
    legal = set(release.legal)
    if release.is_over:
        yield from _afterwards(release, f"{gateway} deploy {app}")
        return
    waits = release.phase != Phase.PENDING_CONFIRMATION or release.smooth
    if waits:
        yield Step(f"{gateway} status {app} --watch", "follow it")
    else:
        shares = release.shares()
        share = _shift(release)
        if Event.SHIFT in legal and share is not None:
            what = "all traffic" if share == 100 else f"{share} % of the traffic"
            yield Step(f"{gateway} shift {app} {share}", f"{what} to the new services")
        if Event.CONFIRM in legal:
            gone = "keep the new services, remove the old ones"
            if not shares or min(shares) == 1:
                yield Step(f"{gateway} confirm {app}", gone)
            else:
                moved = "move all traffic; after a while without errors " + gone
                yield Step(f"{gateway} confirm {app} --smooth", moved)
    if Event.ROLLBACK in legal:
        what = "take it back" if release.is_first else "keep the old services, remove the new ones"
        yield Step(f"{gateway} rollback {app}", what)


def _afterwards(release: Release, deploy: str) -> Iterator[Step]:
    if release.phase == Phase.ROLLED_BACK:
        yield Step(f"{deploy} -f FILE", "try again with a better template")
    elif not release.is_first:
        yield Step(f"{deploy} --previous", "the way back: release the template before it again")


def _shift(release: Release) -> int | None:
    """The next share to suggest; None when there is nothing to move or all is moved."""
    shares = release.shares()
    if not shares:
        return None
    steps = STEPS.get(Strategy(release.strategy), (100,)) if _is_known(release) else (100,)
    return next((step for step in steps if step > min(shares) * 100 + 1e-9), None)


def _is_known(release: Release) -> bool:
    return release.strategy in tuple(Strategy)


def _split(release: Release, new: str) -> str:
    shares = sorted({round(share * 100, 1) for share in release.shares()})
    if not shares:
        return ""
    figures = " to ".join(f"{share:g}" for share in dict.fromkeys((shares[0], shares[-1])))
    return f"; {figures} % of their traffic to {new}"
