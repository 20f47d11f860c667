"""The programs that a gateway is made of, as they are started.

Each is looked up when it is started, so that a newer version that was installed
meanwhile is what starts.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

DISTRIBUTION = "release-gateway"


@dataclass(frozen=True, slots=True)
class Programs:
    """How children are started. `-P`: a folder `admin` where we are run from is not our package."""

    worker: tuple[str, ...] = (sys.executable, "-P", "-m", "gateway.runtime.worker")
    control: tuple[str, ...] = (sys.executable, "-P", "-m", "admin.main")
    itself: tuple[str, ...] = (sys.executable, *sys.orig_argv[1:])
    """What takes this program's place: it was started so, and may be a newer version by now."""
    check: tuple[str, ...] = itself
    """What says whether it would."""


PROGRAMS = Programs()


def installed_version() -> str:
    """The version of this program; "0": it runs from files that nobody installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "0"
