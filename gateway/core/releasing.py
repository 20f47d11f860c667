"""Releases begin, shift, are confirmed or rolled back: what each does to the state.

Part of `decide` and as pure. `shifting.py`, `confirming.py` and `rolling_back.py` are what
operators ask for, here is what is observed. `phases.py` says which phase may follow, `planning.py`
what a template means for the services, `guards.py` what must be so before,
`sharing.py` how weights move.

Invariants, beside those of `decide`:

* an application has one release in flight at most, and names it;
* a phase, the weights and the services that belong to it change in one value;
* shares of services that are no part of a release stay what they are;
* what was observed is looked at again here: a report that is out of date is nothing.
"""

from __future__ import annotations

from dataclasses import replace

from .applications import remove_application, scale_service
from .commands import (
    AdvanceRelease,
    ConfirmRelease,
    EndSmooth,
    ReleaseCommand,
    RemoveApplication,
    RollbackRelease,
    ScaleService,
    ShiftRelease,
    StartRelease,
)
from .confirming import confirm, end_smooth
from .decided import Decided, with_routes
from .flight import (
    entered,
    find_release,
    green_services,
    opened,
    put,
)
from .gone import drop_if_gone
from .model import ServiceId
from .observed import Observed
from .phases import Event, step
from .planning import sides
from .readiness import is_ready
from .release import Colour, OnDeadline, Phase, Release
from .rolling_back import roll_back, rolled_back
from .shifting import shift
from .starting import start_release
from .state import State
from .unchanged import with_changes

KEYS_MAX = 50
"""Calls on a release that are known again, the newest."""


def decide_release(state: State, command: ReleaseCommand, observed: Observed) -> Decided:
    """Carry out a release command; raises `Refused`."""
    match command:
        case StartRelease():
            return start_release(state, command)
        case ShiftRelease() | ConfirmRelease() | RollbackRelease():
            return _once(state, command, observed)
        case AdvanceRelease():
            return _advance(state, command, observed)
        case EndSmooth():
            return end_smooth(state, command)
        case ScaleService():
            return scale_service(state, command)
        case RemoveApplication():
            return remove_application(state, command, observed)


def _once(
    state: State, command: ShiftRelease | ConfirmRelease | RollbackRelease, observed: Observed
) -> Decided:
    """Carry out what an operator asks for, the same call only the first time."""
    release = find_release(state, command.release)
    if command.key is not None and command.key in release.keys:
        return Decided(state)
    match command:
        case ShiftRelease():
            decided = shift(state, command, observed)
        case ConfirmRelease():
            decided = confirm(state, command, observed)
        case RollbackRelease():
            decided = roll_back(state, command, observed)
    if command.key is None:
        return decided
    after = decided.state.releases[release.id]
    known = replace(after, keys=(*after.keys, command.key)[-KEYS_MAX:])
    return Decided(put(decided.state, known), decided.warnings)


# --- what is observed ------------------------------------------------------------------


def _advance(state: State, command: AdvanceRelease, observed: Observed) -> Decided:
    release = state.releases.get(command.release)
    if release is None or not has_happened(state, observed, release, command.event, command.now):
        return Decided(state)
    after = step(release.id, release.phase, command.event)
    if after is release.phase:
        return Decided(state)
    now, by, reason = command.now, command.by, command.reason
    match command.event:
        case Event.EXPIRED:
            return Decided(rolled_back(state, release, Event.EXPIRED, now, by, reason))
        case Event.HEALTHY:
            return Decided(put(state, entered(release, Event.HEALTHY, now, by, reason)))
        case _:
            return Decided(_over(state, entered(release, command.event, now, by, reason), observed))


def has_happened(
    state: State, observed: Observed, release: Release, event: Event, now: float
) -> bool:
    """Does the state show this at `now` (epoch seconds)? Of verbs: no, operators ask for them."""
    match event:
        case Event.HEALTHY | Event.DEPLOYED:
            is_first = release.previous is None
            return is_first is (event is Event.DEPLOYED) and is_ready(state, observed, release)
        case Event.EXPIRED:
            return release.on_deadline is OnDeadline.ROLLBACK and now >= release.deadline
        case Event.OLD_GONE:
            return _are_gone(state, observed, release.ids(Colour.BLUE))
        case Event.NEW_GONE:
            return _are_gone(state, observed, release.ids(Colour.GREEN))
        case _:
            return False


def _are_gone(state: State, observed: Observed, services: tuple[ServiceId, ...]) -> bool:
    """Removed, and without any process? Unknown is no."""
    if observed.running is None and services:
        return False
    running = observed.running or frozenset()
    return not any(sid in state.services or sid in running for sid in services)


def _over(state: State, release: Release, observed: Observed) -> State:
    """The end of a release."""
    application = state.applications[release.application]
    if release.phase is Phase.CONFIRMED:
        state = _all_open(with_changes(state, release), release)
        application = replace(
            application, template=release.template, previous=release.previous, release=None
        )
    else:
        application = replace(application, release=None)
    return drop_if_gone(
        replace(
            put(state, release),
            applications={**state.applications, application.name: application},
        ),
        application.name,
        observed,
    )


def _all_open(state: State, release: Release) -> State:
    """What a first deployment held back opens with its end."""
    if release.previous is not None:
        return state  # it did so when it was confirmed
    found = {rid: state.routes[rid] for rid in sides(release) if rid in state.routes}
    green = green_services(release)
    return with_routes(state, {rid: opened(r, green) for rid, r in found.items() if r.is_held})
