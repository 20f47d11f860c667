"""What /proc tells about a gateway's processes: who they are, what they hold. Linux only."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")
VARIABLE = b"GATEWAY_CHILD="
ESTABLISHED = "01"


def wait_until(
    condition: Callable[[], object],
    timeout_s: float = 15.0,
    what: str | Callable[[], str] = "it",
    poll_s: float = 0.02,
) -> None:
    """Wait until `condition` gives something true; fails after `timeout_s`.

    `what` is waited for; where that tells a state, it is asked for when it has not come.
    """
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() >= end:
            text = what if isinstance(what, str) else what()
            raise AssertionError(f"{text} did not come about within {timeout_s:.0f} s")
        time.sleep(poll_s)


def is_alive(pid: int) -> bool:
    """Does the process run, or is it stopped? A zombie does not."""
    return _stat(pid)[0] not in ("", "Z", "X")


def children(pid: int) -> list[int]:
    """The living children of a process."""
    return [p for p in _pids() if (s := _stat(p))[1] == pid and s[0] not in ("Z", "X")]


def role(pid: int) -> int | str | None:
    """A worker's slot, "control", or None for other processes and half-started ones."""
    with suppress(OSError, ValueError):
        if b"gateway.runtime.worker" in (line := (PROC / str(pid) / "cmdline").read_bytes()):
            return int(_boot(pid)["slot"])
        if b"admin.main" in line:
            return "control"
    return None


def rss_kib(pid: int) -> int:
    """Resident memory."""
    text = (PROC / str(pid) / "status").read_text()
    found = re.search(r"^VmRSS:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) if found else 0


def cpu_s(pid: int) -> float:
    """CPU time used so far, user and system."""
    words = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def client_ports(pid: int, port: int) -> set[int]:
    """The clients' ports of all connections to the local `port` that a process holds."""
    held = set(_socket_inodes(pid))
    found = set()
    for line in (PROC / "net" / "tcp").read_text().splitlines()[1:]:
        words = line.split()
        local, remote = (int(address.rpartition(":")[2], 16) for address in words[1:3])
        if local == port and int(words[9]) in held:
            found.add(remote)
    return found


def _socket_inodes(pid: int) -> Iterator[int]:
    folder = PROC / str(pid) / "fd"
    for name in os.listdir(folder):
        with suppress(OSError):
            link = os.readlink(folder / name)
            if link.startswith("socket:["):
                yield int(link[8:-1])


def _boot(pid: int) -> dict[str, int]:
    for entry in (PROC / str(pid) / "environ").read_bytes().split(b"\0"):
        if entry.startswith(VARIABLE):
            value: dict[str, int] = json.loads(entry[len(VARIABLE) :])
            return value
    raise ValueError("no child of a gateway")


def _pids() -> Iterator[int]:
    return (int(name) for name in os.listdir(PROC) if name.isdigit())


def _stat(pid: int) -> tuple[str, int]:
    """State and parent."""
    with suppress(OSError, ValueError):
        # The name in parentheses may hold anything.
        words = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        return words[0], int(words[1])
    return "", 0
