"""What a template means before anything changes: colours, refusals, warnings, captured routes."""

from __future__ import annotations

import sys
from dataclasses import fields, replace
from types import FrameType
from typing import Any

import pytest

from gateway.core.commands import (
    ConfirmRelease,
    ReleaseCommand,
    RemoveService,
    ScaleService,
    ShiftRelease,
)
from gateway.core.container import Container
from gateway.core.decide import decide
from gateway.core.errors import Code, Refused
from gateway.core.model import (
    AffinityPolicy,
    Check,
    CheckKind,
    Claim,
    Launch,
    Route,
    RouteId,
    RoutePolicy,
    Service,
    ServiceId,
)
from gateway.core.planning import captured, plan, sides
from gateway.core.release import Colour, ConfirmMode, Phase, Template
from gateway.core.state import State
from tests.support.releases import APP, Stage, by_hand, claim, service, sid, start

GREEN, BLUE, YELLOW = Colour.GREEN, Colour.BLUE, Colour.YELLOW


def deployed(*services: Service) -> Stage:
    stage = Stage()
    stage.begin(*services)
    return stage


def planned(stage: Stage, *services: Service) -> tuple[dict[str, Colour], tuple[str, ...]]:
    old = stage.state.applications[APP].template
    found = plan(stage.state, APP, old, Template(services))
    return dict(found.colours), found.warnings


# --- colours ---------------------------------------------------------------------------


def test_in_both_templates_is_yellow_only_new_is_green_only_old_is_blue() -> None:
    stage = deployed(service("a"), service("b"))
    colours, warnings = planned(stage, service("c"), service("a"))
    assert colours == {"c": GREEN, "a": YELLOW, "b": BLUE}
    assert list(colours) == ["c", "a", "b"], "the new template's order, then the old one's"
    assert warnings == ()


def test_everything_is_new_at_a_first_deployment() -> None:
    found = plan(State(), APP, None, Template((service("a"), service("b"))))
    assert dict(found.colours) == {"a": GREEN, "b": GREEN}


LAUNCH = Launch(
    "image:1", ("run",), ("sh",), (("K", "1"), ("SECRET", "x")), ("b.local",), "/w", 5.0
)
FULL = Service(
    APP, "a", (claim("shop.example"),), check=Check(CheckKind.HTTP, "/ok"), launch=LAUNCH
)


@pytest.mark.parametrize(
    ("place", "changed"),
    [
        ("image", replace(LAUNCH, image="image:2")),
        ("command", replace(LAUNCH, command=("walk",))),
        ("entrypoint", replace(LAUNCH, entrypoint=None)),
        ("environment", replace(LAUNCH, environment=(("K", "1"), ("SECRET", "y")))),
        ("external_links", replace(LAUNCH, external_links=())),
        ("working_dir", replace(LAUNCH, working_dir="/other")),
        ("stop_grace_s", replace(LAUNCH, stop_grace_s=6.0)),
    ],
)
def test_a_changed_launch_under_the_same_name_is_refused_at_its_place(
    place: str, changed: Launch
) -> None:
    stage = deployed(FULL)
    with stage.refuses(Code.SERVICE_REDEFINED, f"a.{place}", "new name"):
        stage.deploy(replace(FULL, launch=changed), service("b"))


def test_a_changed_probe_or_address_under_the_same_name_is_refused_at_its_place() -> None:
    stage = deployed(FULL, service("e", endpoints=("10.0.0.1:80",)))
    with stage.refuses(Code.SERVICE_REDEFINED, "a.probe", "e.x-gateway.endpoints"):
        stage.deploy(
            replace(FULL, check=Check(CheckKind.HTTP, "/other")),
            service("e", endpoints=("10.0.0.2:80",)),
        )


def test_started_here_and_run_elsewhere_are_not_the_same_service() -> None:
    stage = deployed(service("a"))
    with stage.refuses(Code.SERVICE_REDEFINED, "a.image", "a.x-gateway.endpoints"):
        stage.deploy(service("a", endpoints=("10.0.0.1:80",)))


