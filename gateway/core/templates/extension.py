"""The key `x-gateway` of a service: endpoints that others run, TLS to them, limits."""

from __future__ import annotations

from dataclasses import replace

from gateway.core.model import Check, Claim, Endpoint, UpstreamTls
from gateway.core.spelling import endpoint, server_name

from . import keys, values
from .plain import Map
from .problems import Findings, Place
from .routes import Placed

IN_FLIGHT_MAX = 10_000_000
"""The highest limit of requests an instance is given at a time."""
ENDPOINTS_MAX = 1024


def read_endpoints(content: Map, place: Place, findings: Findings) -> tuple[Endpoint, ...] | None:
    """The addresses of `x-gateway`; None: there are none, so instances are started."""
    if keys.EXTENSION not in content:
        return None
    where = (*place, keys.EXTENSION)
    extension = values.as_map(
        content[keys.EXTENSION], where, findings, '{endpoints: ["10.0.0.1:8080"]}'
    )
    if extension is None:
        return ()
    known = dict.fromkeys((keys.ENDPOINTS, keys.TLS, keys.LIMITS))
    values.unknown_keys(extension, known, where, findings)
    if keys.ENDPOINTS not in extension:
        return None
    where = (*where, keys.ENDPOINTS)
    given = values.texts(extension[keys.ENDPOINTS], where, findings, '["10.0.0.1:8080"]')
    found: dict[Endpoint, Place] = {}
    for one in given:
        try:
            address = endpoint(one.text)
        except ValueError as error:
            findings.add(one.place, str(error))
            continue
        if str(address) in map(str, found):
            findings.add(one.place, f"{address} is there already")
        found.setdefault(address, one.place)
    if extension[keys.ENDPOINTS] == []:
        findings.add(where, "names no address; leave x-gateway out to have instances started")
    if len(found) > ENDPOINTS_MAX:
        findings.add(where, f"{len(found)} addresses, at most {ENDPOINTS_MAX} are possible")
    return tuple(sorted(found, key=lambda e: (e.host, e.port)))


def read_tls(
    content: Map, endpoints: tuple[Endpoint, ...] | None, place: Place, findings: Findings
) -> UpstreamTls | None:
    """How https endpoints prove who they are; None: under their own names."""
    extension = content.get(keys.EXTENSION)
    if not isinstance(extension, dict) or keys.TLS not in extension:
        return None
    where = (*place, keys.EXTENSION, keys.TLS)
    given = values.as_map(extension[keys.TLS], where, findings, "{server_name: shop.internal}")
    if given is None:
        return None
    values.unknown_keys(given, {keys.SERVER_NAME: None, keys.VERIFY: None}, where, findings)
    if not any(one.is_https for one in endpoints or ()):
        findings.add(where, "no endpoint of this service begins with https://")
    name = None
    if given.get(keys.SERVER_NAME) is not None:
        at = (*where, keys.SERVER_NAME)
        text = values.text(given[keys.SERVER_NAME], at, findings)
        try:
            name = server_name(text) if text is not None else None
        except ValueError as error:
            findings.add(at, str(error))
    verify = given.get(keys.VERIFY, True)
    if not isinstance(verify, bool):
        findings.add((*where, keys.VERIFY), f"must be true or false, not {values.kind_of(verify)}")
        verify = True
    return UpstreamTls(name, verify)


def read_in_flight_limit(content: Map, place: Place, findings: Findings) -> int | None:
    """How many requests an instance is given at a time; None: as the configuration says."""
    extension = content.get(keys.EXTENSION)
    if not isinstance(extension, dict) or extension.get(keys.LIMITS) is None:
        return None
    where = (*place, keys.EXTENSION, keys.LIMITS)
    given = values.as_map(extension[keys.LIMITS], where, findings, "{in_flight: 32}")
    if given is None:
        return None
    values.unknown_keys(given, {keys.IN_FLIGHT: None}, where, findings)
    if given.get(keys.IN_FLIGHT) is None:
        return None
    one = values.scalar(given[keys.IN_FLIGHT], (*where, keys.IN_FLIGHT), findings)
    return None if one is None else values.whole(one, 1, IN_FLIGHT_MAX, findings)


def fit_to_endpoints(
    routes: tuple[Placed, ...],
    check: Check | None,
    endpoints: tuple[Endpoint, ...],
    place: Place,
    findings: Findings,
) -> tuple[tuple[Placed, ...], Check | None]:
    """Routes and check of instances that somebody else runs.

    A single routed port is the endpoint's own, whatever its number. Of several, each
    is reached at its own number, so an endpoint must have one of them.
    """
    ports = {placed.claim.port for placed in routes}
    if len(ports) == 1:
        if check is not None and check.port in ports:
            check = replace(check, port=None)
        if check == Check():
            check = None
        return tuple(
            replace(p, claim=Claim(p.claim.host, p.claim.path, None, p.claim.sticky))
            for p in routes
        ), check
    for one in endpoints:
        if ports and one.port not in ports:
            words = ", ".join(str(p) for p in sorted(p for p in ports if p is not None))
            findings.add(
                (*place, keys.EXTENSION, keys.ENDPOINTS),
                f"{one} has none of the routed ports {words}; where there are several, each is "
                "reached at the endpoint's host under its own number",
            )
    return routes, check
