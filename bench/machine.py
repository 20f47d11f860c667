"""The machine a figure was taken on, and the programs it was taken with."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

from .operations import is_compiled
from .tools import USUAL, Tool, find

Facts = dict[str, str]
_PREFIX = re.compile(r"^(.*/)?(valgrind-|v)?(?=[0-9])")


def facts(tools: Iterable[Tool] = USUAL) -> Facts:
    """Name to value, for people to read; of these programs."""
    found = {
        "cpu": _cpu_name(),
        "cpus": str(len(os.sched_getaffinity(0))),
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB",
        "system": _system_name(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "gateway": "compiled" if is_compiled() else "interpreted",
    }
    for tool in tools:
        path = find(tool)
        if path is not None:
            found[tool.value] = _version(path, tool.version_option)
    return found


def _cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.machine()


def _system_name() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()


def _version(path: str, option: str) -> str:
    done = subprocess.run([path, option], capture_output=True, text=True, check=False, timeout=10)
    return version_of(done.stdout + done.stderr)


def version_of(text: str) -> str:
    """The first word of a program's banner that looks like a version."""
    for word in text.split():
        digits = _PREFIX.sub("", word).partition("-")[0].partition("/")[0].rstrip(",")
        if digits[:1].isdigit() and "." in digits:
            return digits
    return "unknown"
