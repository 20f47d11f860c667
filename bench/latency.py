"""How long do requests take at the same absolute rate for all: half of what the slowest can do?

First each proxy is asked for as much as 64 connections can bring. Then all get half of what the
slowest did, in turns, from a load that does not wait for answers (`constant_rate`); a request's time
begins when it is due.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .apart import processes
from .backends import backends
from .constant_rate import Waits
from .constant_rate import fire as fire_at
from .contenders import Contender, Row, contenders
from .cpu import CONNECTIONS, HEADS, PEERS
from .generators import fire
from .heads import browser_heads
from .programs import on_cpus, split_cpus
from .results import Figure, Findings, Scope
from .stats import estimate, percentile

ROUNDS = 7
QUICK_ROUNDS = 2
SECONDS = 4
QUICK_S = 1
SATURATE_S = 2
PART = 0.5


@dataclass(frozen=True, slots=True)
class Times:
    """Of one proxy in one round, in ms."""

    p50: float
    p99: float
    longest: float
    sender_p99: float
    """How long after they were due requests were sent: the load was late, or nothing was free."""


def run(scope: Scope) -> Findings:
    """See the module."""
    rounds, seconds = (QUICK_ROUNDS, QUICK_S) if scope.quick else (ROUNDS, SECONDS)
    for_proxies, for_load = split_cpus()
    heads = browser_heads(Row.PLAIN.host, HEADS)
    with (
        on_cpus(for_load),
        backends(scope.folder) as behind,
        contenders(scope.folder, behind, for_proxies, PEERS) as field,
        processes(1) as pool,
    ):
        scope.say("what each can do")
        most = {c.name: _most(scope, c, heads) for c in field.running}
        rate = PART * min(most.values())
        times: dict[str, list[Times]] = {c.name: [] for c in field.running}
        for turn in range(rounds + 1):
            scope.say(f"{rate:,.0f} requests per second, round {turn} of {rounds}")
            start = turn % len(field.running)
            for one in (*field.running[start:], *field.running[:start]):
                port = one.ports[Row.PLAIN]
                waits = fire_at(pool, port, heads, CONNECTIONS, rate, seconds if turn else 1)
                if waits.bad:
                    raise RuntimeError(f"{one.name} failed {waits.bad} requests")
                if turn:
                    times[one.name].append(_times(waits))
    names = [c.name for c in field.running]
    return Findings(
        (
            Figure(
                "requests per second",
                rate,
                note="half of what the slowest can do: "
                + ", ".join(f"{name} {count:,.0f}" for name, count in most.items()),
            ),
            *_figures(times, names),
        ),
        {"times": times},
    )


def _most(scope: Scope, contender: Contender, heads: Sequence[bytes]) -> float:
    port = contender.ports[Row.PLAIN]
    volley = fire(port, heads, CONNECTIONS, scope.folder, SATURATE_S)
    return volley.requests / volley.seconds


def _times(waits: Waits) -> Times:
    ms = [1e3 * s for s in waits.seconds]
    late = [1e3 * s for s in waits.late_s]
    return Times(percentile(ms, 50), percentile(ms, 99), max(ms), percentile(late, 99))


def _figures(times: dict[str, list[Times]], names: Sequence[str]) -> Iterator[Figure]:
    for name in names:
        p99 = estimate([one.p99 for one in times[name]])
        p50 = estimate([one.p50 for one in times[name]])
        sender = estimate([one.sender_p99 for one in times[name]])
        yield Figure(
            f"p99: {name}",
            p99.median,
            "ms",
            p99.low,
            p99.high,
            note=f"p50 {p50.median:.2f} ms; sent {sender.median:.2f} ms after it was due (p99)",
        )
    for name in names[1:]:
        pairs = zip(times[names[0]], times[name], strict=True)
        ratio = estimate([mine.p99 / theirs.p99 for mine, theirs in pairs])
        yield Figure(f"p99: {names[0]} / {name}", ratio.median, "", ratio.low, ratio.high)
