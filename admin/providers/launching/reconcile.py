"""Which instances to start, retire and end, from what is wanted and what there is. Pure.

Level-triggered: nothing here remembers anything, so a step that was lost, or taken
twice by two control processes in turn, is put right by the next look. That needs what
is asked and not yet told of to be among the processes given.

Invariants of a plan, whatever is given:
* after it no service has more than `scale` processes that are started or run (those
  that were too many already aside);
* nothing is started for a service that is leaving or unknown, and none of a leaving
  service's processes is ended;
* a process of another definition than the service's is ended, never counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from gateway.core.model import InstanceId, ServiceId


@dataclass(frozen=True, slots=True)
class Wanted:
    """A service that ought to have processes."""

    definition: str
    scale: int
    is_leaving: bool = False


@dataclass(frozen=True, slots=True)
class Process:
    """A process there is, or was asked for. `started` orders those of a service."""

    id: InstanceId
    service: ServiceId
    definition: str
    slot: int
    """Its number among those of its service, from 0; one that ended gives its number up."""
    started: float
    is_stopping: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now. The order of `starts` is that of the services given."""

    starts: tuple[tuple[ServiceId, int], ...] = ()
    """Services, with the slot of the new process."""
    halts: frozenset[InstanceId] = frozenset()
    retiring: Mapping[InstanceId, ServiceId] = field(default_factory=dict)
    """Those that are too many: they get no new work, and end when they have none."""


def plan(
    wanted: Mapping[ServiceId, Wanted],
    processes: Iterable[Process],
    may_start: Callable[[ServiceId, int], bool],
    has_retired: Callable[[InstanceId], bool],
) -> Plan:
    """The next step.

    `may_start(service, slot)`: its turn has come (back-off, dependencies).
    `has_retired(instance)`: it was retiring before and has no work left, or no time.
    """
    starts: list[tuple[ServiceId, int]] = []
    halts: set[InstanceId] = set()
    retiring: dict[InstanceId, ServiceId] = {}
    running: dict[ServiceId, list[Process]] = {}
    for process in processes:
        if process.is_stopping:
            continue
        service = wanted.get(process.service)
        if service is None or service.definition != process.definition:
            halts.add(process.id)
        else:
            running.setdefault(process.service, []).append(process)
    for sid, service in wanted.items():
        if service.is_leaving:
            continue
        own = sorted(running.get(sid, ()), key=lambda p: (p.started, p.slot, p.id))
        surplus = {p.id for p in own[max(service.scale, 0) :]}
        done = {instance for instance in surplus if has_retired(instance)}
        halts |= done
        retiring.update((instance, sid) for instance in surplus - done)
        taken = {p.slot for p in own}
        free = (slot for slot in range(service.scale + len(own)) if slot not in taken)
        for slot, _ in zip(free, range(service.scale - len(own)), strict=False):
            if may_start(sid, slot):
                starts.append((sid, slot))
    return Plan(tuple(starts), frozenset(halts), retiring)
