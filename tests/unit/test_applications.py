"""Applications as a whole: scaled, and removed without anything left behind."""

from __future__ import annotations

import pytest

from gateway.core.commands import (
    FinishRemoval,
    ForgetApplication,
    PutService,
    RemoveApplication,
    RemoveService,
    ScaleService,
    SetRoutePolicy,
)
from gateway.core.errors import Code
from gateway.core.model import AffinityPolicy, RoutePolicy
from gateway.core.phases import Event
from gateway.core.release import ConfirmMode, Phase
from tests.support.releases import APP, Stage, by_hand, service, sid

V1 = service("v1", "shop.example")
V2 = service("v2", "shop.example", coexist=True)


def remove(stage: Stage, *, force: bool = False, drain_s: float | None = None) -> tuple[str, ...]:
    return stage.do(RemoveApplication(APP, stage.now, "op", force, drain_s)).warnings


def at(phase: Phase) -> Stage:
    stage = Stage()
    stage.begin(V1, service("w", "w.example"))
    stage.deploy(V2, service("w", "w.example"))
    if phase is not Phase.RELEASING:
        stage.all_healthy()
        stage.drive()
    if phase is Phase.CONFIRMING:
        stage.confirm(ConfirmMode.FORCE)
    if phase is Phase.ROLLING_BACK:
        stage.rollback()
    assert stage.phase() is phase
    return stage


# --- scaling ---------------------------------------------------------------------------


def test_a_service_is_scaled_by_its_short_name_and_nothing_else_changes() -> None:
    stage = Stage()
    stage.begin(V1, service("w", "w.example"))
    before = stage.state
    stage.do(ScaleService("v1", 3))
    assert stage.state.services[sid("v1")].scale == 3
    assert stage.state.services[sid("w")] is before.services[sid("w")]
    assert stage.state.routes is before.routes
    before = stage.state
    stage.do(ScaleService("shop/v1", 3))
    assert stage.state is before


@pytest.mark.parametrize("scale", [0, -1, 1001, True, 1.5])
def test_a_service_has_from_1_to_1000_instances(scale: int) -> None:
    stage = Stage()
    stage.begin(V1)
    with stage.refuses(Code.INVALID, "1 to 1000"):
        stage.do(ScaleService("v1", scale))
    stage.do(ScaleService("v1", 1000))


def test_what_is_not_started_here_is_not_scaled_here() -> None:
    stage = Stage()
    stage.begin(service("e", "e.example", endpoints=("10.0.0.1:80",)))
    with stage.refuses(Code.IN_USE, "its instances are its endpoints"):
        stage.do(ScaleService("e", 2))


def test_what_is_leaving_is_not_scaled() -> None:
    stage = at(Phase.CONFIRMING)
    with stage.refuses(Code.IN_USE, "being removed"):
        stage.do(ScaleService("v1", 2))
    with stage.refuses(Code.NOT_FOUND):
        stage.do(ScaleService("v9", 2))


# --- services of applications ------------------------------------------------------------


def test_a_service_of_an_application_is_not_changed_by_hand() -> None:
    stage = Stage()
    stage.begin(V1)
    with stage.refuses(Code.IN_USE, "belongs to the application 'shop'"):
        stage.do(PutService(V1))
    with stage.refuses(Code.IN_USE, "belongs to the application 'shop'"):
        stage.do(RemoveService("v1"))
    stage.do(RemoveService("v1", force=True))
    stage.finish_removals()
    assert stage.state.applications[APP].template is not None, "it can be deployed again"


@pytest.mark.parametrize("force", [True, False])
@pytest.mark.parametrize("name", ["v1", "v2", "w"])
def test_no_service_is_taken_out_of_a_release_in_flight(name: str, force: bool) -> None:
    stage = at(Phase.PENDING_CONFIRMATION)
    with stage.refuses(Code.RELEASE_IN_PROGRESS, "shop-2"):
        stage.do(RemoveService(name, force=force))


# --- removal -------------------------------------------------------------------------------


def test_a_removal_takes_everything_off_its_routes_at_once_and_then_drains() -> None:
    stage = Stage()
    stage.begin(V1, service("w", "w.example"))
    stage.do(by_hand("x", "x.example"))
    remove(stage, drain_s=7.0)
    assert set(stage.state.routes) == {"x.example"}
    assert stage.state.applications[APP].leaving
    for name in ("v1", "w"):
        gone = stage.state.services[sid(name)]
        assert (gone.leaving, gone.drain_s) == (True, 7.0)
    stage.do(FinishRemoval(sid("v1")))
    assert APP in stage.state.applications, "the last one is draining"
    stage.do(FinishRemoval(sid("w")))
    assert set(stage.state.services) == {"-/x"}
    stage.lingering = {sid("w")}
    stage.do(ForgetApplication(APP))
    assert APP in stage.state.applications, "a process is ending"
    stage.lingering = set()
    stage.do(ForgetApplication(APP))
    assert stage.state.applications == {}


