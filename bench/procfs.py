"""What Linux tells about processes: their CPU time, children and connections."""

from __future__ import annotations

import ctypes
import os
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_SYS_PIDFD_GETFD = 438  # the same number on every architecture
_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Stat:
    """The part of `/proc/PID/stat` that is of use here."""

    pid: int
    name: str
    parent: int
    ticks: int
    """User and system time."""


def parse_stat(text: str) -> Stat:
    """A line of `/proc/PID/stat`; the name in it may hold blanks and parentheses."""
    pid, _, rest = text.partition(" (")
    name, _, rest = rest.rpartition(") ")
    fields = rest.split()
    return Stat(int(pid), name, int(fields[1]), int(fields[11]) + int(fields[12]))


def stats() -> Iterator[Stat]:
    """All processes."""
    for folder in _PROC.iterdir():
        if folder.name.isdigit():
            try:
                yield parse_stat((folder / "stat").read_text())
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended meanwhile


def family(root: int) -> tuple[int, ...]:
    """A process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for stat in stats():
        children.setdefault(stat.parent, []).append(stat.pid)
    found = [root]
    for pid in found:
        found.extend(children.get(pid, ()))
    return tuple(found)


def command_line(pid: int) -> str:
    """The arguments a process was started with; empty when it has ended."""
    try:
        return (_PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def cpu_s(pids: Iterable[int]) -> float:
    """User and system time that these processes have used so far."""
    ticks = 0
    for pid in pids:
        ticks += parse_stat((_PROC / str(pid) / "stat").read_text()).ticks
    return ticks / TICKS_PER_S


def resident_bytes(pid: int) -> int:
    """The memory a process has in use, shared pages included."""
    pages = int((_PROC / str(pid) / "statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def proportional_bytes(pid: int) -> int:
    """The memory a process has in use (PSS): a page that n processes share counts 1/n. 0: it has ended."""
    try:
        return parse_pss((_PROC / str(pid) / "smaps_rollup").read_text())
    except (FileNotFoundError, ProcessLookupError):
        return 0


def parse_pss(text: str) -> int:
    """The bytes behind `Pss:` in an smaps file. Raises `ValueError` when there are none."""
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name == "Pss":
            return 1024 * int(value.split()[0])
    raise ValueError("no line Pss")


def open_files(pid: int) -> int:
    """How many descriptors a process has open."""
    return sum(1 for _ in (_PROC / str(pid) / "fd").iterdir())


def client_ports(pid: int, local_port: int) -> frozenset[int]:
    """The ports of the clients whose connections to `local_port` a process of ours holds.

    Exact while that process is stopped. Its descriptors are looked at through
    duplicates (pidfd_getfd): reading /proc/net/tcp would take tens of milliseconds
    where many connections wait in TIME_WAIT. Raises `OSError`.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    found: set[int] = set()
    handle = os.pidfd_open(pid)
    try:
        for entry in (_PROC / str(pid) / "fd").iterdir():
            try:
                if not os.readlink(entry).startswith("socket:"):
                    continue
            except FileNotFoundError:
                continue
            fd = libc.syscall(_SYS_PIDFD_GETFD, handle, int(entry.name), 0)
            if fd < 0:
                raise OSError(ctypes.get_errno(), "the process's sockets cannot be looked at")
            with socket.socket(fileno=fd) as sock:
                if sock.family != socket.AF_INET or sock.type != socket.SOCK_STREAM:
                    continue
                if sock.getsockname()[1] == local_port:
                    try:
                        found.add(sock.getpeername()[1])
                    except OSError:
                        continue  # it listens, or the client has gone
    finally:
        os.close(handle)
    return frozenset(found)
