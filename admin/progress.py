"""How far a release is, in words: why it waits, and why it was given up.

For people: answers of the API, the timeline. Decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from gateway.core.model import ServiceId, split_service_id
from gateway.core.observed import Observed
from gateway.core.readiness import Readiness, readiness
from gateway.core.release import Colour, Phase, Release
from gateway.core.state import State

from .masks import mask_of

__all__ = ["Failures", "Misfortune", "Readiness", "readiness", "setback", "waiting_for"]

OUTPUT_LINES = 5
"""Last lines of a program that go into a timeline."""


class Misfortune(Protocol):
    """What went wrong with an instance."""

    @property
    def what(self) -> str:
        """In words: `ended with exit code 3 after 0.2 s`."""

    @property
    def output(self) -> Sequence[str]:
        """The last lines it wrote."""


Failures = Callable[[ServiceId], Sequence[Misfortune]]
"""What went wrong with a service lately, newest first."""


def waiting_for(
    state: State, observed: Observed, release: Release, failures: Failures
) -> str | None:
    """What a release waits for; None when it is over."""
    match release.phase:
        case Phase.RELEASING:
            return _unready(state, observed, release, failures) or "the check of its services"
        case Phase.PENDING_CONFIRMATION:
            if unready := _unready(state, observed, release, failures):
                return unready
            if release.smooth is not None:
                return "5 s without errors on the new services, then it confirms by itself"
            return "the operator to shift, confirm or roll back"
        case Phase.CONFIRMING:
            return _leaving(state, observed, release.ids(Colour.BLUE))
        case Phase.ROLLING_BACK:
            return _leaving(state, observed, release.ids(Colour.GREEN))
        case _:
            return None


def setback(state: State, observed: Observed, release: Release, failures: Failures) -> str:
    """Why a release did not come up, with the last words of its programs, secrets struck out."""
    mask = mask_of(release.template.services)
    lines = [_unready(state, observed, release, failures) or "its services were not healthy"]
    for sid in release.ids(Colour.GREEN):
        for failure in failures(sid)[:1]:
            if failure.output:
                name = split_service_id(sid)[1]
                lines.append(f"last output of {name}:")
                lines += [f"  {mask(line)}" for line in failure.output[-OUTPUT_LINES:]]
    return "\n".join(lines)


def _unready(state: State, observed: Observed, release: Release, failures: Failures) -> str | None:
    found = [
        f"{r.ready} of {r.scale} instances of {r.name} healthy{_latest(failures(r.service))}"
        for r in readiness(state, observed, release)
        if r.colour is Colour.GREEN and not r.is_ready
    ]
    return "; ".join(found) or None


def _latest(failures: Sequence[Misfortune]) -> str:
    return f" ({failures[0].what})" if failures else ""


def _leaving(state: State, observed: Observed, services: Sequence[ServiceId]) -> str:
    def words() -> Iterator[str]:
        for sid in services:
            name = split_service_id(sid)[1]
            if sid in state.services:
                yield f"the open work of {name} to end"
            elif observed.running is None or sid in observed.running:
                yield f"the processes of {name} to stop"

    return "; ".join(words()) or "its end to be noted"
