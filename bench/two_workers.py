"""Does a request cost more when two workers share the work?

Two gateways side by side, one with a worker, one with two, on the same CPUs: two of them where there
are four or more, else one, which the workers then share.
"""

from __future__ import annotations

from .access_log import lane_of
from .backends import backends
from .contenders import routed
from .programs import on_cpus, split_cpus
from .results import Findings, Scope
from .turns import Rounds, costs, details, take_turns

ROUNDS = Rounds(7, 2)
QUICK_ROUNDS = Rounds(2, 1)
WORK = "small answers"
ONE, TWO = "one worker", "two workers"


def run(scope: Scope) -> Findings:
    """See the module."""
    for_proxies, for_load = split_cpus(2)
    folders = scope.folder / "one", scope.folder / "two"
    for folder in folders:
        folder.mkdir()
    with (
        on_cpus(for_load),
        backends(scope.folder) as behind,
        on_cpus(for_proxies),
        routed(folders[0], behind, 1) as one,
        routed(folders[1], behind, 2) as two,
        on_cpus(for_load),
    ):
        lanes = [lane_of(scope, WORK, TWO, two), lane_of(scope, WORK, ONE, one)]
        samples = take_turns(scope, lanes, QUICK_ROUNDS if scope.quick else ROUNDS)
    return Findings(
        tuple(costs(samples, WORK, [TWO, ONE])),
        {"cpus": {"proxy": sorted(for_proxies)}, "samples": details(samples)},
    )
