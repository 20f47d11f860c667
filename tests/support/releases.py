"""Short ways to say templates, and a small stage on which releases are played without I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from fractions import Fraction

import pytest

from gateway.core.commands import (
    AdvanceRelease,
    Command,
    ConfirmRelease,
    EndSmooth,
    FinishRemoval,
    ForgetApplication,
    PutService,
    RollbackRelease,
    SetWeights,
    ShiftRelease,
    StartRelease,
)
from gateway.core.decide import Decided, decide
from gateway.core.errors import Code, Refused
from gateway.core.model import (
    WEIGHT_MAX,
    Claim,
    Endpoint,
    Health,
    Instance,
    InstanceId,
    Launch,
    Route,
    RouteId,
    Service,
    ServiceId,
)
from gateway.core.observed import Observed, instances_by_hand
from gateway.core.phases import Event
from gateway.core.release import (
    Colour,
    ConfirmMode,
    OnDeadline,
    Phase,
    Release,
    Strategy,
    Template,
)
from gateway.core.releasing import has_happened
from gateway.core.state import State

APP = "shop"
DEADLINE_S = 300.0
DRIVEN = (Event.HEALTHY, Event.DEPLOYED, Event.EXPIRED, Event.OLD_GONE, Event.NEW_GONE)
"""What the driver observes, in the order it looks."""


def claim(where: str) -> Claim:
    """`shop.example/api` or `shop.example/api:81`: host, prefix and container port."""
    where, _, port = where.partition(":")
    host, _, path = where.partition("/")
    return Claim(host, f"/{path}", int(port) if port else 80)


def service(
    name: str,
    *where: str,
    app: str = APP,
    image: str | None = None,
    scale: int = 1,
    coexist: bool = False,
    depends: tuple[str, ...] = (),
    endpoints: tuple[str, ...] = (),
) -> Service:
    """A service of a template, started from an image unless it has endpoints (`10.0.0.1:80`)."""
    return Service(
        app,
        name,
        tuple(map(claim, where)),
        coexist=coexist,
        scale=scale,
        depends=depends,
        endpoints=tuple(Endpoint(e.partition(":")[0], int(e.partition(":")[2])) for e in endpoints),
        launch=None if endpoints else Launch(image or f"registry.example/{name}"),
    )


def by_hand(name: str, *where: str, coexist: bool = False) -> PutService:
    """Register a service by hand."""
    made = service(name, *where, app="-", coexist=coexist, endpoints=("10.0.0.9:80",))
    return PutService(made)


def sid(name: str) -> ServiceId:
    """`v1` of the usual application; `-/x` and `other/x` as they are."""
    return ServiceId(name if "/" in name else f"{APP}/{name}")


def start(
    *services: Service,
    app: str = APP,
    strategy: Strategy = Strategy.GRAY,
    now: float = 0.0,
    on_deadline: OnDeadline = OnDeadline.ROLLBACK,
    key: str | None = None,
    previous: bool = False,
    keep: int = 100,
) -> StartRelease:
    """Deploy these services."""
    return StartRelease(
        app,
        None if previous else Template(services, "the text"),
        strategy,
        DEADLINE_S,
        on_deadline,
        now,
        "op",
        key=key,
        keep=keep,
    )


class Stage:
    """State, instances and their health; commands are carried out at once.

    Every instance that ought to run does, and is as healthy as was last said
    (unknown until then). After every command the invariants of states are looked
    at, and that a refusal changes nothing.
    """

    def __init__(self, state: State | None = None) -> None:
        self.state = state or State()
        self.now = 1_000.0
        self.health: dict[ServiceId, Health] = {}
        self.lingering: set[ServiceId] = set()
        """Services with processes that do not want to stop."""
        self.retiring: set[InstanceId] = set()
        self.is_thorough = True
        """Look whether decisions change their arguments, which takes time."""

    @property
    def observed(self) -> Observed:
        """What providers and checks would report now."""
        found = {s.id: instances(s) for s in self.state.services.values()}
        health = {
            i.id: self.health.get(service, Health.UNKNOWN)
            for service, each in found.items()
            for i in each
        }
        running = frozenset(s.id for s in self.state.services.values() if s.launch is not None)
        return Observed(
            instances=found,
            health=health,
            retiring=frozenset(self.retiring),
            running=running | self.lingering,
        )

    # --- what happens -------------------------------------------------------------------

    def do(self, command: Command) -> Decided:
        """Carry a command out; raises `Refused`."""
        before = deepcopy(self.state) if self.is_thorough else self.state
        try:
            decided = decide(self.state, command, self.observed)
        finally:
            assert self.state == before, "a decision changed its argument"
        self.state = decided.state
        check_invariants(self.state)
        return decided

    @contextmanager
    def refuses(self, code: Code, *words: str) -> Iterator[None]:
        """Whatever is done inside is refused with this code, and says these words."""
        before = self.state
        with pytest.raises(Refused) as caught:
            yield
        assert self.state is before
        assert caught.value.code is code, str(caught.value)
        for word in words:
            assert word in str(caught.value), str(caught.value)

    def deploy(
        self,
        *services: Service,
        app: str = APP,
        strategy: Strategy = Strategy.GRAY,
        previous: bool = False,
    ) -> Release:
        """Begin a release."""
        self.do(start(*services, app=app, strategy=strategy, now=self.now, previous=previous))
        return self.flying(app)

    def begin(self, *services: Service, app: str = APP) -> None:
        """The first deployment of an application, to its end."""
        self.deploy(*services, app=app)
        self.all_healthy()
        self.drive()
        assert self.state.applications[app].release is None

    def release(self, *services: Service, strategy: Strategy = Strategy.GRAY) -> Release:
        """The next release, as far as pending confirmation."""
        self.deploy(*services, strategy=strategy)
        self.all_healthy()
        self.drive()
        found = self.flying()
        assert found.phase is Phase.PENDING_CONFIRMATION
        return found

    def all_healthy(self) -> None:
        """All instances there are pass their checks."""
        self.health = dict.fromkeys(self.state.services, Health.HEALTHY)

    def sick(self, *names: str) -> None:
        """These services fail their checks."""
        self.health |= {sid(name): Health.UNHEALTHY for name in names}

    def drive(self) -> None:
        """What the driver does until nothing follows any more."""
        for _ in range(100):
            if not any(self.advance(event) for event in DRIVEN):
                return
        raise AssertionError("the driver never rests")

    def advance(self, event: Event) -> bool:
        """Tell every release in flight of an event that is so; did one change?"""
        before = self.state
        for release in tuple(before.releases.values()):
            if not release.phase.is_over and has_happened(
                self.state, self.observed, release, event, self.now
            ):
                self.do(AdvanceRelease(release.id, event, self.now, "gateway", event.value))
        return self.state is not before

    def finish_removals(self) -> None:
        """The work of everything that leaves has ended."""
        for found in tuple(self.state.services.values()):
            if found.leaving:
                self.do(FinishRemoval(found.id))
        for application in tuple(self.state.applications):
            self.do(ForgetApplication(application))

    def shift(self, percent: float, *, force: bool = False, app: str = APP) -> Decided:
        return self.do(ShiftRelease(app, percent, self.now, "op", force=force))

    def confirm(self, mode: ConfirmMode = ConfirmMode.PLAIN, app: str = APP) -> Decided:
        return self.do(ConfirmRelease(app, mode, self.now, "op"))

    def rollback(self, *, force: bool = False, app: str = APP) -> Decided:
        return self.do(RollbackRelease(app, self.now, "op", force=force))

    def end_smooth(self, app: str = APP) -> Decided:
        return self.do(EndSmooth(app, self.now, "gateway", "enough"))

    def weigh(self, where: str, *, force: bool = False, **weights: int) -> Decided:
        """`weigh("shop.example", v1=0, v2=100)`."""
        named = {name.replace("_", "-"): weight for name, weight in weights.items()}
        return self.do(SetWeights(RouteId(where), named, whole=False, force=force))

    def end(self) -> None:
        """Everything that follows by itself."""
        self.drive()
        self.finish_removals()
        self.drive()

    # --- what is seen -------------------------------------------------------------------

    def flying(self, app: str = APP) -> Release:
        """The release in flight."""
        name = self.state.applications[app].release
        assert name is not None
        return self.state.releases[name]

    def phase(self) -> Phase:
        """Of the newest release of the usual application."""
        return [r for r in self.state.releases.values() if r.application == APP][-1].phase

    def route(self, where: str) -> Route:
        return self.state.routes[RouteId(where)]

    def weights(self, where: str = "shop.example") -> dict[str, int]:
        """By short name for the usual application, else by full id."""
        return {s.removeprefix(f"{APP}/"): w for s, w in self.route(where).weights.items()}

    def share(self, name: str, where: str = "shop.example") -> Fraction:
        """What a service has of a route, exactly."""
        return shares(self.route(where).weights)[sid(name)]

    def names(self, app: str = APP) -> set[str]:
        """Services of an application that stay."""
        return {
            s.name for s in self.state.services.values() if s.application == app and not s.leaving
        }


def instances(service: Service) -> tuple[Instance, ...]:
    """Those that a service has when all is well."""
    if service.launch is None:
        return instances_by_hand(service)
    return tuple(
        Instance(InstanceId(f"{service.id}#{n}"), service.id, "127.0.0.1", 20_000 + n)
        for n in range(service.scale)
    )


def shares(weights: Mapping[ServiceId, int]) -> dict[ServiceId, Fraction]:
    """Exact parts of the whole; all 0 where nobody has weight."""
    total = sum(weights.values())
    return {s: Fraction(w, total) if total else Fraction(0) for s, w in weights.items()}


def check_invariants(state: State) -> None:
    """What every state has to hold that decisions made."""
    _check_members(state)
    for route in state.routes.values():
        for weight in route.weights.values():
            assert type(weight) is int
            assert 0 <= weight <= WEIGHT_MAX
        assert not (route.is_held and any(route.weights.values())), f"{route.id} is held and open"
    in_flight = {r.id: r.application for r in state.releases.values() if not r.phase.is_over}
    named = {a.release: a.name for a in state.applications.values() if a.release is not None}
    assert in_flight == named
    owners = {s.application for s in state.services.values()}
    for application in state.applications.values():
        is_to_stay = application.template is not None and not application.leaving
        is_ending = application.leaving or application.release or application.name in owners
        assert is_to_stay or is_ending, "it has ended"
    for found in state.services.values():
        if found.application != "-":
            assert found.leaving or _has_owner(state, found), f"{found.id} is nobody's"


def _check_members(state: State) -> None:
    """The members of a route are the services that claim it and are not leaving."""
    members = {(rid, member) for rid, route in state.routes.items() for member in route.weights}
    claims = {(c.route, s.id) for s in state.services.values() if not s.leaving for c in s.claims}
    assert members == claims


def _has_owner(state: State, found: Service) -> bool:
    application = state.applications.get(found.application)
    if application is None:
        return False
    if application.template is not None and application.template.service(found.name) is not None:
        return True
    if application.release is None:
        return False
    colours = state.releases[application.release].colours
    return colours.get(found.name) in (Colour.GREEN, Colour.BLUE)
