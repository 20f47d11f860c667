"""Releases one after the other while processes are killed and stopped, all of it on record.

    with Chaos(gateway, "a", seed=1) as chaos:
        for _ in range(20):
            chaos.strike()
    chaos.assert_nobody_noticed()

A thread of its own is the operator, who goes through whole release cycles; the test strikes.
From what the operator was told follows who may serve a request at any moment (`Epoch`), from
what was struck which requests may have failed.
"""

from __future__ import annotations

import http.client
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from . import processes
from .applications import Doubles, Operator, assert_settled, running, service
from .gateway import Gateway
from .load import Failure, Kill, Load, Record, judge
from .processes import wait_until

SCALE = 2
BROKEN = (502, 503, 504)
"""What a request may be told that was under way on an instance when that was killed."""
CAUGHT_UP_S = 1.0
"""How long after SIGCONT a worker may be busy with what has come meanwhile."""
READY_S = 30.0
POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Epoch:
    """From `since` on, only these services may answer."""

    since: float
    services: frozenset[str]


@dataclass(frozen=True, slots=True)
class Stop:
    """A worker did nothing from `since` to `until`."""

    since: float
    until: float


@dataclass(frozen=True, slots=True)
class Counted:
    """What the gateway had counted for a service at a moment between `before` and `after`."""

    service: str
    before: float
    after: float
    requests: float


@dataclass(frozen=True, slots=True)
class Sorted:
    """What came of all requests, after what was struck has been taken into account."""

    answered: int
    in_flight: int
    """Under way on a worker or an instance when that was killed."""
    stale: int
    """Sent on a kept connection that a kill had closed."""
    held: int
    """Late, as a stopped worker had them."""
    failed: Sequence[Record]
    astray: Sequence[Record]
    """Answered by a service that had no traffic at the time."""
    longest_s: float
    """Of the answers, but for those that were held."""


class Releasing:
    """The operator: begins, shifts, confirms and rolls back, until told to stop."""

    def __init__(self, gateway: Gateway, application: str, seed: int) -> None:
        self._operator = Operator(gateway, application)
        self._application = application
        self.host = f"{application}.example"
        self._drawn = random.Random(f"releases {seed}")
        self.version, self._next = 1, 2
        self.epochs: list[Epoch] = []
        self.counted: list[Counted] = []
        """Of each service before it went, and in the end of the one that stayed."""
        self.releases: Counter[str] = Counter()
        self._is_over = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="operator")

    def name(self, version: int) -> str:
        return f"{self._application}-v{version}"

    @property
    def wanted(self) -> dict[str, int]:
        """What runs when no release is in flight."""
        return {self.name(self.version): SCALE}

    @property
    def begun(self) -> int:
        """How many releases there were in all."""
        return self._next - 1

    def first(self) -> None:
        """Deploy the first version."""
        release = self._operator.deploy(self._template(1))
        self._operator.wait(release, "confirmed")
        self._expect(1)

    def start(self) -> None:
        self._thread.start()

    def finish(self) -> None:
        """End after the release under way; raises what went wrong."""
        self._is_over.set()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def get(self, path: str) -> Any:
        return self._operator.get(path)

    def _template(self, version: int) -> dict[str, object]:
        name = self.name(version)
        return {name: service(self.host, name=name, scale=SCALE)}

    def _expect(self, *versions: int) -> None:
        self.epochs.append(Epoch(time.monotonic(), frozenset(map(self.name, versions))))

    def _run(self) -> None:
        try:
            while not self._is_over.is_set():
                self._cycle(self._drawn.choice(("confirm", "rollback")))
        except BaseException as error:  # told in the test's own thread
            self._error = error

    def _cycle(self, verb: str) -> None:
        """One release, from its beginning to its end."""
        operator, old, new = self._operator, self.version, self._next
        release = operator.deploy(self._template(new), "?strategy=gray")
        operator.wait(release, "pending_confirmation")
        self._expect(old, new)
        for percent in (30, 100):
            self._pause()
            is_everywhere = self._shift(release, percent)
        if is_everywhere:
            self._expect(new)
        self._pause()
        self.count(new if verb == "rollback" else old)
        if verb == "rollback":
            self._expect(old, new)
        operator.decide(release, verb)
        operator.wait(release, "rolled_back" if verb == "rollback" else "confirmed")
        self.version = old if verb == "rollback" else new
        self._next += 1
        self.releases[verb] += 1
        self._expect(self.version)

    def count(self, version: int) -> None:
        """Ask for the counter of a service, until somebody answers."""
        name, end = self.name(version), time.monotonic() + READY_S
        while True:
            before = time.monotonic()
            try:
                found = self._operator.gateway.metric("gateway_requests_total", service=name)
            except (OSError, http.client.HTTPException, AssertionError):
                assert before < end, "nobody tells the counters"
                time.sleep(POLL_S)
                continue
            self.counted.append(Counted(name, before, time.monotonic(), found))
            return

    def _shift(self, release: str, percent: float) -> bool:
        """Do all workers follow it?"""
        answer = self._operator.insist(
            "POST",
            f"releases/{release}/shift",
            {"new": percent},
            {"Idempotency-Key": f"shift-{release}-{percent}"},
        )
        assert answer.status in (200, 202), answer
        return answer.status == 200

    def _pause(self) -> None:
        self._is_over.wait(self._drawn.uniform(0, 0.3))


