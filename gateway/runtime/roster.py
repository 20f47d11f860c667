"""Who accepts for whom, and how the workers look from outside. Pure.

Every worker holds the listening sockets of all slots. A slot whose worker is
dead, starting, leaving or silent is *covered*: every healthy worker accepts on
its sockets too. (All of them, so that one which hangs undetected stalls
nobody.) While no worker is healthy, connections wait in the backlog.
"""

from __future__ import annotations

from collections.abc import Sequence

from .children import Post
from .messages import Json, WorkerState


def covers(workers: Sequence[Post], is_stopping: bool) -> dict[Post, frozenset[int]]:
    """For each live worker, the foreign slots it must accept for.

    While the whole gateway stops, draining workers still accept (lame duck) and
    cover for those already gone.
    """
    able = {WorkerState.DRAINING} if is_stopping else {WorkerState.SERVING}
    healthy = [p for p in workers if p.state in able and not p.is_silent]
    held = {p.slot for p in healthy}
    uncovered = frozenset(p.slot for p in workers if p.slot is not None and p.slot not in held)
    return {p: uncovered if p in healthy else frozenset() for p in workers if p.child is not None}


def rows(workers: Sequence[Post]) -> list[Json]:
    """The `workers` of a roster message; `started` is seconds since the epoch.

    A slot stands there twice while a worker takes another one's place.
    """
    return [
        {
            "slot": p.slot,
            "region": p.region,
            "pid": p.pid,
            "state": p.state,
            "restarts": p.restarts,
            "started": p.started_unix,
        }
        for p in workers
    ]
