"""Random stories of two applications against a simple model of what releases promise.

Commands of all kinds, health, time, removals and crashes of the control process come
in any order. `Stage` looks at the invariants of every state and that refusals change
nothing; the model here knows, independently of the code, phases, colours and who may
gain or lose what on a route. From wherever a story ends, both ends can be reached.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, field
from fractions import Fraction

import pytest

from admin.store.documents import documents, state_of
from gateway.core.commands import (
    AdvanceRelease,
    Command,
    ConfirmRelease,
    DeleteRoute,
    DrainInstance,
    EndSmooth,
    FinishRemoval,
    MarkCoexist,
    PutService,
    RemoveApplication,
    RemoveService,
    ResumeInstance,
    RollbackRelease,
    ScaleService,
    SetRoutePolicy,
    SetWeights,
    ShiftRelease,
    StartRelease,
)
from gateway.core.decide import decide
from gateway.core.errors import Code, Refused
from gateway.core.model import (
    WEIGHT_MAX,
    AffinityPolicy,
    Health,
    Route,
    RouteId,
    RoutePolicy,
    Service,
    ServiceId,
)
from gateway.core.observed import Observed
from gateway.core.phases import Event
from gateway.core.release import ConfirmMode, OnDeadline, Phase, Release, Strategy, Template
from gateway.core.state import State, changes
from tests.support.releases import Stage, by_hand, claim, service

STORIES = 4000
STEPS = 150
APPS = ("shop", "other")
ROUTES = ("a.example", "a.example/x", "*.example", "b.example")
PERCENT = (0, 1, 25, 33.3, 50, 100)
WEIGHTS = (0, 0, 1, 10, 50, 100)
ORDER = list(Phase)
LEGAL = {
    Phase.RELEASING: {"shift", "rollback"},
    Phase.PENDING_CONFIRMATION: {"shift", "confirm", "rollback"},
    Phase.CONFIRMING: {"rollback"},
}


@dataclass
class Flight:
    """What the model knows of a release."""

    id: str
    app: str
    old: dict[str, Service]
    """Of the old template, what was there when it began."""
    new: dict[str, Service]
    before: dict[RouteId, dict[ServiceId, int]]
    """All weights when it began."""
    is_first: bool
    phase: Phase = Phase.RELEASING
    is_app_removed: bool = False

    def colour(self, name: str) -> str:
        if name in self.old:
            return "yellow" if name in self.new else "blue"
        return "green"

    def of(self, colour: str) -> list[ServiceId]:
        names = [n for n in {**self.new, **self.old} if self.colour(n) == colour]
        return [ServiceId(f"{self.app}/{n}") for n in names]

    def leavers(self, route: RouteId) -> set[ServiceId]:
        """Who claims a route in the old template and not in the new one."""
        return {s.id for s in self.old.values() if claims(s, route)} - {
            s.id for s in self.new.values() if claims(s, route)
        }

    def comers(self, route: RouteId) -> set[ServiceId]:
        greens = set(self.of("green"))
        return {s.id for s in self.new.values() if s.id in greens and claims(s, route)}

    def joiners(self, route: RouteId) -> set[ServiceId]:
        """Unchanged services that newly claim a route."""
        return {
            s.id
            for n, s in self.new.items()
            if n in self.old and claims(s, route) and not claims(self.old[n], route)
        }


def claims(found: Service, route: RouteId) -> bool:
    return any(c.route == route for c in found.claims)


@dataclass
class Story:
    """A random walk, and the model beside it."""

    random: random.Random
    stage: Stage = field(default_factory=Stage)
    flights: dict[str, Flight] = field(default_factory=dict)
    """In flight, by application."""
    told: list[str] = field(default_factory=list)

    # --- commands ------------------------------------------------------------------------

    def step(self) -> None:
        self.stage.is_thorough = self.random.random() < 0.1
        kinds: list[tuple[float, Callable[[], Command | None]]] = [
            (6, self.deploy),
            (8, self.shift),
            (8, self.confirm),
            (2, self.roll_back),
            (8, self.weigh),
            (4, self.register),
            (2, self.remove_service),
            (10, self.finish),
            (3, self.advance),
            (14, self.go_on),
            (2, self.end_smooth),
            (2, self.scale),
            (0.5, self.remove_application),
            (1, self.policy),
            (1, self.drain),
            (1, self.mark),
            (10, self.happen),
        ]
        self.stage.now += 0.01
        [kind] = self.random.choices([k for _, k in kinds], [w for w, _ in kinds])
        command = kind()
        if command is not None:
            self.carry_out(command)

    def app(self) -> str:
        return self.random.choices(APPS, (4, 1))[0]

    def which(self) -> str:
        """A release or application to speak of; now and then one that is over."""
        if self.random.random() < 0.1 and self.stage.state.releases:
            return self.random.choice(list(self.stage.state.releases))
        return self.app()

    def deploy(self) -> Command:
        app, names = self.app(), self.random.sample(("v1", "v2", "v3", "v4"), self.random.randint(1, 3))
        services: list[Service] = []
        for name in names:
            where = self.random.sample(ROUTES, self.random.choice((0, 1, 1, 2)))
            is_there = any(w in {c.route for s in services for c in s.claims} for w in where)
            services.append(
                service(
                    name,
                    *where,
                    app=app,
                    image="x" if self.random.random() < 0.03 else None,
                    scale=self.random.choice((1, 1, 2)),
                    coexist=is_there or self.random.random() < 0.6,
                    endpoints=("10.0.0.1:80", "10.0.0.2:80") if name == "v4" else (),
                )
            )
        is_reverse = self.random.random() < 0.1
        return StartRelease(
            app,
            None if is_reverse else Template(tuple(services), "text"),
            self.random.choice(list(Strategy)),
            100.0,
            self.random.choice(list(OnDeadline)),
            self.stage.now,
            "op",
            key=self.random.choice((None, None, None, "k1", "k2")),
            keep=5,
        )

    def shift(self) -> Command:
        is_forced = self.random.random() < 0.3
        return ShiftRelease(
            self.which(), self.random.choice(PERCENT), self.stage.now, "op", force=is_forced
        )

    def confirm(self) -> Command:
        return ConfirmRelease(
            self.which(), self.random.choice(list(ConfirmMode)), self.stage.now, "op"
        )

    def roll_back(self) -> Command:
        is_forced = self.random.random() < 0.3
        return RollbackRelease(self.which(), self.stage.now, "op", force=is_forced)

    def end_smooth(self) -> Command:
        return EndSmooth(self.which(), self.stage.now, "gateway", "")

    def weigh(self) -> Command | None:
        if not self.stage.state.routes:
            return None
        route = self.random.choice(list(self.stage.state.routes.values()))
        named = {sid: self.random.choice(WEIGHTS) for sid in route.weights}
        whole = self.random.random() < 0.5
        if not whole and len(named) > 1:
            named.pop(self.random.choice(list(named)))
        return SetWeights(route.id, {**named}, whole, force=self.random.random() < 0.3)

    def register(self) -> Command:
        where = self.random.sample(ROUTES, self.random.choice((1, 1, 2)))
        return by_hand(
            self.random.choice("xy"), *where, coexist=self.random.random() < 0.8
        )

    def remove_service(self) -> Command | None:
        if not self.stage.state.services:
            return None
        sid = self.random.choice(list(self.stage.state.services))
        return RemoveService(sid, force=self.random.random() < 0.5)

    def finish(self) -> Command | None:
        leaving = [s.id for s in self.stage.state.services.values() if s.leaving]
        if not leaving:
            return None
        sid = self.random.choice(leaving)
        if self.stage.state.services[sid].launch is not None and self.random.random() < 0.3:
            self.stage.lingering.add(sid)
        return FinishRemoval(sid)

    def advance(self) -> Command:
        flying = [f.id for f in self.flights.values()]
        id = self.random.choice([*flying * 5, *self.stage.state.releases, "shop-99"])
        return AdvanceRelease(id, self.random.choice(list(Event)), self.stage.now, "gateway")

    def go_on(self) -> Command | None:
        """What the driver would do."""
        for flight in self.flights.values():
            for event in Event:
                if self.model_step(flight, event) is not flight.phase:
                    return AdvanceRelease(flight.id, event, self.stage.now, "gateway")
        return None

    def scale(self) -> Command | None:
        if not self.stage.state.services:
            return None
        sid = self.random.choice(list(self.stage.state.services))
        return ScaleService(sid, self.random.choice((1, 2, 3)))

    def remove_application(self) -> Command:
        is_forced = self.random.random() < 0.5
        return RemoveApplication(self.app(), self.stage.now, "op", force=is_forced)

    def policy(self) -> Command:
        where = claim(self.random.choice(ROUTES))
        if self.random.random() < 0.3:
            return DeleteRoute(where.route)
        affinity = AffinityPolicy(enabled=self.random.choice((None, False)))
        return SetRoutePolicy(where.host, where.path, RoutePolicy(affinity))

    def drain(self) -> Command | None:
        found = [i.id for each in self.stage.observed.instances.values() for i in each]
        if not found:
            return None
        kind = self.random.choice((DrainInstance, ResumeInstance, ResumeInstance))
        return kind(self.random.choice(found))

    def mark(self) -> Command | None:
        if not self.stage.state.services:
            return None
        sid = self.random.choice(list(self.stage.state.services))
        return MarkCoexist(sid, self.random.random() < 0.5)

    def happen(self) -> None:
        """Something that nobody asked for."""
        match self.random.randrange(10):
            case 0 | 1 | 2 | 3 | 4 | 5:
                self.stage.all_healthy()
            case 6:
                for sid in self.stage.state.services:
                    self.stage.health[sid] = self.random.choice(list(Health))
            case 7:
                self.stage.now += self.random.choice((1, 50, 150))
            case 8:
                self.stage.lingering.clear()
            case _:
                self.crash()

    def crash(self) -> None:
        """Everything but what is stored is forgotten; nothing may change by starting again."""
        self.told.append("crash")
        before = self.stage.state
        rows = [(k, i, b) for k, i, b in documents(changes(State(), before)) if b is not None]
        self.stage.state = state_of(before.revision, rows)
        assert self.stage.state == before
        assert list(self.stage.state.releases) == list(before.releases)
        self.stage.health.clear()
        blind = Observed()
        for release in before.releases.values():
            for event in (Event.HEALTHY, Event.DEPLOYED, Event.OLD_GONE, Event.NEW_GONE):
                if any(f.id == release.id and self.of_event(f, event) for f in self.flights.values()):
                    command = AdvanceRelease(release.id, event, self.stage.now, "gateway")
                    assert decide(self.stage.state, command, blind).state is self.stage.state

    def of_event(self, flight: Flight, event: Event) -> bool:
        """Has the event anybody to wait for? Else it is so even for the blind."""
        return bool(flight.of("blue" if event is Event.OLD_GONE else "green"))

    # --- the model -------------------------------------------------------------------------

    def carry_out(self, command: Command) -> None:
        before = self.stage.state
        self.told.append(in_words(command))
        try:
            self.stage.do(command)
        except Refused as refusal:
            self.told[-1] += f" -> {refusal}"
            self.refused(command, refusal)
            assert self.stage.state is before
            return
        self.followed(command, before)
        self.compare()

    def flight_of(self, name: str) -> Flight | None:
        for flight in self.flights.values():
            if name in (flight.id, flight.app):
                return flight
        return None

    def refused(self, command: Command, refusal: Refused) -> None:
        verb, flight = verb_of(command)
        known = self.flight_of(flight)
        if verb == "deploy":
            is_flying = command.application in self.flights  # type: ignore[union-attr]
            assert (refusal.code is Code.RELEASE_IN_PROGRESS) <= is_flying
        elif verb and known is not None and verb in LEGAL.get(known.phase, ()):
            if refusal.code is not Code.ILLEGAL_TRANSITION:
                return
            if verb == "rollback":
                assert known.phase is Phase.CONFIRMING
                assert any(sid not in self.stage.state.services for sid in known.of("blue"))
            else:
                assert verb == "shift", "legal, and refused as illegal"
                assert known.phase is Phase.RELEASING
        elif verb and known is not None:
            assert refusal.code is Code.ILLEGAL_TRANSITION

    def followed(self, command: Command, before: State) -> None:
        after = self.stage.state
        verb, name = verb_of(command)
        flight = self.flight_of(name)
        match command:
            case StartRelease():
                if after is not before:
                    self.took_off(command, before)
            case AdvanceRelease():
                self.advanced(flight, command, before)
            case RollbackRelease():
                assert flight is not None
                assert "rollback" in LEGAL[flight.phase]
                self.check_back(flight, before, after)
                flight.phase = Phase.ROLLING_BACK
            case ConfirmRelease():
                assert flight is not None
                assert "confirm" in LEGAL[flight.phase]
                if command.mode is not ConfirmMode.SMOOTH:
                    flight.phase = Phase.CONFIRMING
                self.check_moved(flight, before, after, Fraction(1))
            case ShiftRelease():
                assert flight is not None
                assert "shift" in LEGAL[flight.phase]
                self.check_moved(flight, before, after, Fraction(str(command.percent)) / 100)
            case EndSmooth():
                if flight is not None:
                    self.check_others(flight, before, after)
            case RemoveApplication():
                gone = self.flights.get(command.application)
                if gone is not None:
                    gone.phase, gone.is_app_removed = Phase.ROLLING_BACK, True
            case FinishRemoval():
                pass
            case _:
                assert after.releases == before.releases, "only release commands touch releases"

    def took_off(self, command: StartRelease, before: State) -> None:
        app, after = command.application, self.stage.state
        assert app not in self.flights, "one in flight at a time"
        known = before.applications.get(app)
        old = known.template if known is not None else None
        new = command.template if command.template is not None else known and known.previous
        assert new is not None
        there = {
            s.name: s
            for s in (old.services if old is not None else ())
            if s.id in before.services and not before.services[s.id].leaving
        }
        id = after.applications[app].release
        assert id is not None
        assert id not in before.releases
        weights = {rid: dict(r.weights) for rid, r in before.routes.items()}
        flight = Flight(id, app, there, {s.name: s for s in new.services}, weights, old is None)
        if not flight.of("green"):
            flight.phase = Phase.PENDING_CONFIRMATION
        self.flights[app] = flight
        colours = {n: c.value for n, c in after.releases[id].colours.items()}
        assert colours == {n: flight.colour(n) for n in {**flight.new, **flight.old}}
        for rid, route in before.routes.items():
            assert after.routes[rid].weights.items() >= route.weights.items()
            assert not any(w for s, w in after.routes[rid].weights.items() if s not in route.weights) or (
                not route.weights
            ), "who joins others joins with 0"

    def advanced(self, flight: Flight | None, command: AdvanceRelease, before: State) -> None:
        if flight is None or flight.id != command.release:
            assert self.stage.state is before, "nothing follows from what is over"
            return
        after = self.model_step(flight, command.event)
        if after is flight.phase:
            assert self.stage.state is before
        if after is Phase.ROLLING_BACK and after is not flight.phase:
            self.check_back(flight, before, self.stage.state)
        flight.phase = after
        if after.is_over:
            del self.flights[flight.app]
            self.check_end(flight)

    def model_step(self, flight: Flight, event: Event) -> Phase:
        state, stage = self.stage.state, self.stage
        ready = all(
            sid in state.services
            and stage.health.get(sid) is Health.HEALTHY
            and not any(i.id in state.drained for i in stage.observed.instances[sid])
            for sid in flight.of("green")
        )
        release = state.releases[flight.id]
        here = {*state.services, *stage.lingering}
        match flight.phase, event:
            case Phase.RELEASING, Event.HEALTHY if ready and not flight.is_first:
                return Phase.PENDING_CONFIRMATION
            case Phase.RELEASING, Event.DEPLOYED if ready and flight.is_first:
                return Phase.CONFIRMED
            case Phase.RELEASING, Event.EXPIRED:
                is_late = stage.now >= release.created + 100
                if is_late and release.on_deadline is OnDeadline.ROLLBACK:
                    return Phase.ROLLING_BACK
            case Phase.CONFIRMING, Event.OLD_GONE if not here & set(flight.of("blue")):
                return Phase.CONFIRMED
            case Phase.ROLLING_BACK, Event.NEW_GONE if not here & set(flight.of("green")):
                return Phase.ROLLED_BACK
        return flight.phase

    def compare(self) -> None:
        """Model and state say the same of what is in flight."""
        state = self.stage.state
        flying = {a.name: a.release for a in state.applications.values() if a.release}
        assert flying == {app: f.id for app, f in self.flights.items()}
        for flight in self.flights.values():
            release = state.releases[flight.id]
            assert release.phase is flight.phase
            phases = [ORDER.index(e.phase) for e in release.timeline]
            assert phases == sorted(phases), "phases never go back"
        for release in state.releases.values():
            assert release.phase.is_over or release.id in flying.values()

    def check_end(self, flight: Flight) -> None:
        state = self.stage.state
        release = state.releases[flight.id]
        if flight.is_app_removed:
            return
        stays = flight.new if release.phase is Phase.CONFIRMED else flight.old
        if flight.is_first and release.phase is Phase.ROLLED_BACK:
            assert flight.app not in state.applications
        here = {s.name for s in state.services.values() if s.application == flight.app}
        left = {s.name for s in state.services.values() if s.leaving and s.name not in stays}
        assert here - left == set(stays)
        for found in stays.values():
            assert set(state.services[found.id].claims) == set(found.claims)
            assert not state.services[found.id].leaving

    # --- who may gain and lose what on a route -----------------------------------------------

    def check_others(self, flight: Flight, before: State, after: State) -> None:
        for rid in {**before.routes, **after.routes}:
            self.check_route(flight, rid, weights_of(before, rid), weights_of(after, rid))

    def check_route(
        self,
        flight: Flight,
        rid: RouteId,
        was: Mapping[ServiceId, int],
        now: Mapping[ServiceId, int],
    ) -> None:
        """Nobody's share changes but that of the two sides; their part stays what it was."""
        mine = self.parties(flight, rid)
        others = [sid for sid in was if sid not in mine]
        assert set(others) <= set(now)
        part_was, part_now = total(was, mine), total(now, mine)
        if part_was and part_now:
            for sid in others:
                assert Fraction(was[sid], total(was)) == Fraction(now[sid], total(now)), rid
        elif total(was, others):
            assert not part_now, f"{flight.id} had no part of {rid} and took one"
            for one in others:
                for other in others:
                    assert was[one] * now[other] == was[other] * now[one]

    def parties(self, flight: Flight, rid: RouteId) -> set[ServiceId]:
        """The release's own on a route: both sides, and who stands in for a missing side."""
        leavers, comers = flight.leavers(rid), flight.comers(rid)
        if leavers and not comers:
            stand_in = {s for s in flight.of("yellow") if claims(flight.old[name(s)], rid)}
            return leavers | stand_in | flight.joiners(rid)
        return leavers | comers | flight.joiners(rid)

    def check_moved(self, flight: Flight, before: State, after: State, share: Fraction) -> None:
        self.check_others(flight, before, after)
        for rid, route in after.routes.items():
            old, new = flight.leavers(rid), flight.comers(rid)
            if not old or not new or rid not in before.routes:
                continue
            if all(s not in route.weights for s in old):  # they left it
                assert share == 1
                continue
            part = total(route.weights, old | new)
            if part and (share < 1 or before.routes[rid] is not route):
                assert same(Fraction(total(route.weights, new), part), share, route.weights)
            ratios(before.routes[rid].weights, route.weights, old)
            ratios(before.routes[rid].weights, route.weights, new)

    def check_back(self, flight: Flight, before: State, after: State) -> None:
        self.check_others(flight, before, after)
        for rid, then in flight.before.items():
            old = flight.leavers(rid)
            if not old:
                continue
            now = after.routes[rid].weights
            assert old <= set(now)
            assert not flight.comers(rid) & set(now)
            if any(then[s] for s in old) and flight.comers(rid):
                ratios(then, now, old)
            others = {*then, *now} - old - flight.comers(rid)
            if flight.comers(rid) and not total(now, others):
                assert {s: now[s] for s in old} == {s: then[s] for s in old}