@pytest.mark.parametrize(
    ("places", "changed"),
    [
        (["a.user"], Container(user="7")),
        (["a.mem_limit"], Container(limits=(("cpus", 1), ("mem_limit", 2)))),
        (["a.cpus", "a.mem_limit"], Container(limits=(("pids_limit", 1), ("mem_limit", 2)))),
        (["a.security_opt"], Container(no_new_privileges=True)),
        (["a.image"], None),
    ],
)
def test_another_container_under_the_same_name_is_refused_key_by_key(
    places: list[str], changed: Container | None
) -> None:
    was = Container(limits=(("cpus", 1),))
    now = replace(was, **changed_fields(changed)) if changed is not None else None
    stage = deployed(replace(FULL, launch=replace(LAUNCH, container=was)))
    with stage.refuses(Code.SERVICE_REDEFINED, *places):
        stage.deploy(replace(FULL, launch=replace(LAUNCH, container=now)))


def changed_fields(container: Container) -> dict[str, Any]:
    """What it says at all."""
    default = Container()
    found = {f.name: getattr(container, f.name) for f in fields(container)}
    return {name: value for name, value in found.items() if value != getattr(default, name)}


def test_a_refusal_names_the_variable_and_never_its_value() -> None:
    stage = deployed(FULL)
    hushed = replace(LAUNCH, environment=(("K", "1"), ("SECRET", "hush")))
    with pytest.raises(Refused, match="'SECRET'") as caught:
        stage.deploy(replace(FULL, launch=hushed))
    assert "hush" not in str(caught.value)
    assert "'K'" not in str(caught.value)


def test_all_redefined_services_are_named_at_once() -> None:
    stage = deployed(service("a"), service("b"), service("c"))
    with stage.refuses(Code.SERVICE_REDEFINED, "a.image", "b.image"):
        stage.deploy(service("a", image="x"), service("b", image="y"), service("c"))


def test_the_very_same_template_is_nothing_to_release() -> None:
    stage = deployed(service("a", "shop.example"), service("b"))
    with stage.refuses(Code.NOTHING_TO_RELEASE, "'shop'"):
        stage.deploy(service("b"), service("a", "shop.example"))


def test_claims_in_another_order_are_nothing_to_release() -> None:
    stage = deployed(service("a", "x.example", "y.example"))
    with stage.refuses(Code.NOTHING_TO_RELEASE):
        stage.deploy(service("a", "y.example", "x.example"))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (service("a", "shop.example", scale=3), "1 -> 3 at confirm"),
        (service("a", "shop.example", coexist=True), "marked as coexisting"),
        (service("a", "shop.example", depends=("b",)), "what it depends on"),
        (
            replace(service("a", "shop.example"), in_flight_limit=8),
            "in_flight: the configuration's -> 8 at confirm",
        ),
        (service("a", "other.example"), "shop.example (port 80) -> other.example (port 80)"),
        (service("a", "shop.example:81"), "shop.example (port 80) -> shop.example (port 81)"),
        (service("a"), "shop.example (port 80) -> none"),
    ],
)
def test_a_change_of_scale_or_routing_of_an_unchanged_service_is_a_warning(
    changed: Service, words: str
) -> None:
    stage = deployed(service("a", "shop.example"), service("b"))
    colours, warnings = planned(stage, changed, service("b"))
    assert colours == {"a": YELLOW, "b": YELLOW}
    assert any(w.startswith("a is unchanged but") and words in w for w in warnings), warnings


def test_a_scale_by_hand_makes_the_same_template_no_release() -> None:
    """What counts is what templates say: the scale set by PATCH stays."""
    stage = deployed(service("a"))
    stage.do(ScaleService("a", 5))
    with stage.refuses(Code.NOTHING_TO_RELEASE):
        stage.deploy(service("a"))
    assert stage.state.services[sid("a")].scale == 5


def test_a_service_that_was_removed_by_force_is_new_again() -> None:
    stage = deployed(service("a"), service("b"))
    stage.do(RemoveService("a", force=True))
    assert planned(stage, service("a"), service("b"))[0] == {"a": GREEN, "b": YELLOW}
    stage.finish_removals()
    assert planned(stage, service("a"), service("b"))[0] == {"a": GREEN, "b": YELLOW}


