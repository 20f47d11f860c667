"""The table of phases: total, one-way, and refusing with the way out."""

from __future__ import annotations

import pytest

from gateway.core.errors import Code, Refused
from gateway.core.phases import TABLE, VERBS, Event, diagram, illegal, step, verbs
from gateway.core.release import Phase

P, E = Phase, Event

MOVES = {
    (P.RELEASING, E.HEALTHY): P.PENDING_CONFIRMATION,
    (P.RELEASING, E.DEPLOYED): P.CONFIRMED,
    (P.RELEASING, E.EXPIRED): P.ROLLING_BACK,
    (P.RELEASING, E.ROLLBACK): P.ROLLING_BACK,
    (P.PENDING_CONFIRMATION, E.CONFIRM): P.CONFIRMING,
    (P.PENDING_CONFIRMATION, E.ROLLBACK): P.ROLLING_BACK,
    (P.CONFIRMING, E.ROLLBACK): P.ROLLING_BACK,
    (P.CONFIRMING, E.OLD_GONE): P.CONFIRMED,
    (P.ROLLING_BACK, E.NEW_GONE): P.ROLLED_BACK,
}
"""Every change of phase there is, written down a second time."""

LEGAL = {
    P.RELEASING: (E.SHIFT, E.ROLLBACK),
    P.PENDING_CONFIRMATION: (E.SHIFT, E.CONFIRM, E.ROLLBACK),
    P.CONFIRMING: (E.ROLLBACK,),
    P.ROLLING_BACK: (),
    P.CONFIRMED: (),
    P.ROLLED_BACK: (),
}

ORDER = list(Phase)


@pytest.mark.parametrize("event", Event)
@pytest.mark.parametrize("phase", Phase)
def test_every_pair_of_phase_and_event_has_its_row(phase: Phase, event: Event) -> None:
    expected: Phase | None = MOVES.get((phase, event), phase)
    if event in VERBS and event not in LEGAL[phase]:
        expected = None
    assert TABLE[phase, event] is expected


def test_there_is_no_row_beyond_the_pairs() -> None:
    assert set(TABLE) == {(phase, event) for phase in Phase for event in Event}


@pytest.mark.parametrize("phase", Phase)
def test_the_verbs_of_a_phase_are_those_that_it_allows(phase: Phase) -> None:
    assert verbs(phase) == LEGAL[phase]


@pytest.mark.parametrize(
    ("phase", "verb"), [(p, v) for p in Phase for v in VERBS if v not in LEGAL[p]]
)
def test_an_illegal_verb_is_refused_naming_phase_and_legal_verbs(phase: Phase, verb: Event) -> None:
    with pytest.raises(Refused) as caught:
        step("hello-3", phase, verb)
    refusal = caught.value
    assert refusal.code is Code.ILLEGAL_TRANSITION
    assert refusal.status == 409
    assert f"hello-3 is {phase.value}" in refusal.detail
    assert verb.value in refusal.detail
    legal = [v.value for v in LEGAL[phase]]
    assert refusal.extra == {"release": "hello-3", "phase": phase.value, "legal": legal}
    if phase.is_over:
        assert "deploy a template, or the one before" in refusal.detail
    else:
        assert (", ".join(legal) or "nothing is possible now") in refusal.detail


def test_a_refusal_may_name_another_way_out() -> None:
    refusal = illegal("hello-3", P.CONFIRMING, "it is too late", "deploy the one before")
    assert refusal.detail == "hello-3 is confirming: it is too late; deploy the one before"


@pytest.mark.parametrize(("phase", "event"), MOVES)
def test_a_step_gives_the_phase_that_follows(phase: Phase, event: Event) -> None:
    assert step("hello-3", phase, event) is MOVES[phase, event]


def test_phases_never_go_back() -> None:
    for (phase, _), after in TABLE.items():
        if after is not None and after is not phase:
            assert ORDER.index(after) > ORDER.index(phase)


def test_what_is_over_stays_as_it_is_whatever_is_observed() -> None:
    for phase in (P.CONFIRMED, P.ROLLED_BACK):
        assert phase.is_over
        assert all(step("hello-3", phase, event) is phase for event in Event if event not in VERBS)


def test_every_phase_is_reached_and_every_one_can_end() -> None:
    reached, frontier = {P.RELEASING}, [P.RELEASING]
    while frontier:
        phase = frontier.pop()
        for event in Event:
            after = TABLE[phase, event]
            if after is not None and after not in reached:
                reached.add(after)
                frontier.append(after)
    assert reached == set(Phase)
    for phase in Phase:
        assert phase.is_over or any(before is phase for before, _ in MOVES)


def test_the_diagram_shows_every_change_of_phase_and_nothing_else() -> None:
    lines = [line.strip() for line in diagram().splitlines()]
    assert lines[0] == "stateDiagram-v2"
    assert lines[1] == "[*] --> releasing"
    moves = [f"{before} --> {after}: {event}" for (before, event), after in MOVES.items()]
    ends = ["confirmed --> [*]", "rolled_back --> [*]"]
    assert sorted(lines[2:]) == sorted(moves + ends)