def in_words(command: Command) -> str:
    """Short enough to read forty of them."""
    match command:
        case StartRelease():
            services = command.template.services if command.template is not None else ()
            what = f"{command.application} {[*map(_service, services)]} {command.strategy}"
            return f"StartRelease({what} {command.on_deadline} key={command.key})"
        case PutService():
            return f"PutService({_service(command.service)})"
    return repr(command)


def _service(found: Service) -> str:
    mark = " coexist" if found.coexist else ""
    return f"{found.name} x{found.scale}{mark} {' '.join(c.route for c in found.claims)}"


def verb_of(command: Command) -> tuple[str, str]:
    match command:
        case ShiftRelease():
            return "shift", command.release
        case ConfirmRelease():
            return "confirm", command.release
        case RollbackRelease():
            return "rollback", command.release
        case StartRelease():
            return "deploy", command.application
        case AdvanceRelease() | EndSmooth():
            return "", command.release
        case _:
            return "", ""


def name(sid: ServiceId) -> str:
    return sid.partition("/")[2]


def total(weights: Mapping[ServiceId, int], who: object = None) -> int:
    return sum(w for s, w in weights.items() if who is None or s in who)  # type: ignore[operator]


def weights_of(state: State, rid: RouteId) -> Mapping[ServiceId, int]:
    return state.routes.get(rid, Route("", "")).weights


