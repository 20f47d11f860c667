"""One release of the shop from its deployment to its end, and what is written down of it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from gateway.core.release import Phase

from .clients import Plan
from .gateway import Gateway, gateway
from .heads import browser_heads
from .results import Scope
from .retirements import Retirement
from .shop import HOST, Operator, Shop, a_shop, after

WORKERS = 2
KEPT = 4
FRESH = 4
PAUSE_S = 0.005
"""The mean pause of a client."""
HEADS = 256
LOOK_S = (0.0, 0.1)
"""How long the operator looks at all traffic on the new version before the decision."""
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
    kills: int = 0


@contextmanager
def scene(scope: Scope) -> Iterator[tuple[Gateway, Shop]]:
    """A gateway that serves the first version."""
    folder = Path(tempfile.mkdtemp(dir=scope.folder))
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


class Stage(StrEnum):
    """What the operator of a release is about to do."""

    DEPLOY = "deploy"
    WAIT_HEALTHY = "wait until it is healthy"
    SHIFT = "shift"
    DECIDE = "confirm or roll back"
    WAIT_OVER = "wait until it is over"


def release(
    operator: Operator,
    story: Story,
    number: int,
    look_s: float,
    at: Callable[[Stage], None] = lambda stage: None,
) -> None:
    """One release of the next version, from its deployment to its end.

    `at` is told each stage as it begins.
    """
    verb = ("confirm", "rollback")[number % 2]
    strategy = ("blue-green", "gray")[number // 2 % 2]
    old, new = story.version, story.next
    began = time.monotonic()
    at(Stage.DEPLOY)
    id = operator.deploy(new, strategy, f"release {number}")
    at(Stage.WAIT_HEALTHY)
    operator.wait(id, Phase.PENDING_CONFIRMATION, *OVER)
    at(Stage.SHIFT)
    for percent in STEPS[strategy]:
        operator.shift(id, percent)
    time.sleep(look_s)
    at(Stage.DECIDE)
    asked = time.monotonic()
    operator.decide(id, verb)
    answered = time.monotonic()
    at(Stage.WAIT_OVER)
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
