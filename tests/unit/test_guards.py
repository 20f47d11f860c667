"""What must be so before traffic moves, and what each refusal says to do."""

from __future__ import annotations

import pytest

from gateway.core.commands import DrainInstance, ResumeInstance
from gateway.core.errors import Code
from gateway.core.model import InstanceId
from gateway.core.phases import Event
from gateway.core.release import ConfirmMode, Phase, Strategy
from tests.support.releases import Stage, by_hand, service, sid

V1 = service("v1", "shop.example")
V2 = service("v2", "shop.example", coexist=True)
SHARES = (1, 10, 50, 51, 99)


def released(strategy: Strategy = Strategy.GRAY) -> Stage:
    stage = Stage()
    stage.begin(V1)
    stage.release(V2, strategy=strategy)
    return stage


def releasing(strategy: Strategy = Strategy.GRAY) -> Stage:
    stage = Stage()
    stage.begin(V1)
    stage.deploy(V2, strategy=strategy)
    return stage


# --- strategies --------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", [Strategy.GRAY, Strategy.AB, Strategy.STANDARD])
@pytest.mark.parametrize("percent", [0, *SHARES, 100])
def test_gray_and_ab_take_any_share(strategy: Strategy, percent: int) -> None:
    stage = released(strategy)
    assert stage.shift(percent).warnings == ()
    assert stage.weights() == {"v1": 100 - percent, "v2": percent}
    stage.weigh("shop.example", v1=3, v2=4)
    assert stage.weights() == {"v1": 3, "v2": 4}


@pytest.mark.parametrize("percent", SHARES)
def test_blue_green_takes_nothing_in_between(percent: int) -> None:
    stage = released(Strategy.BLUE_GREEN)
    with stage.refuses(Code.STRATEGY_FORBIDS_WEIGHT, "0 or 100", "gray"):
        stage.shift(percent)
    with stage.refuses(Code.STRATEGY_FORBIDS_WEIGHT, "0 or 100"):
        stage.weigh("shop.example", v1=100 - percent, v2=percent)
    with stage.refuses(Code.STRATEGY_FORBIDS_WEIGHT, "0 or 100"):
        stage.weigh("shop.example", v2=percent)


def test_blue_green_goes_there_and_back_by_shift_and_by_weights() -> None:
    stage = released(Strategy.BLUE_GREEN)
    stage.shift(100)
    assert stage.weights() == {"v1": 0, "v2": 100}
    stage.shift(0)
    assert stage.weights() == {"v1": 100, "v2": 0}
    stage.weigh("shop.example", v1=0, v2=100)
    assert stage.weights() == {"v1": 0, "v2": 100}


def test_blue_green_takes_the_documented_order_of_two_steps_with_a_warning() -> None:
    stage = released(Strategy.BLUE_GREEN)
    warnings = stage.weigh("shop.example", v2=100).warnings
    assert any("share shop.example now" in w for w in warnings)
    assert stage.weights() == {"v1": 100, "v2": 100}
    assert stage.weigh("shop.example", v1=0).warnings == ()


def test_blue_green_shifts_between_sides_of_several_services() -> None:
    stage = Stage()
    stage.begin(V1, service("w1", "shop.example", coexist=True))
    stage.weigh("shop.example", v1=30, w1=70)
    stage.release(V2, service("w2", "shop.example", coexist=True), strategy=Strategy.BLUE_GREEN)
    stage.shift(100)
    assert stage.weights() == {"v1": 0, "w1": 0, "v2": 50, "w2": 50}
    stage.shift(0)
    assert stage.weights() == {"v1": 30, "w1": 70, "v2": 0, "w2": 0}
    with stage.refuses(Code.STRATEGY_FORBIDS_WEIGHT):
        stage.shift(50)


def test_blue_green_shifts_its_part_beside_others() -> None:
    stage = Stage()
    stage.begin(V1)
    stage.do(by_hand("x", "shop.example", coexist=True))
    stage.weigh("shop.example", x=60, v1=40)
    stage.release(V2, strategy=Strategy.BLUE_GREEN)
    with stage.refuses(Code.STRATEGY_FORBIDS_WEIGHT):
        stage.shift(50)
    stage.shift(100)
    assert stage.weights() == {"-/x": 60, "v1": 0, "v2": 40}


@pytest.mark.parametrize("percent", [51, 99, 100])
def test_canary_takes_at_most_half_unless_force(percent: int) -> None:
    stage = released(Strategy.CANARY)
    stage.shift(50)
    with stage.refuses(Code.STRATEGY_FORBIDS_WEIGHT, "at most 50 %", "smooth", "force"):
        stage.shift(percent)
    with stage.refuses(Code.STRATEGY_FORBIDS_WEIGHT, "at most 50 %"):
        stage.weigh("shop.example", v1=100 - percent, v2=percent)
    stage.shift(percent, force=True)
    assert stage.share("v2") * 100 == percent


