"""What `workers: auto` means on machines and in containers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.runtime.cpus import cgroup_cpus, usable_cpus


def machine(folder: Path, cgroup: str, files: dict[str, str]) -> tuple[Path, Path]:
    """A /proc and a /sys/fs/cgroup."""
    (folder / "proc" / "self").mkdir(parents=True)
    (folder / "proc" / "self" / "cgroup").write_text(cgroup)
    for name, text in files.items():
        path = folder / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "proc", folder / "cgroup"


@pytest.mark.parametrize(
    ("cgroup", "files", "cpus"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/a/b\n", {"a/cpu.max": "50000 100000", "a/b/cpu.max": "max 100000"}, 0.5),
        ("0::/a/b\n", {"a/cpu.max": "400000 100000", "a/b/cpu.max": "200000 100000"}, 2.0),
        ("0::/not/here\n", {"cpu.max": "300000 100000"}, 3.0),
        ("0::/../x\n", {"cpu.max": "300000 100000"}, 3.0),
        ("0::/\n", {}, None),
        ("0::/\n", {"cpu.max": "nonsense"}, None),
        ("0::/\n", {"cpu.max": "1 0"}, None),
        (
            "4:cpu,cpuacct:/c\n1:memory:/c\n",
            {
                "cpu,cpuacct/c/cpu.cfs_quota_us": "250000",
                "cpu,cpuacct/c/cpu.cfs_period_us": "100000",
            },
            2.5,
        ),
        (
            "4:cpu,cpuacct:/c\n",
            {"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"},
            1.0,
        ),
        ("4:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ("", {}, None),
        ("garbage\n", {}, None),
    ],
)
def test_the_smallest_quota_on_the_way_up_counts(
    tmp_path: Path, cgroup: str, files: dict[str, str], cpus: float | None
) -> None:
    assert cgroup_cpus(*machine(tmp_path, cgroup, files)) == cpus


def test_without_a_cgroup_file_there_is_no_quota(tmp_path: Path) -> None:
    assert cgroup_cpus(tmp_path, tmp_path) is None


def test_workers_are_the_allowed_cpus_at_most_and_one_at_least(tmp_path: Path) -> None:
    allowed = len(os.sched_getaffinity(0))
    assert usable_cpus(tmp_path, tmp_path) == allowed
    tiny = machine(tmp_path / "tiny", "0::/\n", {"cpu.max": "10000 100000"})
    assert usable_cpus(*tiny) == 1
    huge = machine(tmp_path / "huge", "0::/\n", {"cpu.max": "99900000 100000"})
    assert usable_cpus(*huge) == allowed
