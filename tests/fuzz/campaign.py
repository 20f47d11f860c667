"""Many inputs, read by everybody: which differences there are, and whether the table has them all."""

from __future__ import annotations

import multiprocessing
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz.differences import Difference, differences, passed_on
from tests.fuzz.grammar import Sample, samples
from tests.fuzz.readers import READERS, read_gateway

PAGE = Path(__file__).parents[2] / "docs" / "protocol.md"
SAME = "="
"""In the table: this reader does what the gateway does."""
SHARD = 5000


@dataclass
class Report:
    """What came out."""

    inputs: int = 0
    accepted: int = 0
    """By at least one of the readers."""
    accepted_here: int = 0
    classes: Counter[Difference] = field(default_factory=Counter)
    examples: dict[Difference, bytes] = field(default_factory=dict)
    """The shortest seen."""
    faults: list[str] = field(default_factory=list)
    """What the gateway passed on and a reader did not understand as it did."""

    def add(self, other: Report) -> None:
        self.inputs += other.inputs
        self.accepted += other.accepted
        self.accepted_here += other.accepted_here
        self.classes += other.classes
        for difference, example in other.examples.items():
            self._example(difference, example)
        self.faults += other.faults

    def look(self, sample: Sample) -> None:
        """Read one input with all readers."""
        ours = read_gateway(sample)
        readings = {name: read(sample) for name, read in READERS.items()}
        self.inputs += 1
        self.accepted_here += bool(ours.messages)
        self.accepted += bool(ours.messages) or any(r.messages for r in readings.values())
        for difference in differences(sample, ours, readings):
            self.classes[difference] += 1
            self._example(difference, sample.data)
        if ours.sent:
            sent = Sample(sample.kind, ours.sent, sample.method)
            for name, read in READERS.items():
                fault = passed_on(sample, ours, name, read(sent))
                if fault is not None:
                    self.faults.append(f"{name}: {fault}: {sample.data!r} as {ours.sent!r}")

    def _example(self, difference: Difference, data: bytes) -> None:
        known = self.examples.get(difference)
        if known is None or len(data) < len(known):
            self.examples[difference] = data

    def complaints(self, listed: Iterable[Difference]) -> list[str]:
        """What is wrong, were the differences `listed` all that there are."""
        listed = set(listed)
        unlisted = [
            f"not in {PAGE.name}: {difference.what} ({difference.reader}), "
            f"{self.classes[difference]} times, as in {self.examples[difference]!r}"
            for difference in sorted(self.classes.keys() - listed)
        ]
        unseen = [
            f"in {PAGE.name}, but never seen: {what} ({reader})"
            for what, reader in sorted(listed - self.classes.keys())
        ]
        return self.faults + unlisted + unseen


def listed() -> set[Difference]:
    """The differences that docs/protocol.md lists.

    Its rows are `what`, llhttp, h11 and more; what a reader does is there unless it is the same.
    """
    found = set()
    for line in PAGE.read_text().splitlines():
        if line.startswith("| `"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            for reader, cell in zip(READERS, cells[1:3], strict=True):
                if cell != SAME:
                    found.add(Difference(cells[0].strip("`"), reader))
    return found


def run_shard(seed: int, count: int) -> Report:
    """One process's piece."""
    report = Report()
    for sample in samples(seed, count):
        report.look(sample)
    return report


def run(shards: Sequence[tuple[int, int]], jobs: int | None = None) -> Report:
    """All shards of (seed, inputs), on `jobs` processes."""
    report = Report()
    jobs = jobs or os.cpu_count() or 1
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs, len(shards)), mp_context=context) as pool:
        for done in pool.map(run_shard, *zip(*shards, strict=True)):
            report.add(done)
    return report


def shards_of(seed: int, inputs: int) -> list[tuple[int, int]]:
    """Pieces of about `SHARD` inputs, each with a seed of its own."""
    count = max(1, round(inputs / SHARD))
    return [(seed + i, inputs // count + (i < inputs % count)) for i in range(count)]
