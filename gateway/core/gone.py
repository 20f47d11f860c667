"""When an application has ended: nothing of it is left and nothing is to come back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from .model import ServiceId, split_service_id
from .observed import Observed
from .release import Application
from .state import State


def is_ending(application: Application) -> bool:
    """Is it to be gone as soon as nothing of it is left?

    It is being removed, or its first release was rolled back.
    """
    is_kept = application.template is not None and not application.leaving
    return application.release is None and not is_kept


def drop_if_gone(state: State, name: str, observed: Observed) -> State:
    """The state without an application of which nothing is left, neither services nor processes."""
    application = state.applications.get(name)
    if application is None or not is_ending(application):
        return state
    if _is_among(name, state.services) or _is_among(name, observed.running or ()):
        return state
    applications = {k: a for k, a in state.applications.items() if k != name}
    return replace(state, applications=applications)


def _is_among(application: str, services: Iterable[ServiceId]) -> bool:
    return any(split_service_id(sid)[0] == application for sid in services)
