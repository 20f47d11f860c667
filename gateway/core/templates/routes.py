"""Routing labels: `routing.port_80: http://shop.example:/api;shop` becomes claims."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.core.model import Claim, RouteId
from gateway.core.names import published_host, quote
from gateway.core.spelling import HOST_MAX, host, path_prefix

from .problems import Findings, Place
from .values import Given

CLAIMS_MAX = 256
"""The most routes of one service."""

_HTTP = "http://"


@dataclass(frozen=True, slots=True)
class Placed:
    """A claim and where it stands."""

    claim: Claim
    place: Place


def read_routes(
    ports: Mapping[int, Given], domain: str, is_sticky: bool, findings: Findings
) -> tuple[Placed, ...]:
    """The claims of all routing labels: by port, then in the order in which they are written."""
    found: dict[RouteId, Placed] = {}
    for port, given in sorted(ports.items()):
        parts = given.text.split(";")
        if len(parts) > CLAIMS_MAX:
            findings.add(given.place, f"{len(parts)} routes, at most {CLAIMS_MAX} are possible")
            continue
        for part in parts:
            try:
                name, path = _route(part.strip(), domain)
            except ValueError as error:
                findings.add(given.place, f"{quote(part.strip())}: {error}")
                continue
            claim = Claim(name, path, port, is_sticky)
            earlier = found.setdefault(claim.route, Placed(claim, given.place))
            if earlier.claim is not claim:
                also = "" if earlier.claim.port == port else f", also for port {earlier.claim.port}"
                findings.add(
                    given.place, f"the route {quote(claim.route)} is there twice{also}; keep one"
                )
    if len(found) > CLAIMS_MAX:
        findings.add(
            next(iter(ports.values())).place,
            f"{len(found)} routes of one service, at most {CLAIMS_MAX} are possible",
        )
        return ()
    return tuple(found.values())


def _route(text: str, domain: str) -> tuple[str, str]:
    """Host as published, and path. Raises `ValueError`."""
    bare = text.removeprefix(_HTTP)
    if "://" in bare:
        raise ValueError("routes are plain http here; write the host without a scheme")
    if not bare:
        raise ValueError("a host or prefix is expected, for example shop or shop.example:/api")
    if bare.lower() in ("true", "false"):
        raise ValueError("a host or prefix is expected, not true or false")
    name, context = _parts(bare)
    if "/" in name:
        before, _, after = name.partition("/")
        raise ValueError(f"the path follows a colon: {quote(f'{before}:/{after}')}")
    if context.isdigit():
        raise ValueError(
            "a route has no port: the container's stands in the label's name; "
            f"for a path write {quote(f'{name}:/{context}')}"
        )
    published = published_host(host(name), domain)
    if len(published) > HOST_MAX:
        raise ValueError(f"a host has at most {HOST_MAX} characters with the domain {domain}")
    path = context if context.startswith("/") else f"/{context}"
    return published, path_prefix(path)


def _parts(text: str) -> tuple[str, str]:
    """Host and context path; an IPv6 address stands in brackets."""
    end = text.find("]") + 1 if text.startswith("[") else 0
    name, _, context = text[end:].partition(":")
    return text[:end] + name, context
