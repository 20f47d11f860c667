"""Do mutated messages find a difference to h11 and llhttp that is not in docs/protocol.md?

Runs the campaign of `python -m tests.fuzz` in a process of its own.
"""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from .results import Figure, Findings, Scope

INPUTS = 1_000_000
QUICK_INPUTS = 20_000
LONGEST_S = 3600.0
_ROOT = Path(__file__).parents[1]
_END = re.compile(
    r"^(\d+) inputs in \d+ s: ([\d.]+)% accepted by a reader, ([\d.]+)% by the gateway; "
    r"(\d+) classes of difference$",
    re.MULTILINE,
)
_CLASS = re.compile(r"^ *(\d+)  (\S+) +(.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Campaign:
    """What one said in its end."""

    inputs: int
    accepted: float
    accepted_here: float
    classes: int
    counts: dict[str, int]
    complaints: list[str]


def parse(text: str) -> Campaign:
    """Read what it printed. Raises `ValueError` when it did not come to its end."""
    end = _END.search(text)
    if end is None:
        raise ValueError(f"the campaign did not come to its end: {text[-500:]}")
    counts = {f"{m[3]} ({m[2]})": int(m[1]) for m in _CLASS.finditer(text[: end.start()])}
    return Campaign(
        int(end[1]),
        float(end[2]),
        float(end[3]),
        int(end[4]),
        counts,
        text[end.end() :].strip().splitlines(),
    )


def run(scope: Scope) -> Findings:
    """See the module."""
    inputs = QUICK_INPUTS if scope.quick else INPUTS
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "--inputs", str(inputs), "--seed", "1"],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
        check=False,
    )
    found = parse(done.stdout or done.stderr)
    return Findings(
        (
            Figure("mutated messages", found.inputs),
            Figure(
                "accepted by a reader", found.accepted, "%", note="by h11, llhttp or the gateway"
            ),
            Figure("accepted by the gateway", found.accepted_here, "%"),
            Figure(
                "classes of difference",
                found.classes,
                note="each is in docs/protocol.md with its section of the RFC",
            ),
            Figure(
                "differences that are not listed, or listed and never seen",
                # In a quick run the rarest ones are not met.
                sum("never seen" not in c or not scope.quick for c in found.complaints),
                promise=0,
            ),
        ),
        {"classes": found.counts, "complaints": found.complaints},
    )
