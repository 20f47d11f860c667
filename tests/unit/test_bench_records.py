"""What the benchmarks count as what: failures, kills, switches, victims."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench import (
    kills,
)
from bench.records import (
    LATE_S,
    Following,
    Kill,
    Outcome,
    Records,
    Request,
    Switch,
    Verdicts,
    follow,
    judge,
)

GOOD = Request(1.0, 1.1, 1.2, 0.9, Outcome.ANSWERED, 1, 4000)


def test_a_late_answer_has_failed() -> None:
    assert not GOOD.has_failed
    assert not replace(GOOD, ended=GOOD.began + LATE_S).has_failed
    assert replace(GOOD, ended=GOOD.began + LATE_S + 0.1).has_failed


@pytest.mark.parametrize("outcome", [o for o in Outcome if o is not Outcome.ANSWERED])
def test_without_a_kill_every_failure_counts(outcome: Outcome) -> None:
    assert judge([GOOD, replace(GOOD, outcome=outcome)], ()) == Verdicts(1, 0, 0, 0)


def test_a_late_answer_counts_although_somebody_was_killed_meanwhile() -> None:
    kill = Kill("worker 0", 1.0, 1.1, frozenset({GOOD.port}))
    assert judge([replace(GOOD, ended=9.0)], [kill]) == Verdicts(1, 1, 0, 0)


def test_a_request_cut_on_the_killed_process_is_counted_apart() -> None:
    kill = Kill("worker 0", 1.05, 1.15, frozenset({GOOD.port}))
    cut = replace(GOOD, outcome=Outcome.CUT)
    assert judge([cut], [kill]) == Verdicts(0, 0, 1, 0)
    assert judge([replace(cut, began=1.16, sent=1.16)], [kill]) == Verdicts(0, 0, 0, 1)


@pytest.mark.parametrize(
    "request_",
    [
        replace(GOOD, outcome=Outcome.CUT, port=4001),
        replace(GOOD, outcome=Outcome.STATUS),
        replace(GOOD, outcome=Outcome.NOT_CONNECTED),
        replace(GOOD, outcome=Outcome.CUT, ended=1.1),
        replace(GOOD, outcome=Outcome.CUT, began=5.0, opened=5.0, ended=5.1),
    ],
    ids=["other connection", "status", "refused", "before the kill", "port used again"],
)
def test_a_kill_excuses_nothing_but_cuts_of_its_own_connections(request_: Request) -> None:
    kill = Kill("worker 0", 1.12, 1.15, frozenset({GOOD.port}))
    assert judge([request_], [kill]) == Verdicts(1, 0, 0, 0)


def test_requests_after_a_switch_must_follow_it() -> None:
    switches = [Switch(10, 11, 2), Switch(20, 21, 1)]

    def one(sent: float, ended: float, service: int) -> Request:
        return Request(sent, sent, ended, 0, Outcome.ANSWERED, service, 1)

    assert follow([one(12, 13, 2), one(22, 23, 1)], switches) == Following(2, 0)
    assert follow([one(12, 13, 1), one(22, 23, 2)], switches) == Following(2, 2)
    before_any = one(1, 2, 2)
    while_asked = one(10.5, 10.6, 1)
    into_the_next = one(19, 20.5, 1)
    assert follow([before_any, into_the_next], switches) == Following(0, 0)
    assert follow([while_asked], switches[:1]) == Following(0, 0)
    failed = replace(one(12, 13, 1), outcome=Outcome.CUT)
    assert follow([failed], switches) == Following(0, 0)


def test_records_keep_requests_whole() -> None:
    kept, others = Records(), Records()
    for record in (GOOD, replace(GOOD, outcome=Outcome.CUT, port=65535)):
        kept.add(record)
    others.add(replace(GOOD, service=2))
    kept.extend(others)
    assert len(kept) == 3
    assert next(iter(kept)) == GOOD
    assert list(kept)[1].outcome is Outcome.CUT
    assert kept.seconds() == pytest.approx([0.2, 0.2])
    assert kept.seconds(since=2.0) == []


def test_victims_come_about_equally_often_in_an_order_that_can_be_repeated() -> None:
    victims = kills.order(20)
    assert len(victims) == 20
    counts = [victims.count(role) for role in set(victims)]
    assert len(counts) == 3
    assert max(counts) - min(counts) <= 1
    assert victims == kills.order(20)
    assert victims != sorted(victims)
