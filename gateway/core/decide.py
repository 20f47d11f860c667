"""What comes of a command: `(state, command, observed) -> state`, or a refusal.

One function per command, all pure: no argument is ever changed, a refusal leaves
nothing behind, and a command that changes nothing gives back the very same
`State`. Time, secrets and the order of events arrive inside the commands.

Invariants of every state that comes out of here, given one that holds them:

* the members of a route are exactly the services that claim it and are not leaving;
* every weight is an integer in 0..1,000,000, and a member that nobody weighed yet
  has the weight it joined with: 100 as the first holder, else 0;
* a change of weights or of a claim is one value: nobody sees half of it.
"""

from __future__ import annotations

import re
from dataclasses import replace

from .commands import (
    AddAffinityKey,
    AddToken,
    Command,
    DeleteRoute,
    DrainInstance,
    FinishRemoval,
    ForgetApplication,
    MarkCoexist,
    PutService,
    RemoveService,
    RemoveToken,
    ResumeInstance,
    SetRoutePolicy,
    SetWeights,
    TakeDiscovered,
)
from .decided import Decided, has_healthy, normal_path, with_routes
from .discovering import take_discovered
from .errors import Code, FieldError, Refused, invalid
from .gone import drop_if_gone
from .guards import check_weights
from .model import (
    WEIGHT_MAX,
    InstanceId,
    Route,
    ServiceId,
    route_id,
)
from .names import did_you_mean, find_route, matching, quote, weights_by_name
from .observed import Observed
from .registration import finish_removal, mark_coexist, put_service, remove_service
from .releasing import decide_release
from .state import State

__all__ = ["Decided", "decide"]

_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
DRAINED_GONE_MAX = 1000
"""Drained instances that are not there, but may come back drained; with more, all of them are
forgotten: a container that is made anew has another name."""
_KEY_ID = re.compile(r"[A-Za-z0-9]\Z")


def decide(state: State, command: Command, observed: Observed) -> Decided:
    """Carry out a command on a value; raises `Refused` and never changes its arguments."""
    match command:
        case SetWeights():
            return _set_weights(state, command, observed)
        case PutService():
            return put_service(state, command, observed)
        case SetRoutePolicy():
            return _set_route_policy(state, command)
        case DeleteRoute():
            return _delete_route(state, command)
        case MarkCoexist():
            return mark_coexist(state, command)
        case RemoveService():
            return remove_service(state, command)
        case FinishRemoval():
            return finish_removal(state, command, observed)
        case ForgetApplication():
            return Decided(drop_if_gone(state, command.application, observed))
        case TakeDiscovered():
            return take_discovered(state, command)
        case DrainInstance():
            return _drain_instance(state, command, observed)
        case ResumeInstance():
            return _resume_instance(state, command, observed)
        case AddAffinityKey():
            return _add_affinity_key(state, command)
        case AddToken():
            return _add_token(state, command)
        case RemoveToken():
            return _remove_token(state, command)
        case _:
            return decide_release(state, command, observed)


# --- weights ---------------------------------------------------------------------------


def _set_weights(state: State, command: SetWeights, observed: Observed) -> Decided:
    route = find_route(state, command.route)
    weights = dict(route.weights)
    weights.update(_named_weights(route, command))
    if not any(weights.values()) and command.weights and not command.force:
        raise Refused(
            Code.ROUTE_WITHOUT_TRAFFIC,
            f"all weights of {quote(route.id)} would be 0: give at least one service a weight, "
            "or use force",
            extra={"weights": weights_by_name(route.weights)},
        )
    notes = check_weights(state, route, weights, force=command.force)
    warnings = notes + tuple(
        f"{sid} gets traffic on {route.id} and has no healthy instance"
        for sid, weight in weights.items()
        if weight and not route.weights[sid] and not has_healthy(state, observed, sid)
    )
    if weights == route.weights:
        return Decided(state, warnings)
    is_held = route.is_held and not any(weights.values())
    changed = replace(route, weights=weights, is_held=is_held)
    return Decided(with_routes(state, {route.id: changed}), warnings)


