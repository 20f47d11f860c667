"""Which route, service and instance a request would get, and why.

The answer is no second opinion: it is drawn by the same code that workers route
with, in a world of its own that is kept beside the published snapshot. So it
moves no worker's cursor; a worker's own short ejections show once reported.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

from gateway.core.errors import FieldError
from gateway.core.model import Role, ServiceId, shares, split_service_id
from gateway.core.names import did_you_mean, matching, quote
from gateway.core.snapshot import Snapshot
from gateway.routing.affinity import find_cookie
from gateway.routing.decision import Decision, Sticky, Verdict
from gateway.routing.pool import SELECTOR_COOKIE, Pool
from gateway.routing.service import InstanceState
from gateway.routing.table import Miss
from gateway.routing.world import World

from . import report_answers as reports
from .operation import BASE, Call, Operation, Reply
from .payload import refuse
from .queries import ExplainQuery
from .views import View, view

_STATUS = {
    Miss.UNKNOWN_HOST: 404,
    Miss.INTERNAL_ONLY: 404,
    Verdict.OK: None,
    Verdict.UNKNOWN_SELECTION: 404,
    Verdict.NO_SERVICE: 503,
    Verdict.NO_HEALTHY_INSTANCE: 503,
}


@dataclass(frozen=True, slots=True)
class Asked:
    """The request to explain, as a worker would have it."""

    host: str
    path: str
    selector: str | None
    cookies: str | None
    internal: bool | None
    ignored: tuple[str, ...] = field(default=())
    """Header fields given that routing does not look at."""


def read(query: ExplainQuery) -> Asked:
    """The request that the query describes. Raises `Refused`."""
    errors: list[FieldError] = []
    host = query.host.strip().lower()
    bare, colon, port = host.rpartition(":")
    if colon and port.isdigit() and not bare.endswith(":"):
        host = bare
    if not host.isascii() or not host or any(c in " /?#@" for c in host):
        errors.append(FieldError("query.host", "must be a host as in a Host field"))
    path = query.path.partition("?")[0]
    if not path.startswith("/") or not path.isascii():
        errors.append(FieldError("query.path", "must start with / and be percent-encoded ASCII"))
    selector: str | None = None
    cookies, ignored = list(query.cookie), []
    for index, text in enumerate(query.header):
        name, colon, value = text.partition(":")
        name, value = name.strip().lower(), value.strip()
        if not colon or not name:
            errors.append(FieldError(f"query.header[{index}]", "must have the form Name: value"))
        elif name == SELECTOR_COOKIE.decode().lower():
            selector = value
        elif name == "cookie":
            cookies.append(value)
        else:
            ignored.append(name)
    if errors:
        raise refuse(errors, "the query")
    return Asked(host, path, selector, "; ".join(cookies) or None, query.internal, tuple(ignored))


async def explain(call: Call[ExplainQuery, None]) -> Reply:
    """Say where a request would go. Sends nothing and changes nothing.

    Where weights decide, the answer is one draw of them; ask again for another.
    """
    now = view(call.context)
    world = call.context.explainer.at(now.snapshot)
    return Reply(explanation(read(call.query), world, now))


def explanation(asked: Asked, world: World, now: View) -> reports.Explanation:
    """The answer, drawn in `world`."""
    host, path = asked.host.encode(), asked.path.encode()
    cookies = asked.cookies.encode("utf-8", "replace") if asked.cookies is not None else None
    selector = asked.selector.encode("utf-8", "replace") if asked.selector is not None else None
    table = world.table
    matched = table.match_selected(host, path, True, cookies, selector)
    found = table.match_selected(host, path, asked.internal is not False, cookies, selector)
    held = takewhile(lambda pool: pool is not matched, table.held_before(host, path))
    passed_over = [_passed_over(pool) for pool in held]
    if asked.internal is None and isinstance(found, Pool) and found.route.internal:
        why = ["the route is internal: shown as an internal entrypoint serves it, public ones 404"]
    else:
        why = []
    if isinstance(found, Miss):
        return _missed(found, asked, passed_over, now)
    why[:0] = [*_matched(found, asked), *passed_over]
    why += [f"the header {name} plays no part in routing" for name in asked.ignored]
    decision = found.decide(cookies, selector)
    why += _decided(found, asked, decision, now.snapshot)
    instance: InstanceState | None = None
    if decision.service is not None and decision.verdict is Verdict.OK:
        instance = decision.pinned or decision.service.pick()
        if instance is not None and decision.pinned is None:
            service = now.state.services.get(decision.service.id)
            how = f" ({service.balancer})" if service is not None else ""
            why.append(f"instance {instance.id} chosen by the service's balancer{how}")
    shown = now.find_instance(instance.id) if instance is not None else None
    return reports.Explanation(
        verdict=decision.verdict.value,
        status=_STATUS[decision.verdict],
        route=found.route.id,
        service=decision.service.id if decision.service is not None else None,
        instance=now.instance(*shown) if shown is not None else None,
        why=why,
        candidates=list(_candidates(found, now)),
    )


def _passed_over(pool: Pool) -> str:
    """Why a held route does not get the request, although it fits best."""
    route = pool.route
    if route.selectors:
        who = "only X-Gateway-Service with one of its services leads there"
    else:
        who = "nobody gets there, since its selectors are off,"
    return f"route {route.id} is held back: {who} until its release gives it traffic"


def _missed(miss: Miss, asked: Asked, passed_over: Sequence[str], now: View) -> reports.Explanation:
    if miss is Miss.INTERNAL_ONLY:
        why = ["the route is internal and this entrypoint is not: the gateway answers 404"]
    else:
        hosts = list({r.host: None for r in now.snapshot.routes.values() if not r.held})
        if asked.host in hosts:
            why = [f"host {quote(asked.host)} has routes, but none for path {quote(asked.path)}"]
        else:
            hint = did_you_mean(asked.host, hosts)
            why = [f"no route has host {quote(asked.host)}, nor a wildcard that fits it{hint}"]
    why += passed_over
    return reports.Explanation(miss.value, _STATUS[miss], None, None, None, why, ())


def _matched(pool: Pool, asked: Asked) -> list[str]:
    route = pool.route
    exact = route.host == asked.host
    rule = "matches exactly" if exact else f"fits the wildcard {route.host}"
    why = [f"host {quote(asked.host)} {rule}"]
    if route.path == "/":
        why.append("path prefix / takes every path")
    else:
        why.append(f"path {quote(asked.path)} begins with {route.path}, the longest prefix here")
    if route.held:
        why.append(
            "the route is held back until its release gives it traffic: "
            "without the selector the request would go elsewhere"
        )
    return why


def _decided(pool: Pool, asked: Asked, decision: Decision, snapshot: Snapshot) -> Iterator[str]:
    route = pool.route
    weights = {m.service: m.weight for m in route.members}
    if not route.selectors and asked.selector is not None:
        yield "X-Gateway-Service is not heeded: selectors are off on this route"
    if decision.verdict is Verdict.UNKNOWN_SELECTION:
        hint = did_you_mean(asked.selector or "", [split_service_id(s)[1] for s in weights])
        yield f"X-Gateway-Service names no service of this route{hint}"
        return
    if decision.verdict is Verdict.NO_SERVICE:
        yield (
            "no service of this route has weight"
            if weights
            else "the route has no service (its policy alone keeps it)"
        )
        return
    service = decision.service.id if decision.service is not None else None
    chosen = _selected(pool, asked, list(weights))
    if chosen:
        yield f"{service} chosen by the {chosen}, whatever the weights"
    elif decision.sticky is Sticky.HIT:
        yield f"the client is pinned to {service} by its cookie {route.affinity.cookie}"
    elif decision.sticky is Sticky.MOVED:
        yield "the client's pin could not be kept, it gets a new one"
    elif decision.sticky is Sticky.NEW and asked.cookies is not None:
        yield f"no cookie {route.affinity.cookie} that is known here; the client will be pinned"
    elif decision.sticky is Sticky.NEW:
        yield "the client brought no cookie; it will be pinned"
    else:
        yield "session affinity is off on this route"
    if not chosen and decision.sticky is not Sticky.HIT and service is not None:
        total = sum(weights.values())
        yield f"{service} drawn by weight: {weights.get(service, 0)} of {total}"
    if decision.spilled:
        yield "spilled: the service whose turn it was has no usable instance"
    if decision.verdict is Verdict.NO_HEALTHY_INSTANCE:
        yield (
            f"{service} has no usable instance"
            if service is not None
            else "no service with weight has a usable instance"
        )
    elif service is not None and (compiled := snapshot.services.get(service)) is not None:
        up = sum(i.condition == "up" for i in compiled.instances)
        yield f"{up} of {len(compiled.instances)} instances of {service} are up"


def _selected(pool: Pool, asked: Asked, members: Sequence[ServiceId]) -> str | None:
    """What selected the service, if a selector did."""
    if not pool.route.selectors:
        return None
    if asked.selector is not None:
        return "header X-Gateway-Service"
    cookies = find_cookie((asked.cookies or "").encode("utf-8", "replace"), SELECTOR_COOKIE)
    if any(matching(value.decode("utf-8", "replace"), members) for value in cookies):
        return "cookie X-Gateway-Service"
    return None


def _candidates(pool: Pool, now: View) -> Iterator[reports.Candidate]:
    weights = {m.service: m.weight for m in pool.route.members}
    share = shares(weights)
    for sid, weight in weights.items():
        service = now.state.services.get(sid)
        yield reports.Candidate(
            id=sid,
            name=split_service_id(sid)[1],
            weight=weight,
            share=share[sid],
            instances=now.instances(service) if service is not None else (),
        )


OPERATIONS = (
    Operation(
        "GET",
        f"{BASE}/explain",
        explain,
        "Explain where a request would go",
        Role.VIEWER,
        reports.Explanation,
        "Observation",
        query=ExplainQuery,
    ),
)
