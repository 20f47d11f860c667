"""Is a release ever lost with the control process, or a program of it?

Releases during each of which the control process is killed at a random moment: each must
end as its operator asked for, and leave exactly the process of the version that stays.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from dataclasses import dataclass

from .gateway import Gateway
from .load import Load
from .passages import LOOK_S, Stage, Story, plan, release, scene
from .records import Records
from .results import Scope
from .shop import Operator, Shop, Stuck

BLOW_S = (0.0, 0.15)
KILLS_AT_ONCE = 5
"""Of one gateway: restarts back off, so that more of them would mostly be waiting."""
SAMPLE_S = 0.1
SEED = 3


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


@dataclass(frozen=True, slots=True)
class Blow:
    """When the control process is killed: so long after a stage of the release begins."""

    stage: Stage
    after_s: float


def blows(count: int, seed: int = SEED) -> list[Blow]:
    """Each stage about equally often, in random order; the same ones for the same seed."""
    drawn = random.Random(seed)
    stages = (list(Stage) * (count // len(Stage) + 1))[:count]
    drawn.shuffle(stages)
    return [Blow(stage, drawn.uniform(*BLOW_S)) for stage in stages]


def kill_control(front: Gateway) -> None:
    """Kill the control process; the next one if there is none just now."""
    while (pid := front.control_pid()) is None:
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)


def with_kills(scope: Scope, planned: list[Blow]) -> tuple[Story, Records]:
    """Releases of one gateway, during each of which the control process dies once."""
    drawn = random.Random(SEED)
    story = Story()
    with (
        scene(scope) as (front, shop),
        Watch(shop) as watch,
        Load(plan(front)) as load,
    ):
        operator = Operator(front.api, accepts_late=True)
        for number, blow in enumerate(planned):
            timer = threading.Timer(blow.after_s, kill_control, (front,))

            def at(stage: Stage, blow: Blow = blow, timer: threading.Timer = timer) -> None:
                if stage is blow.stage:
                    timer.start()

            try:
                release(operator, story, number, drawn.uniform(*LOOK_S), at)
                timer.join()
            except Stuck:
                story.stuck += 1
                break  # nothing can be released until somebody helps
            left = shop.running()
            left.subtract({story.version: 1})
            story.orphans += sum(abs(n) for n in left.values())
            story.kills += 1
        records = load.stop()
        story.doubles = watch.doubles
    return story, records


def series(scope: Scope, count: int) -> tuple[list[Story], Records]:
    """So many kills, a few to each gateway."""
    planned = blows(count)
    stories: list[Story] = []
    records = Records()
    for begin in range(0, count, KILLS_AT_ONCE):
        scope.say(f"{begin} killed")
        story, during = with_kills(scope, planned[begin : begin + KILLS_AT_ONCE])
        stories.append(story)
        records.extend(during)
    return stories, records
