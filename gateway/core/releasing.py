"""Releases begin, shift, are confirmed or rolled back: what each does to the state.

Part of `decide` and as pure. `phases.py` says which phase may follow, `planning.py`
what a template means for the services, `sharing.py` how weights move.
"""

from __future__ import annotations

from .commands import (
    AdvanceRelease,
    ConfirmRelease,
    EndSmooth,
    RemoveApplication,
    RollbackRelease,
    ScaleService,
    ShiftRelease,
    StartRelease,
)
from .decided import Decided
from .errors import Code, Refused
from .observed import Observed
from .state import State

ReleaseCommand = (
    StartRelease
    | ShiftRelease
    | ConfirmRelease
    | RollbackRelease
    | AdvanceRelease
    | EndSmooth
    | ScaleService
    | RemoveApplication
)


def decide_release(state: State, command: ReleaseCommand, observed: Observed) -> Decided:
    """Carry out a release command; raises `Refused`."""
    raise Refused(Code.NOT_FOUND, "there is no application yet")
