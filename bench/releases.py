"""Does anybody notice a hundred releases, and is one ever lost with its control process?

First releases in turn, confirmed and rolled back alternately, half of them shifted step by
step and half at once, under load. Then releases during each of which the control process is
killed at a random moment: each must end as its operator asked for, and leave exactly the
processes of the version that stays.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from gateway.core.release import Phase

from .clients import Plan
from .gateway import Gateway, gateway
from .heads import browser_heads
from .load import Load
from .records import Records, judge
from .results import Figure, Findings, Scope
from .retirements import Retirement, farewells
from .shop import HOST, Operator, Shop, Stuck, a_shop, after
from .stats import percentile

RELEASES = 100
QUICK_RELEASES = 6
KILLS = 20
QUICK_KILLS = 3
WORKERS = 2
KEPT = 4
FRESH = 4
PAUSE_S = 0.005
"""The mean pause of a client."""
HEADS = 256
LOOK_S = (0.0, 0.1)
"""How long the operator looks at all traffic on the new version before the decision."""
SAMPLE_S = 0.1
SEED = 3
VERBS = {"confirm": Phase.CONFIRMED, "rollback": Phase.ROLLED_BACK}
STEPS = {"blue-green": (100,), "gray": (20, 60, 100)}
OVER = (Phase.CONFIRMED, Phase.ROLLED_BACK)


@dataclass(slots=True)
class Story:
    """What happened in a series of releases."""

    version: int = 1
    """The one that serves."""
    next: int = 2
    verbs: list[str] = field(default_factory=list)
    retirements: list[Retirement] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    """What each release took."""
    otherwise: int = 0
    """Releases that did not end as they were asked to."""
    stuck: int = 0
    orphans: int = 0
    doubles: int = 0


@contextmanager
def scene(scope: Scope, name: str) -> Iterator[tuple[Gateway, Shop]]:
    """A gateway that serves the first version."""
    folder = scope.folder / name
    folder.mkdir()
    shop = a_shop()
    with gateway(folder, WORKERS, **shop.settings) as front:
        operator = Operator(front.api)
        operator.wait(operator.deploy(1, "standard", "first"), *OVER)
        front.wait_answer(HOST)
        yield front, shop


def plan(front: Gateway) -> Plan:
    """Eight clients, of which four keep their connection."""
    return Plan(
        port=front.port,
        kept=KEPT,
        fresh=FRESH,
        kept_heads=browser_heads(HOST, HEADS),
        fresh_heads=browser_heads(HOST, HEADS, close=True),
        pause_s=PAUSE_S,
    )


def release(operator: Operator, story: Story, number: int, look_s: float) -> None:
    """One release of the next version, from its deployment to its end."""
    verb = ("confirm", "rollback")[number % 2]
    strategy = ("blue-green", "gray")[number // 2 % 2]
    old, new = story.version, story.next
    began = time.monotonic()
    id = operator.deploy(new, strategy, f"release {number}")
    operator.wait(id, Phase.PENDING_CONFIRMATION, *OVER)
    for percent in STEPS[strategy]:
        operator.shift(id, percent)
    time.sleep(look_s)
    asked = time.monotonic()
    operator.decide(id, verb)
    answered = time.monotonic()
    end = operator.wait(id, *OVER)
    story.seconds.append(time.monotonic() - began)
    story.verbs.append(verb)
    story.otherwise += end is not VERBS[verb]
    story.version = new if end is Phase.CONFIRMED else old
    retired = old if end is Phase.CONFIRMED else new
    story.retirements.append(Retirement(asked, answered, retired))
    story.next = after(new)


def bounded(retirements: list[Retirement]) -> list[Retirement]:
    """Each until its service's number may be another one's: nine releases later, and some."""
    found = []
    for place, one in enumerate(retirements):
        later = retirements[place + 6 : place + 7]
        until = later[0].asked if later else one.until
        found.append(Retirement(one.asked, one.answered, one.service, until))
    return found


# --- in turn ---------------------------------------------------------------------------


def in_turn(scope: Scope, count: int) -> tuple[Story, Records]:
    """Releases one after the other."""
    drawn = random.Random(SEED)
    story = Story()
    with scene(scope, "in turn") as (front, _), Load(plan(front)) as load:
        operator = Operator(front.api)
        for number in range(count):
            release(operator, story, number, drawn.uniform(*LOOK_S))
            scope.say(f"{number + 1} released")
        return story, load.stop()


# --- with kills ------------------------------------------------------------------------


class Watch:
    """Counts, all the time, versions that have more processes than they should."""

    def __init__(self, shop: Shop) -> None:
        self.doubles = 0
        self._shop = shop
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._is_over.wait(SAMPLE_S):
            self.doubles += sum(count > 1 for count in self._shop.running().values())


def kill_control(front: Gateway, killed: list[int]) -> None:
    """Kill whoever is the control process now, and note it; nobody if there is none just now."""
    pid = front.control_pid()
    if pid is not None:
        os.kill(pid, signal.SIGKILL)
        killed.append(pid)


@dataclass(frozen=True, slots=True)
class Killed:
    """What came of releases whose control process was killed."""

    story: Story
    records: Records
    delays: list[float]
    """Seconds from the begin of each release to its kill."""
    kills: int


def with_kills(scope: Scope, count: int, usual_s: float) -> Killed:
    """Releases during which the control process dies, up to `usual_s` after their begin."""
    drawn = random.Random(SEED)
    story = Story()
    killed: list[int] = []
    delays = [drawn.uniform(0, usual_s) for _ in range(count)]
    with (
        scene(scope, "with kills") as (front, shop),
        Watch(shop) as watch,
        Load(plan(front)) as load,
    ):
        operator = Operator(front.api, accepts_late=True)
        for number, delay in enumerate(delays):
            timer = threading.Timer(delay, kill_control, (front, killed))
            timer.start()
            try:
                release(operator, story, number, drawn.uniform(*LOOK_S))
            except Stuck:
                story.stuck += 1
                break  # nothing can be released until somebody helps
            finally:
                timer.join()
            left = shop.running()
            left.subtract({story.version: 1})
            story.orphans += sum(abs(n) for n in left.values())
            scope.say(f"{number + 1} killed")
        records = load.stop()
        story.doubles = watch.doubles
    return Killed(story, records, delays, len(killed))


# --- both ------------------------------------------------------------------------------


def run(scope: Scope) -> Findings:
    """See the module."""
    story, records = in_turn(scope, QUICK_RELEASES if scope.quick else RELEASES)
    went = farewells(records, bounded(story.retirements))
    back_s = [f.last_s for f, verb in zip(went, story.verbs, strict=True) if verb == "rollback"]
    count = len(story.seconds)
    usual_s = percentile(story.seconds, 50)
    killed = with_kills(scope, QUICK_KILLS if scope.quick else KILLS, usual_s)
    return Findings(
        (
            Figure(
                "releases in turn",
                count,
                note=f"{story.verbs.count('confirm')} confirmed, "
                f"{story.verbs.count('rollback')} rolled back",
            ),
            Figure("ended otherwise than asked for", story.otherwise, promise=0),
            Figure(
                "requests",
                len(records),
                note=f"{KEPT} kept connections, {FRESH} clients with a new one each",
            ),
            Figure(
                "failed requests",
                judge(records, ()).failed,
                promise=0,
                note="or answered later than 1 s",
            ),
            Figure(
                "served by a retired version",
                sum(f.late for f in went),
                promise=0,
                note="sent after the answer of confirm or rollback",
            ),
            Figure("releases per minute", 60 * count / sum(story.seconds)),
            Figure(
                "rollback to the last request of the new version, median",
                1e3 * percentile(back_s, 50),
                "ms",
                note=f"of {len(back_s)}, from the call",
            ),
            Figure("the same, longest", 1e3 * max(back_s), "ms"),
            Figure("releases during which the control process was killed", killed.kills),
            Figure("stuck releases", killed.story.stuck, promise=0, note="not over within 30 s"),
            Figure("ended otherwise, with kills", killed.story.otherwise, promise=0),
            Figure(
                "orphans, or versions without their process",
                killed.story.orphans,
                promise=0,
                note="looked for after each release",
            ),
            Figure(
                "two processes for one",
                killed.story.doubles,
                promise=0,
                note="looked for all the time",
            ),
            Figure(
                "failed requests meanwhile",
                judge(killed.records, ()).failed,
                promise=0,
                note=f"of {len(killed.records):,}",
            ),
        ),
        {
            "requests_per_s": round(records.per_second),
            "seconds": [round(s, 3) for s in story.seconds],
            "seconds_with_kills": [round(s, 3) for s in killed.story.seconds],
            "killed_after_s": [round(s, 3) for s in killed.delays],
            "rollback_to_last_ms": [round(1e3 * s, 2) for s in back_s],
            "confirm_to_last_ms": [
                round(1e3 * f.last_s, 2)
                for f, verb in zip(went, story.verbs, strict=True)
                if verb == "confirm"
            ],
        },
    )
