"""Does any client notice a change of weights, and does any request follow old ones?

All traffic goes from one service to the other and back, so that each answer tells
which weights its request followed.
"""

from __future__ import annotations

import random
import time

from .load import Load
from .records import Switch, follow, judge
from .results import Figure, Findings, Scope
from .stage import FRESH, HOST, KEPT, SERVICES, stage
from .stats import percentile

CHANGES = 100
QUICK_CHANGES = 25
PAUSE_S = (0.02, 0.2)
"""Between two changes: time for requests that can be judged."""


def run(scope: Scope) -> Findings:
    """See the module."""
    drawn = random.Random(1)
    switches: list[Switch] = []
    with stage(scope) as scene, Load(scene.plan()) as load:
        time.sleep(0.3)
        for turn in range(QUICK_CHANGES if scope.quick else CHANGES):
            number = 2 - turn % 2
            weights = {name: 100 * (i + 1 == number) for i, name in enumerate(SERVICES)}
            asked = time.monotonic()
            scene.gateway.api.set_weights(HOST, weights)
            switches.append(Switch(asked, time.monotonic(), number))
            time.sleep(drawn.uniform(*PAUSE_S))
        records = load.stop()
        backend = scene.backends.by
    verdicts = judge(records, ())
    following = follow(records, switches)
    answers_ms = [1e3 * (s.answered - s.asked) for s in switches]
    seconds = records.seconds()
    return Findings(
        (
            Figure("weight changes", len(switches)),
            Figure(
                "requests",
                len(records),
                note=f"{KEPT} kept connections, {FRESH} clients with a new one each",
            ),
            Figure(
                "failed requests", verdicts.failed, promise=0, note="or answered later than 1 s"
            ),
            Figure(
                "followed old weights",
                following.astray,
                promise=0,
                note=f"of {following.judged:,} sent after a change's answer, before the next",
            ),
            Figure("change to its answer, p50", percentile(answers_ms, 50), "ms"),
            Figure("change to its answer, p99", percentile(answers_ms, 99), "ms"),
            Figure("requests, p99", 1e3 * percentile(seconds, 99), "ms"),
            Figure("requests, longest", 1e3 * max(seconds), "ms"),
        ),
        {
            "backend": backend,
            "requests_per_s": round(records.per_second),
            "answers_ms": [round(ms, 3) for ms in answers_ms],
        },
    )
