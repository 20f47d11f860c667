"""What the supervisor holds for its life, and children only borrow.

The lock, the listening sockets, the socket workers reach the control process
through, one region of counters per worker slot, and the memory of a store that
has no file: all of it outlives any child, so that any child can be replaced.
Opened all or nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from socket import socket

from gateway.metrics.shared import create_region

from . import marks
from .boot import AdminFds, ControlBoot, ListenerFd, WorkerBoot
from .errors import StartRefused
from .lock import acquire
from .settings import Settings
from .sockets import Listener, Wanted, bound_address, open_listeners, open_single
from .unix_sockets import UnixListener, open_unix

LINK_SOCKET = "link.sock"
HEALTH = "health"
"""The entrypoint name of `health.listen`."""
ORPHANS_S = 5.0
"""How long the children of a supervisor that died uncleanly may keep its addresses."""

MakeBoot = Callable[[int, int], WorkerBoot | ControlBoot]
"""Completes a child's boot with its `supervisor_fd` and `settings_fd`."""


@dataclass(slots=True)
class Resources:
    """See the module. `close` gives everything back and notes a clean end."""

    listeners: list[Listener]
    admin_tcp: socket | None
    admin_unix: UnixListener
    link: UnixListener
    regions: list[int]
    store_fd: int | None
    """Memory of the store `memory:`, which so outlives the control process."""
    home: str
    """What marks this gateway's backends, see `marks.py`."""
    _stack: ExitStack

    def control_boot(self, floor: int) -> MakeBoot:
        """What the control process gets of all this."""
        tcp = self.admin_tcp.fileno() if self.admin_tcp is not None else None
        return partial(
            ControlBoot,
            link_fd=self.link.sock.fileno(),
            admin_fds=AdminFds(tcp, self.admin_unix.sock.fileno()),
            regions=tuple(self.regions),
            floor=floor,
            store_fd=self.store_fd,
        )

    def worker_boot(self, slot: int, is_control_up: bool) -> MakeBoot:
        """What the worker of `slot` gets: the listening sockets of all slots."""
        return partial(
            WorkerBoot,
            slot=slot,
            region_fd=self.regions[slot],
            link_path=os.fspath(self.link.path),
            is_control_up=is_control_up,
            listeners=tuple(
                ListenerFd(one.sock.fileno(), one.slot, one.entrypoint) for one in self.listeners
            ),
        )

    def places(self) -> list[str]:
        """Where the gateway can be reached, a line each."""
        found = {one.entrypoint: one.sock for one in self.listeners}
        if self.admin_tcp is not None:
            found["admin"] = self.admin_tcp
        lines = [f"{name} listens on {bound_address(sock)}" for name, sock in found.items()]
        return [*lines, f"admin listens on {self.admin_unix.path}"]

    def close(self) -> None:
        """Close all, remove socket files, release the lock as cleanly ended."""
        self._stack.close()


def open_resources(settings: Settings, slots: int) -> Resources:
    """Take everything the gateway needs. Raises `StartRefused`; nothing is held then."""
    folder = Path(settings.state_dir)
    with ExitStack() as stack:
        lock = acquire(folder)
        stack.callback(lock.release)
        patience_s = ORPHANS_S if lock.follows_unclean_end else 0.0
        listeners = open_listeners(_wanted(settings), slots, patience_s)
        for listener in listeners:
            stack.callback(listener.sock.close)
        admin = settings.admin
        admin_tcp = None
        if admin.listen is not None:
            wanted = Wanted("admin", "admin.listen", admin.listen)
            admin_tcp = open_single(wanted, patience_s)
            stack.callback(admin_tcp.close)
        admin_unix = open_unix(
            settings.admin_socket,
            "admin.socket",
            int(admin.socket_mode, 8),
            admin.socket_group,
            patience_s,
        )
        stack.callback(admin_unix.close)
        link = open_unix(folder / LINK_SOCKET, "state_dir", patience_s=patience_s)
        stack.callback(link.close)
        regions = []
        for slot in range(slots):
            regions.append(_region(slot))
            stack.callback(os.close, regions[-1])
        store_fd = None
        if settings.store_url == "memory:":
            store_fd = _store_memory()
            stack.callback(os.close, store_fd)
        return Resources(
            listeners=listeners,
            admin_tcp=admin_tcp,
            admin_unix=admin_unix,
            link=link,
            regions=regions,
            store_fd=store_fd,
            home=marks.home_of(folder),
            _stack=stack.pop_all(),
        )


def _wanted(settings: Settings) -> list[Wanted]:
    wanted = [
        Wanted(name, f"entrypoints.{name}.listen", entrypoint.listen)
        for name, entrypoint in settings.entrypoints.items()
    ]
    if settings.health.listen is not None:
        wanted.append(Wanted(HEALTH, "health.listen", settings.health.listen))
    return wanted


def _region(slot: int) -> int:
    try:
        return create_region(f"gateway-worker-{slot}")
    except OSError as error:
        raise StartRefused(
            f"no memory for the counters of worker {slot}: {error.strerror}"
        ) from None


def _store_memory() -> int:
    try:
        return os.memfd_create("gateway-store", os.MFD_CLOEXEC)
    except OSError as error:
        raise StartRefused(f"no memory for the store: {error.strerror}") from None
