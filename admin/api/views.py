"""From state to answers: how routes, services and instances are shown.

Reads one state, one observed and one snapshot per answer, so that an answer
never mixes two moments. Writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from admin.masks import mask_of
from gateway.core.compile import condition, is_internal, version_of
from gateway.core.model import (
    Check,
    CheckKind,
    Claim,
    Discovery,
    Instance,
    InstanceId,
    Route,
    RoutePolicy,
    Service,
    ServiceId,
    UpstreamTls,
    shares,
)
from gateway.core.names import short_names, weights_by_name
from gateway.core.observed import Observed, RouteProblem
from gateway.core.release import Colour, Release
from gateway.core.snapshot import Snapshot, SnapshotRoute
from gateway.core.state import Changes, State
from gateway.metrics.stats import Report

from . import answers
from .context import NOTHING_OPEN, Context, Figures, Launched, OpenWork, Work

K = TypeVar("K", bound=str)
T = TypeVar("T")
TRAFFIC_WINDOW_S = 60


@dataclass(frozen=True)
class View:
    """One moment of the gateway, and how to show it."""

    state: State
    observed: Observed
    snapshot: Snapshot
    figures: Figures
    launched: Launched

    @cached_property
    def colours(self) -> Mapping[ServiceId, Colour]:
        """What services are to the releases in flight."""
        found: dict[ServiceId, Colour] = {}
        for application in self.state.applications.values():
            if (release := self.in_flight(application.name)) is not None:
                for name, colour in release.colours.items():
                    found[ServiceId(f"{application.name}/{name}")] = colour
        return found

    @cached_property
    def _problems_by_route(self) -> Mapping[str, list[answers.ProblemAnswer]]:
        found: dict[str, list[answers.ProblemAnswer]] = {}
        for problem in self.observed.problems:
            found.setdefault(problem.route, []).append(problem_answer(problem))
        return found

    @cached_property
    def _problems_by_service(self) -> Mapping[ServiceId, list[answers.ProblemAnswer]]:
        found: dict[ServiceId, list[answers.ProblemAnswer]] = {}
        for problem in self.observed.problems:
            found.setdefault(problem.service, []).append(problem_answer(problem))
        return found

    def in_flight(self, application: str) -> Release | None:
        """The release of an application that is not over."""
        found = self.state.applications.get(application)
        if found is None or found.release is None:
            return None
        return self.state.releases.get(found.release)

    @cached_property
    def _report(self) -> Report:
        return self.figures.report(TRAFFIC_WINDOW_S)

    @cached_property
    def work(self) -> Work:
        """What is open."""
        return self.figures.work()

    def work_of(self, instance: Instance) -> OpenWork:
        """What an instance has open."""
        return self.work.instances.get((instance.service, instance.id), NOTHING_OPEN)

    def route(self, route: Route) -> answers.RouteAnswer:
        """A route with its services."""
        names, share = short_names(route.weights), shares(route.weights)
        compiled = self.snapshot.routes.get(route.id)
        return answers.RouteAnswer(
            route=route.id,
            host=route.host,
            path=route.path,
            internal=is_internal(route),
            weights={names[sid]: weight for sid, weight in route.weights.items()},
            services=[
                self._route_service(route, sid, names[sid], share[sid]) for sid in route.weights
            ],
            held=route.is_held,
            policy=_policy(route.policy),
            effective=None if compiled is None else _effective(compiled),
            traffic=answers.traffic(self._report.routes.get(route.id)),
            problems=self._problems_by_route.get(route.id, ()),
        )

    def _route_service(
        self, route: Route, sid: ServiceId, name: str, share: float
    ) -> answers.RouteService:
        instances = self.observed.instances.get(sid, ())
        return answers.RouteService(
            id=sid,
            name=name,
            weight=route.weights[sid],
            share=share,
            colour=self.colours.get(sid),
            instances=len(instances),
            healthy=sum(self.observed.health_of(i.id) == "healthy" for i in instances),
            traffic=answers.traffic(self._report.pairs.get((route.id, sid))),
        )

    def service(self, service: Service) -> answers.ServiceAnswer:
        """A service with its routes and instances."""
        work = self.work.services.get(service.id, NOTHING_OPEN)
        return answers.ServiceAnswer(
            id=service.id,
            application=service.application,
            name=service.name,
            version=version_of(service.name),
            leaving=service.leaving,
            coexist=service.coexist,
            colour=self.colours.get(service.id),
            image=None if service.launch is None else service.launch.image,
            scale=None if service.launch is None else service.scale,
            balancer=service.balancer,
            routes=self.claims(service),
            endpoints=[e.text for e in service.endpoints],
            tls=None if service.tls is None else tls_answer(service.tls),
            health=None if service.check is None else check_answer(service.check),
            limits=answers.LimitsAnswer(service.in_flight_limit),
            instances=self.instances(service),
            in_flight=work.in_flight,
            websockets=work.websockets,
            discovered=None if service.discovery is None else _discovery(service.discovery),
            problems=self._problems_by_service.get(service.id, ()),
        )

    def claims(self, service: Service) -> list[answers.ClaimAnswer]:
        """A service's places on routes."""
        return [self._claim(service, claim) for claim in service.claims]

    def _claim(self, service: Service, claim: Claim) -> answers.ClaimAnswer:
        route = self.state.routes.get(claim.route)
        weights: Mapping[ServiceId, int] = route.weights if route is not None else {}
        return answers.ClaimAnswer(
            route=claim.route,
            host=claim.host,
            path=claim.path,
            port=claim.port,
            weight=weights.get(service.id),
            share=shares(weights).get(service.id),
        )

    def instances(self, service: Service) -> list[answers.InstanceAnswer]:
        """The instances of a service."""
        return [self.instance(service, i) for i in self.observed.instances.get(service.id, ())]

    def instance(self, service: Service | None, instance: Instance) -> answers.InstanceAnswer:
        """One instance; `service` None: it belongs to none any more."""
        work = self.work_of(instance)
        host = f"[{instance.host}]" if ":" in instance.host else instance.host
        return answers.InstanceAnswer(
            id=instance.id,
            service=instance.service,
            address=f"{host}:{instance.port}",
            health=self.observed.health_of(instance.id),
            state=condition(self.state, self.observed, service, instance),
            in_flight=work.in_flight,
            websockets=work.websockets,
            problem=self._problem(service, instance),
        )

    def _problem(self, service: Service | None, instance: Instance) -> str | None:
        why = self.launched.why_not(instance.id)
        return why if why is None or service is None else mask_of([service])(why)

    def find_instance(self, id: str) -> tuple[Service | None, Instance] | None:
        """An instance and the service it belongs to."""
        for sid, instances in self.observed.instances.items():
            for instance in instances:
                if instance.id == id:
                    return self.state.services.get(sid), instance
        return None

    def instance_ids(self) -> Iterable[InstanceId]:
        """The ids of all instances."""
        return (i.id for instances in self.observed.instances.values() for i in instances)


