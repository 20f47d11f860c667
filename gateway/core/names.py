"""What operators call things, and what is meant.

Services go by their short name where that is unambiguous, else by the full id
`application/name`. Every look-up that fails says what could have been meant.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping

from .errors import Code, Refused
from .model import Route, RouteId, Service, ServiceId, split_service_id
from .state import State


def find_service(state: State, name: str) -> Service:
    """The service a short name or full id means; raises `Refused` (not_found, ambiguous)."""
    if (exact := state.services.get(ServiceId(name))) is not None:
        return exact
    found = matching(name, state.services)
    if len(found) == 1:
        return state.services[found[0]]
    if found:
        raise Refused(
            Code.AMBIGUOUS,
            f"{quote(name)} names several services, use a full id: {', '.join(found)}",
            extra={"candidates": sorted(found)},
        )
    names = [split_service_id(sid)[1] for sid in state.services]
    raise Refused(Code.NOT_FOUND, f"there is no service {quote(name)}{did_you_mean(name, names)}")


def find_route(state: State, route: str) -> Route:
    """The route of an id; raises `Refused` (not_found)."""
    found = state.routes.get(RouteId(route))
    if found is None:
        raise Refused(
            Code.NOT_FOUND, f"there is no route {quote(route)}{did_you_mean(route, state.routes)}"
        )
    return found


def matching(name: str, services: Iterable[ServiceId]) -> list[ServiceId]:
    """Those of `services` that a short name or full id may mean."""
    suffix = f"/{name}"
    return [sid for sid in services if sid == name or ("/" not in name and sid.endswith(suffix))]


def short_names(services: Collection[ServiceId]) -> dict[ServiceId, str]:
    """What to call each of `services`: the short name, the full id where two would clash."""
    seen: dict[str, int] = {}
    for sid in services:
        name = split_service_id(sid)[1]
        seen[name] = seen.get(name, 0) + 1
    return {sid: name if seen[name := split_service_id(sid)[1]] == 1 else sid for sid in services}


def weights_by_name(weights: Mapping[ServiceId, int]) -> dict[str, int]:
    """The weights of a route as operators read and write them."""
    names = short_names(weights)
    return {names[sid]: weight for sid, weight in weights.items()}


def published_host(host: str, domain: str) -> str:
    """The host a claim is published under: a bare prefix gets the gateway's domain."""
    host = host.lower()
    if "." in host or host == "localhost" or host.startswith("["):
        return host
    return f"{host}.{domain}"


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """`; did you mean 'x' or 'y'?`, or nothing."""
    # difflib is quadratic in length and linear in candidates: both are bounded.
    candidates = [k for _, k in zip(range(500), known, strict=False)]
    close = difflib.get_close_matches(wrong[:100], candidates, n=3)
    return f"; did you mean {' or '.join(map(quote, close))}?" if close else ""


def quote(text: str) -> str:
    """A name from outside, safe to show: quoted, bounded, without control characters."""
    shown = text if len(text) <= 120 else text[:117] + "..."
    return ascii(shown) if not shown.isprintable() else f"'{shown}'"


def visible(text: str) -> str:
    """Words that may hold something from outside, with escapes for what is not printable."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