def test_only_removals_go_straight_to_the_operator() -> None:
    stage = deployed(service("a", "shop.example"), service("b"))
    release = stage.deploy(service("a", "shop.example"))
    assert release.phase is Phase.PENDING_CONFIRMATION
    assert [entry.phase for entry in release.timeline] == [
        Phase.RELEASING,
        Phase.PENDING_CONFIRMATION,
    ]


def test_a_lost_route_is_warned_of() -> None:
    stage = deployed(service("a", "shop.example"), service("b", "b.example"))
    _, warnings = planned(stage, service("b", "b.example"), service("c"))
    assert warnings == ("shop.example is served by a only and by no service of the new template",)


# --- conflicts -------------------------------------------------------------------------


def test_a_route_of_another_application_needs_the_mark() -> None:
    stage = Stage()
    stage.begin(service("x", "shop.example", app="other"), app="other")
    with stage.refuses(
        Code.ROUTE_CONFLICT, "'shop.example' by other/x", "a.labels.routing.port_80", "coexist"
    ):
        stage.deploy(service("a", "shop.example"))
    stage.deploy(service("a", "shop.example", coexist=True))
    assert stage.weights() == {"other/x": 100, "a": 0}


def test_a_route_of_a_service_by_hand_needs_the_mark() -> None:
    stage = Stage()
    stage.do(by_hand("x", "shop.example"))
    with stage.refuses(Code.ROUTE_CONFLICT, "-/x"):
        stage.deploy(service("a", "shop.example"))


def test_all_conflicts_are_named_at_once() -> None:
    stage = Stage()
    stage.do(by_hand("x", "x.example", "y.example"))
    with stage.refuses(Code.ROUTE_CONFLICT, "'x.example'", "'y.example'", "b.labels"):
        stage.deploy(service("a", "x.example"), service("b", "y.example"))


def test_a_new_claim_of_an_unchanged_service_needs_the_mark_too() -> None:
    stage = deployed(service("a", "shop.example"))
    stage.do(by_hand("x", "x.example"))
    with stage.refuses(Code.ROUTE_CONFLICT, "-/x"):
        stage.deploy(service("a", "shop.example", "x.example"))
    stage.deploy(service("a", "shop.example", "x.example", coexist=True))


def test_an_unchanged_service_needs_no_mark_where_it_is_already() -> None:
    stage = deployed(service("a", "shop.example"))
    stage.do(by_hand("x", "shop.example", coexist=True))
    stage.deploy(service("a", "shop.example"), service("b"))


def test_a_service_that_is_leaving_holds_no_place_on_its_route() -> None:
    stage = deployed(service("a", "shop.example"))
    stage.do(RemoveService("a", force=True))
    stage.do(by_hand("x", "shop.example"))
    with stage.refuses(Code.ROUTE_CONFLICT, "-/x"):
        stage.deploy(service("a", "shop.example"))


def test_a_route_of_the_own_application_needs_none_and_says_so() -> None:
    stage = deployed(service("a", "shop.example"))
    _, warnings = planned(stage, service("b", "shop.example"))
    assert any("b shares the route shop.example with a without the label" in w for w in warnings)
    _, warnings = planned(stage, service("b", "shop.example", coexist=True))
    assert warnings == ()


# --- who leaves a route, who comes ------------------------------------------------------


def test_sides_name_who_leaves_and_who_comes() -> None:
    stage = deployed(
        service("a", "x.example"), service("b", "x.example", "y.example", coexist=True)
    )
    release = stage.deploy(
        service("b", "x.example", coexist=True), service("c", "x.example", "z.example")
    )
    found = {rid: (side.old, side.new) for rid, side in sides(release).items()}
    assert found == {
        "x.example": ((sid("a"),), (sid("c"),)),
        "y.example": ((sid("b"),), ()),
        "z.example": ((), (sid("c"),)),
    }


def test_a_service_removed_by_force_leaves_no_route_when_it_comes_anew() -> None:
    stage = deployed(service("a", "shop.example"), service("b", "b.example"))
    stage.do(RemoveService("a", force=True))
    release = stage.deploy(service("a", "a.example"))
    assert {rid: (side.old, side.new) for rid, side in sides(release).items()} == {
        "b.example": ((sid("b"),), ()),
        "a.example": ((), (sid("a"),)),
    }