def test_only_what_is_being_removed_is_forgotten() -> None:
    stage = Stage()
    stage.begin(V1)
    before = stage.state
    stage.do(ForgetApplication(APP))
    assert stage.state is before


def test_a_removal_asked_twice_is_asked_once() -> None:
    stage = Stage()
    stage.begin(V1)
    remove(stage)
    before = stage.state
    remove(stage)
    assert stage.state is before


def test_an_unknown_application_is_named_with_what_may_be_meant() -> None:
    stage = Stage()
    stage.begin(V1)
    with stage.refuses(Code.NOT_FOUND, "shop"):
        stage.do(RemoveApplication("shpo", stage.now, "op"))


def test_nothing_is_deployed_to_an_application_that_is_leaving() -> None:
    stage = Stage()
    stage.begin(V1)
    remove(stage)
    with stage.refuses(Code.IN_USE, "being removed"):
        stage.deploy(V1)
    stage.finish_removals()
    assert stage.deploy(V1).previous is None


@pytest.mark.parametrize(
    "phase",
    [Phase.RELEASING, Phase.PENDING_CONFIRMATION, Phase.CONFIRMING, Phase.ROLLING_BACK],
)
def test_a_removal_with_a_release_in_flight_needs_force_and_ends_both(phase: Phase) -> None:
    stage = at(phase)
    with stage.refuses(Code.RELEASE_IN_PROGRESS, "shop-2", "force"):
        remove(stage)
    remove(stage, force=True)
    assert stage.phase() is Phase.ROLLING_BACK
    assert stage.names() == set()
    assert set(stage.state.routes) == set()
    with stage.refuses(Code.ILLEGAL_TRANSITION):
        stage.rollback()
    stage.now += 10_000
    stage.all_healthy()
    stage.drive()
    assert stage.phase() is Phase.ROLLING_BACK, "no deadline and no health brings it back"
    stage.end()
    assert stage.phase() is Phase.ROLLED_BACK
    assert (stage.state.applications, stage.state.services) == ({}, {})


def test_a_removal_past_the_point_of_no_return_ends_too() -> None:
    stage = at(Phase.CONFIRMING)
    stage.do(FinishRemoval(sid("v1")))
    remove(stage, force=True)
    stage.end()
    assert (stage.state.applications, stage.state.services) == ({}, {})
    assert stage.phase() is Phase.ROLLED_BACK


def test_a_removal_waits_for_the_processes_of_the_new_services() -> None:
    stage = at(Phase.PENDING_CONFIRMATION)
    remove(stage, force=True)
    stage.lingering = {sid("v2")}
    stage.end()
    assert APP in stage.state.applications
    stage.lingering = set()
    assert stage.advance(Event.NEW_GONE)
    assert stage.state.applications == {}


def test_a_removal_during_the_first_deployment_leaves_nothing() -> None:
    stage = Stage()
    stage.deploy(V1)
    remove(stage, force=True)
    stage.end()
    assert (stage.state.applications, stage.state.services, stage.state.routes) == ({}, {}, {})


def test_a_removal_leaves_others_their_routes() -> None:
    stage = Stage()
    stage.begin(V1)
    stage.do(by_hand("x", "shop.example", coexist=True))
    stage.weigh("shop.example", v1=70, x=30)
    assert remove(stage) == ()
    assert stage.weights() == {"-/x": 30}


def test_a_removal_that_leaves_others_without_traffic_needs_force() -> None:
    stage = Stage()
    stage.begin(V1)
    stage.do(by_hand("x", "shop.example", coexist=True))
    with stage.refuses(Code.IN_USE, "'shop.example'", "weight", "force"):
        remove(stage)
    assert any("no service with traffic" in w for w in remove(stage, force=True))
    assert stage.weights() == {"-/x": 0}


def test_a_removal_keeps_what_an_operator_said_about_a_route() -> None:
    policy = RoutePolicy(AffinityPolicy(enabled=False))
    stage = Stage()
    stage.begin(V1)
    stage.do(SetRoutePolicy("shop.example", "/", policy))
    remove(stage)
    stage.finish_removals()
    assert stage.route("shop.example").policy == policy
    stage.begin(V1)
    assert stage.weights() == {"v1": 100}
