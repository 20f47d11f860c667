"""What several providers report, put together; and what counts while one is silent."""

from __future__ import annotations

from collections.abc import Mapping

from admin.health import Target
from admin.observing import HealthReport, LaunchReport, Source
from admin.projection import Projection
from gateway.core.compile import condition
from gateway.core.model import (
    Discovery,
    Health,
    Instance,
    InstanceId,
    Launch,
    Service,
    ServiceId,
)
from gateway.core.snapshot import Condition, Snapshot
from gateway.core.state import State
from gateway.runtime.settings import Settings

WEB, JOB, FOUND = ServiceId("shop/web"), ServiceId("shop/job"), ServiceId("blog/web")
STATE = State(
    services={
        WEB: Service("shop", "web", (), launch=Launch("web:1")),
        JOB: Service("shop", "job", (), launch=Launch("job:1")),
        FOUND: Service("blog", "web", (), discovery=Discovery()),
    }
)


class NoChecks:
    def watch(
        self,
        service: ServiceId,
        targets: tuple[Target, ...],
        known: Mapping[InstanceId, Health],
        addresses: Mapping[InstanceId, str],
    ) -> None:
        pass


def instance(service: ServiceId, port: int = 80) -> Instance:
    return Instance(InstanceId(f"{service}#{port}"), service, "127.0.0.1", port)


def report(*services: ServiceId, ailing: Mapping[InstanceId, str] | None = None) -> LaunchReport:
    return LaunchReport(
        instances={sid: (instance(sid),) for sid in services},
        running=frozenset(services),
        ailing=ailing or {},
    )


def projection(*expected: Source, last: Snapshot | None = None) -> Projection:
    made = Projection(Settings(), NoChecks())
    for source in expected:
        made.expect(source)
    made.begin(STATE, last)
    return made


def published() -> Snapshot:
    made = projection()
    made.take_launched(
        STATE, {Source.PROCESSES: report(WEB, JOB), Source.DISCOVERED: report(FOUND)}
    )
    made.take_reports(STATE, [HealthReport(instance(FOUND).id, Health.HEALTHY)], 0.0)
    return made.compile(STATE, 1, 0.0)


def test_a_report_replaces_only_what_the_same_provider_said() -> None:
    made = projection()
    made.take_launched(STATE, {Source.PROCESSES: report(WEB), Source.DISCOVERED: report(FOUND)})
    made.take_launched(STATE, {Source.PROCESSES: report(JOB)})
    assert set(made.observed.instances) == {JOB, FOUND}
    made.take_launched(STATE, {Source.DISCOVERED: report()})
    assert set(made.observed.instances) == {JOB}


def test_what_runs_is_known_when_all_launchers_have_reported() -> None:
    made = projection(Source.CONTAINERS, Source.DISCOVERED)
    made.take_launched(STATE, {Source.PROCESSES: report(WEB)})
    assert made.observed.running is None
    made.take_launched(STATE, {Source.CONTAINERS: report(JOB)})
    assert made.observed.running == {WEB, JOB}


def test_an_expected_provider_that_is_silent_has_running_what_was_published_last() -> None:
    made = projection(Source.DISCOVERED, last=published())
    made.take_launched(STATE, {Source.PROCESSES: report(JOB)})
    assert made.observed.instances[FOUND] == (instance(FOUND),)
    assert made.observed.health_of(instance(FOUND).id) is Health.HEALTHY
    assert WEB not in made.observed.instances  # the process provider has spoken
    made.take_launched(STATE, {Source.DISCOVERED: LaunchReport()})
    assert FOUND not in made.observed.instances  # an empty report is one


def test_containers_of_a_silent_launcher_are_recalled_too() -> None:
    made = projection(Source.CONTAINERS, last=published())
    made.take_launched(STATE, {Source.PROCESSES: report(JOB)})
    assert made.observed.instances[WEB] == (instance(WEB),)
    made.take_launched(STATE, {Source.CONTAINERS: LaunchReport()})
    assert set(made.observed.instances) == {JOB}


def test_nobody_is_recalled_of_a_provider_that_is_not_there() -> None:
    made = projection(last=published())
    made.take_launched(STATE, {Source.PROCESSES: report(JOB)})
    assert set(made.observed.instances) == {JOB}


def test_a_provider_can_only_worsen_the_verdict_of_the_checks() -> None:
    one = instance(FOUND)
    made = projection()
    made.take_launched(STATE, {Source.DISCOVERED: report(FOUND, ailing={one.id: "starting"})})
    service = STATE.services[FOUND]
    assert made.observed.health_of(one.id) is Health.UNKNOWN
    made.take_reports(STATE, [HealthReport(one.id, Health.HEALTHY)], 0.0)
    assert made.observed.health_of(one.id) is Health.UNHEALTHY
    first = made.compile(STATE, 1, 0.0)
    assert condition(STATE, made.observed, service, one) is Condition.DOWN
    made.take_launched(STATE, {Source.DISCOVERED: report(FOUND)})
    assert made.observed.health_of(one.id) is Health.HEALTHY
    assert made.compile(STATE, 2, 0.0).services[FOUND] != first.services[FOUND]
