"""What load clients write down of each request, and what follows from it. Pure.

Times are seconds of the system's monotonic clock, which all processes share.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

LATE_S = 1.0
"""An answer that takes longer counts as failed."""
NOTICED_S = 0.05
"""How much later than the gateway a busy client may notice that a connection is open."""


class Outcome(IntEnum):
    """How a request ended for its client, who never tries twice."""

    ANSWERED = 0
    """200, whole."""
    STATUS = 1
    """Another status, or what is no answer."""
    CUT = 2
    """The connection ended before the whole answer had come."""
    NOT_CONNECTED = 3
    UNANSWERED = 4
    """The client gave up waiting."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request of a client."""

    began: float
    """When the client wanted it: the connection, if it needs one, is still to be opened."""
    sent: float
    """When its bytes went out; 0: never."""
    ended: float
    opened: float
    """When its connection had been opened; 0: never."""
    outcome: Outcome
    service: int
    """The number of the service that answered; 0: none."""
    port: int
    """The client's port; 0: none."""

    @property
    def seconds(self) -> float:
        """What the client waited."""
        return self.ended - self.began

    @property
    def has_failed(self) -> bool:
        """No whole 200 within `LATE_S`."""
        return self.outcome is not Outcome.ANSWERED or self.seconds > LATE_S


def _times() -> array[float]:
    return array("d")


def _bytes() -> array[int]:
    return array("B")


def _ports() -> array[int]:
    return array("H")


@dataclass(slots=True)
class Records:
    """Requests in columns: half a million of them fit into some 20 MB."""

    began: array[float] = field(default_factory=_times)
    sent: array[float] = field(default_factory=_times)
    ended: array[float] = field(default_factory=_times)
    opened: array[float] = field(default_factory=_times)
    outcome: array[int] = field(default_factory=_bytes)
    service: array[int] = field(default_factory=_bytes)
    port: array[int] = field(default_factory=_ports)

    def __len__(self) -> int:
        return len(self.began)

    def __iter__(self) -> Iterator[Request]:
        columns = zip(
            self.began,
            self.sent,
            self.ended,
            self.opened,
            self.outcome,
            self.service,
            self.port,
            strict=True,
        )
        for began, sent, ended, opened, outcome, service, port in columns:
            yield Request(began, sent, ended, opened, Outcome(outcome), service, port)

    def add(self, request: Request) -> None:
        """Append one."""
        self.began.append(request.began)
        self.sent.append(request.sent)
        self.ended.append(request.ended)
        self.opened.append(request.opened)
        self.outcome.append(request.outcome)
        self.service.append(request.service)
        self.port.append(request.port)

    def extend(self, others: Records) -> None:
        """Append all of another one's."""
        for name in self.__slots__:
            getattr(self, name).extend(getattr(others, name))

    def seconds(self, since: float = 0.0, until: float = float("inf")) -> list[float]:
        """What clients waited for whole answers to requests begun in this time."""
        return [
            ended - began
            for began, ended, outcome in zip(self.began, self.ended, self.outcome, strict=True)
            if outcome == Outcome.ANSWERED and since <= began < until
        ]

    @property
    def per_second(self) -> float:
        """How many requests ended in a second, over the whole time."""
        if not self.began:
            return 0.0
        return len(self) / max(max(self.ended) - min(self.began), 1e-9)


@dataclass(frozen=True, slots=True)
class Switch:
    """A change of weights that gave all traffic to one service."""

    asked: float
    answered: float
    service: int


@dataclass(frozen=True, slots=True)
class Following:
    """How requests followed switches: those that could be judged, and those that did not."""

    judged: int
    astray: int


def follow(requests: Sequence[Request] | Records, switches: Sequence[Switch]) -> Following:
    """Did every request that was sent after a switch's answer follow it?

    Only requests that ended before the next switch was asked for can be judged: while one
    is under way both services are right.
    """
    judged = astray = 0
    ordered = sorted((r for r in requests if r.outcome is Outcome.ANSWERED), key=lambda r: r.sent)
    place = -1
    for request in ordered:
        while place + 1 < len(switches) and switches[place + 1].answered < request.sent:
            place += 1
        if place < 0:
            continue
        following = switches[place + 1].asked if place + 1 < len(switches) else float("inf")
        if request.ended < following:
            judged += 1
            astray += request.service != switches[place].service
    return Following(judged, astray)


@dataclass(frozen=True, slots=True)
class Kill:
    """A process that was killed, and the connections it held then."""

    role: str
    stopped: float
    """From here on it did nothing more."""
    killed: float
    ports: frozenset[int]


@dataclass(frozen=True, slots=True)
class Verdicts:
    """The failures over some kills, by whose they were."""

    failed: int
    """What a kill does not excuse."""
    late: int
    """Of those: answered, but too late."""
    in_flight: int
    """Sent, or being sent, to the process when it was killed."""
    reused: int
    """Begun on a connection the kill had closed, before the client knew."""


def judge(requests: Sequence[Request] | Records, kills: Sequence[Kill]) -> Verdicts:
    """Sort the failures. One without a kill that explains it counts against the gateway."""
    failed = late = in_flight = reused = 0
    for request in requests:
        if not request.has_failed:
            continue
        kill = _kill_of(request, kills)
        if kill is None:
            failed += 1
            late += request.outcome is Outcome.ANSWERED
        elif request.began <= kill.killed:
            in_flight += 1
        else:
            reused += 1
    return Verdicts(failed, late, in_flight, reused)


def _kill_of(request: Request, kills: Sequence[Kill]) -> Kill | None:
    """The kill that closed this request's connection.

    Ports are used again, hence the times: the connection was there before the kill.
    """
    if request.outcome is not Outcome.CUT:
        return None
    for kill in kills:
        if request.port in kill.ports and _was_open(request, kill):
            return kill
    return None


def _was_open(request: Request, kill: Kill) -> bool:
    return request.opened - NOTICED_S <= kill.killed <= request.ended
