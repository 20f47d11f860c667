"""How many workers `workers: auto` means: the CPUs this process may really use.

The CPU affinity mask says which CPUs, the cgroup's quota how much of them; a
container limited to 1.5 CPUs on a machine of 64 gets two workers.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def usable_cpus(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """CPUs by affinity, limited by the quota rounded up; at least 1."""
    count = len(os.sched_getaffinity(0))
    quota = cgroup_cpus(proc, cgroups)
    return count if quota is None else max(1, min(count, math.ceil(quota)))


def cgroup_cpus(proc: Path, cgroups: Path) -> float | None:
    """The smallest CPU quota of this process's cgroup and those above it; None: unlimited."""
    try:
        lines = (proc / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return None
    quotas: list[float] = []
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers == "":
            quotas += (q for f in _upwards(cgroups, path) if (q := _quota_v2(f)) is not None)
        elif "cpu" in controllers.split(","):
            for mount in (controllers, "cpu", "cpu,cpuacct"):
                quotas += (q for f in _upwards(cgroups / mount, path) if (q := _quota_v1(f)))
    return min(quotas, default=None)


def _upwards(mount: Path, path: str) -> Iterator[Path]:
    """The cgroup's folder and those above it; inside a container only the mount itself exists."""
    inner = PurePosixPath(path.lstrip("/"))
    if ".." in inner.parts:
        inner = PurePosixPath()
    for folder in (inner, *inner.parents):
        yield mount / folder


def _quota_v2(folder: Path) -> float | None:
    """`cpu.max` is `QUOTA PERIOD` or `max PERIOD`."""
    try:
        quota, period = (folder / "cpu.max").read_text().split()
        return int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


def _quota_v1(folder: Path) -> float | None:
    try:
        quota = int((folder / "cpu.cfs_quota_us").read_text())
        period = int((folder / "cpu.cfs_period_us").read_text())
        return quota / period if quota > 0 else None
    except (OSError, ValueError, ZeroDivisionError):
        return None
