"""Does anybody notice a hundred releases, and is one ever lost with its control process?

First releases in turn, confirmed and rolled back alternately, half of them shifted step by
step and half at once, under load. Then releases during each of which the control process is
killed at a random moment: each must end as its operator asked for, and leave exactly the
processes of the version that stays.
"""

from __future__ import annotations

import random

from .load import Load
from .passages import FRESH, KEPT, LOOK_S, Story, bounded, plan, release, scene
from .records import Records, judge
from .release_kills import blows, series
from .results import Figure, Findings, Scope
from .retirements import farewells
from .shop import Operator
from .stats import percentile

RELEASES = 100
QUICK_RELEASES = 6
KILLS = 20
QUICK_KILLS = 3
SEED = 3


def in_turn(scope: Scope, count: int) -> tuple[Story, Records]:
    """Releases one after the other."""
    drawn = random.Random(SEED)
    story = Story()
    with scene(scope) as (front, _), Load(plan(front)) as load:
        operator = Operator(front.api)
        for number in range(count):
            release(operator, story, number, drawn.uniform(*LOOK_S))
            scope.say(f"{number + 1} released")
        return story, load.stop()


def run(scope: Scope) -> Findings:
    """See the module."""
    story, records = in_turn(scope, QUICK_RELEASES if scope.quick else RELEASES)
    went = farewells(records, bounded(story.retirements))
    back_s = [f.last_s for f, verb in zip(went, story.verbs, strict=True) if verb == "rollback"]
    count = len(story.seconds)
    kills = QUICK_KILLS if scope.quick else KILLS
    killed, meanwhile = series(scope, kills)
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
            Figure(
                "releases during which the control process was killed", sum(k.kills for k in killed)
            ),
            Figure(
                "stuck releases",
                sum(k.stuck for k in killed),
                promise=0,
                note="not over within 30 s",
            ),
            Figure("ended otherwise, with kills", sum(k.otherwise for k in killed), promise=0),
            Figure(
                "orphans, or versions without their process",
                sum(k.orphans for k in killed),
                promise=0,
                note="looked for after each release",
            ),
            Figure(
                "two processes for one",
                sum(k.doubles for k in killed),
                promise=0,
                note="looked for all the time",
            ),
            Figure(
                "failed requests meanwhile",
                judge(meanwhile, ()).failed,
                promise=0,
                note=f"of {len(meanwhile):,}",
            ),
        ),
        {
            "requests_per_s": round(records.per_second),
            "seconds": [round(s, 3) for s in story.seconds],
            "seconds_with_kills": [round(s, 3) for k in killed for s in k.seconds],
            "killed": [f"{b.stage.value} + {1e3 * b.after_s:.0f} ms" for b in blows(kills)],
            "rollback_to_last_ms": [round(1e3 * s, 2) for s in back_s],
            "confirm_to_last_ms": [
                round(1e3 * f.last_s, 2)
                for f, verb in zip(went, story.verbs, strict=True)
                if verb == "confirm"
            ],
        },
    )