def view(context: Context, state: State | None = None) -> View:
    """The present moment; `state`: as if that were the desired state."""
    controller = context.controller
    return View(
        controller.state if state is None else state,
        controller.observed,
        controller.snapshot,
        context.figures,
        context.launched,
    )


def page(items: Mapping[K, T], limit: int, after: str | None) -> tuple[list[T], K | None]:
    """The `limit` items whose keys come behind `after`, and the key to go on behind."""
    keys = sorted(k for k in items if after is None or k > after)
    shown = keys[:limit]
    more = shown[-1] if len(keys) > limit else None
    return [items[k] for k in shown], more


def plan(changed: Changes) -> answers.Plan:
    """What a dry run would change."""
    return answers.Plan(
        services=sorted(changed.services),
        routes={
            rid: None if route is None else weights_by_name(route.weights)
            for rid, route in changed.routes.items()
        },
        drained=None if changed.drained is None else sorted(changed.drained),
    )


def _policy(policy: RoutePolicy) -> answers.PolicyAnswer:
    a, t = policy.affinity, policy.timeouts
    return answers.PolicyAnswer(
        affinity=answers.AffinityAnswer(a.enabled, a.cookie, a.max_age_s, a.at_zero),
        timeouts=answers.TimeoutsAnswer(t.connect_s, t.response_header_s, t.idle_stream_s),
        selectors=policy.selectors,
        internal=policy.internal,
        spill=policy.spill,
    )


def _effective(route: SnapshotRoute) -> answers.PolicyAnswer:
    a, t = route.affinity, route.timeouts
    return answers.PolicyAnswer(
        affinity=answers.AffinityAnswer(a.enabled, a.cookie, a.max_age_s, a.at_zero),
        timeouts=answers.TimeoutsAnswer(t.connect_s, t.response_header_s, t.idle_stream_s),
        selectors=route.selectors,
        internal=route.internal,
        spill=route.spill,
    )


def problem_answer(problem: RouteProblem) -> answers.ProblemAnswer:
    """What is wrong with a route of a service that was found."""
    return answers.ProblemAnswer(
        route=problem.route,
        service=problem.service,
        reason=problem.reason,
        message=problem.message,
        where=problem.where,
    )


def _discovery(discovery: Discovery) -> answers.DiscoveryAnswer:
    since = discovery.gone_since
    return answers.DiscoveryAnswer(None if since is None else answers.rfc3339(since))


def tls_answer(tls: UpstreamTls) -> answers.TlsAnswer:
    """TLS to endpoints as the API shows it."""
    return answers.TlsAnswer(server_name=tls.server_name, verify=tls.verify)


def check_answer(check: Check) -> answers.CheckAnswer:
    """A check as the API shows it."""
    return answers.CheckAnswer(
        type=check.kind,
        path=check.path if check.kind is CheckKind.HTTP else None,
        host=check.host,
        port=check.port,
        interval=check.interval_s,
        timeout=check.timeout_s,
        rise=check.rise,
        fall=check.fall,
        initial_delay=check.initial_delay_s,
    )
