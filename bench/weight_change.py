"""How long does a change of weights take until it is answered, with how many routes?

The answer means: stored, in the snapshot file, followed by every worker. A little
traffic on one of the routes shows what the data plane notices meanwhile.
"""

from __future__ import annotations

import asyncio
import random
import time

from .backends import backends
from .clients import Plan
from .gateway import gateway
from .heads import browser_heads
from .load import Load
from .prepared import host_of, names_of, state_of, write_store
from .results import Figure, Findings, Scope
from .stage import WORKERS
from .stats import percentile

SIZES = (10, 1_000, 10_000)
QUICK_SIZES = (10, 1_000)
CHANGES = 300
QUICK_CHANGES = 50
BASE_S = 3.0
"""How long traffic is watched without changes, for comparison."""
CLIENTS = 4
PAUSE_S = 0.005
CHECKS = {"interval": 60}
"""Rare health checks: thousands of instances would otherwise be most of what is measured."""


def run(scope: Scope) -> Findings:
    """See the module."""
    figures: list[Figure] = []
    details: dict[str, object] = {}
    for size in QUICK_SIZES if scope.quick else SIZES:
        scope.say(f"{size:,} routes")
        answers, calm, busy = _measure(scope, size)
        at = f"at {size:,} routes"
        figures += [
            Figure(f"change to its answer {at}, p50", percentile(answers, 50), "ms"),
            Figure(f"change to its answer {at}, p99", percentile(answers, 99), "ms"),
            Figure(
                f"requests meanwhile {at}, p99",
                percentile(busy, 99),
                "ms",
                note=f"without changes {percentile(calm, 99):.1f} ms",
            ),
            Figure(
                f"more than without changes {at}, p99",
                percentile(busy, 99) - percentile(calm, 99),
                "ms",
            ),
        ]
        details[f"answers_ms_{size}"] = [round(ms, 3) for ms in answers]
        details[f"requests_{size}"] = {"calm": len(calm), "meanwhile": len(busy)}
    return Findings(tuple(figures), details)


def _measure(scope: Scope, size: int) -> tuple[list[float], list[float], list[float]]:
    """Milliseconds: of changes, of requests without them, of requests meanwhile."""
    folder = scope.folder / str(size)
    folder.mkdir()
    changes = QUICK_CHANGES if scope.quick else CHANGES
    drawn = random.Random(size)
    with backends(folder) as behind:
        state = state_of(size, behind.ports)
        asyncio.run(write_store(folder / "state" / "gateway.db", state))
        with gateway(folder, WORKERS, checks=CHECKS) as front:
            front.wait_answer(host_of(0))
            front.wait_calm(0.5)
            plan = Plan(
                port=front.port,
                kept=CLIENTS,
                fresh=0,
                kept_heads=browser_heads(host_of(0), 64),
                fresh_heads=(),
                pause_s=PAUSE_S,
            )
            answers = []
            with Load(plan) as load:
                time.sleep(BASE_S / 3 if scope.quick else BASE_S)
                begun = time.monotonic()
                for _ in range(changes):
                    number = drawn.randrange(size)
                    first = drawn.randint(1, 99)
                    weights = dict(zip(names_of(number), (first, 100 - first), strict=True))
                    asked = time.monotonic()
                    front.api.set_weights(host_of(number), weights)
                    answers.append(1e3 * (time.monotonic() - asked))
                ended = time.monotonic()
                records = load.stop()
    calm = [1e3 * s for s in records.seconds(until=begun)]
    busy = [1e3 * s for s in records.seconds(begun, ended)]
    return answers, calm, busy