@dataclass
class Chaos:
    """See the module. The gateway is running, with `backends()`."""

    gateway: Gateway
    application: str
    seed: int
    late_s: float = 1.0
    struck: Counter[str] = field(default_factory=Counter)
    kills: list[Kill] = field(default_factory=list)
    stops: list[Stop] = field(default_factory=list)
    ended: list[float] = field(default_factory=list)
    """When instances were killed."""

    def __post_init__(self) -> None:
        self._drawn = random.Random(f"strikes {self.seed}")
        self._queue: list[str] = []
        self.releasing = Releasing(self.gateway, self.application, self.seed)
        self._load = Load(
            self.gateway.ports["public"],
            self.releasing.host,
            keeping=8,
            per_request=4,
            pause_s=0.04,
            late_s=self.late_s,
            keep_bodies=True,
            seed=self.seed,
        )

    def __enter__(self) -> Self:
        self.releasing.first()
        with ExitStack() as stack:
            stack.enter_context(Doubles(self.gateway, SCALE))
            stack.enter_context(self._load)
            self._stack = stack.pop_all()
        self._load.wait_answers(30)
        self.releasing.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.releasing.finish()
            if kind is None:
                self.gateway.wait_ready()
                self._load.wait_answers(30)
        finally:
            self._stack.__exit__(kind, error, trace)

    # -- striking

    def strike(self) -> None:
        """One process, after a moment: each kind about equally often, in random order."""
        time.sleep(self._drawn.uniform(0.05, 0.8))
        acts: dict[str, Callable[[], None]] = {
            "a worker killed": self._kill_worker,
            "control killed": self._kill_control,
            "a worker and control killed": self._kill_both,
            "an instance killed": self._kill_instance,
            "a worker stopped": self._stop_worker,
            "control stopped": self._stop_control,
        }
        if not self._queue:
            self._queue = self._drawn.sample(list(acts), len(acts))
        what = self._queue.pop()
        acts[what]()
        self.struck[what] += 1

    def _kill_worker(self) -> None:
        self.kills.append(self.gateway.kill_worker(self._victim()))

    def _kill_control(self) -> None:
        pid = self._control()
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def _kill_both(self) -> None:
        slot = self._victim()
        self._kill_control()
        self.kills.append(self.gateway.kill_worker(slot))

    def _kill_instance(self) -> None:
        """One of a service that has another one."""
        found: list[int] = []

        def look() -> bool:
            there = running(self.gateway)
            counts = Counter(id.partition("@")[0] for id in there.values())
            found[:] = [p for p, id in there.items() if counts[id.partition("@")[0]] > 1]
            return bool(found)

        wait_until(look, what="a service with two processes", timeout_s=READY_S)
        pid = self._drawn.choice(sorted(found))
        self.ended.append(time.monotonic())
        with suppress(ProcessLookupError):  # it had just come to its end
            os.kill(pid, signal.SIGKILL)

    def _stop_worker(self) -> None:
        """For a moment, or longer than its siblings wait before they cover it."""
        pid = self.gateway.workers[self._victim()]
        length_s = self._drawn.choice((self._drawn.uniform(0.05, 0.6), 1.6))
        self.gateway.kill(pid, signal.SIGSTOP)
        since = time.monotonic()
        time.sleep(length_s)
        self.gateway.kill(pid, signal.SIGCONT)
        self.stops.append(Stop(since, time.monotonic()))

    def _stop_control(self) -> None:
        pid = self._control()
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            time.sleep(self._drawn.uniform(0.3, 1.5))
            os.kill(pid, signal.SIGCONT)

    def _control(self) -> int:
        wait_until(lambda: self.gateway.control, READY_S, "a control process", 0.005)
        return self.gateway.control

    def _victim(self) -> int:
        """A slot whose worker serves while another one serves too."""
        wait_until(self._all_serve, READY_S, "serving workers")
        return self._drawn.choice(sorted(self.gateway.workers))

    def _all_serve(self) -> bool:
        """Each worker that was ever started has said that it is ready; all live."""
        wanted = self.gateway.config["workers"] + len(self.kills)
        ready = sum(self.gateway.said(f"worker-{slot} is ready") for slot in (0, 1))
        workers = self.gateway.workers
        return (
            ready >= wanted and len(workers) == 2 and all(map(processes.is_alive, workers.values()))
        )

    # -- looking back

    def sort(self) -> Sorted:
        """Tell apart what was struck and what was not."""
        verdict = judge(self._load.records, self.kills)
        on_instances = {r for r in verdict.failed if self._is_instances(r)}
        held = {r for r in verdict.failed if self._is_held(r)}
        excused = on_instances | held
        good = [r for r in self._load.records if r.failure is None]
        return Sorted(
            answered=verdict.answered,
            in_flight=len(verdict.in_flight) + len(on_instances),
            stale=len(verdict.stale),
            held=len(held),
            failed=[r for r in verdict.failed if r not in excused],
            astray=[r for r in good if not self._may_serve(r)],
            longest_s=max(r.end - r.start for r in good),
        )

    def assert_nobody_noticed(self) -> Sorted:
        """No state lost, no wrong version, no request failed that was not on what was struck."""
        found = self.sort()
        assert not found.failed, self._explain(found.failed)
        assert not found.astray, (found.astray[:5], len(found.astray), self.struck)
        self._assert_state()
        self._assert_counters(found)
        return found

    def _explain(self, failed: Sequence[Record]) -> str:
        """All that is known of the moment at which requests failed."""
        log = (self.gateway.folder / "gateway.log").read_text(errors="replace").splitlines()
        parts = (
            f"{len(failed)} failed, struck were {self.struck}",
            *map(str, failed),
            f"stops: {self.stops}",
            f"kills: {self.kills}",
            f"instances ended: {self.ended}",
            f"the clients stood still: {self._load.stood_still}",
            f"the clock said {time.monotonic()} at {time.time()}",
            *log[-200:],
        )
        return "\n".join(parts)

    def _assert_state(self) -> None:
        releasing, gateway = self.releasing, self.gateway
        assert_settled(gateway, releasing.wanted, self.application)
        history = releasing.get(f"releases?application={self.application}&limit=200")["releases"]
        assert len(history) == releasing.begun, "every release is known, and none was begun twice"
        phases = Counter(r["phase"] for r in history)
        first = 1
        assert phases["confirmed"] == releasing.releases["confirm"] + first
        assert phases["rolled_back"] == releasing.releases["rollback"]
        weights = gateway.api.weights(releasing.host)
        assert set(weights) == set(releasing.wanted) and all(weights.values())

    def _assert_counters(self, found: Sorted) -> None:
        """What the gateway counted is what the clients did, but for those under way at kills.

        A killed worker may have answered one request that it did not come to count, and counted
        those whose answer was lost.
        """
        self.releasing.count(self.releasing.version)
        unsure = found.in_flight + found.stale + len(self.kills)
        whole = [r for r in self._load.records if r.status == 200]
        for counted in self.releasing.counted:
            of_it = [r for r in whole if r.service == counted.service]
            at_least = sum(r.end < counted.before for r in of_it) - unsure
            at_most = sum(r.start < counted.after for r in of_it) + unsure
            assert at_least <= counted.requests <= at_most, (at_least, counted, at_most)
        wait_until(lambda: not self.gateway.metric("gateway_in_flight_requests"), what="no work")

    def _is_instances(self, record: Record) -> bool:
        broken = record.failure is Failure.STATUS and record.status in BROKEN
        return (broken or record.failure is Failure.CUT) and any(
            record.start <= at <= record.end for at in self.ended
        )

    def _is_held(self, record: Record) -> bool:
        return record.failure is Failure.LATE and any(
            record.start <= stop.until and stop.since <= record.end <= stop.until + CAUGHT_UP_S
            for stop in self.stops
        )

    def _may_serve(self, record: Record) -> bool:
        named = record.service
        return record.body == named.encode() + b"\n" and named in allowed(
            self.releasing.epochs, record.start, record.end
        )


def allowed(epochs: Iterable[Epoch], begin: float, end: float) -> frozenset[str]:
    """Who may have answered a request that was under way then."""
    found: frozenset[str] = frozenset()
    for epoch in epochs:
        if epoch.since <= begin:
            found = epoch.services
        elif epoch.since <= end:
            found |= epoch.services
    return found
