"""Releases shift, are confirmed and rolled back: what each does to routes, services and phases."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from gateway.core.commands import AdvanceRelease, FinishRemoval, ScaleService, SetRoutePolicy
from gateway.core.decide import decide
from gateway.core.errors import Code
from gateway.core.model import AffinityPolicy, Check, CheckKind, RouteId, RoutePolicy, Service
from gateway.core.phases import Event
from gateway.core.release import Colour, ConfirmMode, OnDeadline, Phase
from tests.support.releases import APP, Stage, by_hand, service, sid, start

V1 = service("v1", "shop.example")
V2 = service("v2", "shop.example", coexist=True)
IN_FLIGHT = [Phase.RELEASING, Phase.PENDING_CONFIRMATION, Phase.CONFIRMING]


def released() -> Stage:
    stage = Stage()
    stage.begin(V1)
    stage.release(V2)
    return stage


def at(phase: Phase, *old: Service, new: tuple[Service, ...] = (V2,)) -> Stage:
    """A release that has come as far as this, with its traffic moved."""
    stage = Stage()
    stage.begin(*(old or (V1,)))
    stage.deploy(*new)
    if phase is Phase.RELEASING:
        return stage
    stage.all_healthy()
    stage.drive()
    if phase in (Phase.CONFIRMING, Phase.CONFIRMED):
        stage.confirm(ConfirmMode.FORCE)
    if phase in (Phase.ROLLING_BACK, Phase.ROLLED_BACK):
        stage.rollback()
    if phase.is_over:
        stage.end()
    assert stage.phase() is phase
    return stage


# --- going on by what is observed ----------------------------------------------------------


def test_a_release_waits_for_all_instances_of_all_new_services() -> None:
    stage = Stage()
    stage.begin(V1)
    stage.deploy(service("v2", "shop.example", coexist=True, scale=2), service("w"))
    stage.all_healthy()
    stage.sick("w")
    stage.drive()
    assert stage.phase() is Phase.RELEASING
    stage.all_healthy()
    stage.drive()
    assert stage.phase() is Phase.PENDING_CONFIRMATION


def test_the_health_of_old_and_unchanged_services_holds_nothing_up() -> None:
    stage = Stage()
    stage.begin(V1, service("w"))
    stage.deploy(V2, service("w"))
    stage.all_healthy()
    stage.sick("v1", "w")
    stage.drive()
    assert stage.phase() is Phase.PENDING_CONFIRMATION


def test_late_new_services_are_rolled_back() -> None:
    stage = Stage()
    stage.begin(V1)
    release = stage.deploy(V2)
    stage.now = release.deadline
    stage.drive()
    assert stage.phase() is Phase.ROLLING_BACK
    stage.end()
    assert (stage.phase(), stage.names()) == (Phase.ROLLED_BACK, {"v1"})
    assert stage.weights() == {"v1": 100}


def test_late_new_services_may_be_waited_for() -> None:
    stage = Stage()
    stage.begin(V1)
    stage.do(start(V2, now=stage.now, on_deadline=OnDeadline.HOLD))
    stage.now += 1_000_000
    stage.drive()
    assert stage.phase() is Phase.RELEASING


def test_what_waits_for_the_operator_never_times_out() -> None:
    stage = released()
    stage.now += 1_000_000_000
    stage.drive()
    stage.sick("v2")
    stage.drive()
    assert stage.phase() is Phase.PENDING_CONFIRMATION


@pytest.mark.parametrize("event", Event)
@pytest.mark.parametrize("phase", Phase)
def test_a_report_that_is_not_so_any_more_is_nothing(phase: Phase, event: Event) -> None:
    stage = at(phase)
    before = stage.state
    stage.do(AdvanceRelease("shop-2", event, stage.now, "gateway"))
    assert stage.state is before


def test_a_report_on_an_unknown_release_is_nothing() -> None:
    stage = released()
    before = stage.state
    stage.do(AdvanceRelease("shop-9", Event.HEALTHY, stage.now, "gateway"))
    assert stage.state is before


@pytest.mark.parametrize("phase", [Phase.CONFIRMING, Phase.ROLLING_BACK])
def test_an_end_waits_until_services_are_removed_and_their_processes_gone(phase: Phase) -> None:
    stage = at(phase)
    gone = sid("v1" if phase is Phase.CONFIRMING else "v2")
    stage.drive()
    assert stage.phase() is phase, "it is draining"
    stage.lingering = {gone}
    stage.do(FinishRemoval(gone))
    stage.drive()
    assert stage.phase() is phase, "its processes are stopping"
    observed = replace(stage.observed, running=None)
    event = Event.OLD_GONE if phase is Phase.CONFIRMING else Event.NEW_GONE
    advance = AdvanceRelease("shop-2", event, stage.now, "gateway")
    assert decide(stage.state, advance, observed).state is stage.state, "unknown is no"
    stage.lingering = set()
    stage.drive()
    assert stage.phase().is_over


# --- shift --------------------------------------------------------------------------------


def test_a_shift_changes_every_route_of_both_sides_at_once() -> None:
    stage = Stage()
    stage.begin(service("v1", "a.example", "b.example"), service("w", "w.example"))
    stage.release(
        service("v2", "a.example", "b.example", "c.example", coexist=True),
        service("w", "w.example"),
    )
    before = stage.state
    stage.shift(25)
    assert stage.weights("a.example") == stage.weights("b.example") == {"v1": 75, "v2": 25}
    assert stage.route("c.example") is before.routes[RouteId("c.example")]
    assert stage.route("w.example") is before.routes[RouteId("w.example")]


def test_a_shift_leaves_everybody_elses_share_exactly_as_it_was() -> None:
    stage = Stage()
    stage.begin(V1, service("w", "shop.example", coexist=True))
    stage.do(by_hand("x", "shop.example", coexist=True))
    stage.weigh("shop.example", v1=50, w=17, x=33)
    stage.release(V2, service("w", "shop.example", coexist=True))
    for percent in (1, 33.3, 50, 66.6, 99, 100, 0, 12.5):
        stage.shift(percent)
        assert stage.share("w") == Fraction(17, 100)
        assert stage.share("-/x") == Fraction(33, 100)
        assert stage.share("v2") == Fraction(str(percent)) / 200
    stage.rollback()
    assert [stage.share(n) * 100 for n in ("w", "-/x", "v1")] == [17, 33, 50]


def test_a_shift_to_where_it_is_changes_nothing() -> None:
    stage = released()
    stage.shift(30)
    before = stage.state
    stage.shift(30)
    assert stage.state is before


def test_a_shift_is_noted_with_who_and_how_much() -> None:
    stage = released()
    stage.shift(12.5)
    entry = stage.flying().timeline[-1]
    assert (entry.by, entry.phase, entry.reason) == (
        "op",
        Phase.PENDING_CONFIRMATION,
        "shift to 12.5 %",
    )


def test_without_a_route_of_both_sides_there_is_nothing_to_shift() -> None:
    stage = Stage()
    stage.begin(service("v1"))
    stage.release(service("v2"))
    with stage.refuses(Code.INVALID, "nothing to shift"):
        stage.shift(50)


@pytest.mark.parametrize(
    "phase", [Phase.CONFIRMING, Phase.CONFIRMED, Phase.ROLLING_BACK, Phase.ROLLED_BACK]
)
def test_a_shift_is_legal_only_while_it_is_undecided(phase: Phase) -> None:
    stage = at(phase)
    with stage.refuses(Code.ILLEGAL_TRANSITION):
        stage.shift(50)
    with stage.refuses(Code.ILLEGAL_TRANSITION):
        stage.shift(50, app="shop-2")


def test_a_release_is_named_by_its_id_or_by_its_application() -> None:
    stage = released()
    stage.shift(10, app="shop-2")
    stage.shift(20, app="shop")
    with stage.refuses(Code.NOT_FOUND, "shop-2"):
        stage.shift(20, app="shop-3")


# --- routes held back ----------------------------------------------------------------------


def held() -> Stage:
    stage = Stage()
    stage.begin(V1)
    stage.release(V1, service("n", "shop.example/api"))
    assert stage.route("shop.example/api").is_held
    return stage


def test_the_first_shift_opens_held_routes_and_shift_0_takes_them_back() -> None:
    stage = held()
    stage.shift(1)
    assert not stage.route("shop.example/api").is_held
    assert stage.weights("shop.example/api") == {"n": 100}
    stage.shift(0)
    assert stage.route("shop.example/api").is_held
    assert stage.weights("shop.example/api") == {"n": 0}


def test_a_weight_opens_a_held_route() -> None:
    stage = held()
    stage.weigh("shop.example/api", n=5)
    assert not stage.route("shop.example/api").is_held


@pytest.mark.parametrize("mode", [ConfirmMode.PLAIN, ConfirmMode.FORCE])
def test_a_confirmation_opens_held_routes(mode: ConfirmMode) -> None:
    stage = held()
    stage.confirm(mode)
    assert not stage.route("shop.example/api").is_held
    assert stage.weights("shop.example/api") == {"n": 100}


@pytest.mark.parametrize("is_open", [True, False])
def test_a_rollback_takes_new_routes_away_in_the_same_step(is_open: bool) -> None:
    stage = held()
    if is_open:
        stage.shift(100)
    stage.rollback()
    assert "shop.example/api" not in stage.state.routes


def test_a_rolled_back_route_that_has_a_policy_can_be_joined_like_a_new_one() -> None:
    stage = held()
    stage.do(SetRoutePolicy("shop.example", "/api", RoutePolicy(AffinityPolicy(enabled=False))))
    stage.shift(100)
    stage.rollback()
    stage.end()
    assert stage.route("shop.example/api").is_held, "with nobody on it, it may answer nothing"
    stage.do(by_hand("x", "shop.example/api"))
    assert stage.weights("shop.example/api") == {"-/x": 100}
    assert not stage.route("shop.example/api").is_held


def test_shift_0_holds_nothing_back_that_was_open_from_the_start() -> None:
    stage = Stage()
    stage.begin(V1)
    stage.release(V2, service("n", "new.example", "new.example/api"))
    before = {w: stage.route(w) for w in ("new.example", "new.example/api")}
    stage.shift(50)
    stage.shift(0)
    assert {w: stage.route(w) for w in before} == before


# --- confirm --------------------------------------------------------------------------------


def test_a_confirmation_takes_the_old_off_their_routes_in_one_step() -> None:
    stage = released()
    stage.shift(100)
    stage.confirm()
    assert stage.phase() is Phase.CONFIRMING
    assert stage.weights() == {"v2": 100}
    assert stage.state.services[sid("v1")].leaving
    assert stage.state.applications[APP].template != stage.flying().template


def test_confirmed_is_the_new_template_and_nothing_else() -> None:
    stage = released()
    first = stage.state.applications[APP].template
    new = stage.flying().template
    stage.shift(100)
    stage.confirm()
    stage.end()
    application = stage.state.applications[APP]
    assert (application.template, application.previous) == (new, first)
    assert application.release is None
    assert set(stage.state.services) == {sid("v2")}
    assert [e.phase for e in stage.state.releases["shop-2"].timeline] == [
        Phase.RELEASING,
        Phase.PENDING_CONFIRMATION,
        Phase.PENDING_CONFIRMATION,
        Phase.CONFIRMING,
        Phase.CONFIRMED,
    ]


def test_a_forced_confirmation_moves_all_traffic_itself() -> None:
    stage = Stage()
    stage.begin(V1)
    stage.do(by_hand("x", "shop.example", coexist=True))
    stage.weigh("shop.example", x=70, v1=30)
    stage.release(V2)
    stage.sick("v2")
    stage.confirm(ConfirmMode.FORCE)
    assert stage.weights() == {"-/x": 70, "v2": 30}


def test_a_smooth_confirmation_moves_all_traffic_first_and_waits() -> None:
    stage = released()
    stage.shift(20)
    stage.confirm(ConfirmMode.SMOOTH)
    assert stage.phase() is Phase.PENDING_CONFIRMATION
    assert stage.weights() == {"v1": 0, "v2": 100}
    smooth = stage.flying().smooth
    assert smooth is not None
    assert (smooth.since, smooth.by) == (stage.now, "op")
    before = stage.state
    stage.confirm(ConfirmMode.SMOOTH)
    assert stage.state is before, "asked twice is asked once"
    stage.confirm()
    assert stage.phase() is Phase.CONFIRMING
    assert stage.flying().smooth is None


def test_a_smooth_confirmation_given_up_gives_the_weights_back() -> None:
    stage = released()
    stage.shift(20)
    stage.confirm(ConfirmMode.SMOOTH)
    stage.end_smooth()
    assert stage.weights() == {"v1": 80, "v2": 20}
    assert stage.flying().smooth is None
    assert stage.phase() is Phase.PENDING_CONFIRMATION
    before = stage.state
    stage.end_smooth()
    assert stage.state is before


def test_given_up_after_an_operator_moved_traffic_leaves_what_he_set() -> None:
    stage = released()
    stage.confirm(ConfirmMode.SMOOTH)
    stage.weigh("shop.example", v1=60, v2=40)
    stage.end_smooth()
    assert stage.weights() == {"v1": 60, "v2": 40}


def test_given_up_beside_others_leaves_what_they_got_meanwhile() -> None:
    stage = Stage()
    stage.begin(V1)
    stage.do(by_hand("x", "shop.example", coexist=True))
    stage.weigh("shop.example", x=50, v1=50)
    stage.release(V2)
    stage.shift(20)
    stage.confirm(ConfirmMode.SMOOTH)
    stage.weigh("shop.example", x=150)
    stage.end_smooth()
    assert stage.weights() == {"v1": 40, "-/x": 150, "v2": 10}


def test_given_up_after_an_operator_changed_the_releases_part_leaves_others_their_share() -> None:
    stage = Stage()
    stage.begin(V1)
    stage.do(by_hand("x", "shop.example", coexist=True))
    stage.weigh("shop.example", x=50, v1=10)
    stage.release(V2)
    stage.confirm(ConfirmMode.SMOOTH)
    stage.weigh("shop.example", v2=1)
    stage.end_smooth()
    assert stage.weights() == {"v1": 1, "-/x": 50, "v2": 0}


def test_given_up_though_somebody_joined_meanwhile_the_old_have_their_traffic_back() -> None:
    stage = released()
    stage.shift(20)
    stage.confirm(ConfirmMode.SMOOTH)
    stage.do(by_hand("x", "shop.example", coexist=True))
    stage.end_smooth()
    assert stage.weights() == {"v1": 80, "v2": 20, "-/x": 0}


def test_unchanged_and_foreign_shares_are_exact_through_a_confirmation() -> None:
    for mode in ConfirmMode:
        stage = Stage()
        stage.begin(V1, service("w", "shop.example", coexist=True))
        stage.do(by_hand("x", "shop.example", coexist=True))
        stage.weigh("shop.example", v1=7, w=11, x=13)
        stage.release(V2, service("w", "shop.example", coexist=True))
        if mode is ConfirmMode.PLAIN:
            stage.shift(100)
        stage.confirm(mode)
        if mode is ConfirmMode.SMOOTH:
            stage.confirm()
        stage.end()
        assert stage.phase() is Phase.CONFIRMED
        assert [stage.share(n) for n in ("v2", "w", "-/x")] == [
            Fraction(7, 31),
            Fraction(11, 31),
            Fraction(13, 31),
        ]


def test_without_new_services_the_unchanged_take_over_the_old_ones_traffic() -> None:
    stage = Stage()
    stage.begin(V1, service("w", "shop.example", coexist=True))
    stage.deploy(service("w", "shop.example", coexist=True))
    with stage.refuses(Code.NO_TRAFFIC_ON_NEW):
        stage.confirm()
    stage.confirm(ConfirmMode.SMOOTH)
    assert stage.weights() == {"v1": 0, "w": 100}
    stage.confirm()
    stage.end()
    assert stage.weights() == {"w": 100}


# --- what changes under the same name ---------------------------------------------------------


def test_a_changed_scale_of_an_unchanged_service_takes_effect_at_the_end() -> None:
    stage = at(Phase.CONFIRMING, V1, service("w", scale=2), new=(V2, service("w", scale=5)))
    assert stage.state.services[sid("w")].scale == 2
    stage.end()
    assert stage.state.services[sid("w")].scale == 5


def test_a_changed_limit_of_an_unchanged_service_takes_effect_at_the_end() -> None:
    was, then = (replace(service("w"), in_flight_limit=limit) for limit in (8, None))
    stage = at(Phase.CONFIRMING, V1, was, new=(V2, then))
    assert stage.state.services[sid("w")].in_flight_limit == 8
    stage.end()
    assert stage.state.services[sid("w")].in_flight_limit is None


@pytest.mark.parametrize("end", [Phase.CONFIRMED, Phase.ROLLED_BACK])
def test_a_scale_by_hand_survives_both_ends(end: Phase) -> None:
    stage = Stage()
    stage.begin(V1, service("w", scale=2))
    stage.deploy(V2, service("w", scale=2))
    stage.do(ScaleService("w", 3))
    stage.do(ScaleService("v1", 4))
    stage.do(ScaleService("v2", 5))
    stage.all_healthy()
    stage.drive()
    if end is Phase.CONFIRMED:
        stage.confirm(ConfirmMode.FORCE)
    else:
        stage.rollback()
    stage.end()
    assert stage.phase() is end
    scales = {s.name: s.scale for s in stage.state.services.values()}
    assert scales == {"w": 3} | ({"v2": 5} if end is Phase.CONFIRMED else {"v1": 4})


@pytest.mark.parametrize("phase", [*IN_FLIGHT, Phase.ROLLING_BACK])
def test_scaling_works_in_any_phase(phase: Phase) -> None:
    stage = at(phase, V1, service("w"), new=(V2, service("w")))
    stays = "v1" if phase is Phase.ROLLING_BACK else "v2"
    for name in ("w", stays):
        stage.do(ScaleService(name, 7))
        assert stage.state.services[sid(name)].scale == 7
        assert stage.phase() is phase


def test_a_route_that_moves_to_an_unchanged_service_is_served_at_every_step() -> None:
    """The old service leaves it and the unchanged one takes it in the same step."""
    old = service("w", "w.example", coexist=True)
    new = service("w", "w.example", "shop.example", coexist=True)
    stage = Stage()
    stage.begin(V1, old)
    stage.do(by_hand("x", "shop.example", coexist=True))
    stage.weigh("shop.example", v1=40, x=60)
    release = stage.deploy(new)
    assert release.colours == {"w": Colour.YELLOW, "v1": Colour.BLUE}
    stage.confirm()
    assert stage.phase() is Phase.CONFIRMING
    assert stage.weights() == {"-/x": 60, "w": 40}
    stage.rollback()
    assert stage.weights() == {"-/x": 60, "v1": 40}
    assert stage.state.services[sid("w")].claims == old.claims
    stage.end()
    stage.deploy(new)
    stage.confirm()
    stage.end()
    assert stage.weights() == {"-/x": 60, "w": 40}
    assert stage.state.services[sid("w")].claims == new.claims


def test_a_new_route_of_an_unchanged_service_opens_at_confirm_and_goes_with_a_rollback() -> None:
    stage = Stage()
    stage.begin(V1, service("w", "w.example"))
    stage.do(by_hand("x", "x.example"))
    stage.release(V2, service("w", "w.example", "new.example", "x.example", coexist=True))
    assert "new.example" not in stage.state.routes
    stage.confirm(ConfirmMode.FORCE)
    assert stage.weights("new.example") == {"w": 100}
    assert stage.weights("x.example") == {"-/x": 100, "w": 0}
    stage.rollback()
    assert "new.example" not in stage.state.routes
    assert stage.weights("x.example") == {"-/x": 100}


def test_the_probe_that_follows_from_the_routes_goes_with_them() -> None:
    old = replace(service("w"), check=Check(CheckKind.RUNNING))
    stage = Stage()
    stage.begin(V1, old)
    stage.deploy(V1, service("w", "w.example"))
    assert stage.state.services[sid("w")].check == old.check
    stage.confirm()
    assert stage.state.services[sid("w")].check is None
    stage.rollback()
    assert stage.state.services[sid("w")].check == old.check


@pytest.mark.parametrize("is_back", [True, False])
def test_a_route_that_an_unchanged_service_gives_up_is_left_at_confirm(is_back: bool) -> None:
    stage = Stage()
    stage.begin(service("w", "w.example", "shop.example"), V1_BESIDE)
    stage.weigh("shop.example", w=30, v1=70)
    stage.deploy(service("w", "w.example"), V1_BESIDE)
    assert stage.weights() == {"w": 30, "v1": 70}
    stage.confirm(ConfirmMode.SMOOTH)
    assert stage.weights() == {"w": 0, "v1": 100}
    stage.confirm()
    assert stage.weights() == {"v1": 100}
    if is_back:
        stage.rollback()
        assert stage.weights() == {"v1": 70, "w": 30}
    stage.end()
    assert stage.weights() == ({"v1": 70, "w": 30} if is_back else {"v1": 100})


V1_BESIDE = service("v1", "shop.example", coexist=True)


# --- rollback ---------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", IN_FLIGHT)
@pytest.mark.parametrize("percent", [0, 30, 100])
def test_a_rollback_gives_the_old_everything_back_in_one_step(phase: Phase, percent: int) -> None:
    stage = Stage()
    stage.begin(V1, service("w1", "shop.example", coexist=True))
    stage.do(by_hand("x", "shop.example", coexist=True))
    stage.weigh("shop.example", v1=30, w1=20, x=50)
    template = stage.state.applications[APP].template
    stage.deploy(V2)
    if phase is not Phase.RELEASING:
        stage.all_healthy()
        stage.drive()
    stage.shift(percent, force=True)
    if phase is Phase.CONFIRMING:
        stage.confirm(ConfirmMode.FORCE)
    stage.rollback()
    assert stage.phase() is Phase.ROLLING_BACK
    assert stage.weights() == {"v1": 30, "w1": 20, "-/x": 50}
    assert stage.state.services[sid("v2")].leaving
    assert stage.names() == {"v1", "w1"}
    stage.end()
    assert stage.phase() is Phase.ROLLED_BACK
    application = stage.state.applications[APP]
    assert (application.template, application.release) == (template, None)
    assert {s.name for s in stage.state.services.values()} == {"v1", "w1", "x"}


@pytest.mark.parametrize("phase", [Phase.ROLLING_BACK, Phase.ROLLED_BACK, Phase.CONFIRMED])
def test_a_rollback_is_illegal_when_it_was_decided(phase: Phase) -> None:
    stage = at(phase)
    with stage.refuses(Code.ILLEGAL_TRANSITION, phase.value):
        stage.rollback(app="shop-2")


def test_the_way_back_ends_when_the_first_old_service_is_removed() -> None:
    stage = at(Phase.CONFIRMING, V1, service("u"))
    stage.rollback()
    stage.end()
    stage = at(Phase.CONFIRMING, V1, service("u"))
    stage.do(FinishRemoval(sid("u")))
    with stage.refuses(Code.ILLEGAL_TRANSITION, "stopped already", "`previous`"):
        stage.rollback()
    stage.end()
    assert stage.phase() is Phase.CONFIRMED


def test_a_rollback_brings_back_a_route_that_went_with_the_old() -> None:
    stage = at(Phase.CONFIRMING, V1, service("u", "u.example"))
    assert "u.example" not in stage.state.routes
    stage.rollback()
    assert stage.weights("u.example") == {"u": 100}


def test_a_rollback_gives_unchanged_services_what_they_had_before_they_took_over() -> None:
    for phase in (Phase.PENDING_CONFIRMATION, Phase.CONFIRMING):
        stage = Stage()
        stage.begin(V1, service("w", "shop.example", coexist=True))
        stage.do(by_hand("x", "shop.example", coexist=True))
        stage.weigh("shop.example", v1=30, w=20, x=50)
        stage.deploy(service("w", "shop.example", coexist=True))
        stage.confirm(ConfirmMode.SMOOTH)
        assert stage.weights() == {"v1": 0, "w": 50, "-/x": 50}
        if phase is Phase.CONFIRMING:
            stage.confirm()
        stage.rollback()
        assert stage.weights() == {"v1": 30, "w": 20, "-/x": 50}


def test_a_rollback_takes_nothing_from_those_an_operator_gave_all_to() -> None:
    stage = Stage()
    stage.begin(V1)
    stage.do(by_hand("x", "shop.example", coexist=True))
    stage.release(V2)
    stage.weigh("shop.example", v1=0, x=10)
    stage.rollback()
    assert stage.weights() == {"v1": 0, "-/x": 10}


def test_a_rollback_leaves_what_an_operator_set_where_nothing_new_came() -> None:
    stage = Stage()
    stage.begin(V1, service("w", "shop.example", coexist=True))
    stage.do(by_hand("x", "shop.example", coexist=True))
    stage.weigh("shop.example", v1=0, w=50, x=50)
    stage.deploy(service("w", "shop.example", coexist=True))
    stage.weigh("shop.example", v1=10)
    stage.rollback()
    assert stage.weights() == {"v1": 10, "w": 50, "-/x": 50}


def test_policies_of_routes_survive_both_ends() -> None:
    policy = RoutePolicy(AffinityPolicy(enabled=False))
    for end in (Phase.CONFIRMED, Phase.ROLLED_BACK):
        stage = Stage()
        stage.begin(V1)
        stage.do(SetRoutePolicy("shop.example", "/", policy))
        stage.release(V2)
        if end is Phase.CONFIRMED:
            stage.confirm(ConfirmMode.FORCE)
        else:
            stage.rollback()
        stage.end()
        assert stage.phase() is end
        assert stage.route("shop.example").policy == policy


def test_a_timeline_keeps_its_newest_lines() -> None:
    stage = released()
    for n in range(300):
        stage.shift(n % 2 + 1)
    timeline = stage.flying().timeline
    assert len(timeline) == 200
    assert timeline[-1].reason == "shift to 2 %"
