"""All benchmarks by name, in the order they run. A new one is a module and an entry here."""

from __future__ import annotations

from . import (
    access_log,
    bodies,
    chaos,
    conformance,
    connections,
    cpu,
    cpu_others,
    docker_discovery,
    docker_hello,
    fuzzing,
    holding,
    instructions,
    kills,
    latency,
    memory,
    releases,
    soak,
    starting,
    tls_cpu,
    tls_memory,
    two_workers,
    websockets,
    weight_change,
    weights_under_load,
)
from .results import Benchmark
from .tools import USUAL, Tool

HELD = Benchmark("held-connections", "Connections that are only held", holding.run)

SUITE = (
    Benchmark("weights-under-load", "Weight changes, as clients see them", weights_under_load.run),
    Benchmark("releases", "Releases in turn, and with the control process killed", releases.run),
    Benchmark("kills", "Kills of workers and of the control process", kills.run),
    Benchmark("weight-change", "From weight change to answer", weight_change.run),
    HELD,
    Benchmark("cpu", "CPU time per proxied request", cpu.run),
    Benchmark(
        "cpu-others",
        "CPU time per proxied request, beside Caddy, Traefik and Envoy",
        cpu_others.run,
        (*USUAL, *cpu_others.PEERS),
    ),
    Benchmark("bodies", "CPU time and memory for longer bodies", bodies.run),
    Benchmark("connections", "CPU time for a connection with one request", connections.run),
    Benchmark("tls-cpu", "CPU time for TLS", tls_cpu.run),
    Benchmark("websockets", "CPU time per WebSocket message", websockets.run),
    Benchmark("access-log", "CPU time for the access log", access_log.run),
    Benchmark("latency", "Latency at the same rate for all", latency.run),
    Benchmark("memory", "Memory", memory.run),
    Benchmark("starting", "Starting, and starting again", starting.run),
    Benchmark("instructions", "Instructions per operation", instructions.run, (Tool.VALGRIND,)),
    Benchmark("two-workers", "CPU time per request with two workers", two_workers.run),
)
"""What runs when nothing is named; the figures of docs/performance.md."""

RELIABILITY = (
    Benchmark("conformance", "Cases for HTTP/1.1 proxies", conformance.run),
    Benchmark("fuzz", "Mutated messages", fuzzing.run),
    Benchmark("chaos", "Processes killed and stopped during releases", chaos.run),
    HELD,
    Benchmark("tls", "Memory of TLS connections", tls_memory.run),
    Benchmark("soak", "Memory and open files over time", soak.run),
)
"""The figures of docs/reliability.md. They take half an hour."""

DOCKER = (
    Benchmark("docker-discovery", "Containers that others start and stop", docker_discovery.run),
    Benchmark("docker-hello", "The article's application in containers", docker_hello.run),
)
"""The figures of docs/docker.md. They need a Docker Engine."""

GROUPS = {"performance": SUITE, "reliability": RELIABILITY, "docker": DOCKER}
EVERY = tuple(
    {benchmark.name: benchmark for group in GROUPS.values() for benchmark in group}.values()
)
