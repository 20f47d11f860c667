"""What does a proxied request cost in CPU time, beside nginx and HAProxy?

User and system time of all processes of a proxy, over the requests it served
meanwhile, from as many as 64 kept connections can bring; see `turns`.

Proxy on one CPU, load and backends on the others, where there are several.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from .backends import backends
from .contenders import ROUTES, Contender, Row, contenders
from .generators import fire
from .heads import browser_heads
from .programs import on_cpus, split_cpus
from .results import Findings, Scope
from .tools import Tool, find
from .turns import Lane, Rounds, costs, details, take_turns

PEERS = (Tool.NGINX, Tool.HAPROXY)
ROUNDS = Rounds(7, 3)
QUICK_ROUNDS = Rounds(4, 1)
CONNECTIONS = 64
HEADS = 2048


def run(scope: Scope) -> Findings:
    """See the module."""
    return measure(scope, PEERS, QUICK_ROUNDS if scope.quick else ROUNDS)


def measure(scope: Scope, peers: Sequence[Tool], rounds: Rounds) -> Findings:
    """Small answers, on the plain and on the sticky route."""
    for_proxies, for_load = split_cpus()
    with (
        on_cpus(for_load),
        backends(scope.folder) as behind,
        contenders(scope.folder, behind, for_proxies, peers) as field,
    ):
        splits = {f"{c.name}, {row.value}": c.split(row) for c in field.running for row in ROUTES}
        samples = take_turns(scope, list(_lanes(scope, field.running)), rounds)
    names = [contender.name for contender in field.running]
    return Findings(
        tuple(figure for row in ROUTES for figure in costs(samples, work(row), names)),
        {
            "load": "wrk" if find(Tool.WRK) else "own clients",
            "backend": behind.by,
            "cpus": {"proxy": sorted(for_proxies), "load": sorted(for_load)},
            "split": {
                name: {f"v{k}": v for k, v in split.items()} for name, split in splits.items()
            },
            "samples": details(samples),
        },
    )


def work(row: Row) -> str:
    """What its figures are called."""
    return f"{row.value} route"


def _lanes(scope: Scope, running: Sequence[Contender]) -> Iterator[Lane]:
    for row in ROUTES:
        for contender in running:
            cookies = contender.cookies() if row is Row.STICKY else ()
            heads = browser_heads(row.host, HEADS, cookies=cookies)
            yield Lane(
                work(row),
                contender.name,
                contender.cpu_s,
                partial(fire, contender.ports[row], heads, CONNECTIONS, scope.folder),
            )