def _named_weights(route: Route, command: SetWeights) -> dict[ServiceId, int]:
    """What the command says, by full id; raises `Refused` naming every wrong place."""
    known = weights_by_name(route.weights)
    errors: list[FieldError] = []
    named: dict[ServiceId, int] = {}
    for name, weight in command.weights.items():
        place = f"weights.{name[:100]}"
        found = matching(name, route.weights)
        if len(found) > 1:
            errors.append(FieldError(place, f"ambiguous, use a full id: {', '.join(found)}"))
        elif not found:
            hint = did_you_mean(name, known)
            errors.append(FieldError(place, f"no service of this route{hint}"))
        elif found[0] in named:
            errors.append(FieldError(place, f"{found[0]} is named twice"))
        elif type(weight) is not int or not 0 <= weight <= WEIGHT_MAX:
            errors.append(FieldError(place, f"must be an integer from 0 to {WEIGHT_MAX}"))
            named[found[0]] = 0
        else:
            named[found[0]] = weight
    if command.whole:
        errors += [
            FieldError(f"weights.{name}", "missing: every service of the route must be named")
            for name, sid in zip(known, route.weights, strict=True)
            if sid not in named
        ]
    if errors:
        raise Refused(
            Code.INVALID,
            f"the weights of {quote(route.id)} were not changed; its services and their "
            "weights are in `weights`",
            errors,
            {"weights": known},
        )
    return named


# --- routes ----------------------------------------------------------------------------


def _set_route_policy(state: State, command: SetRoutePolicy) -> Decided:
    host, path = command.host.lower(), normal_path(command.path)
    rid = route_id(host, path)
    route = state.routes.get(rid)
    if route is not None and route.policy == command.policy:
        return Decided(state)
    changed = Route(host, path) if route is None else route
    return Decided(with_routes(state, {rid: replace(changed, policy=command.policy)}))


def _delete_route(state: State, command: DeleteRoute) -> Decided:
    route = find_route(state, command.route)
    if route.weights:
        raise Refused(
            Code.IN_USE,
            f"{quote(route.id)} has services: {', '.join(route.weights)}; remove them or "
            "their claim first",
            extra={"weights": weights_by_name(route.weights)},
        )
    return Decided(with_routes(state, {route.id: None}))


# --- instances -------------------------------------------------------------------------


def _drain_instance(state: State, command: DrainInstance, observed: Observed) -> Decided:
    sid = _service_of(observed, command.instance)
    if command.instance in state.drained:
        return Decided(state)
    drained = state.drained | {command.instance}
    there = {i.id for instances in observed.instances.values() for i in instances}
    if len(drained - there) > DRAINED_GONE_MAX:
        drained &= there
    after = replace(state, drained=drained)
    warnings: tuple[str, ...] = ()
    if has_healthy(state, observed, sid) and not has_healthy(after, observed, sid):
        warnings = (f"{command.instance} was the last healthy instance of {sid}",)
    return Decided(after, warnings)


def _resume_instance(state: State, command: ResumeInstance, observed: Observed) -> Decided:
    if command.instance in state.drained:
        return Decided(replace(state, drained=state.drained - {command.instance}))
    _service_of(observed, command.instance)
    return Decided(state)


def _service_of(observed: Observed, wanted: InstanceId) -> ServiceId:
    for sid, instances in observed.instances.items():
        if any(i.id == wanted for i in instances):
            return sid
    known = (i.id for instances in observed.instances.values() for i in instances)
    raise Refused(
        Code.NOT_FOUND, f"there is no instance {quote(wanted)}{did_you_mean(wanted, known)}"
    )


# --- secrets ---------------------------------------------------------------------------


def _add_affinity_key(state: State, command: AddAffinityKey) -> Decided:
    key = command.key
    if not _KEY_ID.match(key.id) or not _SHA256.match(key.secret):
        raise invalid(
            "an affinity key has an id of one letter or digit and 32 bytes in lower-case hex",
            ("key", "malformed"),
        )
    if any(k.id == key.id for k in state.keys):
        raise Refused(Code.IN_USE, f"there is an affinity key {quote(key.id)}; use another id")
    keys = [key]
    successor = key
    for old in state.keys:
        # An old key signed until its successor came, so that is when its age begins.
        if key.created - successor.created > command.keep_s:
            break
        keys.append(old)
        successor = old
    return Decided(replace(state, keys=tuple(keys)))


def _add_token(state: State, command: AddToken) -> Decided:
    token = command.token
    if not token.name or not _SHA256.match(token.sha256):
        raise invalid("a token needs a name and a SHA-256 in lower-case hex", ("name", "malformed"))
    if token.name in state.tokens:
        raise Refused(
            Code.IN_USE,
            f"there is a token {quote(token.name)}; remove it first or use another name",
        )
    return Decided(replace(state, tokens={**state.tokens, token.name: token}))


def _remove_token(state: State, command: RemoveToken) -> Decided:
    if command.name not in state.tokens:
        hint = did_you_mean(command.name, state.tokens)
        raise Refused(Code.NOT_FOUND, f"there is no token {quote(command.name)}{hint}")
    tokens = {name: t for name, t in state.tokens.items() if name != command.name}
    return Decided(replace(state, tokens=tokens))
