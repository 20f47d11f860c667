"""What do clients notice when any process is killed or stopped, during releases, under load?

Runs the test of it (`tests/e2e/test_chaos.py`) in a process of its own, which judges too.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import orjson

from .results import Figure, Findings, Scope

STRIKES = 200
QUICK_STRIKES = 10
LONGEST_S = 3600.0
SEED = "100"
SAID = 20_000
"""So much is kept of what a test that failed has said."""
_ROOT = Path(__file__).parents[1]


def run(scope: Scope) -> Findings:
    """See the module."""
    report = scope.folder / "chaos.jsonl"
    variables = {
        "GATEWAY_CHAOS_STRIKES": str(QUICK_STRIKES if scope.quick else STRIKES),
        "GATEWAY_CHAOS_SEED": SEED,
        "GATEWAY_CHAOS_REPORT": str(report),
    }
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "tests/e2e/test_chaos.py"],
        cwd=_ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
        check=False,
    )
    if not report.exists():
        raise RuntimeError(f"the test did not come to its end: {done.stdout[-1000:]}")
    rounds = [orjson.loads(line) for line in report.read_bytes().splitlines()]
    return found(rounds, done.stdout[-SAID:] if done.returncode else "")


def found(rounds: list[dict[str, object]], complaint: str) -> Findings:
    """All rounds together; `complaint`: what the test said if it did not pass."""
    sums: Counter[str] = Counter()
    struck: Counter[str] = Counter()
    releases: Counter[str] = Counter()
    longest_s = 0.0
    for one in rounds:
        for name, value in one.items():
            match name, value:
                case ("struck", dict()):
                    struck.update(value)
                case ("releases", dict()):
                    releases.update(value)
                case ("longest_s", float()):
                    longest_s = max(longest_s, value)
                case (_, int()):
                    sums[name] += value
    requests = sum(sums[n] for n in ("answered", "in_flight", "stale", "held", "failed"))
    kinds = ", ".join(f"{count} times {what}" for what, count in sorted(struck.items()))
    return Findings(
        (
            Figure("processes killed or stopped", struck.total(), note=kinds),
            Figure(
                "releases meanwhile",
                releases.total(),
                note=f"{releases['confirm']} confirmed, {releases['rollback']} rolled back",
            ),
            Figure("requests", requests, note="clients try nothing twice"),
            Figure(
                "failed, not on what was killed or stopped",
                sums["failed"],
                promise=0,
                note="or answered later than 1 s",
            ),
            Figure("answered by a version without traffic", sums["astray"], promise=0),
            Figure(
                "states, releases or counters that were wrong afterwards",
                int(complaint != ""),
                promise=0,
                note="0: the test has passed",
            ),
            Figure("cut in flight on the killed process", sums["in_flight"]),
            Figure("sent on a connection the kill had closed", sums["stale"]),
            Figure(
                "late, as a stopped worker had them",
                sums["held"],
                note="its connections, and those that waited for it to accept them",
            ),
            Figure("longest of the other answers", 1e3 * longest_s, "ms"),
        ),
        {"rounds": rounds, "complaint": complaint},
    )
