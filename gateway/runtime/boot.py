"""What a child process is given at its start, as both sides see it.

Children are started by exec, so everything they need travels as inherited file
descriptors: their numbers in one environment variable, the settings (which may
be large and hold what does not belong into a process list) in a memfd.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from .settings import Settings, from_json, to_json

VARIABLE = "GATEWAY_CHILD"
WORKER_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(4 << 20),
    "MALLOC_TOP_PAD_": str(1 << 19),
}
"""glibc's memory for workers (others ignore it); what the operator sets himself has precedence. Bodies
are read into objects of 256 kB. Left to itself glibc gives each back to the kernel and asks for it
again, page by page: [measured] a fifth of the CPU of 1 MB answers."""


@dataclass(frozen=True, slots=True)
class ListenerFd:
    """A listening socket: which worker slot it belongs to and which entrypoint it serves."""

    fd: int
    slot: int
    entrypoint: str


@dataclass(frozen=True, slots=True)
class WorkerBoot:
    """A worker's start. It holds the sockets of every slot and accepts on its own."""

    supervisor_fd: int
    settings_fd: int
    slot: int
    region_fd: int
    link_path: str
    is_control_up: bool
    """Worth waiting for what the control process has to say."""
    listeners: tuple[ListenerFd, ...]

    def fds(self) -> Iterator[int]:
        """Everything to be inherited."""
        yield from (self.supervisor_fd, self.settings_fd, self.region_fd)
        yield from (listener.fd for listener in self.listeners)


@dataclass(frozen=True, slots=True)
class AdminFds:
    """The admin API's listening sockets."""

    tcp: int | None
    unix: int


@dataclass(frozen=True, slots=True)
class ControlBoot:
    """The control process's start.

    `link_fd` listens for workers, `regions` are the counters of each slot,
    `floor` is a generation the next snapshot must be above, `store_fd` the memory
    of a store that has no file.
    """

    supervisor_fd: int
    settings_fd: int
    link_fd: int
    admin_fds: AdminFds
    regions: tuple[int, ...]
    floor: int
    store_fd: int | None = None

    def fds(self) -> Iterator[int]:
        """Everything to be inherited."""
        yield from (self.supervisor_fd, self.settings_fd, self.link_fd, self.admin_fds.unix)
        if self.admin_fds.tcp is not None:
            yield self.admin_fds.tcp
        if self.store_fd is not None:
            yield self.store_fd
        yield from self.regions


def environment(boot: WorkerBoot | ControlBoot, base: Mapping[str, str]) -> dict[str, str]:
    """The child's environment."""
    memory = WORKER_MEMORY if isinstance(boot, WorkerBoot) else {}
    return {**memory, **base, VARIABLE: orjson.dumps(boot).decode()}


def settings_fd(settings: Settings) -> int:
    """A memfd with the settings, closed on exec unless passed on."""
    fd = os.memfd_create("gateway-settings", os.MFD_CLOEXEC)
    with open(fd, "wb", closefd=False) as file:
        file.write(to_json(settings))
    return fd


def worker_boot(environ: Mapping[str, str]) -> WorkerBoot:
    """Read by a worker from its environment. Raises `SystemExit` when started by hand."""
    value = _read(environ)
    value["listeners"] = tuple(ListenerFd(**one) for one in value["listeners"])
    boot = WorkerBoot(**value)
    _keep_from_grandchildren(boot)
    return boot


def control_boot(environ: Mapping[str, str]) -> ControlBoot:
    """Read by the control process from its environment. Raises `SystemExit` likewise."""
    value = _read(environ)
    value["admin_fds"] = AdminFds(**value["admin_fds"])
    value["regions"] = tuple(value["regions"])
    boot = ControlBoot(**value)
    _keep_from_grandchildren(boot)
    return boot


def settings_from(fd: int) -> Settings:
    """The settings behind a `settings_fd`, which is closed."""
    with open(fd, "rb") as file:
        file.seek(0)
        return from_json(file.read())


def _read(environ: Mapping[str, str]) -> dict[str, Any]:
    text = environ.get(VARIABLE)
    if text is None:
        raise SystemExit("this program is started by `gateway run`, not by hand")
    value: dict[str, Any] = orjson.loads(text)
    return value


def _keep_from_grandchildren(boot: WorkerBoot | ControlBoot) -> None:
    for fd in boot.fds():
        os.set_inheritable(fd, False)
