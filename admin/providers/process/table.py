"""The supervisor's table of processes as values, and the control process's notes in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from admin.providers.launching.reconcile import Process
from gateway.core.model import InstanceId, ServiceId
from gateway.runtime.messages import Json


@dataclass(frozen=True, slots=True)
class Note:
    """What is found again with a process by a control process that did not start it."""

    definition: str
    slot: int
    log: Path
    grace_s: float
    ports: tuple[tuple[int, int], ...]
    """Container port and real port; the first one is the instance's own."""

    def to_json(self) -> Json:
        """For `launch`."""
        return {
            "definition": self.definition,
            "slot": self.slot,
            "log": str(self.log),
            "grace_s": self.grace_s,
            "ports": [list(pair) for pair in self.ports],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Note:
        """The inverse."""
        return cls(
            definition=str(value["definition"]),
            slot=int(value["slot"]),
            log=Path(value["log"]),
            grace_s=float(value["grace_s"]),
            ports=tuple((int(container), int(port)) for container, port in value["ports"]),
        )


@dataclass(frozen=True, slots=True)
class Row:
    """A process of the table, or one that was asked for."""

    process: Process
    note: Note

    @property
    def port(self) -> int:
        """Its own port."""
        return self.note.ports[0][1]


@dataclass(frozen=True, slots=True)
class End:
    """The end of a process. `error`: it never began."""

    id: InstanceId
    service: ServiceId
    note: Note
    code: int | None
    error: str | None
    is_halted: bool
    lived_s: float
    time: float
    """Seconds since the epoch."""


def rows_of(message: Mapping[str, Any]) -> dict[InstanceId, Row]:
    """All processes of a `processes` message."""
    found: dict[InstanceId, Row] = {}
    for row in message["rows"]:
        note = Note.from_json(row["note"])
        process = Process(
            id=InstanceId(row["id"]),
            service=ServiceId(row["service"]),
            definition=note.definition,
            slot=note.slot,
            started=float(row["started_unix"]),
            is_stopping=row["state"] != "running",
        )
        found[process.id] = Row(process, note)
    return found


def ends_of(message: Mapping[str, Any]) -> list[End]:
    """All ends of a `processes` message."""
    return [
        End(
            id=InstanceId(end["id"]),
            service=ServiceId(end["service"]),
            note=Note.from_json(end["note"]),
            code=end["code"],
            error=end["error"],
            is_halted=bool(end["halted"]),
            lived_s=float(end["lived_s"]),
            time=float(end["ended_unix"]),
        )
        for end in message["ended"]
    ]
