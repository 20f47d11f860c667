"""Which containers are this gateway's own, and what they were started for.

    gateway.owner       this gateway: an id that its state folder keeps
    gateway.application, gateway.service, gateway.definition, gateway.slot, gateway.grace

So the Engine's list of containers is the record of what runs; nothing else is kept of
it. A container's name follows from its labels (`container_name`), which has two uses:
making the same one twice is a conflict that the Engine itself notices, and a container
made from an image that somebody committed from one of ours, which carries our labels,
does not count as ours.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path

import orjson

from gateway.core.model import InstanceId, Launch, Service, ServiceId, split_service_id

from .containers import Container, Run
from .labels import APPLICATION, OWNER, SERVICE

DEFINITION = "gateway.definition"
SLOT = "gateway.slot"
GRACE = "gateway.grace"

FILE = "docker-owner"
"""In the state folder."""
_ID_BYTES = 8
_NAME_MAX = 60
"""Characters of application and service in a container's name, each."""


@dataclass(frozen=True, slots=True)
class Owned:
    """A container of this gateway."""

    container: Container
    service: ServiceId
    definition: str
    slot: int
    grace_s: float

    @property
    def id(self) -> str:
        """The container's."""
        return self.container.id

    @property
    def instance(self) -> InstanceId:
        """What it is called as an instance: another container is another instance."""
        return InstanceId(f"{split_service_id(self.service)[1]}@{self.container.short_id}")

    @property
    def is_up(self) -> bool:
        """Is its program there?"""
        return self.container.run in (Run.RUNNING, Run.PAUSED, Run.RESTARTING)

    @property
    def is_over(self) -> bool:
        """Has its program ended?"""
        return self.container.run in (Run.EXITED, Run.DEAD)


def owner_of(folder: Path) -> str:
    """The id of the gateway with this state folder; made when it is not there."""
    path = folder / FILE
    try:
        return path.read_text().strip() or _make(path)
    except FileNotFoundError:
        return _make(path)


def _make(path: Path) -> str:
    new = path.with_suffix(".new")
    with open(new, "w") as file:
        file.write(secrets.token_hex(_ID_BYTES) + "\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)
    return path.read_text().strip()


def definition_of(launch: Launch) -> str:
    """Equal for equal definitions: a container of another one is not this service's.

    What says nothing is left out, so that a key that a later version understands does
    not make all containers others.
    """
    text = orjson.dumps(_meaning(launch), option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(text).hexdigest()[:16]


def _meaning(value: object) -> object:
    if not is_dataclass(value):
        return [_meaning(one) for one in value] if isinstance(value, tuple) else value
    found = {}
    for field in fields(value):
        given = getattr(value, field.name)
        if field.default is MISSING or given != field.default:
            found[field.name] = _meaning(given)
    return found


def container_name(owner: str, service: ServiceId, slot: int, definition: str) -> str:
    """`<application>-<service>-<slot>-<short definition>`.

    The last part covers all of it: neither names with dashes nor two gateways on one
    Engine lead to the same.
    """
    application, name = split_service_id(service)
    whole = f"{owner}\n{service}\n{slot}\n{definition}"
    short = hashlib.sha256(whole.encode()).hexdigest()[:8]
    return f"{application[:_NAME_MAX]}-{name[:_NAME_MAX]}-{slot}-{short}".lstrip("._-")


def labels_of(
    owner: str, service: Service, slot: int, definition: str, grace_s: float
) -> dict[str, str]:
    """The labels of a container of ours."""
    return {
        OWNER: owner,
        APPLICATION: service.application,
        SERVICE: service.name,
        DEFINITION: definition,
        SLOT: str(slot),
        GRACE: f"{grace_s:g}",
    }


def owned(container: Container, owner: str) -> Owned | None:
    """A container as one of ours; None: it is not."""
    labels: Mapping[str, str] = container.labels
    try:
        found = Owned(
            container,
            ServiceId(f"{labels[APPLICATION]}/{labels[SERVICE]}"),
            labels[DEFINITION],
            int(labels[SLOT]),
            max(0.0, float(labels[GRACE])),
        )
    except (KeyError, ValueError):
        return None
    name = container_name(owner, found.service, found.slot, found.definition)
    return found if labels.get(OWNER) == owner and container.name == name else None
