"""The mark on processes that a gateway started for its services, and finding them by it.

A variable in the environment, which every descendant inherits: so whatever a backend
left behind is found, whoever its parent is now, also by a gateway that starts after
its supervisor was killed. It names the gateway by its state folder (device and inode:
a path would mean other gateways in other containers too) and the backend by its id.

Not found are programs that overwrite their environment or run as another user; both
are rare, and a backend itself is ended by its parent's end in any case.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger("gateway.supervisor")

VARIABLE = "GATEWAY_BACKEND"
_PROC = Path("/proc")
_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Marked:
    """A process with the mark; `pidfd` stays this very process and is to be closed."""

    pid: int
    id: str
    pidfd: int

    def signal(self, number: signal.Signals) -> None:
        """Signal it, if it is still there."""
        with suppress(OSError):
            signal.pidfd_send_signal(self.pidfd, number)


def home_of(folder: Path) -> str:
    """What stands for the gateway with this state folder."""
    found = folder.stat()
    return f"{found.st_dev:x}.{found.st_ino:x}"


def mark(home: str, backend: str) -> dict[str, str]:
    """The variable for a backend's environment."""
    return {VARIABLE: f"{home}:{backend}"}


def check_id(control_pid: int) -> str:
    """What stands in place of a backend's id for the checks of a control process."""
    return f"check:{control_pid}"


def marked(home: str) -> Iterator[Marked]:
    """All processes of a gateway's backends; this process is none."""
    wanted = f"\0{VARIABLE}={home}:".encode()
    own = os.getpid()
    for entry in os.listdir(_PROC):
        if not entry.isdigit() or (pid := int(entry)) == own:
            continue
        with suppress(OSError):
            # Opened before the look: what is found is then surely what is signalled.
            pidfd = os.pidfd_open(pid)
            try:
                environment = b"\0" + (_PROC / entry / "environ").read_bytes()
                at = environment.find(wanted)
                if at >= 0:
                    rest = environment[at + len(wanted) :]
                    yield Marked(pid, rest.partition(b"\0")[0].decode("utf-8", "replace"), pidfd)
            finally:
                os.close(pidfd)


def end_unknown(home: str, is_known: Callable[[str], bool]) -> int:
    """Kill every marked process whose backend is not known; how many there were."""
    count = 0
    for one in marked(home):
        if not is_known(one.id):
            log.warning("process %d was left behind by %s: killed", one.pid, one.id)
            one.signal(signal.SIGKILL)
            count += 1
    return count


def end_leftovers(home: str, grace_s: float, kill_s: float) -> bool:
    """End all marked processes: TERM, after `grace_s` KILL; False: some are there still."""
    now = time.monotonic()
    term_until, until = now + grace_s, now + grace_s + kill_s
    told: set[int] = set()
    while True:
        left = 0
        is_killing = time.monotonic() >= term_until
        for one in marked(home):
            left += 1
            if one.pid not in told:
                told.add(one.pid)
                log.warning("process %d is a former gateway's backend %s: ended", one.pid, one.id)
                one.signal(signal.SIGTERM)
                one.signal(signal.SIGCONT)
            if is_killing:
                one.signal(signal.SIGKILL)
        if not left:
            return True
        if time.monotonic() >= until:
            log.error("%d processes of a former gateway cannot be ended", left)
            return False
        time.sleep(_POLL_S)
