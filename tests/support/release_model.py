"""What releases promise, said a second time and simply: phases, colours, shares.

It shares no code with the decisions it judges; it sees commands, and states before
and after them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from gateway.core.commands import (
    AdvanceRelease,
    Command,
    ConfirmRelease,
    EndSmooth,
    FinishRemoval,
    ForgetApplication,
    RemoveApplication,
    RollbackRelease,
    ShiftRelease,
    StartRelease,
)
from gateway.core.errors import Code, Refused
from gateway.core.model import (
    WEIGHT_MAX,
    Health,
    Route,
    RouteId,
    Service,
    ServiceId,
)
from gateway.core.phases import Event
from gateway.core.release import ConfirmMode, OnDeadline, Phase
from gateway.core.state import State
from tests.support.releases import Stage

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
class Model:
    """What ought to be so on a stage."""

    stage: Stage
    flights: dict[str, Flight] = field(default_factory=dict)
    """In flight, by application."""

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
        flight = self.flight_of(verb_of(command)[1])
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
            case FinishRemoval() | ForgetApplication():
                pass
            case _:
                assert after.releases == before.releases, "only release commands touch releases"

    def took_off(self, command: StartRelease, before: State) -> None:
        app, after = command.application, self.stage.state
        assert app not in self.flights, "one in flight at a time"
        known = before.applications.get(app)
        old = known.template if known is not None else None
        new = command.template
        if new is None:
            new = known.previous if known is not None else None
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
            assert not any(
                w for s, w in after.routes[rid].weights.items() if s not in route.weights
            ) or (not route.weights), "who joins others joins with 0"

    def advanced(self, flight: Flight | None, command: AdvanceRelease, before: State) -> None:
        if flight is None or flight.id != command.release:
            assert self.stage.state is before, "nothing follows from what is over"
            return
        after = self.step(flight, command.event)
        if after is flight.phase:
            assert self.stage.state is before
        if after is Phase.ROLLING_BACK and after is not flight.phase:
            self.check_back(flight, before, self.stage.state)
        flight.phase = after
        if after.is_over:
            del self.flights[flight.app]
            self.check_end(flight)

    def step(self, flight: Flight, event: Event) -> Phase:
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


def total(weights: Mapping[ServiceId, int], who: Collection[ServiceId] | None = None) -> int:
    return sum(w for s, w in weights.items() if who is None or s in who)


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
