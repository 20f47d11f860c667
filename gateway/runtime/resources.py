"""What the supervisor holds for its life, and children only borrow.

The lock, the listening sockets, the socket workers reach the control process
through, one region of counters per worker slot, and the memory of a store that
has no file: all of it outlives any child, so that any child can be replaced.
Opened all or nothing. Sockets may come from a service manager (`systemd.py`), and all of
it from the program that ran here before (`upgrade.py`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from socket import socket

from gateway.metrics.shared import create_region

from . import marks
from .boot import AdminFds, ControlBoot, ListenerFd, WorkerBoot
from .errors import StartRefused
from .handover import HandedListener, HandedResources, HandedUnix
from .lock import Lock, acquire
from .settings import Settings
from .sockets import Listener, Wanted, bound_address, open_listeners, open_single
from .systemd import Handed, Offer
from .unix_sockets import UnixListener, open_unix

LINK_SOCKET = "link.sock"
HEALTH = "health"
"""The entrypoint name of `health.listen`."""
ADMIN = "admin"
"""What the admin API's sockets are called where a service manager opens them."""
ORPHANS_S = 5.0
"""How long the children of a supervisor that died uncleanly may keep its addresses."""

MakeBoot = Callable[[int, int], WorkerBoot | ControlBoot]
"""Completes a child's boot with its `supervisor_fd` and `settings_fd`."""


@dataclass(slots=True)
class Resources:
    """See the module. `close` gives everything back and notes a clean end."""

    lock: Lock
    listeners: list[Listener]
    admin_tcp: socket | None
    admin_unix: UnixListener
    link: UnixListener
    regions: list[int]
    """Two for each worker slot: a worker and the one that takes its place count at once."""
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

    def free_region(self, taken: Collection[int]) -> int:
        """One in which nobody counts; a new one if need be. Raises `StartRefused`."""
        for number in range(len(self.regions)):
            if number not in taken:
                return number
        self.regions.append(_region(len(self.regions)))
        return len(self.regions) - 1

    def worker_boot(self, slot: int, region: int, is_control_up: bool) -> MakeBoot:
        """What the worker of `slot` gets: the listening sockets of all slots."""
        return partial(
            WorkerBoot,
            slot=slot,
            region_fd=self.regions[region],
            link_path=os.fspath(self.link.path),
            is_control_up=is_control_up,
            listeners=tuple(
                ListenerFd(one.sock.fileno(), one.slot, one.entrypoint) for one in self.listeners
            ),
        )

    def hand_over(self) -> HandedResources:
        """What `adopt` needs, in this process."""
        return HandedResources(
            lock=self.lock.fileno(),
            listeners=tuple(
                HandedListener(one.sock.fileno(), one.slot, one.entrypoint)
                for one in self.listeners
            ),
            admin_tcp=self.admin_tcp.fileno() if self.admin_tcp is not None else None,
            admin_unix=_handed_unix(self.admin_unix),
            link=_handed_unix(self.link),
            regions=tuple(self.regions),
            store=self.store_fd,
            home=self.home,
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
        for fd in self.regions:
            os.close(fd)
        self.regions.clear()
        self._stack.close()


def open_resources(settings: Settings, slots: int, handed: Collection[Handed] = ()) -> Resources:
    """Take everything the gateway needs, as far as possible of what was `handed` over.

    Raises `StartRefused`; nothing is held then.
    """
    folder = Path(settings.state_dir)
    wanted = _wanted(settings)
    offer = Offer(handed, {ADMIN, *(one.name for one in wanted)})
    with ExitStack() as stack:
        stack.callback(offer.close)
        lock = acquire(folder)
        stack.callback(lock.release)
        patience_s = ORPHANS_S if lock.follows_unclean_end else 0.0
        listeners = open_listeners(wanted, slots, patience_s, offer)
        for listener in listeners:
            stack.callback(listener.sock.close)
        admin_tcp = None
        if settings.admin.listen is not None:
            one = Wanted(ADMIN, "admin.listen", settings.admin.listen)
            admin_tcp = open_single(one, patience_s, offer)
            stack.callback(admin_tcp.close)
        admin_unix = _admin_unix(settings, patience_s, offer)
        stack.callback(admin_unix.close)
        offer.refuse_rest()
        link = open_unix(folder / LINK_SOCKET, "state_dir", patience_s=patience_s)
        stack.callback(link.close)
        regions: list[int] = []
        with ExitStack() as half_made:
            for number in range(2 * slots):
                regions.append(_region(number))
                half_made.callback(os.close, regions[-1])
            half_made.pop_all()
        store_fd = None
        if settings.store_url == "memory:":
            store_fd = _store_memory()
            stack.callback(os.close, store_fd)
        return Resources(
            lock=lock,
            listeners=listeners,
            admin_tcp=admin_tcp,
            admin_unix=admin_unix,
            link=link,
            regions=regions,
            store_fd=store_fd,
            home=marks.home_of(folder),
            _stack=stack.pop_all(),
        )


def adopt(handed: HandedResources) -> Resources:
    """What the program that ran in this process before held."""
    with ExitStack() as stack:
        lock = Lock(handed.lock, follows_unclean_end=False)
        stack.callback(lock.release)
        listeners = [Listener(h.entrypoint, h.slot, socket(fileno=h.fd)) for h in handed.listeners]
        admin_tcp = socket(fileno=handed.admin_tcp) if handed.admin_tcp is not None else None
        admin_unix, link = _adopted_unix(handed.admin_unix), _adopted_unix(handed.link)
        for sock in (*(one.sock for one in listeners), admin_unix, link, admin_tcp):
            if sock is not None:
                stack.callback(sock.close)
        if handed.store is not None:
            stack.callback(os.close, handed.store)
        return Resources(
            lock=lock,
            listeners=listeners,
            admin_tcp=admin_tcp,
            admin_unix=admin_unix,
            link=link,
            regions=list(handed.regions),
            store_fd=handed.store,
            home=handed.home,
            _stack=stack.pop_all(),
        )


def _handed_unix(listener: UnixListener) -> HandedUnix:
    return HandedUnix(listener.sock.fileno(), os.fspath(listener.path), listener.inode)


def _adopted_unix(handed: HandedUnix) -> UnixListener:
    return UnixListener(socket(fileno=handed.fd), Path(handed.path), handed.inode)


def _admin_unix(settings: Settings, patience_s: float, offer: Offer) -> UnixListener:
    path, admin = settings.admin_socket, settings.admin
    taken = offer.take_unix(ADMIN, path)
    if len(taken) > 1:
        raise StartRefused("admin.socket: the service manager handed over more than one socket")
    if taken:
        return UnixListener(taken[0], Path(taken[0].getsockname()))
    mode = int(admin.socket_mode, 8)
    return open_unix(path, "admin.socket", mode, admin.socket_group, patience_s)


def _wanted(settings: Settings) -> list[Wanted]:
    wanted = [
        Wanted(name, f"entrypoints.{name}.listen", entrypoint.listen)
        for name, entrypoint in settings.entrypoints.items()
    ]
    if settings.health.listen is not None:
        wanted.append(Wanted(HEALTH, "health.listen", settings.health.listen))
    return wanted


def _region(number: int) -> int:
    try:
        return create_region(f"gateway-counters-{number}")
    except OSError as error:
        raise StartRefused(
            f"no memory for the counters of worker {number}: {error.strerror}"
        ) from None


def _store_memory() -> int:
    try:
        return os.memfd_create("gateway-store", os.MFD_CLOEXEC)
    except OSError as error:
        raise StartRefused(f"no memory for the store: {error.strerror}") from None
