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
        return "met" + _room(beyond) if self.is_met else f"missed by {100 * beyond:.0f} %"


def _room(beyond: float) -> str:
    return f", {-100 * beyond:.0f} % below" if round(-beyond, 2) > 0 else ""


def judge(results: Sequence[Result]) -> Iterator[Judgement]:
    """Every goal, in the order of the table."""
    figures = {(r.benchmark, f.name): f for r in results for f in r.figures}
    for goal in GOALS:
        yield Judgement(goal, figures.get((goal.benchmark, goal.figure)))


def _beside(
    work: str, benchmark: str, figure: str, peers: Sequence[str], most: float, what: str = ""
) -> list[Goal]:
    return [
        Goal(work, f"{what}x {peer}", benchmark, f"{figure}: gateway / {peer.lower()}", most)
        for peer in peers
    ]


_BODIES = "CPU for longer bodies"
_MEMORY = "memory meanwhile, 64 bodies of 1 MB under way"
_TLS = "CPU for TLS 1.3"
_SOCKETS = "CPU per WebSocket message"
_HELD = "memory (PSS)"
_CHANGE = "weight change on one of 10,000 routes, p99"
_START = "starting"

GOALS = (
    *_beside("CPU for small answers", "cpu", "plain route", ("nginx", "HAProxy"), 1.0),
    *_beside("the same, sticky cookie on each", "cpu", "sticky route", ("HAProxy",), 1.0),
    *_beside(
        "CPU for small answers, one core each",
        "cpu-others",
        "plain route",
        ("Traefik", "Caddy", "Envoy"),
        0.25,
    ),
    *_beside(_BODIES, "bodies", "10 kB answers", ("nginx",), 1.1, "10 kB answers: "),
    *_beside(_BODIES, "bodies", "1 MB answers", ("nginx",), 1.1, "1 MB answers: "),
    *_beside(_BODIES, "bodies", "1 MB uploads", ("nginx",), 1.1, "1 MB uploads: "),
    Goal(_MEMORY, "answers: more by", "bodies", "1 MB answers: memory gateway grows by", 32, "MB"),
    Goal(_MEMORY, "uploads: more by", "bodies", "1 MB uploads: memory gateway grows by", 32, "MB"),
    *_beside(_TLS, "tls-cpu", "TLS, small answers", ("nginx",), 1.1, "small answers: "),
    *_beside(_TLS, "tls-cpu", "TLS, 1 MB answers", ("nginx",), 1.1, "1 MB answers: "),
    *_beside(_TLS, "tls-cpu", "TLS handshakes", ("nginx",), 1.1, "full handshakes: "),
    *_beside(_SOCKETS, "websockets", "125-byte messages", ("HAProxy",), 1.2, "125 bytes: "),
    *_beside(_SOCKETS, "websockets", "64 kB messages", ("HAProxy",), 1.2, "64 kB: "),
    Goal("access log on", "CPU more by", "access-log", "a line in the access log", 3, "us"),
    Goal("p99 at the same rate for all", "x nginx", "latency", "p99: gateway / nginx", 1.2),
    Goal(
        "CPU per request with two workers",
        "x one worker",
        "two-workers",
        "small answers: two workers / one worker",
        1.1,
    ),
    Goal(_HELD, "idle worker", "memory", "idle worker", 30, "MB"),
    Goal(_HELD, "idle connection, of 10,000", "memory", "idle plain connection", 10, "kB"),
    Goal(
        "look-up among 10, 1,000, 10,000 routes",
        "instructions, most / least",
        "instructions",
        "route look-ups, most / least",
        1.05,
    ),
    Goal(
        _CHANGE,
        "to its answer",
        "weight-change",
        "change to its answer at 10,000 routes, p99",
        20,
        "ms",
    ),
    Goal(
        _CHANGE,
        "requests meanwhile, more by",
        "weight-change",
        "more than without changes at 10,000 routes, p99",
        2,
        "ms",
    ),
    Goal(
        _START,
        "to the first answer of a service",
        "starting",
        "start to the first answer",
        0.7,
        "s",
    ),
    Goal(
        _START,
        "worker killed, to the next answer",
        "starting",
        "death to the next answer",
        0.3,
        "s",
    ),
)
"""The table of goals."""
