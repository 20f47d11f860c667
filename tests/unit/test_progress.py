"""What a release waits for, in words, and the last words of what did not come up."""

from __future__ import annotations

from dataclasses import dataclass, replace

from admin.progress import Failures, readiness, setback, waiting_for
from gateway.core.commands import FinishRemoval, ScaleService
from gateway.core.model import InstanceId, ServiceId
from gateway.core.release import Colour, ConfirmMode, Phase
from tests.support.releases import Stage, service, sid


@dataclass(frozen=True)
class Mishap:
    what: str
    output: tuple[str, ...] = ()


def nothing(_: ServiceId) -> tuple[Mishap, ...]:
    return ()


def mishaps(**found: tuple[Mishap, ...]) -> Failures:
    return lambda asked: found.get(asked.partition("/")[2], ())


def a_release() -> Stage:
    stage = Stage()
    stage.begin(service("v1", "shop.example"), service("w"))
    stage.deploy(service("v2", "shop.example", coexist=True, scale=3), service("u"), service("w"))
    return stage


def words(stage: Stage, failures: Failures = nothing) -> str | None:
    release = list(stage.state.releases.values())[-1]
    return waiting_for(stage.state, stage.observed, release, failures)


def test_releasing_waits_for_the_instances_of_new_services() -> None:
    stage = a_release()
    assert words(stage) == "0 of 3 instances of v2 healthy; 0 of 1 instances of u healthy"
    stage.all_healthy()
    stage.sick("u", "v1", "w")
    assert words(stage) == "0 of 1 instances of u healthy"
    stage.retiring = {InstanceId("shop/v2#2")}
    assert words(stage) == "2 of 3 instances of v2 healthy; 0 of 1 instances of u healthy"


def test_the_newest_mishap_says_why() -> None:
    found = mishaps(u=(Mishap("ended with exit code 3 after 0.2 s"), Mishap("older")))
    stage = a_release()
    stage.all_healthy()
    stage.sick("u")
    assert words(stage, found) == (
        "0 of 1 instances of u healthy (ended with exit code 3 after 0.2 s)"
    )


def test_pending_waits_for_the_operator_or_for_what_turned_unhealthy() -> None:
    stage = a_release()
    stage.all_healthy()
    stage.drive()
    assert words(stage) == "the operator to shift, confirm or roll back"
    stage.sick("v2")
    assert words(stage) == "0 of 3 instances of v2 healthy"
    stage.all_healthy()
    stage.do(ScaleService("v2", 4))
    assert words(stage) == "the operator to shift, confirm or roll back"
    stage.confirm(ConfirmMode.SMOOTH)
    assert words(stage) == "5 s without errors on the new services, then it confirms by itself"


def test_an_end_waits_for_open_work_and_then_for_processes() -> None:
    for verb, goes in (("confirm", "v1"), ("rollback", "v2")):
        stage = a_release()
        stage.all_healthy()
        stage.drive()
        if verb == "confirm":
            stage.confirm(ConfirmMode.FORCE)
        else:
            stage.rollback()
            stage.do(FinishRemoval(sid("u")))
        assert words(stage) == f"the open work of {goes} to end"
        stage.lingering = {sid(goes)}
        stage.do(FinishRemoval(sid(goes)))
        assert words(stage) == f"the processes of {goes} to stop"
        release = stage.flying()
        unknown = replace(stage.observed, running=None)
        assert f"the processes of {goes} to stop" in str(
            waiting_for(stage.state, unknown, release, nothing)
        )
        stage.lingering = set()
        assert words(stage) == "its end to be noted"
        stage.drive()
        assert words(stage) is None


def test_a_setback_quotes_the_last_lines_of_what_did_not_come_up() -> None:
    stage = a_release()
    stage.all_healthy()
    stage.sick("u")
    output = tuple(f"line {n}" for n in range(9))
    found = mishaps(u=(Mishap("ended with exit code 1", output),), v1=(Mishap("x", ("not new",)),))
    text = setback(stage.state, stage.observed, stage.flying(), found)
    assert text.splitlines() == [
        "0 of 1 instances of u healthy (ended with exit code 1)",
        "last output of u:",
        *(f"  line {n}" for n in range(4, 9)),
    ]
    stage.all_healthy()
    assert setback(stage.state, stage.observed, stage.flying(), nothing) == (
        "its services were not healthy"
    )


def test_readiness_names_every_service_that_is_there_with_its_colour() -> None:
    stage = a_release()
    stage.health = {}
    stage.all_healthy()
    stage.sick("w")
    found = readiness(stage.state, stage.observed, stage.flying())
    assert [(r.name, r.colour, r.scale, r.ready, r.is_ready) for r in found] == [
        ("v2", Colour.GREEN, 3, 3, True),
        ("u", Colour.GREEN, 1, 1, True),
        ("w", Colour.YELLOW, 1, 0, False),
        ("v1", Colour.BLUE, 1, 1, True),
    ]
    stage.drive()
    stage.confirm(ConfirmMode.FORCE)
    stage.finish_removals()
    assert stage.phase() is Phase.CONFIRMING
    found = readiness(stage.state, stage.observed, stage.flying())
    assert [r.name for r in found] == ["v2", "u", "w"]


def test_a_service_run_elsewhere_is_ready_with_all_of_its_addresses() -> None:
    stage = Stage()
    stage.deploy(service("e", "e.example", endpoints=("10.0.0.1:80", "10.0.0.2:80")))
    [found] = readiness(stage.state, stage.observed, stage.flying())
    assert (found.scale, found.ready) == (2, 0)
    stage.all_healthy()
    [found] = readiness(stage.state, stage.observed, stage.flying())
    assert (found.scale, found.ready, found.is_ready) == (2, 2, True)
