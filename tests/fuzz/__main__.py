"""`python -m tests.fuzz --inputs 1000000`: a long campaign, with what was found.

Exits with 1 when a difference is not in the table of docs/protocol.md, or a row was never seen.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import time

from tests.fuzz.campaign import listed, run, shards_of


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, help="of the first 5000 inputs; default: random")
    parser.add_argument("--jobs", type=int, help="processes; default: one for each CPU")
    arguments = parser.parse_args()
    seed = secrets.randbits(32) if arguments.seed is None else arguments.seed
    print(f"seed {seed}, {arguments.inputs} inputs", flush=True)
    began = time.monotonic()
    report = run(shards_of(seed, arguments.inputs), arguments.jobs)
    for (what, reader), count in sorted(report.classes.items()):
        print(f"{count:9}  {reader:6}  {what}")
    print(
        f"{report.inputs} inputs in {time.monotonic() - began:.0f} s: "
        f"{report.accepted / report.inputs:.1%} accepted by a reader, "
        f"{report.accepted_here / report.inputs:.1%} by the gateway; "
        f"{len(report.classes)} classes of difference"
    )
    complaints = report.complaints(listed())
    for complaint in complaints:
        print(complaint)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
