"""From state to answers: how applications and releases are shown.

One moment for each answer (`views.View`). What programs wrote and what is told of
their failures goes through a mask: viewers see no value of a template's environment.
Writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from admin.audit import Actor
from admin.masks import SEE_ALL, Mask, mask_of
from admin.progress import waiting_for
from gateway.core.model import Role, Route, Service, ServiceId
from gateway.core.names import weights_by_name
from gateway.core.planning import Sides
from gateway.core.planning import sides as sides_of
from gateway.core.readiness import healthy, instances_wanted
from gateway.core.release import Application, Colour, Release
from gateway.core.rolling_back import legal_verbs
from gateway.core.sharing import part
from gateway.core.state import State

from . import answers
from . import release_answers as shown
from .auth import allows
from .context import Context
from .views import View, view

FAILURES_MAX = 5


@dataclass(frozen=True)
class ReleaseView:
    """One moment of applications and releases, as somebody of a role may see it."""

    view: View
    sees_secrets: bool

    # --- releases ------------------------------------------------------------------------

    def release(self, release: Release) -> shown.ReleaseAnswer:
        """A release."""
        mask = self.mask(_services_of_release(release, self.view.state))
        is_latest = latest(self.view.state, release.application) is release
        waiting = waiting_for(
            self.view.state, self.view.observed, release, self.view.launched.failures
        )
        return shown.ReleaseAnswer(
            id=release.id,
            application=release.application,
            strategy=release.strategy,
            phase=release.phase,
            created=answers.rfc3339(release.created),
            deadline=answers.rfc3339(release.deadline),
            on_deadline=release.on_deadline,
            services=[
                self._service(release, name, colour, is_latest, mask)
                for name, colour in release.colours.items()
            ],
            routes=list(self._routes(release)) if is_latest else [],
            warnings=self.warnings(release),
            waiting_for=None if waiting is None else mask(waiting),
            timeline=[
                shown.TimelineEntry(answers.rfc3339(e.time), e.phase, e.by, mask(e.reason))
                for e in release.timeline
            ],
            legal=[verb.value for verb in legal_verbs(self.view.state, release)],
            is_first=release.previous is None,
            smooth=release.smooth is not None,
        )

    def warnings(self, release: Release) -> list[str]:
        """What a release warns of."""
        mask = self.mask(_services_of_release(release, self.view.state))
        return [mask(warning) for warning in release.warnings]

    def _service(
        self, release: Release, name: str, colour: Colour, is_latest: bool, mask: Mask
    ) -> shown.ReleaseService:
        sid = ServiceId(f"{release.application}/{name}")
        now = self.view.state.services.get(sid) if is_latest else None
        planned = now or _planned(release, name)
        return shown.ReleaseService(
            name=name,
            id=sid,
            colour=colour,
            scale=0 if planned is None else instances_wanted(planned),
            ready=0 if now is None else self._ready(sid),
            instances=[] if now is None else self.view.instances(now),
            failures=list(self._failures(sid, mask)) if is_latest else [],
            steps=list(self._steps(sid, mask)) if now is not None else [],
        )

    def _steps(self, service: ServiceId, mask: Mask) -> Iterator[shown.StepAnswer]:
        for step in self.view.launched.steps(service):
            yield shown.StepAnswer(step.slot, step.stage, mask(step.detail), step.instance)

    def _failures(self, service: ServiceId, mask: Mask) -> Iterator[shown.FailureAnswer]:
        for failure in self.view.launched.failures(service)[:FAILURES_MAX]:
            yield shown.FailureAnswer(
                instance=failure.instance,
                what=mask(failure.what),
                time=answers.rfc3339(failure.time),
                output=[mask(line) for line in failure.output],
            )

    def _routes(self, release: Release) -> Iterator[shown.ReleaseRoute]:
        for route, sides in routes_of(self.view.state, release):
            on_new = part(route.weights, sides.new)
            on_both = on_new + part(route.weights, sides.old)
            yield shown.ReleaseRoute(
                route=route.id,
                weights=weights_by_name(route.weights),
                held=route.is_held,
                new_share=on_new / on_both if on_both else None,
            )

    # --- applications --------------------------------------------------------------------

    def application(self, application: Application) -> shown.ApplicationAnswer:
        """An application, without its template."""
        state = self.view.state
        services = [s for s in state.services.values() if s.application == application.name]
        mask = self.mask(services_of(state, application.name))
        release = self.view.in_flight(application.name)
        return shown.ApplicationAnswer(
            name=application.name,
            services=[self._application_service(s, mask) for s in services],
            release=None if release is None else self.release(release),
            has_previous=application.previous is not None,
            leaving=application.leaving,
        )

    def _application_service(self, service: Service, mask: Mask) -> shown.ApplicationService:
        return shown.ApplicationService(
            name=service.name,
            id=service.id,
            colour=self.view.colours.get(service.id),
            scale=instances_wanted(service),
            ready=self._ready(service.id),
            routes=self.view.claims(service),
            leaving=service.leaving,
            instances=self.view.instances(service),
            failures=list(self._failures(service.id, mask)),
            steps=list(self._steps(service.id, mask)),
        )

    # --- both ----------------------------------------------------------------------------

    def _ready(self, service: ServiceId) -> int:
        return healthy(self.view.state, self.view.observed, service)

    def mask(self, services: Iterable[Service]) -> Mask:
        """What strikes out the secrets of these services for who may not see them."""
        return SEE_ALL if self.sees_secrets else mask_of(services)


def release_view(context: Context, actor: Actor, state: State | None = None) -> ReleaseView:
    """The present moment, for `actor`; `state`: as if that were the desired state."""
    return ReleaseView(view(context, state), sees_secrets(actor))


def sees_secrets(actor: Actor) -> bool:
    """May they see the values of templates' environments?"""
    return allows(actor.role, Role.OPERATOR)


def latest(state: State, application: str) -> Release | None:
    """The newest release of an application."""
    return next((r for r in newest_first(state) if r.application == application), None)


def newest_first(state: State) -> list[Release]:
    """All releases."""
    return [*state.releases.values()][::-1]


def routes_of(state: State, release: Release) -> list[tuple[Route, Sides]]:
    """The routes that a release changes, as far as they exist, with who leaves and who comes."""
    return [
        (route, sides)
        for rid, sides in sides_of(release).items()
        if (route := state.routes.get(rid)) is not None
    ]


def services_of(state: State, application: str) -> list[Service]:
    """Every service of an application of which anything is still known."""
    found = [s for s in state.services.values() if s.application == application]
    for release in state.releases.values():
        if release.application == application:
            found += _templated(release)
    return found


def _services_of_release(release: Release, state: State) -> list[Service]:
    current = (state.services.get(ServiceId(f"{release.application}/{n}")) for n in release.colours)
    return [*_templated(release), *(s for s in current if s is not None)]


def _templated(release: Release) -> tuple[Service, ...]:
    before = release.previous.services if release.previous is not None else ()
    return (*release.template.services, *before)


def _planned(release: Release, name: str) -> Service | None:
    return next((s for s in _templated(release) if s.name == name), None)
