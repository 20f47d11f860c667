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

import msgspec
import orjson
from msgspec import Struct

from . import forms
from .forms import Finite, Whole

FORMAT = 3

Json = dict[str, object]


class UnknownForm(Exception):  # noqa: N818 - says what it is
    """A document that this version cannot take over from."""


class HandedListener(Struct, frozen=True, forbid_unknown_fields=True):
    """A listening socket of the data plane."""

    fd: Whole
    slot: Whole
    entrypoint: str


class HandedUnix(Struct, frozen=True, forbid_unknown_fields=True):
    """A listening Unix socket and its file; `inode` -1: the file is somebody else's."""

    fd: Whole
    path: str
    inode: Whole


class HandedResources(Struct, frozen=True, forbid_unknown_fields=True):
    """`resources.Resources`."""

    lock: Whole
    listeners: tuple[HandedListener, ...]
    admin_tcp: Whole | None
    admin_unix: HandedUnix
    link: HandedUnix
    regions: tuple[Whole, ...]
    store: Whole | None
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


class HandedChild(Struct, frozen=True, forbid_unknown_fields=True):
    """A worker, or the control process, with what its link holds in the middle (base64)."""

    slot: Whole | None
    """None for the control process."""
    region: Whole | None
    pid: Whole
    fd: Whole
    state: str
    started_unix: Finite
    started_s: Finite
    has_spoken: bool
    is_mute: bool
    kill_by_s: Finite | None
    restarts: Whole
    generation: Whole
    unread: str
    unsent: str


class HandedBackend(Struct, frozen=True, forbid_unknown_fields=True):
    """A process of a service."""

    id: str
    service: str
    note: Json
    pid: Whole
    grace_s: Finite
    started_unix: Finite
    started_s: Finite
    is_halted: bool
    kill_by_s: Finite | None
    has_ended: bool


class HandedProcesses(Struct, frozen=True, forbid_unknown_fields=True):
    """`processes.Processes`: the table, launches that wait, ends not told yet."""

    backends: tuple[HandedBackend, ...]
    waiting: tuple[Json, ...]
    ended: tuple[Json, ...]


class Handover(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole document."""

    format: Whole
    settings: Json
    """In the form of whoever is to read it: at first the former program's, then, once it was
    checked, the new one's own."""
    resources: HandedResources
    children: tuple[HandedChild, ...]
    processes: HandedProcesses
    generation: Whole
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
    return msgspec.json.encode(handover)


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
    found, problems = forms.read(Handover, value)
    if found is None or problems:
        raise UnknownForm(
            f"what the running gateway hands over makes no sense at {forms.summary(problems)}; "
            "stop the gateway and start this version"
        )
    return found
