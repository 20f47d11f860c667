"""What comes of a command: `(state, command, observed) -> state`, or a refusal."""

from __future__ import annotations

from dataclasses import dataclass

from .commands import Command
from .observed import Observed
from .state import State


@dataclass(frozen=True, slots=True)
class Decided:
    """The state after a command, and what the operator should know about it."""

    state: State
    """The very same object when the command changes nothing."""
    warnings: tuple[str, ...] = ()


def decide(state: State, command: Command, observed: Observed) -> Decided:
    """Carry out a command on a value; raises `Refused` and never changes its arguments."""
    raise NotImplementedError
