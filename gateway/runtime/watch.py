"""Heartbeats: who has not been heard of for how long, and what that means. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from .children import Child


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a child may be silent, seconds."""

    silent_s: float = 0.6
    """After this a worker is covered by its siblings: with the beat and the look, which come every
    0.25 s, within a second. To cover one that was only busy for long does no harm."""
    worker_hung_s: float = 10.0
    """After this it is killed."""
    control_hung_s: float = 30.0
    """Longer than a worker: it may be busy with much, and no request waits for it."""
    first_word_s: float = 30.0
    """To the first word at least this: interpreters start slowly on a busy machine."""


class Pulse(Enum):
    """What a child's silence means."""

    ALIVE = "alive"
    SILENT = "silent"
    HUNG = "hung"


def pulse(child: Child, is_control: bool, now_s: float, patience: Patience) -> Pulse:
    """The verdict on a child at `now_s`."""
    quiet_s = now_s - child.heard_s
    hung_s = patience.control_hung_s if is_control else patience.worker_hung_s
    if quiet_s >= (hung_s if child.has_spoken else max(hung_s, patience.first_word_s)):
        return Pulse.HUNG
    return Pulse.SILENT if quiet_s >= patience.silent_s else Pulse.ALIVE