def test_half_of_a_canary_is_half_of_the_releases_part() -> None:
    stage = Stage()
    stage.begin(V1)
    stage.do(by_hand("x", "shop.example", coexist=True))
    stage.weigh("shop.example", x=90, v1=10)
    stage.release(V2, strategy=Strategy.CANARY)
    stage.shift(50)
    assert stage.weights() == {"v1": 5, "-/x": 90, "v2": 5}
    with stage.refuses(Code.STRATEGY_FORBIDS_WEIGHT):
        stage.weigh("shop.example", v1=4, v2=6)


def test_a_canary_on_a_route_of_its_own_has_all_of_it() -> None:
    stage = Stage()
    stage.begin(V1)
    stage.release(V1, service("n", "shop.example/api"), strategy=Strategy.CANARY)
    stage.shift(50)
    assert stage.weights("shop.example/api") == {"n": 100}


@pytest.mark.parametrize("strategy", Strategy)
@pytest.mark.parametrize("phase", [Phase.RELEASING, Phase.PENDING_CONFIRMATION])
def test_taking_traffic_off_the_new_is_never_refused(strategy: Strategy, phase: Phase) -> None:
    stage = releasing(strategy)
    if phase is Phase.PENDING_CONFIRMATION:
        stage.all_healthy()
        stage.drive()
    stage.shift(100, force=True)
    stage.sick("v1", "v2")
    for percent in (99, 70, 51, 3, 0):
        if strategy is not Strategy.BLUE_GREEN or percent == 0:
            stage.shift(percent)
        stage.weigh("shop.example", v1=100 - percent, v2=percent)
        assert stage.weights() == {"v1": 100 - percent, "v2": percent}


@pytest.mark.parametrize("strategy", Strategy)
def test_decided_releases_restrict_no_weights(strategy: Strategy) -> None:
    stage = Stage()
    stage.begin(V1)
    stage.do(by_hand("x", "shop.example", coexist=True))
    stage.release(V2, strategy=strategy)
    stage.confirm(ConfirmMode.FORCE)
    assert stage.phase() is Phase.CONFIRMING
    stage.weigh("shop.example", x=40, v2=60)
    stage.weigh("shop.example", x=30, v2=70)
    stage.rollback()
    stage.weigh("shop.example", x=17, v1=83)


def test_all_zero_is_refused_unless_force() -> None:
    for strategy in Strategy:
        stage = released(strategy)
        with stage.refuses(Code.ROUTE_WITHOUT_TRAFFIC, "would be 0", "force"):
            stage.weigh("shop.example", v1=0)
        stage.weigh("shop.example", v1=0, force=True)
        assert stage.weights() == {"v1": 0, "v2": 0}


def test_weights_of_others_are_not_the_releases_business() -> None:
    stage = Stage()
    stage.begin(V1, service("w", "shop.example", coexist=True))
    stage.do(by_hand("x", "shop.example", coexist=True))
    stage.deploy(V2, service("w", "shop.example", coexist=True), strategy=Strategy.BLUE_GREEN)
    stage.weigh("shop.example", x=37, w=11)
    assert stage.weights() == {"v1": 100, "w": 11, "-/x": 37, "v2": 0}


# --- before all is healthy ----------------------------------------------------------------


def test_new_services_get_nothing_before_all_are_healthy_unless_force() -> None:
    stage = releasing()
    with stage.refuses(Code.ILLEGAL_TRANSITION, "releasing", "force"):
        stage.shift(10)
    with stage.refuses(Code.ILLEGAL_TRANSITION, "releasing", "force"):
        stage.weigh("shop.example", v2=10)
    stage.weigh("shop.example", v2=100, force=True)
    stage.shift(10, force=True)
    assert stage.weights() == {"v1": 90, "v2": 10}


def test_a_held_route_opens_for_nobody_before_all_are_healthy_unless_force() -> None:
    stage = Stage()
    stage.begin(V1)
    stage.deploy(V1, service("n", "shop.example/api"))
    with stage.refuses(Code.ILLEGAL_TRANSITION):
        stage.shift(100)
    with stage.refuses(Code.ILLEGAL_TRANSITION):
        stage.weigh("shop.example/api", n=100)
    stage.shift(100, force=True)
    assert not stage.route("shop.example/api").is_held


def test_a_sick_new_service_gets_nothing_more_unless_force() -> None:
    stage = released()
    stage.shift(10)
    stage.sick("v2")
    with stage.refuses(Code.NO_HEALTHY_INSTANCE, "shop/v2", "force"):
        stage.shift(20)
    stage.shift(10)
    stage.shift(5)
    stage.shift(20, force=True)


def test_a_shift_on_a_route_where_the_release_has_nothing_says_so() -> None:
    stage = Stage()
    stage.begin(V1)
    stage.do(by_hand("x", "shop.example", coexist=True))
    stage.weigh("shop.example", x=100, v1=0)
    stage.release(V2)
    assert any("has no part of shop.example" in w for w in stage.shift(50).warnings)
    assert stage.weights() == {"v1": 0, "-/x": 100, "v2": 0}


