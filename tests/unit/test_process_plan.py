"""Never two for one, never an orphan, and in the end what is wanted: whatever happens on the way."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from admin.providers.launching.reconcile import Plan, Process, Wanted, plan
from gateway.core.model import InstanceId, Launch, ServiceId
from tests.support.launching import IMAGE, Launching, a_service

NAMES = ("a", "b", "c")


# --- the plan alone ------------------------------------------------------------------------

wanted_services = st.dictionaries(
    st.sampled_from([ServiceId(f"app/{n}") for n in NAMES]),
    st.builds(Wanted, st.sampled_from(["one", "two"]), st.integers(0, 4), st.booleans()),
)
process_lists = st.lists(
    st.builds(
        Process,
        id=st.integers(0, 10_000).map(lambda n: InstanceId(f"i{n}")),
        service=st.sampled_from([ServiceId(f"app/{n}") for n in (*NAMES, "gone")]),
        definition=st.sampled_from(["one", "two"]),
        slot=st.integers(0, 5),
        started=st.floats(0, 10),
        is_stopping=st.booleans(),
    ),
    max_size=12,
    unique_by=lambda p: p.id,
)


@given(wanted_services, process_lists, st.booleans(), st.booleans())
@settings(deadline=None, max_examples=300)
def test_a_plan_starts_what_is_missing_and_ends_what_is_not_wanted(
    wanted: dict[ServiceId, Wanted], processes: list[Process], may_start: bool, retired: bool
) -> None:
    found = plan(wanted, processes, lambda *_: may_start, lambda _: retired)
    alive = [p for p in processes if not p.is_stopping]
    assert found.halts | found.retiring.keys() <= {p.id for p in alive}
    assert not found.halts & found.retiring.keys()
    for sid in {*wanted, *(p.service for p in processes)}:
        service = wanted.get(sid)
        mine = [p for p in alive if p.service == sid]
        right = [p for p in mine if service and p.definition == service.definition]
        starts = [slot for started, slot in found.starts if started == sid]
        halted = [p for p in mine if p.id in found.halts]
        assert {p.id for p in mine if p not in right} <= found.halts
        if service is None or service.is_leaving:
            assert not starts
            assert service is None or not [p for p in right if p in halted]
            continue
        left = len(right) - len([p for p in halted if p in right])
        assert left + len(starts) <= max(service.scale, left)
        assert left >= min(service.scale, len(right))
        if may_start and len(right) < service.scale:
            assert len(right) + len(starts) == service.scale
        assert not may_start or len(set(starts) | {p.slot for p in right}) == len(starts) + len(
            {p.slot for p in right}
        )
        retiring = [p for p in right if p.id in found.retiring]
        kept = [p for p in right if p not in retiring and p not in halted]
        assert all(k.started <= r.started for k in kept for r in retiring)
        assert retired or len(retiring) == max(0, len(right) - service.scale)


def test_a_plan_for_nothing_is_nothing() -> None:
    assert plan({}, [], lambda *_: True, lambda _: True) == Plan()


# --- provider and supervisor, with crashes between any two steps --------------------------------


class Machine(RuleBasedStateMachine):
    """Random wishes, ends, losses and delays; then quiet: it has to come to what is wanted."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self.stage = Launching(Path(self._folder.name))
        self.wanted: dict[str, tuple[int, int, bool]] = {}

    def _say(self) -> None:
        self.stage.world.want(
            *(
                a_service(
                    name,
                    scale=scale,
                    leaving=leaving,
                    launch=Launch(IMAGE, environment=(("N", str(definition)),)),
                )
                for name, (scale, definition, leaving) in self.wanted.items()
            )
        )

    @rule(
        name=st.sampled_from(NAMES),
        scale=st.integers(0, 3),
        definition=st.integers(1, 2),
        leaving=st.booleans(),
    )
    def want(self, name: str, scale: int, definition: int, leaving: bool) -> None:
        self.wanted[name] = (scale, definition, leaving)
        self._say()

    @rule(name=st.sampled_from(NAMES))
    def forget(self, name: str) -> None:
        self.wanted.pop(name, None)
        self._say()

    @rule(data=st.data(), code=st.integers(-15, 3), leaves_group=st.booleans())
    def end(self, data: st.DataObject, code: int, leaves_group: bool) -> None:
        if self.stage.supervisor.processes:
            ids = sorted(self.stage.supervisor.processes)
            self.stage.supervisor.end(
                data.draw(st.sampled_from(ids)), code, leaves_group=leaves_group
            )

    @rule()
    def look(self) -> None:
        self.stage.tell()
        self.stage.provider.look(self.stage.clock.now)

    @rule()
    def look_without_news(self) -> None:
        if self.stage.world.reports:
            self.stage.provider.look(self.stage.clock.now)

    @rule(count=st.integers(1, 3))
    def hear(self, count: int) -> None:
        self.stage.supervisor.hear(count)

    @rule()
    def tell(self) -> None:
        self.stage.tell()

    @rule(seconds=st.sampled_from([0.05, 0.3, 5.0, 40.0]))
    def wait(self, seconds: float) -> None:
        self.stage.clock.now += seconds

    @rule(is_broken=st.booleans())
    def break_program(self, is_broken: bool) -> None:
        self.stage.supervisor.cannot_start = {"web"} if is_broken else set()

    @rule(data=st.data())
    def open_or_close_work(self, data: st.DataObject) -> None:
        ids = sorted(self.stage.supervisor.processes)
        self.stage.open = {InstanceId(i) for i in ids if data.draw(st.booleans())}

    @rule()
    def kill_control(self) -> None:
        self.stage.replace_control()

    @invariant()
    def never_two_for_one(self) -> None:
        running = [
            (p.launch["service"], p.launch["note"]["definition"], p.launch["note"]["slot"])
            for p in self.stage.supervisor.processes.values()
            if not (p.is_halted or p.has_ended)
        ]
        assert max(Counter(running).values(), default=0) <= 1, running

    @invariant()
    def no_port_is_held_twice(self) -> None:
        ports = [
            port
            for p in self.stage.supervisor.processes.values()
            for _, port in p.launch["note"]["ports"]
        ]
        assert len(ports) == len(set(ports))

    @invariant()
    def what_is_reported_runs_or_did_when_it_was_last_told(self) -> None:
        for report in self.stage.world.reports[-1:]:
            instances = {i.id for found in report.instances.values() for i in found}
            assert report.retiring <= instances

    def teardown(self) -> None:
        stage = self.stage
        stage.supervisor.cannot_start = set()
        stage.open = set()
        self._say()
        for _ in range(6):
            stage.later(40.0)
            stage.supervisor.end_halted()
        stage.settle()
        running = Counter(
            (p.launch["service"], p.launch["env"]["N"]) for p in stage.supervisor.processes.values()
        )
        for name, (scale, definition, leaving) in self.wanted.items():
            count = running.pop((f"app/{name}", str(definition)), 0)
            assert count == scale or leaving, (name, count, scale)
        assert not running, "orphans"
        instances = {i.id for found in stage.world.report.instances.values() for i in found}
        assert instances == set(stage.supervisor.processes)
        assert stage.world.report.retiring == frozenset()
        self._folder.cleanup()


Machine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
test_whatever_happens_in_the_end_runs_what_is_wanted = Machine.TestCase
