"""A store with many routes, written before the gateway starts: registering them one by one
over the API would take minutes and show nothing more.

It uses the gateway's own store and model, so what is written is what an operator
would have registered.
"""

from __future__ import annotations

from pathlib import Path

from admin.store.factory import make_store
from gateway.core.model import Claim, Endpoint, Route, RouteId, Service, ServiceId
from gateway.core.state import State, changes

PAIRS_MAX = 1000
"""Pairs of services; more routes than this share them evenly."""


def host_of(number: int) -> str:
    """The host of route `number`."""
    return f"r{number}.example"


def names_of(number: int) -> tuple[str, str]:
    """The services on route `number`."""
    pair = number % PAIRS_MAX
    return f"s{pair}-v1", f"s{pair}-v2"


def state_of(routes: int, ports: tuple[int, int]) -> State:
    """A state with that many routes, each with two services at 90 and 10."""
    claims: dict[str, list[Claim]] = {}
    found: dict[RouteId, Route] = {}
    for number in range(routes):
        claim = Claim(host_of(number))
        pair = names_of(number)
        for name in pair:
            claims.setdefault(name, []).append(claim)
        weights = {ServiceId(f"-/{name}"): w for name, w in zip(pair, (90, 10), strict=True)}
        found[claim.route] = Route(claim.host, claim.path, weights)
    services = [
        Service(
            application="-",
            name=name,
            claims=tuple(of_it),
            coexist=True,
            endpoints=(Endpoint("127.0.0.1", ports[name.endswith("2")]),),
        )
        for name, of_it in claims.items()
    ]
    return State(services={service.id: service for service in services}, routes=found)


async def write_store(path: Path, state: State) -> None:
    """A new store at `path` that holds this state."""
    path.parent.mkdir(parents=True)
    store = make_store(f"sqlite:{path}", 1)
    try:
        await store.open()
        await store.save(0, changes(State(), state), None, 0)
    finally:
        await store.close()
