"""Heartbeats: who has not been heard of for how long, and what that means. Pure."""

from __future__ import annotations

from enum import Enum

from .children import Child

SILENT_S = 1.0
"""A worker not heard of for this long is covered by its siblings."""
WORKER_HUNG_S = 10.0
CONTROL_HUNG_S = 30.0
"""Longer than a worker's: it may be busy with much, and nobody's request waits for it."""
FIRST_WORD_S = 30.0
"""How long a child may take to its first word: interpreters start slowly on a busy machine."""


class Pulse(Enum):
    """What a child's silence means."""

    ALIVE = "alive"
    SILENT = "silent"
    HUNG = "hung"


def pulse(child: Child, now_s: float, hung_s: float) -> Pulse:
    """The verdict on a child at `now_s`, hung after `hung_s` without a word."""
    quiet_s = now_s - child.heard_s
    if quiet_s >= (hung_s if child.has_spoken else max(hung_s, FIRST_WORD_S)):
        return Pulse.HUNG
    return Pulse.SILENT if quiet_s >= SILENT_S else Pulse.ALIVE
