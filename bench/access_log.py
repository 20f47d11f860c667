"""What does a line in the access log cost per request?

Two gateways side by side, one of which writes its access log into a file; told is the median of the
differences between neighbours.
"""

from __future__ import annotations

from functools import partial

from .backends import backends
from .contenders import Row, routed
from .cpu import CONNECTIONS, HEADS
from .gateway import Gateway
from .generators import fire
from .heads import browser_heads
from .procfs import cpu_s, family
from .programs import on_cpus, split_cpus
from .results import Figure, Findings, Scope
from .stats import estimate
from .turns import Lane, Rounds, costs, details, pairs, take_turns

ROUNDS = Rounds(7, 2)
QUICK_ROUNDS = Rounds(2, 1)
WORK = "small answers"
ON, OFF = "with access log", "without"


def run(scope: Scope) -> Findings:
    """See the module."""
    for_proxies, for_load = split_cpus()
    folders = scope.folder / "on", scope.folder / "off"
    for folder in folders:
        folder.mkdir()
    log = folders[0] / "access.log"
    with (
        on_cpus(for_load),
        backends(scope.folder) as behind,
        on_cpus(for_proxies),
        routed(folders[0], behind, access_log=str(log)) as logging,
        routed(folders[1], behind) as silent,
        on_cpus(for_load),
    ):
        lanes = [lane_of(scope, WORK, ON, logging), lane_of(scope, WORK, OFF, silent)]
        samples = take_turns(scope, lanes, QUICK_ROUNDS if scope.quick else ROUNDS)
    with log.open("rb") as lines:
        written = sum(1 for _ in lines)
    requests = sum(sample.volley.requests for sample in samples[WORK, ON])
    more = estimate([on - off for on, off in pairs(samples, WORK, ON, OFF)])
    return Findings(
        (
            *list(costs(samples, WORK, [ON, OFF]))[:2],
            Figure(
                "a line in the access log",
                more.median,
                "us",
                more.low,
                more.high,
                note=f"{written:,} lines for {requests:,} counted requests and those of warming up",
            ),
        ),
        {"samples": details(samples), "lines": written},
    )


def lane_of(scope: Scope, work: str, name: str, front: Gateway) -> Lane:
    """A gateway at small answers on its plain route."""
    heads = browser_heads(Row.PLAIN.host, HEADS)
    return Lane(
        work,
        name,
        lambda: cpu_s(family(front.pid)),
        partial(fire, front.port, heads, CONNECTIONS, scope.folder),
    )
