"""What the figures are to be, and how far they are from it.

A goal names a figure of a benchmark and the most it may be. Those that compare with another program are
about medians of paired ratios. Whether a goal is reached never decides an exit code: times depend on the
machine. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .results import Figure, Result, number


@dataclass(frozen=True, slots=True)
class Goal:
    """One row's bound on one figure."""

    work: str
    """The row it belongs to."""
    what: str
    """What is bounded, for people."""
    benchmark: str
    figure: str
    most: float
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Judgement:
    """A goal beside what was measured; None: it was not."""

    goal: Goal
    figure: Figure | None

    @property
    def is_met(self) -> bool | None:
        """None: nobody knows."""
        return None if self.figure is None else self.figure.value <= self.goal.most

    @property
    def value(self) -> str:
        """With interval and unit."""
        return "" if self.figure is None else self.figure.text

    @property
    def bound(self) -> str:
        """With unit."""
        return f"<= {number(self.goal.most)} {self.goal.unit}".rstrip()

    @property
    def verdict(self) -> str:
        """Met or missed, and by how much."""
        if self.figure is None:
            return "not measured"
        beyond = self.figure.value / self.goal.most - 1
        return f"missed by {beyond:.0%}" if not self.is_met else "met" + _room(beyond)


def _room(beyond: float) -> str:
    return f", {-beyond:.0%} below" if round(-beyond, 2) > 0 else ""


def judge(results: Sequence[Result]) -> Iterator[Judgement]:
    """Every goal, in the order of the table."""
    figures = {(r.benchmark, f.name): f for r in results for f in r.figures}
    for goal in GOALS:
        yield Judgement(goal, figures.get((goal.benchmark, goal.figure)))


def _beside(
    work: str, benchmark: str, figure: str, peers: Sequence[str], most: float
) -> list[Goal]:
    return [
        Goal(work, f"CPU, x {peer}", benchmark, f"{figure}: gateway / {peer.lower()}", most)
        for peer in peers
    ]


_FAST = ("nginx", "HAProxy")
_OTHERS = ("Traefik", "Caddy", "Envoy")
_HELD = "data-plane p99 meanwhile, more than without changes"

GOALS = (
    *_beside("small answers, 90/10", "cpu", "plain route", _FAST, 1.0),
    *_beside("the same, sticky cookie on each request", "cpu", "sticky route", ("HAProxy",), 1.0),
    *_beside("small answers, one core each", "cpu-others", "plain route", _OTHERS, 0.25),
    *_beside("10 kB answers", "bodies", "10 kB answers", ("nginx",), 1.1),
    *_beside("1 MB answers", "bodies", "1 MB answers", ("nginx",), 1.1),
    *_beside("1 MB uploads", "bodies", "1 MB uploads", ("nginx",), 1.1),
    Goal(
        "1 MB answers, 64 at a time",
        "memory grows by",
        "bodies",
        "1 MB answers: memory gateway grows by",
        32,
        "MB",
    ),
    Goal(
        "1 MB uploads, 64 at a time",
        "memory grows by",
        "bodies",
        "1 MB uploads: memory gateway grows by",
        32,
        "MB",
    ),
    *_beside("TLS 1.3, small answers", "tls-cpu", "TLS, small answers", ("nginx",), 1.1),
    *_beside("TLS 1.3, 1 MB answers", "tls-cpu", "TLS, 1 MB answers", ("nginx",), 1.1),
    *_beside("TLS 1.3, full handshakes", "tls-cpu", "TLS handshakes", ("nginx",), 1.1),
    *_beside("WebSocket, 125-byte messages", "websockets", "125-byte messages", ("HAProxy",), 1.2),
    *_beside("WebSocket, 64 kB messages", "websockets", "64 kB messages", ("HAProxy",), 1.2),
    Goal(
        "access log on", "CPU more per request", "access-log", "a line in the access log", 3, "us"
    ),
    Goal("the same rate for all", "p99, x nginx", "latency", "p99: gateway / nginx", 1.2),
    Goal(
        "two workers",
        "CPU, x one worker",
        "two-workers",
        "small answers: two workers / one worker",
        1.1,
    ),
    Goal("idle worker", "memory (PSS)", "memory", "idle worker", 30, "MB"),
    Goal(
        "10,000 idle plain connections",
        "memory (PSS) each",
        "memory",
        "idle plain connection",
        10,
        "kB",
    ),
    Goal(
        "look-up among 10 / 1,000 / 10,000 routes",
        "instructions, most / least",
        "instructions",
        "route look-ups, most / least",
        1.05,
    ),
    Goal(
        "weight change on one of 10,000 routes",
        "to its answer, p99",
        "weight-change",
        "change to its answer at 10,000 routes, p99",
        20,
        "ms",
    ),
    Goal(
        "weight change on one of 10,000 routes",
        _HELD,
        "weight-change",
        "more than without changes at 10,000 routes, p99",
        2,
        "ms",
    ),
    Goal(
        "start",
        "to the first answer of a registered service",
        "starting",
        "start to the first answer",
        0.7,
        "s",
    ),
    Goal("worker killed", "to the next answer", "starting", "death to the next answer", 0.3, "s"),
)
"""The table of goals."""
