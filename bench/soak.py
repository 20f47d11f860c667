"""Does anything grow? Releases one after the other under load, for two minutes (`--soak SECONDS`).

Memory and open files of every process of the gateway, once it has warmed up and at the end.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from . import procfs
from .gateway import Gateway
from .load import Load
from .passages import FRESH, KEPT, Story, plan, release, scene
from .records import judge
from .results import Figure, Findings, Scope
from .shop import Operator
from .stats import percentile

SECONDS = 120.0
QUICK_SECONDS = 10.0
WARM = 0.2
"""The part of the time after which the first look is taken."""
PAUSE_S = 0.5
CALM_S = 3.0
"""From the end of the load to the last look."""


@dataclass(frozen=True, slots=True)
class Size:
    """Of a process."""

    pid: int
    resident: int
    files: int


def sizes(front: Gateway) -> dict[str, Size]:
    """Each process of the gateway itself, by what it is."""
    pids = {f"worker {slot}": pid for slot, pid in sorted(front.api.serving().items())}
    control = front.control_pid()
    assert control is not None
    pids = {"supervisor": front.pid, **pids, "control process": control}
    return {
        who: Size(pid, procfs.resident_bytes(pid), procfs.open_files(pid))
        for who, pid in pids.items()
    }


def run(scope: Scope) -> Findings:
    """See the module."""
    seconds = scope.options.soak_s or (QUICK_SECONDS if scope.quick else SECONDS)
    story = Story()
    first: dict[str, Size] = {}
    with scene(scope) as (front, _):
        with Load(plan(front)) as load:
            operator = Operator(front.api)
            began = time.monotonic()
            while (passed := time.monotonic() - began) < seconds:
                release(operator, story, len(story.seconds), PAUSE_S)
                if not first and passed > WARM * seconds:
                    first = sizes(front)
                    warm_s = passed
                scope.say(f"{passed:.0f} s, {len(story.seconds)} releases")
            records = load.stop()
        time.sleep(CALM_S)
        last = sizes(front)
    figures = [
        Figure("time", seconds, "s", note=f"the first look after {warm_s:.0f} s"),
        Figure("releases", len(story.seconds)),
        Figure("ended otherwise than asked for", story.otherwise, promise=0),
        Figure(
            "requests",
            len(records),
            note=f"{KEPT} kept connections, {FRESH} clients with a new one each",
        ),
        Figure("failed requests", judge(records, ()).failed, promise=0),
        Figure("requests, p99", 1e3 * percentile(records.seconds(), 99), "ms"),
        Figure(
            "processes that were replaced",
            sum(first[who].pid != size.pid for who, size in last.items()),
            promise=0,
        ),
    ]
    for who, size in last.items():
        before = first[who]
        figures += [
            Figure(f"{who}: memory", size.resident / 2**20, "MiB", note=_was(before.resident)),
            Figure(f"{who}: open files", size.files, note=f"{before.files} at the first look"),
        ]
    return Findings(tuple(figures), {"seconds": [round(s, 3) for s in story.seconds]})


def _was(resident: int) -> str:
    return f"{resident / 2**20:.1f} MiB at the first look"
