"""One service of a template: its keys, each understood, without effect or refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from gateway.core.model import RouteId, Service
from gateway.core.spelling import service_name

from . import container_keys, keys, labels, values
from .container import Declared
from .depends import read_depends
from .env_files import EnvFiles, no_files
from .extension import fit_to_endpoints, read_endpoints, read_in_flight_limit, read_tls
from .labels import Labels, read_labels
from .launch import read_launch, read_launch_in_container
from .plain import Map, Value
from .probes import read_check
from .problems import Findings, Place, is_nearly
from .routes import Placed, read_routes
from .values import Given

SCALE_MAX = 1000
"""The most instances of one service."""

_NOT_STARTED = ("image", "command", "entrypoint", "environment", "external_links", "working_dir")


@dataclass(frozen=True, slots=True)
class Read:
    """A service that was read, and where its parts stand that others have to fit."""

    service: Service
    place: Place
    routes: dict[RouteId, Place]
    depends: dict[str, Place]
    """Whom it waits for, by name."""
    others: dict[str, Place]
    """Labels by what stands behind their prefix; also `scale` and `probe.cmd` where keys
    of compose files say the same."""
    is_right: bool
    """Nothing is wrong with it by itself."""


def never(image: str) -> bool:
    """Nothing is started in containers."""
    return False


@dataclass(frozen=True, slots=True)
class Around:
    """What a service is read with: whose it is, and what the gateway has for it."""

    application: str
    domain: str
    runs_in_container: Callable[[str], bool] = never
    """Is an image started in a container, rather than as a local process?"""
    env_files: EnvFiles = no_files
    declared: Declared = field(default_factory=Declared)


def read_service(
    name: str, value: Value, place: Place, around: Around, findings: Findings
) -> Read | None:
    """Read one service; None if there is nothing to be read."""
    before = findings.count
    try:
        service_name(name)
    except ValueError as error:
        findings.add(place, f"this is no name for a service: {error}")
    if not isinstance(value, dict):
        findings.add(
            place, f"a service is a map, for example {{image: ...}}, not {values.kind_of(value)}"
        )
        return None
    endpoints = read_endpoints(value, place, findings)
    image = value.get("image")
    is_container = endpoints is None and isinstance(image, str) and around.runs_in_container(image)
    _check_keys(value, place, is_container, findings)
    own = _labels(value, place, findings)
    tls = read_tls(value, endpoints, place, findings)
    launch = (
        read_launch_in_container(
            value, place, own.others, around.declared, around.env_files, findings
        )
        if is_container
        else read_launch(value, place, endpoints is None, findings)
    )
    routes = _routes(own, around.domain, findings)
    scale = _scale(own, value, place, is_container, findings)
    check = read_check(
        own,
        value.get("healthcheck"),
        (*place, "healthcheck"),
        findings,
        is_routed=bool(routes) or bool(own.ports),
        is_launched=endpoints is None,
    )
    depends = read_depends(own, value, place, findings)
    if endpoints is None:
        endpoints = ()
    else:
        _warn_not_started(value, place, scale, findings)
        routes, check = fit_to_endpoints(routes, check, endpoints, place, findings)
        launch, scale = None, 1
    service = Service(
        application=around.application,
        name=name,
        claims=tuple(placed.claim for placed in routes),
        coexist=_flag(own, labels.COEXIST, False, findings),
        endpoints=endpoints,
        check=check,
        launch=launch,
        scale=scale,
        depends=tuple(sorted(depends)),
        tls=tls,
        in_flight_limit=read_in_flight_limit(value, place, findings),
    )
    return Read(
        service,
        place,
        {placed.claim.route: placed.place for placed in routes},
        depends,
        _others(own, value, place),
        findings.count == before,
    )


def _others(own: Labels, content: Map, place: Place) -> dict[str, Place]:
    found = {name: given.place for name, given in own.single.items()}
    if content.get("scale") is not None:
        found.setdefault(labels.SCALE, (*place, "scale"))
    if content.get("deploy") is not None:
        found.setdefault(labels.SCALE, (*place, *_REPLICAS))
    if content.get("healthcheck") is not None:
        found.setdefault(labels.PROBE_CMD, (*place, "healthcheck"))
    return found


def _check_keys(content: Map, place: Place, is_container: bool, findings: Findings) -> None:
    """Name every key that is not understood; read those that need no more than a look."""
    understood: Mapping[str, str] = keys.UNDERSTOOD
    without_effect, refused = keys.WITHOUT_EFFECT, keys.REFUSED
    if is_container:
        understood = {**understood, **container_keys.UNDERSTOOD}
        without_effect, refused = container_keys.WITHOUT_EFFECT, container_keys.REFUSED
    for key, value in content.items():
        where = (*place, key)
        if key in understood:
            continue
        if key in without_effect:
            findings.warn(where, f"has no effect here: {without_effect[key]}")
        elif key in refused:
            # what is switched off or empty asks for nothing
            if value not in (None, False) and value != [] and value != {}:
                findings.add(where, f"is not supported: {refused[key]}")
        elif not key.startswith("x-") or is_nearly(key, keys.EXTENSION):
            hint = findings.hint(key, (*understood, *without_effect, *refused))
            findings.add(where, f"unknown key{hint or _known(understood)}")
    if "restart" in content:
        values.restart(content["restart"], (*place, "restart"), findings)
    if content.get("expose") is not None:
        _check_expose(content["expose"], (*place, "expose"), findings)
    signal = content.get("stop_signal", "SIGTERM")
    if not is_container and signal not in ("SIGTERM", "TERM", "15", 15):
        findings.add(
            (*place, "stop_signal"),
            f"programs are stopped with SIGTERM, not with {values.kind_of(signal)}",
        )


def _known(understood: Mapping[str, str]) -> str:
    return f"; understood: {', '.join(understood)}"


def _labels(content: Map, place: Place, findings: Findings) -> Labels:
    value = content.get("labels")
    return Labels() if value is None else read_labels(value, (*place, "labels"), findings)


def _routes(own: Labels, domain: str, findings: Findings) -> tuple[Placed, ...]:
    is_sticky = _flag(own, labels.STICKY, True, findings)
    if not own.ports:
        for name in (labels.STICKY, labels.COEXIST):
            if name in own.single:
                findings.warn(own.single[name].place, "has no effect: the service has no route")
    return read_routes(own.ports, domain, is_sticky, findings)


def _flag(own: Labels, name: str, default: bool, findings: Findings) -> bool:
    given = own.single.get(name)
    found = None if given is None else values.boolean(given, findings)
    return default if found is None else found


def _scale(own: Labels, content: Map, place: Place, is_container: bool, findings: Findings) -> int:
    """How many instances: the label, `scale` or `deploy.replicas`, if they agree."""
    given: list[Given] = []
    if labels.SCALE in own.single:
        given.append(own.single[labels.SCALE])
    wanted: list[tuple[Value, Place]] = [(content.get("scale"), (*place, "scale"))]
    deploy = content.get("deploy")
    if deploy is not None:
        replicas = _replicas(deploy, (*place, "deploy"), is_container, findings)
        wanted.append((replicas, (*place, *_REPLICAS)))
    for value, where in wanted:
        if value is not None and (one := values.scalar(value, where, findings)) is not None:
            given.append(one)
    found: dict[int, Place] = {}
    for one in given:
        number = values.whole(one, 1, SCALE_MAX, findings)
        if number is not None:
            found.setdefault(number, one.place)
    if len(found) > 1:
        words = " and ".join(map(str, found))
        for where in found.values():
            findings.add(where, f"the service has several scales, {words}; keep one")
    return next(iter(found), 1)


_REPLICAS = ("deploy", "replicas")


def _replicas(deploy: Value, place: Place, is_container: bool, findings: Findings) -> Value:
    content = values.as_map(deploy, place, findings, "{replicas: 3}")
    if content is None:
        return None
    known = {**dict.fromkeys(keys.DEPLOY_UNDERSTOOD), **keys.DEPLOY_WITHOUT_EFFECT}
    values.unknown_keys(content, known, place, findings)
    for key, why in keys.DEPLOY_WITHOUT_EFFECT.items():
        is_understood = is_container and key == container_keys.RESOURCES
        if key in content and (key, content[key]) != ("mode", "replicated") and not is_understood:
            findings.warn((*place, key), f"has no effect here: {why}")
    return content.get("replicas")


def _warn_not_started(content: Map, place: Place, scale: int, findings: Findings) -> None:
    idle = [key for key in _NOT_STARTED if content.get(key) is not None]
    if scale > 1:
        idle.append("scale")
    if idle:
        findings.warn(
            place,
            f"{', '.join(idle)} without effect: x-gateway has endpoints, so nothing is started",
        )


def _check_expose(value: Value, place: Place, findings: Findings) -> None:
    if not isinstance(value, list):
        findings.add(place, f'must be a list, for example ["8080"], not {values.kind_of(value)}')
        return
    for index, item in enumerate(value):
        where = (*place, index)
        given = values.scalar(item, where, findings)
        if given is None:
            continue
        bare = given.text.removesuffix("/tcp").removesuffix("/udp")
        for part in bare.split("-", 1):
            values.whole(Given(part, where), 1, 65535, findings)