def ratios(
    was: Mapping[ServiceId, int], now: Mapping[ServiceId, int], side: set[ServiceId]
) -> None:
    """Where a side has something before and after, everybody has the same part of it."""
    if not total(was, side) or not total(now, side):
        return
    for sid in side:
        had = Fraction(was.get(sid, 0), total(was, side))
        assert same(Fraction(now.get(sid, 0), total(now, side)), had, now)


def same(one: Fraction, other: Fraction, weights: Mapping[ServiceId, int]) -> bool:
    """Exactly, unless even large weights could not say it so."""
    is_coarse = max(weights.values()) > WEIGHT_MAX // 10
    return one == other or (is_coarse and abs(one - other) < Fraction(1, 1_000))


# --- both ends can be reached from anywhere ------------------------------------------------


def reach(stage: Stage, release: Release, *, keep: bool) -> None:
    """All is healthy and every process stops when it is told to; the operator wants one end."""
    stage.lingering.clear()
    stage.all_healthy()
    for instance in stage.state.drained:
        stage.do(ResumeInstance(instance))
    if not keep and release.phase in LEGAL:
        is_late = any(
            ServiceId(f"{release.application}/{n}") not in stage.state.services
            for n, c in release.colours.items()
            if c.value == "blue"
        )
        if release.phase is Phase.CONFIRMING and is_late:
            keep = True
        else:
            stage.rollback(app=release.id)
    elif release.phase is Phase.ROLLING_BACK:
        keep = False
    for _ in range(4):
        stage.drive()
        now = stage.state.releases[release.id]
        if now.phase is Phase.PENDING_CONFIRMATION:
            confirm(stage, now)
        stage.finish_removals()
        stage.lingering.clear()
    wanted = Phase.CONFIRMED if keep else Phase.ROLLED_BACK
    assert stage.state.releases[release.id].phase is wanted


