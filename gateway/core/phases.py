"""The release machine: which phase follows which, as one total table.

No I/O, no clock: that something happened arrives as an event. Every pair of
phase and event has a row; None means that an operator may not ask for it there,
the same phase that it changes nothing. The diagram in docs/releases.md is made
from this table (`diagram`).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from .errors import Code, Refused
from .release import Phase


class Event(StrEnum):
    """What may happen to a release."""

    SHIFT = "shift"
    """The operator moves traffic."""
    CONFIRM = "confirm"
    """The operator keeps the new services."""
    ROLLBACK = "rollback"
    """The operator keeps the old ones."""
    HEALTHY = "healthy"
    """All new instances are healthy."""
    DEPLOYED = "deployed"
    """The same at a first deployment, where there is nothing to decide."""
    EXPIRED = "expired"
    """They were not in time."""
    OLD_GONE = "old_gone"
    """All old services are stopped and removed."""
    NEW_GONE = "new_gone"
    """All new services are stopped and removed."""


VERBS = (Event.SHIFT, Event.CONFIRM, Event.ROLLBACK)
"""What operators ask for; everything else is observed."""

_P = Phase
_E = Event

TABLE: Mapping[tuple[Phase, Event], Phase | None] = {
    (_P.RELEASING, _E.SHIFT): _P.RELEASING,
    (_P.RELEASING, _E.CONFIRM): None,
    (_P.RELEASING, _E.ROLLBACK): _P.ROLLING_BACK,
    (_P.RELEASING, _E.HEALTHY): _P.PENDING_CONFIRMATION,
    (_P.RELEASING, _E.DEPLOYED): _P.CONFIRMED,
    (_P.RELEASING, _E.EXPIRED): _P.ROLLING_BACK,
    (_P.RELEASING, _E.OLD_GONE): _P.RELEASING,
    (_P.RELEASING, _E.NEW_GONE): _P.RELEASING,
    #
    (_P.PENDING_CONFIRMATION, _E.SHIFT): _P.PENDING_CONFIRMATION,
    (_P.PENDING_CONFIRMATION, _E.CONFIRM): _P.CONFIRMING,
    (_P.PENDING_CONFIRMATION, _E.ROLLBACK): _P.ROLLING_BACK,
    (_P.PENDING_CONFIRMATION, _E.HEALTHY): _P.PENDING_CONFIRMATION,
    (_P.PENDING_CONFIRMATION, _E.DEPLOYED): _P.PENDING_CONFIRMATION,
    (_P.PENDING_CONFIRMATION, _E.EXPIRED): _P.PENDING_CONFIRMATION,
    (_P.PENDING_CONFIRMATION, _E.OLD_GONE): _P.PENDING_CONFIRMATION,
    (_P.PENDING_CONFIRMATION, _E.NEW_GONE): _P.PENDING_CONFIRMATION,
    #
    (_P.CONFIRMING, _E.SHIFT): None,
    (_P.CONFIRMING, _E.CONFIRM): None,
    (_P.CONFIRMING, _E.ROLLBACK): _P.ROLLING_BACK,
    (_P.CONFIRMING, _E.HEALTHY): _P.CONFIRMING,
    (_P.CONFIRMING, _E.DEPLOYED): _P.CONFIRMING,
    (_P.CONFIRMING, _E.EXPIRED): _P.CONFIRMING,
    (_P.CONFIRMING, _E.OLD_GONE): _P.CONFIRMED,
    (_P.CONFIRMING, _E.NEW_GONE): _P.CONFIRMING,
    #
    (_P.ROLLING_BACK, _E.SHIFT): None,
    (_P.ROLLING_BACK, _E.CONFIRM): None,
    (_P.ROLLING_BACK, _E.ROLLBACK): None,
    (_P.ROLLING_BACK, _E.HEALTHY): _P.ROLLING_BACK,
    (_P.ROLLING_BACK, _E.DEPLOYED): _P.ROLLING_BACK,
    (_P.ROLLING_BACK, _E.EXPIRED): _P.ROLLING_BACK,
    (_P.ROLLING_BACK, _E.OLD_GONE): _P.ROLLING_BACK,
    (_P.ROLLING_BACK, _E.NEW_GONE): _P.ROLLED_BACK,
    #
    **{
        (over, event): None if event in VERBS else over
        for over in (_P.CONFIRMED, _P.ROLLED_BACK)
        for event in Event
    },
}


def verbs(phase: Phase) -> tuple[Event, ...]:
    """What an operator may ask for in this phase."""
    return tuple(event for event in VERBS if TABLE[phase, event] is not None)


def step(release: str, phase: Phase, event: Event) -> Phase:
    """The phase after an event. Raises `Refused` (illegal_transition) naming the legal verbs."""
    after = TABLE[phase, event]
    if after is None:
        raise illegal(release, phase, f"cannot {event.value} it")
    return after


def illegal(release: str, phase: Phase, why: str, instead: str = "") -> Refused:
    """A verb that this phase, or how far it has come, does not allow."""
    legal = [verb.value for verb in verbs(phase)]
    hint = instead or (f"possible now: {', '.join(legal)}" if legal else "nothing is possible now")
    if phase.is_over and not instead:
        hint = "deploy a template, or the one before with `previous`"
    return Refused(
        Code.ILLEGAL_TRANSITION,
        f"{release} is {phase.value}: {why}; {hint}",
        extra={"release": release, "phase": phase.value, "legal": legal},
    )


def diagram() -> str:
    """The table as a Mermaid state diagram, for the documentation."""
    lines = ["stateDiagram-v2", f"    [*] --> {Phase.RELEASING}"]
    for (phase, event), after in TABLE.items():
        if after is not None and after is not phase:
            lines.append(f"    {phase} --> {after}: {event}")
    lines += [f"    {phase} --> [*]" for phase in Phase if phase.is_over]
    return "\n".join(lines)
