"""Random commands to two applications and services by hand on a few routes."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from gateway.core.commands import (
    AdvanceRelease,
    Command,
    ConfirmRelease,
    DeleteRoute,
    DrainInstance,
    EndSmooth,
    FinishRemoval,
    ForgetApplication,
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
from gateway.core.model import (
    AffinityPolicy,
    RoutePolicy,
    Service,
)
from gateway.core.phases import Event
from gateway.core.release import ConfirmMode, OnDeadline, Strategy, Template
from tests.support.releases import Stage, by_hand, claim, service

APPS = ("shop", "other")
ROUTES = ("a.example", "a.example/x", "*.example", "b.example")
PERCENT = (0, 1, 25, 33.3, 50, 100)
WEIGHTS = (0, 0, 1, 10, 50, 100)


@dataclass
class Walk:
    """Thinks commands up; whether they make sense is for the gateway to say."""

    random: random.Random
    stage: Stage = field(default_factory=Stage)

    def app(self) -> str:
        return self.random.choices(APPS, (4, 1))[0]

    def which(self) -> str:
        """A release or application to speak of; now and then one that is over."""
        if self.random.random() < 0.1 and self.stage.state.releases:
            return self.random.choice(list(self.stage.state.releases))
        return self.app()

    def deploy(self) -> Command:
        app, names = (
            self.app(),
            self.random.sample(("v1", "v2", "v3", "v4"), self.random.randint(1, 3)),
        )
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
        return SetWeights(
            route.id, {str(s): w for s, w in named.items()}, whole, force=self.random.random() < 0.3
        )

    def register(self) -> Command:
        where = self.random.sample(ROUTES, self.random.choice((1, 1, 2)))
        return by_hand(self.random.choice("xy"), *where, coexist=self.random.random() < 0.8)

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

    def forget(self) -> Command:
        return ForgetApplication(self.app())

    def advance(self) -> Command:
        flying = [r.id for r in self.stage.state.releases.values() if not r.phase.is_over]
        id = self.random.choice([*flying * 5, *self.stage.state.releases, "shop-99"])
        return AdvanceRelease(id, self.random.choice(list(Event)), self.stage.now, "gateway")

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
