"""What the process provider has the supervisor do, without any process."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from admin.providers.launching.failures import KEPT
from gateway.core.container import Container
from gateway.core.model import (
    Check,
    CheckKind,
    Claim,
    Endpoint,
    Health,
    InstanceId,
    Launch,
    ServiceId,
)
from gateway.core.model import Service as ModelService
from gateway.runtime.settings import ImageSettings
from tests.support.clocks import FakeClock, settle
from tests.support.launching import IMAGE, Launching, a_service, some_settings

WEB = ServiceId("app/web")


@pytest.fixture
def stage(tmp_path: Path) -> Launching:
    return Launching(tmp_path)


# --- starting -------------------------------------------------------------------------------


def test_each_instance_is_started_once_with_a_port_of_its_own(stage: Launching) -> None:
    stage.want(a_service("web", scale=3))
    launches = stage.supervisor.started
    assert [m["service"] for m in launches] == [WEB] * 3
    assert [m["id"] for m in launches] == [f"web@127.0.0.1:{p}" for p in (20000, 20001, 20002)]
    assert [m["command"] for m in launches] == [["web", str(p)] for p in (20000, 20001, 20002)]
    assert launches[0]["env"] == {
        "PATH": "/bin",
        "LC_ALL": "C",
        "PYTHONUNBUFFERED": "1",
        "PORT": "20000",
        "PORT_80": "20000",
    }
    assert Path(launches[0]["log"]).parent == stage.folder.absolute() / "logs" / "app" / "web"
    first = stage.world.report.instances[WEB][0]
    assert (first.host, first.port, dict(first.ports)) == ("127.0.0.1", 20000, {80: 20000})
    stage.later(1000)
    assert len(stage.supervisor.started) == 3


def test_each_instance_is_told_of_on_its_way(stage: Launching) -> None:
    def told() -> list[tuple[int, str, str | None]]:
        return [(s.slot, s.stage.value, s.instance) for s in stage.provider.steps(WEB)]

    first, second = InstanceId("web@127.0.0.1:20000"), InstanceId("web@127.0.0.1:20001")
    stage.world.want(a_service("web", scale=2))
    stage.tell()
    assert told() == [(0, "waiting", None), (1, "waiting", None)]
    stage.provider.look(stage.clock.now)
    assert told() == [(0, "starting", first), (1, "starting", second)]
    stage.settle()
    stage.world.say(first)
    assert told() == [(0, "ready", first), (1, "probing", second)]
    stage.want(replace(a_service("web", scale=2), leaving=True))
    assert told() == []


def test_containers_are_not_the_process_providers(stage: Launching) -> None:
    service = a_service("web")
    assert service.launch is not None
    stage.want(replace(service, launch=replace(service.launch, container=Container())))
    assert stage.supervisor.started == []
    assert stage.provider.steps(WEB) == ()
    assert stage.provider.why_not_started(WEB) is None


def test_nothing_is_started_before_the_table_is_known(tmp_path: Path) -> None:
    stage = Launching(tmp_path)
    stage.world.want(a_service("web"))

    async def go() -> None:
        task = asyncio.create_task(stage.provider.run(lambda: ()))
        await settle()
        assert not stage.supervisor.inbox
        stage.tell()
        await settle()
        assert len(stage.supervisor.inbox) == 1
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    asyncio.run(go())


def test_an_instance_is_reported_only_when_the_table_shows_it(stage: Launching) -> None:
    stage.world.want(a_service("web"))
    stage.tell()
    stage.provider.look(stage.clock.now)
    assert stage.world.instances("web") == []
    assert stage.world.report.running == {WEB}
    stage.settle()
    assert stage.world.instances("web") == ["web@127.0.0.1:20000"]


def test_each_container_port_gets_a_real_one_also_the_one_that_only_a_check_asks(
    stage: Launching,
) -> None:
    claims = (
        Claim("a.example", port=80),
        Claim("b.example", port=443),
        Claim("c.example", port=80),
    )
    stage.want(a_service("web", claims=claims, check=Check(CheckKind.HTTP, port=9000)))
    env = stage.supervisor.started[0]["env"]
    ports = {name: value for name, value in env.items() if name.startswith("PORT")}
    assert ports == {"PORT": "20000", "PORT_80": "20000", "PORT_443": "20001", "PORT_9000": "20002"}
    (instance,) = stage.world.report.instances[WEB]
    assert dict(instance.ports) == {80: 20000, 443: 20001, 9000: 20002}


def test_a_service_without_a_port_gets_one_all_the_same(stage: Launching) -> None:
    stage.want(a_service("job", claims=(), check=Check(CheckKind.RUNNING)))
    assert stage.supervisor.started[0]["env"]["PORT"] == "20000"
    (instance,) = stage.world.report.instances[ServiceId("app/job")]
    assert (instance.port, dict(instance.ports)) == (20000, {})


def test_a_port_routed_after_the_start_leads_to_the_instances_own(stage: Launching) -> None:
    stage.want(a_service("web"))
    claims = (Claim("a.example", port=80), Claim("b.example", port=443))
    stage.want(a_service("web", claims=claims))
    (instance,) = stage.world.report.instances[WEB]
    assert dict(instance.ports) == {80: 20000, 443: 20000}
    assert len(stage.supervisor.started) == 1


def test_services_by_hand_are_left_alone(stage: Launching) -> None:
    stage.want(ModelService("-", "hand", (), endpoints=(Endpoint("127.0.0.1", 20000),)))
    assert stage.supervisor.started == []
    assert stage.world.report.instances == {}


def test_a_port_of_a_known_instance_is_not_given(stage: Launching) -> None:
    stage.want(a_service("web"))
    first = stage.supervisor.running()[0]
    stage.supervisor.end(first, leaves_group=True)  # its group may hold the port still
    stage.settle()
    assert stage.supervisor.running() == ["web@127.0.0.1:20001"]


def test_too_few_ports_are_a_failure_that_says_so_and_is_tried_again(tmp_path: Path) -> None:
    stage = Launching(tmp_path, some_settings(ports=(20000, 20001)))
    stage.want(a_service("web", scale=3))
    assert len(stage.supervisor.running()) == 2
    assert "no 1 free port(s) from 20000 to 20001" in stage.provider.failures(WEB)[0].what
    stage.world.settings = some_settings(ports=(20000, 20005))
    stage.provider.settings_have_changed()
    stage.settle()
    assert len(stage.supervisor.running()) == 3


def test_an_image_nobody_knows_is_a_failure_until_the_configuration_names_it(
    stage: Launching,
) -> None:
    stage.want(a_service("web", image="demo/web:2"))
    (failure,) = stage.provider.failures(WEB)[-1:]
    assert "'demo/web:2'; did you mean 'demo/web:1'?" in failure.what
    assert stage.supervisor.started == []
    stage.world.settings = some_settings(images={"demo/web:2": ImageSettings(("two",))})
    stage.provider.settings_have_changed()
    stage.settle()
    assert stage.supervisor.started[0]["command"] == ["two"]


def test_new_settings_change_nothing_that_runs(stage: Launching) -> None:
    stage.want(a_service("web"))
    stage.world.settings = some_settings(
        images={IMAGE: ImageSettings(("other",))}, ports=(21000, 21010)
    )
    stage.provider.settings_have_changed()
    stage.settle()
    assert len(stage.supervisor.started) == 1
    stage.want(a_service("web", scale=2))
    assert stage.supervisor.started[1]["command"] == ["other"]
    assert stage.supervisor.started[1]["id"] == "web@127.0.0.1:21000"


# --- dependencies -----------------------------------------------------------------------------


def test_the_first_start_waits_for_healthy_dependencies_and_no_later_one_does(
    stage: Launching,
) -> None:
    database, web = a_service("db"), a_service("web", depends=("db",))
    stage.want(web, database)
    assert [m["service"] for m in stage.supervisor.started] == ["app/db"]
    assert stage.provider.why_not_started(WEB) == "waits for db to be healthy"
    stage.world.say(stage.world.instances("db")[0])
    stage.settle()
    assert stage.provider.why_not_started(WEB) is None
    (mine,) = stage.supervisor.running(WEB)
    stage.world.health.clear()
    stage.supervisor.end(mine)
    stage.settle()
    assert len(stage.supervisor.running(WEB)) == 1


def test_a_dependency_that_is_gone_is_not_waited_for(stage: Launching) -> None:
    stage.want(a_service("web", depends=("gone",)))
    assert len(stage.supervisor.running(WEB)) == 1


# --- crashes ------------------------------------------------------------------------------------


def test_what_ends_is_replaced_at_once_by_another_instance_and_then_with_a_back_off(
    stage: Launching,
) -> None:
    stage.want(a_service("web"))
    seen = set(stage.supervisor.running())
    waits = []
    for _ in range(10):
        (running,) = stage.supervisor.running()
        stage.supervisor.end(running)
        stage.tell()
        stage.provider.look(stage.clock.now)
        assert running not in stage.world.instances("web")
        before = stage.clock.now
        stage.settle()
        while not stage.supervisor.running():
            stage.later(0.05)
        waits.append(stage.clock.now - before)
        assert not seen & set(stage.supervisor.running())
        seen.update(stage.supervisor.running())
    assert waits[0] == 0
    assert waits[1:5] == pytest.approx([0.1, 0.2, 0.4, 0.8], abs=0.06)
    assert waits[-1] == pytest.approx(10, abs=0.1)
    (running,) = stage.supervisor.running()
    stage.later(60)
    stage.supervisor.end(running)
    stage.settle()
    assert len(stage.supervisor.running()) == 1  # it had run well


class Ticking(FakeClock):
    """A clock on which time passes whenever somebody looks at it, as on a real one."""

    def monotonic(self) -> float:
        self.now += 0.001
        return self.now

    async def sleep(self, seconds: float) -> None:
        # Timers of event loops may fire a little early.
        await super().sleep(max(0.0, seconds - 0.002))


def test_no_due_time_is_missed_however_time_passes_between_two_looks(tmp_path: Path) -> None:
    stage = Launching(tmp_path, clock=Ticking())
    stage.supervisor.cannot_start.add("web")
    stage.world.want(a_service("web"))
    stage.tell()

    async def go() -> None:
        task = asyncio.create_task(stage.provider.run(lambda: ()))
        for _ in range(400):
            await stage.clock.advance(0.05)
            stage.supervisor.hear()
            stage.tell()
        await settle()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    asyncio.run(go())
    # At once, then after 0.1, 0.2, 0.4, 0.8, 1.6, 3.2 and 6.4 s.
    assert len(stage.supervisor.tried) >= 9


def test_slots_back_off_each_for_itself(stage: Launching) -> None:
    stage.want(a_service("web", scale=3))
    stage.later(100)
    for _ in range(3):
        bad = max(stage.supervisor.running(), key=lambda id: stage.supervisor.processes[id].started)
        stage.supervisor.end(bad)
        stage.settle()
        stage.later(0.3)
    good = min(stage.supervisor.running(), key=lambda id: stage.supervisor.processes[id].started)
    count = len(stage.supervisor.running())
    stage.supervisor.end(good)
    stage.settle()
    assert len(stage.supervisor.running()) == count


def test_failures_tell_what_happened_with_the_last_lines_of_output(stage: Launching) -> None:
    stage.want(a_service("web"))
    (running,) = stage.supervisor.running()
    output = Path(stage.supervisor.processes[running].launch["log"])
    output.parent.mkdir(parents=True)
    output.write_text("".join(f"line {n}\n" for n in range(50)) + "\x1b[31mred\x07")
    stage.clock.now += 0.25
    stage.supervisor.end(running, 3)
    stage.settle()
    (failure,) = stage.provider.failures(WEB)
    assert failure.instance == running
    assert failure.what in (
        "ended with exit code 3 after 0.2 s",
        "ended with exit code 3 after 0.3 s",
    )
    assert failure.output == (*(f"line {n}" for n in range(31, 50)), "red\\x07")
    assert failure.time == stage.clock.now


def test_the_newest_failures_are_kept_and_forgotten_with_the_service(stage: Launching) -> None:
    stage.supervisor.cannot_start.add("web")
    stage.want(a_service("web"))
    for _ in range(9):
        stage.later(10)
    failures = stage.provider.failures(WEB)
    assert len(failures) == KEPT
    assert [f.time for f in failures] == sorted((f.time for f in failures), reverse=True)
    assert failures[0].what == "cannot be started: no such file"
    stage.want()
    assert stage.provider.failures(WEB) == ()


def test_what_was_told_to_end_is_no_failure(stage: Launching) -> None:
    stage.want(a_service("web", scale=2))
    stage.want(a_service("web", scale=1))
    stage.later(100)
    stage.supervisor.end_halted()
    stage.settle()
    assert stage.provider.failures(WEB) == ()
    assert len(stage.supervisor.processes) == 1


# --- going away -----------------------------------------------------------------------------------


def test_a_leaving_service_keeps_what_runs_and_gets_nothing_new(stage: Launching) -> None:
    stage.want(a_service("web", scale=2))
    stage.want(a_service("web", scale=2, leaving=True))
    assert len(stage.world.instances("web")) == 2
    stage.supervisor.end(stage.supervisor.running()[0])
    stage.later(100)
    assert len(stage.supervisor.running()) == 1
    assert stage.supervisor.halted == []


def test_a_service_that_is_gone_has_its_processes_ended_and_is_running_until_they_are(
    stage: Launching,
) -> None:
    stage.want(a_service("web", scale=2))
    stage.want()
    assert len(stage.supervisor.halted) == 2
    assert stage.world.report.instances == {}
    assert stage.world.report.running == {WEB}
    for id in list(stage.supervisor.processes):
        stage.supervisor.end(id, -15, leaves_group=True)
    stage.settle()
    assert stage.world.report.running == {WEB}
    stage.supervisor.end_halted()
    stage.settle()
    assert stage.world.report.running == frozenset()


def test_each_service_has_its_own_grace_time(stage: Launching) -> None:
    stage.want(a_service("web", launch=Launch(IMAGE, stop_grace_s=3.0)), a_service("other"))
    assert {m["service"]: m["grace_s"] for m in stage.supervisor.started} == {
        WEB: 3.0,
        "app/other": 10.0,
    }
    stage.world.want()
    stage.provider.look(stage.clock.now)
    halts = {m["id"].split("@")[0]: m["grace_s"] for m in stage.supervisor.inbox}
    assert halts == {"web": 3.0, "other": 10.0}


def test_a_process_of_another_definition_is_ended_and_never_an_instance(stage: Launching) -> None:
    stage.want(a_service("web"))
    (old,) = stage.supervisor.running()
    stage.want(a_service("web", launch=Launch(IMAGE, environment=(("A", "b"),))))
    assert stage.supervisor.halted == [old]
    (new,) = stage.supervisor.running()
    assert stage.world.instances("web") == [new]
    assert stage.supervisor.processes[new].launch["env"]["A"] == "b"


def test_scaling_down_drains_the_newest_and_ends_them_when_nothing_is_open(
    stage: Launching,
) -> None:
    stage.want(a_service("web", scale=1))
    stage.clock.now += 1
    stage.want(a_service("web", scale=3))
    first, *newest = stage.world.instances("web")
    stage.open.add(newest[0])
    stage.world.is_applied = False
    stage.want(a_service("web", scale=1))
    assert stage.world.report.retiring == set(newest)
    assert stage.world.instances("web") == [first, *newest]  # they have work still
    stage.later(5)
    assert stage.supervisor.halted == []  # not every worker knows yet
    stage.world.is_applied = True
    stage.settle()
    stage.later(0.3)
    assert stage.supervisor.halted == [newest[1]]
    stage.later(5)
    assert stage.supervisor.halted == [newest[1]]
    stage.open.clear()
    stage.settle()
    assert stage.supervisor.halted == [newest[1], newest[0]]
    assert stage.world.instances("web") == [first]
    assert stage.world.report.retiring == frozenset()


def test_what_does_not_drain_in_time_is_ended_all_the_same(stage: Launching) -> None:
    stage.want(a_service("web", scale=2))
    stage.open.update(stage.world.instances("web"))
    stage.want(a_service("web", scale=1))
    stage.later(29)
    assert stage.supervisor.halted == []
    stage.later(1.1)
    assert len(stage.supervisor.halted) == 1


def test_scaling_up_again_takes_back_what_was_retiring(stage: Launching) -> None:
    stage.want(a_service("web", scale=2))
    stage.open.update(stage.world.instances("web"))
    stage.want(a_service("web", scale=1))
    assert stage.world.report.retiring
    stage.want(a_service("web", scale=2))
    assert stage.world.report.retiring == frozenset()
    stage.open.clear()
    stage.later(100)
    assert len(stage.supervisor.started) == 2
    assert stage.supervisor.halted == []


# --- a control process that comes anew ----------------------------------------------------------


def test_a_new_control_process_takes_up_what_runs(stage: Launching) -> None:
    stage.want(a_service("web", scale=2))
    before = stage.world.report.instances
    stage.replace_control()
    stage.provider.report()
    assert stage.world.report.instances == before
    stage.settle()
    stage.later(100)
    assert len(stage.supervisor.started) == 2
    assert stage.supervisor.halted == []


def test_what_runs_is_reported_before_anything_is_known_of_services(stage: Launching) -> None:
    stage.want(a_service("web", scale=2))
    state = stage.world.state
    stage.world.want()
    stage.replace_control()
    stage.provider.report()
    assert len(stage.world.instances("web")) == 2
    stage.world.state = state
    stage.settle()
    assert len(stage.supervisor.started) == 2


def test_a_retirement_under_way_is_taken_up_with_the_same_instances(stage: Launching) -> None:
    stage.want(a_service("web", scale=1))
    stage.clock.now += 1
    stage.want(a_service("web", scale=3))
    stage.open.update(stage.world.instances("web"))
    stage.want(a_service("web", scale=2))
    retiring = stage.world.report.retiring
    stage.replace_control()
    stage.settle()
    assert stage.world.report.retiring == retiring


def test_failures_while_no_control_process_was_there_are_told_to_the_next(
    stage: Launching,
) -> None:
    stage.want(a_service("web"))
    (running,) = stage.supervisor.running()
    stage.supervisor.end(running, 9)
    stage.replace_control()
    stage.settle()
    assert [f.instance for f in stage.provider.failures(WEB)] == [running]
    assert len(stage.supervisor.running()) == 1


# --- what others ask ------------------------------------------------------------------------------


def test_a_command_may_be_run_beside_an_instance_only_where_its_image_allows_it(
    stage: Launching,
) -> None:
    stage.want(a_service("web"))
    (running,) = stage.world.instances("web")
    assert "allow_command" in str(stage.provider.surroundings(running))
    assert "no process" in str(stage.provider.surroundings(InstanceId("other@127.0.0.1:1")))
    image = ImageSettings(("web",), environment={"A": "b"}, working_dir="/srv", allow_command=True)
    stage.world.settings = some_settings(images={IMAGE: image})
    around = stage.provider.surroundings(running)
    assert not isinstance(around, str)
    assert around.folder == "/srv"
    assert around.environment["PORT_80"] == "20000"
    assert around.environment["A"] == "b"
    assert ":check:" in around.environment["GATEWAY_BACKEND"]
    assert "SECRET" not in around.environment


def test_a_service_that_fails_says_when_it_is_started_again(stage: Launching) -> None:
    stage.supervisor.cannot_start.add("web")
    stage.want(a_service("web"))
    assert stage.provider.why_not_started(WEB) == "is started again in 0.1 s"
    assert stage.provider.why_not_started(ServiceId("app/x")) is None


def test_health_alone_changes_no_report(stage: Launching) -> None:
    stage.want(a_service("web"))
    count = len(stage.world.reports)
    stage.world.say(stage.world.instances("web")[0], Health.UNHEALTHY)
    stage.settle()
    assert len(stage.world.reports) == count


def test_what_cannot_be_sent_is_a_failure_of_that_service_alone(stage: Launching) -> None:
    broken = a_service("bad", launch=replace(Launch(IMAGE), environment=(("A", "\ud800"),)))
    stage.want(broken, a_service("web"))
    assert len(stage.supervisor.running(WEB)) == 1
    assert stage.provider.failures(broken.id)
