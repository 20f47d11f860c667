"""The programs that a gateway is made of, as they are started.

Each is looked up when it is started, so that a newer version that was installed
meanwhile is what starts.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass


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
