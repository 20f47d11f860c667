"""The keeper of a private Docker daemon: makes the place for it, and leaves nothing of it behind.

Started by `docker_engine` as a process of its own; must not know what the engine is used for.

    python -m tests.support.dockerd FOLDER

It makes a bridge with a free network, says `ready BRIDGE ADDRESS PREFIX` and waits for lines:
`start` starts the daemon. When its input ends, however whoever held it ended, everything goes: the
daemon and all containers, which live in a PID and mount namespace of their own, bridges, control
groups, folder. The network namespace is the machine's, so that containers can be reached.
"""

from __future__ import annotations

import ipaddress
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

BUSYBOX = "busybox"
SLOTS = 64
NETWORK = ipaddress.IPv4Network("10.214.0.0/16")
"""Each engine has a part of it: the first quarter for its bridge, the last half for networks."""
CONTROL_GROUPS = Path("/sys/fs/cgroup")
# Becomes PID 1 of the namespace; when it ends, so does everything in it.
_INIT = "while read -r _; do dockerd {} </dev/null >>{}/dockerd.log 2>&1 & done"


class Place:
    """A bridge, a network and a folder that no other engine has."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for slot, network in enumerate(NETWORK.subnets(new_prefix=22)):
            self.bridge, self.network = f"gwtest{slot}", network
            if slot < SLOTS and not _is_routed(network) and self._take():
                return
        raise SystemExit("no free network for a Docker bridge")

    def _take(self) -> bool:
        """Make the bridge; of those who try it at once, one succeeds."""
        if _ip("link", "add", self.bridge, "type", "bridge").returncode:
            return False
        _ip("addr", "add", f"{self.address}/24", "dev", self.bridge)
        _ip("link", "set", self.bridge, "up")
        return True

    @property
    def address(self) -> ipaddress.IPv4Address:
        """The machine's, as containers see it."""
        return self.network.network_address + 1

    @property
    def control_group(self) -> str:
        return f"/{self.bridge}"

    @property
    def arguments(self) -> list[str]:
        """Without NAT and forwarding: containers reach the machine and one another, no more."""
        folder, pool = self.folder, list(self.network.subnets(new_prefix=23))[1]
        return [
            *(f"--data-root={folder}/data", f"--exec-root={folder}/exec"),
            *(f"--pidfile={folder}/docker.pid", f"--host=unix://{folder}/docker.sock"),
            *("--iptables=false", "--ip-masq=false", "--ip-forward=false"),
            *(f"--bridge={self.bridge}", f"--default-address-pool=base={pool},size=27"),
            *("--exec-opt=native.cgroupdriver=cgroupfs", f"--cgroup-parent={self.control_group}"),
            *("--shutdown-timeout=2", "--max-concurrent-downloads=1"),
        ]

    def clear(self) -> None:
        """Take away what the daemon left; it is gone."""
        for device, address in _addresses():
            if address in self.network:
                _ip("link", "del", device)
        for group in (
            CONTROL_GROUPS.glob(f"*{self.control_group}"),
            CONTROL_GROUPS.glob(self.bridge),
        ):
            for top in group:
                _remove_groups(top)
        shutil.rmtree(self.folder, ignore_errors=True)


def main() -> None:
    """See the module."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the end of the input is what counts
    place = Place(Path(sys.argv[1]))
    init = subprocess.Popen(
        [
            *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
            *(BUSYBOX, "sh", "-c", _INIT.format(" ".join(place.arguments), place.folder)),
        ],
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    assert init.stdin is not None
    try:
        print("ready", place.bridge, place.address, place.network, flush=True)
        for _ in sys.stdin:
            init.stdin.write(b"start\n")
            init.stdin.flush()
    finally:
        init.kill()
        init.wait()
        place.clear()


def daemon_pid(ancestor: int) -> int | None:
    """The pid, as seen from here, of the daemon that runs below this process."""
    for child in _children(ancestor):
        with suppress(OSError):
            words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
            state = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0]
            if words[0] == b"dockerd" and state not in ("Z", "X"):
                return child
        if (found := daemon_pid(child)) is not None:
            return found
    return None


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with suppress(OSError):  # it may end while it is looked at
        for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
            with suppress(OSError):
                found += map(int, tasks.read_text().split())
    return found


def _ip(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([BUSYBOX, "ip", *arguments], capture_output=True, text=True)


def _addresses() -> Iterator[tuple[str, ipaddress.IPv4Address]]:
    """Devices that have an IPv4 address."""
    for line in _ip("-o", "-4", "addr", "show").stdout.splitlines():
        words = line.split()
        if "inet" in words:
            yield words[1], ipaddress.IPv4Address(words[words.index("inet") + 1].split("/")[0])


def _is_routed(network: ipaddress.IPv4Network) -> bool:
    """Does the machine know a way to a part of it, other than the default one?"""
    for line in Path("/proc/net/route").read_text().splitlines()[1:]:
        words = line.split()
        base, mask = (int.from_bytes(bytes.fromhex(words[i]), "little") for i in (1, 7))
        if mask and ipaddress.IPv4Network((base, mask.bit_count())).overlaps(network):
            return True
    return False


def _remove_groups(top: Path) -> None:
    for folder, _, _ in os.walk(top, topdown=False):
        with suppress(OSError):
            os.rmdir(folder)


if __name__ == "__main__":
    main()
