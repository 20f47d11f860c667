"""What does a proxied request cost in CPU time, beside nginx and HAProxy?

User and system time of all processes of a proxy, over the requests it served
meanwhile, from as many as 64 kept connections can bring. The proxies take turns;
those of one round make a pair, and what is told is the median of the pairs'
ratios: a machine that slows down for a while slows both.

Proxy on one CPU, load and backends on the others, where there are several.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from .backends import backends
from .contenders import Contender, Row, contenders
from .generators import Volley, fire
from .heads import browser_heads
from .programs import on_cpus, split_cpus
from .results import Figure, Findings, Scope
from .stats import estimate
from .tools import Tool, find

ROUNDS = 7
QUICK_ROUNDS = 2
SECONDS = 3
QUICK_S = 1
WARM_S = 1
CONNECTIONS = 64
HEADS = 2048
SETTLE_S = 0.1
"""Between load and counting: what is still on its way belongs to it."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One proxy under load for a few seconds."""

    cost_us: float
    """CPU time per request."""
    volley: Volley


Samples = dict[tuple[Row, str], list[Sample]]


def run(scope: Scope) -> Findings:
    """See the module."""
    for_proxies, for_load = split_cpus()
    with (
        on_cpus(for_load),
        backends(scope.folder) as behind,
        contenders(scope.folder, behind, for_proxies) as running,
    ):
        splits = {f"{c.name}, {row.value}": c.split(row) for c in running for row in Row}
        samples = _take_turns(scope, running)
    names = [contender.name for contender in running]
    return Findings(
        tuple(figure for row in Row for figure in _figures(samples, row, names)),
        {
            "load": "wrk" if find(Tool.WRK) else "own clients",
            "backend": behind.by,
            "cpus": {"proxy": sorted(for_proxies), "load": sorted(for_load)},
            "split": {
                name: {f"v{k}": v for k, v in split.items()} for name, split in splits.items()
            },
            "samples": {f"{name}, {row.value}": taken for (row, name), taken in samples.items()},
        },
    )


def _take_turns(scope: Scope, running: Sequence[Contender]) -> Samples:
    """A round for warming up, then those that count; each begins with another proxy."""
    heads = {
        (row, c.name): browser_heads(
            row.host, HEADS, cookies=c.cookies() if row is Row.STICKY else ()
        )
        for row in Row
        for c in running
    }
    rounds, seconds = (QUICK_ROUNDS, QUICK_S) if scope.quick else (ROUNDS, SECONDS)
    samples: Samples = {}
    for turn in range(rounds + 1):
        is_warming_up = turn == 0
        scope.say("warming up" if is_warming_up else f"round {turn} of {rounds}")
        start = turn % len(running)
        for row in Row:
            for contender in (*running[start:], *running[:start]):
                key = row, contender.name
                sample = _take(
                    scope, contender, row, heads[key], WARM_S if is_warming_up else seconds
                )
                if not is_warming_up:
                    samples.setdefault(key, []).append(sample)
    return samples


def _take(
    scope: Scope, contender: Contender, row: Row, heads: Sequence[bytes], seconds: int
) -> Sample:
    before = contender.cpu_s()
    volley = fire(contender.ports[row], heads, CONNECTIONS, seconds, scope.folder)
    time.sleep(SETTLE_S)
    spent = contender.cpu_s() - before
    if volley.bad:
        raise RuntimeError(f"{contender.name} failed {volley.bad} of {volley.requests} requests")
    return Sample(1e6 * spent / volley.requests, volley)


def _figures(samples: Samples, row: Row, names: Sequence[str]) -> Iterator[Figure]:
    what = f"{row.value} route"
    own = samples[row, names[0]]
    for name in names:
        taken = samples[row, name]
        costs = estimate([sample.cost_us for sample in taken])
        rate = median(sample.volley.requests / sample.volley.seconds for sample in taken)
        yield Figure(
            f"{what}: {name}",
            costs.median,
            "us",
            costs.low,
            costs.high,
            note=f"{rate:,.0f} requests per second",
        )
    for name in names[1:]:
        pairs = zip(own, samples[row, name], strict=True)
        ratio = estimate([mine.cost_us / theirs.cost_us for mine, theirs in pairs])
        yield Figure(f"{what}: {names[0]} / {name}", ratio.median, "", ratio.low, ratio.high)
