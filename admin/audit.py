"""Who did what, when, and what came of it: the vocabulary of the audit trail."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from gateway.core.commands import (
    AddAffinityKey,
    AddToken,
    AdvanceRelease,
    Command,
    ConfirmRelease,
    DeleteRoute,
    DrainInstance,
    EndSmooth,
    FinishRemoval,
    ForgetApplication,
    PutService,
    RemoveApplication,
    RemoveToken,
    ResumeInstance,
    RollbackRelease,
    ScaleService,
    SetRoutePolicy,
    SetWeights,
    ShiftRelease,
    StartRelease,
    TakeDiscovered,
)
from gateway.core.differences import changed, gone
from gateway.core.errors import Refused
from gateway.core.model import Role, route_id
from gateway.core.names import find_service, matching, weights_by_name
from gateway.core.release import ConfirmMode
from gateway.core.state import State

DETAIL_MAX = 2000
"""Characters of a detail; longer ones are cut."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks. `name` goes to the audit trail: `token:deploy`, `uid:1000`, `gateway`."""

    name: str
    role: Role = Role.ADMIN


GATEWAY = Actor("gateway")
"""The control process itself: what it finishes in the background."""


class AuditResult(StrEnum):
    """What came of a request."""

    DONE = "done"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One request of an operator. `time` is seconds since the epoch.

    `id` is given by the store and grows; 0 until then. `revision` is that of the
    state after the request.
    """

    time: float
    actor: str
    action: str
    """The command's name: `set_weights`."""
    target: str
    """What it was about: a route, a service, an instance, a token's name."""
    result: AuditResult
    detail: str = ""
    """Why it was refused; else the change in words, e.g. the weights before and after."""
    code: str = ""
    """The problem code of a refusal."""
    reason: str | None = None
    """The operator's own words."""
    revision: int = 0
    id: int = 0


def action_of(command: Command) -> str:
    """The name of a command in the trail: `SetWeights` -> `set_weights`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", type(command).__name__).lower()


def target_of(command: Command, state: State) -> str:
    """What a command is about; services by full id where the name is clear."""
    match command:
        case SetWeights() | DeleteRoute():
            return command.route
        case SetRoutePolicy():
            return route_id(command.host, command.path)
        case PutService():
            return command.service.id
        case DrainInstance() | ResumeInstance():
            return command.instance
        case AddAffinityKey():
            return command.key.id
        case AddToken():
            return command.token.name
        case RemoveToken():
            return command.name
        case FinishRemoval():
            return command.service
        case TakeDiscovered():
            return "discovered services"
        case StartRelease() | RemoveApplication() | ForgetApplication():
            return command.application
        case ShiftRelease() | ConfirmRelease() | RollbackRelease() | AdvanceRelease() | EndSmooth():
            return command.release
        case _:
            found = matching(command.service, state.services)
            return found[0] if len(found) == 1 else command.service


def done(
    time: float,
    actor: Actor,
    command: Command,
    reason: str | None,
    before: State,
    after: State,
) -> AuditEntry:
    """The entry of a command that was carried out."""
    return AuditEntry(
        time=time,
        actor=actor.name,
        action=action_of(command),
        target=target_of(command, before),
        result=AuditResult.DONE,
        detail=_difference(command, before, after)[:DETAIL_MAX],
        reason=reason,
        revision=after.revision,
    )


def is_noted(command: Command, before: State, after: State) -> bool:
    """Does it go to the audit trail?

    Containers that end and start over and over would push out of it what people did: that
    services are gone or back is no change of what is desired.
    """
    if not isinstance(command, TakeDiscovered) or before.routes != after.routes:
        return True
    return before.services.keys() != after.services.keys() or any(
        replace(before.services[sid], discovery=now.discovery) != now
        for sid, now in after.services.items()
        if before.services[sid] is not now
    )


def refused(
    time: float,
    actor: Actor,
    action: str,
    target: str,
    refusal: Refused,
    reason: str | None,
    revision: int,
) -> AuditEntry:
    """The entry of a request that was refused."""
    return AuditEntry(
        time=time,
        actor=actor.name,
        action=action,
        target=target,
        result=AuditResult.REFUSED,
        detail=str(refusal.detail)[:DETAIL_MAX],
        code=refusal.code.value,
        reason=reason,
        revision=revision,
    )


def _difference(command: Command, before: State, after: State) -> str:
    """What changed, in words."""
    if before is after:
        return "as it was"
    if isinstance(command, SetWeights):
        return f"{_weights(before, command)} -> {_weights(after, command)}"
    if isinstance(command, TakeDiscovered):
        return "; ".join(_discovered(before, after))
    if isinstance(command, AddToken):
        return f"role {command.token.role.value}"
    if isinstance(command, ScaleService):
        scales = [find_service(state, command.service).scale for state in (before, after)]
        return " -> ".join(map(str, scales))
    return "; ".join(_phases(command, before, after))


def _discovered(before: State, after: State) -> Iterator[str]:
    """What has appeared and what has gone."""
    for sid in changed(before.services, after.services):
        was, now = before.services.get(sid), after.services[sid]
        is_gone = now.discovery is not None and now.discovery.gone_since is not None
        if was is None:
            yield f"{sid} was found on {', '.join(c.route for c in now.claims) or 'no route'}"
        elif was.discovery != now.discovery:
            yield f"{sid} is gone" if is_gone else f"{sid} is back"
        else:
            yield f"{sid} is now on {', '.join(c.route for c in now.claims) or 'no route'}"
    for sid in gone(before.services, after.services):
        yield f"{sid} is forgotten"


def _phases(command: Command, before: State, after: State) -> Iterator[str]:
    """What became of releases."""
    if isinstance(command, ShiftRelease):
        yield f"{command.percent:g} % on the new services"
    if isinstance(command, ConfirmRelease) and command.mode is not ConfirmMode.PLAIN:
        yield command.mode.value
    for id in changed(before.releases, after.releases):
        was, now = before.releases.get(id), after.releases[id]
        if was is None:
            yield f"{id}, {now.strategy.value}: {now.phase.value}"
        elif was.phase is not now.phase:
            yield f"{id}: {was.phase.value} -> {now.phase.value}"


def _weights(state: State, command: SetWeights) -> str:
    named = weights_by_name(state.routes[command.route].weights)
    return ", ".join(f"{name}={weight}" for name, weight in named.items())
