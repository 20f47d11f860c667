"""How a release begins: new services beside the old ones, joined to their routes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.commands import SetRoutePolicy
from gateway.core.decide import decide
from gateway.core.errors import Code
from gateway.core.model import AffinityPolicy, RouteId, RoutePolicy
from gateway.core.release import Colour, ConfirmMode, OnDeadline, Phase, Strategy, Template
from gateway.core.state import State
from tests.support.releases import APP, DEADLINE_S, Stage, by_hand, service, sid, start

V1 = service("v1", "shop.example")
V2 = service("v2", "shop.example", coexist=True)


# --- what a release remembers ------------------------------------------------------------


def test_a_release_remembers_all_that_was_asked() -> None:
    command = replace(
        start(V1, V2, strategy=Strategy.CANARY, now=7.0, on_deadline=OnDeadline.HOLD, key="k"),
        reason="why not",
        warnings=("odd label",),
    )
    release = decide(State(), command, Stage().observed).state.releases["shop-1"]
    assert release.application == APP
    assert (release.strategy, release.phase) == (Strategy.CANARY, Phase.RELEASING)
    assert (release.created, release.deadline) == (7.0, 7.0 + DEADLINE_S)
    assert release.on_deadline is OnDeadline.HOLD
    assert release.template == Template((V1, V2), "the text")
    assert release.previous is None
    assert release.key == "k"
    assert release.warnings[0] == "odd label"
    [entry] = release.timeline
    assert (entry.time, entry.phase, entry.by, entry.reason) == (
        7.0,
        Phase.RELEASING,
        "op",
        "why not",
    )


def test_releases_of_an_application_are_counted() -> None:
    stage = Stage()
    stage.begin(V1)
    assert stage.deploy(V1, V2).id == "shop-2"
    stage.rollback()
    stage.end()
    assert stage.deploy(V1, V2).id == "shop-3"
    assert stage.deploy(service("w", app="other"), app="other").id == "other-1"


def test_a_template_needs_a_service() -> None:
    with Stage().refuses(Code.INVALID, "at least one service"):
        Stage().deploy()


# --- first deployment -------------------------------------------------------------------


def test_the_first_deployment_has_all_of_its_routes_and_no_operator_is_asked() -> None:
    stage = Stage()
    release = stage.deploy(service("a", "a.example"), service("b", "b.example", "b.example/x"))
    assert release.phase is Phase.RELEASING
    assert stage.weights("a.example") == {"a": 100}
    assert stage.weights("b.example") == {"b": 100}
    assert stage.weights("b.example/x") == {"b": 100}, "both are new: nothing is captured"
    assert not stage.route("b.example/x").is_held
    stage.drive()
    assert stage.phase() is Phase.RELEASING, "nothing is healthy yet"
    stage.all_healthy()
    stage.drive()
    assert stage.phase() is Phase.CONFIRMED
    application = stage.state.applications[APP]
    assert application.template == release.template
    assert (application.previous, application.release) == (None, None)


def test_of_two_on_one_new_route_the_one_without_the_mark_has_all_of_it() -> None:
    stage = Stage()
    stage.deploy(service("b", "shop.example", coexist=True), service("a", "shop.example"))
    assert stage.weights() == {"b": 0, "a": 100}


def test_of_marked_ones_only_the_first_has_all_of_it() -> None:
    stage = Stage()
    stage.deploy(
        service("a", "shop.example", coexist=True), service("b", "shop.example", coexist=True)
    )
    assert stage.weights() == {"a": 100, "b": 0}


def test_a_marked_one_joins_a_route_of_others_with_0() -> None:
    stage = Stage()
    stage.do(by_hand("x", "shop.example"))
    stage.begin(service("a", "shop.example", coexist=True))
    assert stage.weights() == {"-/x": 100, "a": 0}


def test_a_first_deployment_that_is_late_leaves_nothing_behind() -> None:
    stage = Stage()
    stage.deploy(V1)
    stage.now += DEADLINE_S - 0.1
    stage.drive()
    assert stage.phase() is Phase.RELEASING
    stage.now += 0.1
    stage.drive()
    assert stage.phase() is Phase.ROLLING_BACK
    stage.end()
    assert stage.phase() is Phase.ROLLED_BACK
    assert (stage.state.services, stage.state.routes, stage.state.applications) == ({}, {}, {})
    assert stage.deploy(V1).id == "shop-2", "the history stays, so does the count"


def test_a_first_deployment_may_wait_on_when_it_is_late() -> None:
    stage = Stage()
    stage.do(start(V1, now=stage.now, on_deadline=OnDeadline.HOLD))
    stage.now += 10 * DEADLINE_S
    stage.drive()
    assert stage.phase() is Phase.RELEASING
    stage.all_healthy()
    stage.drive()
    assert stage.phase() is Phase.CONFIRMED


def test_a_first_deployment_opens_its_held_routes_when_it_is_done() -> None:
    stage = Stage()
    stage.do(by_hand("x", "shop.example"))
    stage.deploy(service("a", "shop.example/api"))
    assert stage.route("shop.example/api").is_held
    stage.all_healthy()
    stage.drive()
    assert stage.phase() is Phase.CONFIRMED
    assert not stage.route("shop.example/api").is_held
    assert stage.weights("shop.example/api") == {"a": 100}


# --- joining ----------------------------------------------------------------------------


def test_new_services_join_with_0_whatever_the_strategy() -> None:
    for strategy in Strategy:
        stage = Stage()
        stage.begin(V1)
        release = stage.deploy(V2, strategy=strategy)
        assert stage.weights() == {"v1": 100, "v2": 0}
        assert release.colours == {"v2": Colour.GREEN, "v1": Colour.BLUE}
        assert release.before == {"shop.example": {sid("v1"): 100}}


def test_unchanged_services_run_on_untouched() -> None:
    stage = Stage()
    stage.begin(V1, service("w", "w.example"))
    before = stage.state
    stage.deploy(V2, service("w", "w.example", scale=9, coexist=True))
    assert stage.state.services[sid("w")] is before.services[sid("w")]
    assert stage.route("w.example") is before.routes[RouteId("w.example")]


def test_a_new_route_that_captures_nothing_is_open_at_once() -> None:
    stage = Stage()
    stage.begin(V1)
    stage.deploy(V1, service("n", "new.example"))
    assert stage.weights("new.example") == {"n": 100}
    assert not stage.route("new.example").is_held


@pytest.mark.parametrize(
    ("there", "new"),
    [
        ("shop.example", "shop.example/api"),
        ("*.example", "shop.example"),
        ("*.example", "*.shop.example"),
        ("*.example/a", "shop.example/a/b"),
    ],
)
def test_a_new_route_in_front_of_another_is_held_back_and_says_so(there: str, new: str) -> None:
    stage = Stage()
    stage.begin(service("v1", there))
    release = stage.deploy(service("v1", there), service("n", new, coexist=True))
    assert stage.route(new).is_held
    assert stage.weights(new) == {"n": 0}
    assert any(f"{new} would take requests that {there} serves" in w for w in release.warnings)


def test_an_empty_route_that_only_has_a_policy_is_joined_like_a_new_one() -> None:
    policy = RoutePolicy(AffinityPolicy(enabled=False))
    stage = Stage()
    stage.do(SetRoutePolicy("shop.example", "/", policy))
    stage.begin(V1)
    assert stage.weights() == {"v1": 100}
    assert stage.route("shop.example").policy == policy


def test_two_new_services_share_a_held_route() -> None:
    stage = Stage()
    stage.begin(V1)
    stage.deploy(
        V1,
        service("a", "shop.example/x", coexist=True),
        service("b", "shop.example/x"),
    )
    stage.all_healthy()
    stage.drive()
    assert stage.weights("shop.example/x") == {"a": 0, "b": 0}
    stage.shift(1)
    assert stage.weights("shop.example/x") == {"a": 0, "b": 100}
    assert not stage.route("shop.example/x").is_held


# --- one at a time ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "phase", [Phase.RELEASING, Phase.PENDING_CONFIRMATION, Phase.CONFIRMING, Phase.ROLLING_BACK]
)
def test_while_one_is_in_flight_the_next_is_refused_with_its_id(phase: Phase) -> None:
    stage = Stage()
    stage.begin(V1)
    stage.deploy(V2)
    if phase is not Phase.RELEASING:
        stage.all_healthy()
        stage.drive()
    if phase is Phase.CONFIRMING:
        stage.confirm(ConfirmMode.FORCE)
    if phase is Phase.ROLLING_BACK:
        stage.rollback()
    assert stage.phase() is phase
    with stage.refuses(Code.RELEASE_IN_PROGRESS, "shop-2", phase.value):
        stage.deploy(V1, V2)


def test_another_application_is_released_meanwhile() -> None:
    stage = Stage()
    stage.begin(V1)
    stage.deploy(V2)
    stage.deploy(service("w", app="other"), app="other")
    assert {r.id for r in stage.state.releases.values() if not r.phase.is_over} == {
        "shop-2",
        "other-1",
    }


def test_the_same_key_gives_the_release_it_began() -> None:
    stage = Stage()
    stage.begin(V1)
    stage.do(start(V2, key="once"))
    before = stage.state
    again = stage.do(start(V2, key="once"))
    assert stage.state is before
    assert again.warnings == stage.flying().warnings
    stage.rollback()
    stage.end()
    before = stage.state
    stage.do(start(V2, key="once"))
    assert stage.state is before, "an answer that comes late is still the same answer"
    stage.do(start(V2, key="twice"))
    assert stage.flying().id == "shop-3"


def test_a_key_is_one_applications_own() -> None:
    stage = Stage()
    stage.do(start(V1, key="once"))
    stage.do(start(service("w", app="other"), app="other", key="once"))
    assert stage.flying("other").id == "other-1"


# --- back ------------------------------------------------------------------------------


def test_a_reverse_release_deploys_the_template_before() -> None:
    stage = Stage()
    stage.begin(V1)
    first = stage.state.applications[APP].template
    stage.release(V2)
    stage.shift(100)
    stage.confirm()
    stage.end()
    assert stage.state.applications[APP].previous == first
    release = stage.deploy(previous=True)
    assert release.template == first
    assert release.colours == {"v1": Colour.GREEN, "v2": Colour.BLUE}
    assert stage.weights() == {"v2": 100, "v1": 0}


def test_without_a_template_before_there_is_no_way_back() -> None:
    stage = Stage()
    with stage.refuses(Code.NOT_FOUND, "no template before"):
        stage.deploy(previous=True)
    stage.begin(V1)
    with stage.refuses(Code.NOT_FOUND, "no template before"):
        stage.deploy(previous=True)
    stage.release(V2)
    stage.rollback()
    stage.end()
    with stage.refuses(Code.NOT_FOUND, "no template before"):
        stage.deploy(previous=True)


# --- history ---------------------------------------------------------------------------


def test_the_history_is_bounded_and_what_is_in_flight_stays() -> None:
    stage = Stage()
    stage.begin(V1)
    stage.deploy(service("w", app="other"), app="other")
    for n in range(6):
        stage.do(start(V2, keep=3, now=float(n)))
        stage.rollback()
        stage.end()
    over = [r.id for r in stage.state.releases.values() if r.phase.is_over]
    assert over == ["shop-4", "shop-5", "shop-6", "shop-7"]
    assert "other-1" in stage.state.releases
    stage.do(start(V2, keep=3))
    assert stage.flying().id == "shop-8"


def test_an_id_is_never_given_twice_though_the_history_forgets() -> None:
    stage = Stage()
    stage.begin(V1)
    stage.release(V2)
    stage.confirm(ConfirmMode.FORCE)
    stage.end()
    stage.begin(service("w", app="other"), app="other")
    for n in range(3):  # another application's releases fill the history
        stage.do(
            start(service("w", app="other"), service(f"w{n}", app="other"), app="other", keep=1)
        )
        stage.rollback(app="other")
        stage.end()
    assert stage.deploy(V1).id == "shop-3"