@pytest.mark.parametrize("percent", [-1, 100.5, float("nan"), float("inf")])
def test_a_share_is_from_0_to_100(percent: float) -> None:
    stage = released()
    with stage.refuses(Code.INVALID, "0 to 100"):
        stage.shift(percent)


# --- confirming ----------------------------------------------------------------------------


def test_confirm_needs_traffic_on_the_new() -> None:
    stage = released()
    with stage.refuses(Code.NO_TRAFFIC_ON_NEW, "v2 on 'shop.example'", "smooth", "force"):
        stage.confirm()


def test_confirm_needs_no_traffic_on_the_old() -> None:
    stage = released()
    stage.shift(99)
    with stage.refuses(Code.OLD_HAS_TRAFFIC, "v1 on 'shop.example'", "smooth", "force"):
        stage.confirm()
    stage.shift(100)
    stage.confirm()
    assert stage.phase() is Phase.CONFIRMING


def test_confirm_names_every_route_that_is_not_ready() -> None:
    stage = Stage()
    stage.begin(service("v1", "a.example", "b.example"))
    stage.release(service("v2", "a.example", "b.example", coexist=True))
    with stage.refuses(Code.NO_TRAFFIC_ON_NEW, "'a.example'", "'b.example'"):
        stage.confirm()
    stage.weigh("a.example", v1=0, v2=100)
    with stage.refuses(Code.NO_TRAFFIC_ON_NEW, "'b.example'"):
        stage.confirm()


def test_confirm_needs_traffic_on_every_new_service_of_a_route() -> None:
    stage = Stage()
    stage.begin(V1)
    stage.release(V2, service("w2", "shop.example", coexist=True))
    stage.weigh("shop.example", v1=0, v2=100)
    with stage.refuses(Code.NO_TRAFFIC_ON_NEW, "w2 on 'shop.example'"):
        stage.confirm()
    with stage.refuses(Code.NO_TRAFFIC_ON_NEW, "w2 on 'shop.example'"):
        stage.confirm(ConfirmMode.SMOOTH)
    stage.confirm(ConfirmMode.FORCE)


def test_confirm_needs_all_instances_of_every_new_service() -> None:
    stage = Stage()
    stage.begin(V1)
    stage.release(service("v2", "shop.example", coexist=True, scale=3))
    stage.shift(100)
    stage.retiring = {InstanceId("shop/v2#1")}
    for mode in (ConfirmMode.PLAIN, ConfirmMode.SMOOTH):
        with stage.refuses(Code.NO_HEALTHY_INSTANCE, "2 of 3 instances of v2 healthy", "force"):
            stage.confirm(mode)
    assert stage.confirm(ConfirmMode.FORCE).warnings == ("2 of 3 instances of v2 healthy",)


def test_an_instance_that_is_drained_by_hand_is_not_ready() -> None:
    stage = released()
    stage.shift(100)
    stage.do(DrainInstance(InstanceId("shop/v2#0")))
    with stage.refuses(Code.NO_HEALTHY_INSTANCE, "0 of 1 instances of v2"):
        stage.confirm()
    stage.do(ResumeInstance(InstanceId("shop/v2#0")))
    stage.confirm()


def test_confirm_asks_no_traffic_where_the_old_had_none() -> None:
    stage = Stage()
    stage.begin(V1)
    stage.do(by_hand("x", "shop.example", coexist=True))
    stage.weigh("shop.example", x=100, v1=0)
    stage.release(V2)
    stage.confirm()
    assert stage.weights() == {"-/x": 100, "v2": 0}


@pytest.mark.parametrize("mode", ConfirmMode)
def test_confirm_before_all_is_healthy_is_illegal_even_by_force(mode: ConfirmMode) -> None:
    stage = releasing()
    with stage.refuses(Code.ILLEGAL_TRANSITION, "releasing", "shift, rollback"):
        stage.confirm(mode)


# --- rolling back --------------------------------------------------------------------------


def test_no_way_back_to_sick_old_services_from_healthy_new_ones_unless_force() -> None:
    stage = released()
    stage.sick("v1")
    with stage.refuses(Code.NO_HEALTHY_INSTANCE, "'shop.example'", "force"):
        stage.rollback()
    stage.rollback(force=True)
    assert stage.phase() is Phase.ROLLING_BACK


def test_the_way_back_is_free_when_both_are_sick() -> None:
    stage = released()
    stage.sick("v1", "v2")
    stage.rollback()
    assert stage.phase() is Phase.ROLLING_BACK


def test_one_healthy_old_service_on_each_route_is_enough() -> None:
    stage = Stage()
    stage.begin(V1, service("w1", "shop.example", coexist=True))
    stage.release(V2)
    stage.sick("v1")
    stage.rollback()
    assert stage.phase() is Phase.ROLLING_BACK


def test_what_is_late_goes_back_whatever_the_health_of_the_old() -> None:
    stage = releasing()
    stage.sick("v1")
    stage.now = stage.flying().deadline
    assert stage.advance(Event.EXPIRED)
    assert stage.phase() is Phase.ROLLING_BACK
    assert stage.state.services[sid("v2")].leaving
