"""When an application has ended: nothing of it is left and nothing is to come back."""

from __future__ import annotations

from dataclasses import replace

from .state import State


def drop_if_gone(state: State, name: str) -> State:
    """The state without an application of which nothing is left."""
    application = state.applications.get(name)
    if application is None or application.release is not None:
        return state
    if application.template is not None and not application.leaving:
        return state
    if any(s.application == name for s in state.services.values()):
        return state
    applications = {k: a for k, a in state.applications.items() if k != name}
    return replace(state, applications=applications)
