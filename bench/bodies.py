"""What do longer bodies cost, beside nginx, and how much memory do they take meanwhile?

Answers of 10 kB and of 1 MB, and uploads of 1 MB, over 64 kept connections. As both pass on the
same bodies, the ratio of the costs per request is that per byte.

Memory is what all processes of a proxy have at most (PSS) while the work goes on, over what they
have before it: a proxy that held whole bodies would grow by 64 MB.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from .backends import UPLOAD, backends
from .contenders import GATEWAY, Contender, Row, contenders
from .generators import fire
from .heads import browser_heads
from .programs import on_cpus, split_cpus
from .results import Figure, Findings, Scope, Skipped
from .tools import Tool, find
from .turns import Lane, Rounds, costs, details, take_turns

ROUNDS = Rounds(5, 2)
QUICK_ROUNDS = Rounds(2, 1)
CONNECTIONS = 64
HEADS = 16
MB = 1_000_000
LOOK_S = 0.02
WATCH_S = 2


@dataclass(frozen=True, slots=True)
class Work:
    """One kind of bodies."""

    name: str
    below: str
    upload: int | None = None

    def lane(self, contender: Contender, scope: Scope, row: Row = Row.PLAIN) -> Lane:
        """A contender at this work."""
        heads = browser_heads(row.host, HEADS, below=self.below, upload=self.upload)
        return Lane(
            self.name,
            contender.name,
            contender.cpu_s,
            partial(
                fire,
                contender.ports[row],
                heads,
                CONNECTIONS,
                scope.folder,
                tls=row is Row.SECURE,
                body=self.upload or 0,
            ),
        )


WORKS = (
    Work("10 kB answers", "10k"),
    Work("1 MB answers", "1m"),
    Work("1 MB uploads", UPLOAD, MB),
)


def run(scope: Scope) -> Findings:
    """See the module."""
    if find(Tool.NGINX) is None or find(Tool.WRK) is None:
        raise Skipped("bodies need nginx behind the proxies, and wrk before them")
    for_proxies, for_load = split_cpus()
    with (
        on_cpus(for_load),
        backends(scope.folder) as behind,
        contenders(scope.folder, behind, for_proxies, (Tool.NGINX,)) as field,
    ):
        idle = {c.name: c.memory_bytes() for c in field.running}
        lanes = [work.lane(c, scope) for work in WORKS for c in field.running]
        samples = take_turns(scope, lanes, QUICK_ROUNDS if scope.quick else ROUNDS)
        peaks = {
            (work.name, c.name): peak(c.memory_bytes, partial(work.lane(c, scope).fire, WATCH_S))
            for work in WORKS
            for c in field.running
        }
    names = [contender.name for contender in field.running]
    return Findings(
        (
            *(figure for work in WORKS for figure in costs(samples, work.name, names)),
            *_growths(peaks, idle),
        ),
        {"samples": details(samples), "idle_bytes": idle},
    )


def _growths(peaks: dict[tuple[str, str], int], idle: dict[str, int]) -> Iterator[Figure]:
    for (work, name), peak in peaks.items():
        yield Figure(
            f"{work}: memory {name} grows by",
            max(peak - idle[name], 0) / MB,
            "MB",
            note="" if name != GATEWAY else f"at most {peak / MB:,.0f} MB, all its processes",
        )


def peak(memory: Callable[[], int], work: Callable[[], object]) -> int:
    """The most that was looked at while the work went on."""
    seen = [memory()]
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(LOOK_S):
            seen.append(memory())

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        work()
    finally:
        is_over.set()
        watching.join()
    return max(seen)
