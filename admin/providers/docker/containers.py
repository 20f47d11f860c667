"""Containers and events as values, read from what the Docker Engine says.

Pure. What the Engine says is looked at before it is believed: a field that is not what
it ought to be counts as absent, as labels and names are whatever somebody wrote.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

SHORT = 12
"""Characters of an id as Docker shows it."""

_HEALTH = re.compile(r"\((healthy|unhealthy|health: starting)\)\s*\Z")


class Run(StrEnum):
    """What a container does; the Engine's own words."""

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    RESTARTING = "restarting"
    REMOVING = "removing"
    EXITED = "exited"
    DEAD = "dead"
    OTHER = ""


class DockerHealth(StrEnum):
    """The verdict of the health check that an image or a container brings."""

    NONE = ""
    """There is no such check."""
    STARTING = "starting"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


@dataclass(frozen=True, slots=True)
class Attachment:
    """A container's place on a network. `prefix`: bits of the network's address."""

    network: str
    address: str
    prefix: int


@dataclass(frozen=True, slots=True)
class Publication:
    """A container port that is a port of the Engine's host as well (TCP)."""

    container_port: int
    host_ip: str
    host_port: int


@dataclass(frozen=True, slots=True)
class Container:
    """A container as the list of containers has it. `created`: seconds since the epoch."""

    id: str
    name: str
    image: str
    run: Run
    health: DockerHealth = DockerHealth.NONE
    labels: Mapping[str, str] = field(default_factory=dict)
    created: float = 0.0
    network_mode: str = ""
    attachments: tuple[Attachment, ...] = ()
    publications: tuple[Publication, ...] = ()
    exposed: tuple[int, ...] = ()
    """TCP ports that the image or the container names."""

    @property
    def short_id(self) -> str:
        """As `docker ps` shows it."""
        return self.id[:SHORT]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a container or a network.

    `action` is the Engine's word without what follows a colon; `time` is seconds since
    the epoch by the Engine's clock; `attributes` hold the labels too.
    """

    kind: str
    action: str
    id: str
    time: float
    attributes: Mapping[str, str] = field(default_factory=dict)

    @property
    def signal(self) -> int | None:
        """Of `kill`: the signal's number."""
        text = self.attributes.get("signal", "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 4 else None


def container_of(given: Mapping[str, Any]) -> Container | None:
    """A container of the list; None: it has no id."""
    found = _text(given.get("Id"))
    if not found:
        return None
    names = given.get("Names")
    names = names if isinstance(names, list) else []
    name = next((n.lstrip("/") for n in names if isinstance(n, str)), "")
    status = _HEALTH.search(_text(given.get("Status")))
    health = status[1].removeprefix("health: ") if status else ""
    return Container(
        id=found,
        name=name or found[:SHORT],
        image=_text(given.get("Image")),
        run=_run(given.get("State")),
        health=DockerHealth(health),
        labels=_texts(given.get("Labels")),
        created=float(_whole(given.get("Created"))),
        network_mode=_text(_map(given.get("HostConfig")).get("NetworkMode")),
        attachments=tuple(_attachments(_map(given.get("NetworkSettings")).get("Networks"))),
        publications=tuple(_publications(given.get("Ports"))),
        exposed=tuple(sorted(_exposed(given.get("Ports")))),
    )


def event_of(given: Mapping[str, Any]) -> Event:
    """An event of the stream."""
    actor = _map(given.get("Actor"))
    action = _text(given.get("Action")) or _text(given.get("status"))
    nanoseconds = _whole(given.get("timeNano"))
    return Event(
        kind=_text(given.get("Type")) or "container",
        action=action.partition(":")[0],
        id=_text(actor.get("ID")) or _text(given.get("id")),
        time=nanoseconds / 1e9 if nanoseconds else float(_whole(given.get("time"))),
        attributes=_texts(actor.get("Attributes")),
    )


def _run(given: object) -> Run:
    try:
        return Run(_text(given))
    except ValueError:
        return Run.OTHER


def _attachments(given: object) -> list[Attachment]:
    found = []
    for name, value in sorted(_map(given).items()):
        one = _map(value)
        for address, bits in (
            (one.get("IPAddress"), one.get("IPPrefixLen")),
            (one.get("GlobalIPv6Address"), one.get("GlobalIPv6PrefixLen")),
        ):
            if _text(address):
                found.append(Attachment(name, _text(address), _whole(bits)))
    return found


def _publications(given: object) -> list[Publication]:
    found = []
    for value in given if isinstance(given, list) else []:
        one = _map(value)
        inside, outside = one.get("PrivatePort"), one.get("PublicPort")
        if one.get("Type") == "tcp" and type(inside) is int and type(outside) is int and outside:
            found.append(Publication(inside, _text(one.get("IP")), outside))
    return sorted(found, key=lambda p: (p.container_port, ":" in p.host_ip, p.host_port))


def _exposed(given: object) -> set[int]:
    listed = [_map(value) for value in given] if isinstance(given, list) else []
    return {
        port
        for one in listed
        if one.get("Type") == "tcp" and (port := _whole(one.get("PrivatePort")))
    }


def _map(given: object) -> Mapping[str, Any]:
    return given if isinstance(given, dict) else {}


def _texts(given: object) -> dict[str, str]:
    return {k: v for k, v in _map(given).items() if isinstance(v, str)}


def _text(given: object) -> str:
    return given if isinstance(given, str) else ""


def _whole(given: object) -> int:
    return given if type(given) is int and -(2**63) <= given < 2**63 else 0
