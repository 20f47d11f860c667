"""How far each instance of a service is on its way to being ready. For people."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from gateway.core.model import InstanceId


class Stage(StrEnum):
    """Where an instance stands."""

    WAITING = "waiting"
    """For others, for its turn after a failure, for whoever starts it to be there."""
    PULLING = "pulling"
    CREATING = "creating"
    STARTING = "starting"
    PROBING = "probing"
    """It runs, and has not passed its check yet."""
    READY = "ready"


@dataclass(frozen=True, slots=True)
class Step:
    """One instance. `slot` is its number among those of its service, from 0."""

    slot: int
    stage: Stage
    detail: str = ""
    """`35 % of 120 MB`, or what it waits for."""
    instance: InstanceId | None = None
    """None: there is none yet."""


def all_steps(known: Iterable[Step], scale: int, why_not: str) -> tuple[Step, ...]:
    """The instances of a service by slot; of those that are not begun it is said why not."""
    by_slot = {step.slot: step for step in known}
    free = (slot for slot in range(scale + len(by_slot)) if slot not in by_slot)
    for slot, _ in zip(free, range(scale - len(by_slot)), strict=False):
        by_slot[slot] = Step(slot, Stage.WAITING, why_not)
    return tuple(by_slot[slot] for slot in sorted(by_slot))