def confirm(stage: Stage, release: Release) -> None:
    """As an operator and the driver do: smoothly, by force where that is no way."""
    stage.end_smooth(release.id)
    try:
        stage.confirm(ConfirmMode.SMOOTH, release.id)
    except Refused as refusal:
        assert refusal.code is Code.NO_TRAFFIC_ON_NEW
        stage.confirm(ConfirmMode.FORCE, release.id)
    else:
        stage.confirm(ConfirmMode.PLAIN, release.id)


@pytest.mark.parametrize("chapter", range(8))
def test_whatever_happens_releases_keep_their_promises(chapter: int) -> None:
    for seed in range(chapter * STORIES // 8, (chapter + 1) * STORIES // 8):
        story = Story(random.Random(seed))
        try:
            for _ in range(STEPS):
                story.step()
            for release in tuple(story.stage.state.releases.values()):
                if not release.phase.is_over:
                    for keep in (True, False):
                        other = copy(story.stage)
                        other.lingering = set(story.stage.lingering)
                        reach(other, release, keep=keep)
        except BaseException:
            print(f"story {seed}:", *story.told[-40:], sep="\n  ")
            raise


def test_the_stories_are_eventful() -> None:
    """A walk that never gets anywhere would prove nothing."""
    ends: dict[Phase, int] = {}
    verbs: dict[str, int] = {}
    for seed in range(15):
        story = Story(random.Random(seed))
        for _ in range(STEPS):
            story.step()
        for release in story.stage.state.releases.values():
            for entry in release.timeline:
                ends[entry.phase] = ends.get(entry.phase, 0) + 1
        for line in story.told:
            if " -> " not in line:
                verbs[line.partition("(")[0]] = verbs.get(line.partition("(")[0], 0) + 1
    assert set(ends) == set(Phase), ends
    assert min(ends.values()) >= 3, ends
    for kind in ("StartRelease", "ShiftRelease", "ConfirmRelease", "RollbackRelease", "EndSmooth"):
        assert verbs.get(kind, 0) >= 3, verbs
