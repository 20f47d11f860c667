"""All benchmarks by name, in the order they run. A new one is a module and an entry here."""

from __future__ import annotations

from . import cpu, holding, kills, releases, weight_change, weights_under_load
from .results import Benchmark

SUITE = (
    Benchmark("weights-under-load", "Weight changes, as clients see them", weights_under_load.run),
    Benchmark("releases", "Releases in turn, and with the control process killed", releases.run),
    Benchmark("kills", "Kills of workers and of the control process", kills.run),
    Benchmark("weight-change", "From weight change to answer", weight_change.run),
    Benchmark("held-connections", "Connections that are only held", holding.run),
    Benchmark("cpu", "CPU time per proxied request", cpu.run),
)
