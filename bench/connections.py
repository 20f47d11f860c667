"""What does a plain connection with one request cost in CPU time, beside nginx and HAProxy?

As health checkers, scripts and old clients do it: connect, ask, read to the end. The eight processes
are those that make handshakes in `tls_cpu`.
"""

from __future__ import annotations

from functools import partial

from .apart import processes
from .backends import backends
from .contenders import Row, contenders
from .cpu import PEERS
from .handshakes import PROCESSES, fire
from .heads import browser_heads
from .programs import on_cpus, split_cpus
from .results import Findings, Scope
from .turns import Lane, Rounds, costs, details, take_turns

ROUNDS = Rounds(7, 2)
QUICK_ROUNDS = Rounds(3, 1)
WORK = "a connection per request"


def run(scope: Scope) -> Findings:
    """See the module."""
    for_proxies, for_load = split_cpus()
    host = Row.PLAIN.host
    (head,) = browser_heads(host, 1, close=True)
    with (
        on_cpus(for_load),
        backends(scope.folder) as behind,
        contenders(scope.folder, behind, for_proxies, PEERS) as field,
        processes(PROCESSES) as pool,
    ):
        lanes = [
            Lane(WORK, c.name, c.cpu_s, partial(fire, pool, c.ports[Row.PLAIN], host, None, head))
            for c in field.running
        ]
        samples = take_turns(scope, lanes, QUICK_ROUNDS if scope.quick else ROUNDS)
    names = [contender.name for contender in field.running]
    return Findings(
        tuple(costs(samples, WORK, names, "connections")), {"samples": details(samples)}
    )
