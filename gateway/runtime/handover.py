"""What a supervisor hands to the program that takes its place (`upgrade.py`), as JSON.

The process stays the same one, so that its children stay its children: descriptors
are named by their numbers, processes by their pids, times of the monotonic clock go on.

`FORMAT` covers all that a former version's processes and this one's have to
understand of each other: this document, the messages between processes
(`messages.py`), and the snapshots in them. Whoever changes one of these in a way that
the other side would misread raises it. Another format is refused, never guessed at.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import orjson

from . import forms

FORMAT = 3

Json = dict[str, object]


class UnknownForm(Exception):  # noqa: N818 - says what it is
    """A document that this version cannot take over from."""


@dataclass(frozen=True, slots=True)
class HandedListener:
    """A listening socket of the data plane."""

    fd: int
    slot: int
    entrypoint: str


@dataclass(frozen=True, slots=True)
class HandedUnix:
    """A listening Unix socket and its file; `inode` -1: the file is somebody else's."""

    fd: int
    path: str
    inode: int


@dataclass(frozen=True, slots=True)
class HandedResources:
    """`resources.Resources`."""

    lock: int
    listeners: tuple[HandedListener, ...]
    admin_tcp: int | None
    admin_unix: HandedUnix
    link: HandedUnix
    regions: tuple[int, ...]
    store: int | None
    home: str

    def fds(self) -> Iterator[int]:
        """All descriptors."""
        yield self.lock
        yield from self.sockets()
        yield from self.regions
        if self.store is not None:
            yield self.store

    def sockets(self) -> Iterator[int]:
        """Those that listen."""
        yield from (self.admin_unix.fd, self.link.fd)
        yield from (one.fd for one in self.listeners)
        if self.admin_tcp is not None:
            yield self.admin_tcp


@dataclass(frozen=True, slots=True)
class HandedChild:
    """A worker, or the control process, with what its link holds in the middle (base64)."""

    slot: int | None
    """None for the control process."""
    region: int | None
    pid: int
    fd: int
    state: str
    started_unix: float
    started_s: float
    has_spoken: bool
    is_mute: bool
    kill_by_s: float | None
    restarts: int
    generation: int
    unread: str
    unsent: str


@dataclass(frozen=True, slots=True)
class HandedBackend:
    """A process of a service."""

    id: str
    service: str
    note: Json
    pid: int
    grace_s: float
    started_unix: float
    started_s: float
    is_halted: bool
    kill_by_s: float | None
    has_ended: bool


@dataclass(frozen=True, slots=True)
class HandedProcesses:
    """`processes.Processes`: the table, launches that wait, ends not told yet."""

    backends: tuple[HandedBackend, ...]
    waiting: tuple[Json, ...]
    ended: tuple[Json, ...]


@dataclass(frozen=True, slots=True)
class Handover:
    """The whole document."""

    format: int
    settings: Json
    """In the form of whoever is to read it: at first the former program's, then, once it was
    checked, the new one's own."""
    resources: HandedResources
    children: tuple[HandedChild, ...]
    processes: HandedProcesses
    generation: int
    """The highest one that any worker serves."""

    def fds(self) -> Iterator[int]:
        """All descriptors that are to stay open."""
        yield from self.resources.fds()
        yield from (child.fd for child in self.children)

    def sockets(self) -> Iterator[int]:
        """Those of them that are sockets."""
        yield from self.resources.sockets()
        yield from (child.fd for child in self.children)


def encode(handover: Handover) -> bytes:
    """The document's text."""
    return orjson.dumps(handover)


def decode(text: bytes) -> Handover:
    """The inverse of `encode`. Raises `UnknownForm` saying what to do."""
    try:
        value = orjson.loads(text)
        number = value["format"]
    except (ValueError, TypeError, KeyError):
        raise UnknownForm("what the running gateway hands over cannot be read") from None
    if number != FORMAT:
        raise UnknownForm(
            f"the running gateway hands over in format {number}, this version takes {FORMAT}; "
            "stop the gateway and start this version"
        )
    reading = forms.read(Handover, value)
    if reading.value is None or reading.problems:
        raise UnknownForm(
            f"what the running gateway hands over makes no sense at {forms.summary(reading.problems)}; "
            "stop the gateway and start this version"
        )
    return reading.value