# --- routes that would capture traffic --------------------------------------------------


@pytest.mark.parametrize(
    ("there", "new", "captures"),
    [
        (["shop.example"], "shop.example/api", "shop.example"),
        (["shop.example", "shop.example/a"], "shop.example/a/b", "shop.example/a"),
        (["shop.example/api"], "shop.example", None),
        (["shop.example/api"], "shop.example/apiary", None),
        (["*.example"], "shop.example", "*.example"),
        (["*.example"], "a.shop.example", "*.example"),
        (["*.shop.example", "*.example"], "a.shop.example", "*.shop.example"),
        (["*.example"], "*.shop.example", "*.example"),
        (["*.shop.example"], "*.example", None),
        (["*.shop.example"], "shop.example", None),
        (["*.example/api"], "shop.example/api", "*.example/api"),
        (["*.example/api"], "shop.example", None),
        (["*.example/api", "*.example"], "shop.example/api/v2", "*.example/api"),
        (["shop.example", "*.example/api"], "shop.example/api", "shop.example"),
        (["other.example"], "shop.example", None),
        ([], "shop.example", None),
    ],
)
def test_a_new_route_captures_what_the_best_match_serves_today(
    there: list[str], new: str, captures: str | None
) -> None:
    routes = {}
    for where in there:
        c = claim(where)
        routes[c.route] = Route(c.host, c.path, {ServiceId("-/x"): 100})
    assert captured(State(routes=routes), claim(new)) == captures


def test_a_route_without_services_or_held_back_serves_nothing_to_capture() -> None:
    empty = Route("shop.example", "/", {}, RoutePolicy(AffinityPolicy(enabled=False)))
    held = Route("shop.example", "/a", {ServiceId("-/x"): 0}, is_held=True)
    state = State(routes={r.id: r for r in (empty, held)})
    assert captured(state, Claim("shop.example", "/a/b")) is None


def test_a_held_route_does_not_hide_the_one_below_it() -> None:
    serving = Route("shop.example", "/", {ServiceId("-/x"): 100})
    held = Route("shop.example", "/a", {ServiceId("-/x"): 0}, is_held=True)
    state = State(routes={r.id: r for r in (serving, held)})
    assert captured(state, Claim("shop.example", "/a/b")) == RouteId("shop.example")


# --- size ------------------------------------------------------------------------------


def calls_to_release(services: int) -> list[int]:
    """How many functions are called to start, shift, shift back and confirm so many services."""
    old = [service(f"s{n}-v1", f"s{n}.example", f"shop.example/{n}") for n in range(services)]
    new = [
        service(f"s{n}-v2", f"s{n}.example", f"shop.example/{n}/x", coexist=True)
        for n in range(services)
    ]
    stage = Stage(decide(State(), start(*old), Stage().observed).state)
    stage.all_healthy()
    stage.drive()
    observed = stage.observed
    counted = []

    def count(state: State, command: ReleaseCommand) -> State:
        calls = 0

        def note(frame: FrameType, event: str, arg: object) -> None:
            nonlocal calls
            calls += event in ("call", "c_call")

        sys.setprofile(note)
        try:
            after = decide(state, command, observed).state
        finally:
            sys.setprofile(None)
        counted.append(calls)
        return after

    state = count(stage.state, start(*new))
    for percent in (25, 0):
        state = count(state, ShiftRelease(APP, percent, 0.0, "op", force=True))
    stage.state = state
    stage.all_healthy()
    stage.drive()
    observed = stage.observed
    after = count(stage.state, ConfirmRelease(APP, ConfirmMode.FORCE, 0.0, "op"))
    assert after.releases[f"{APP}-2"].phase is Phase.CONFIRMING
    return counted


def test_the_work_of_a_release_grows_with_its_services_and_not_with_their_square() -> None:
    few, many = calls_to_release(50), calls_to_release(500)
    assert all(much < 15 * little for little, much in zip(few, many, strict=True)), (few, many)
