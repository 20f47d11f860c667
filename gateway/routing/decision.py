# cython: language_level=3, annotation_typing=False
"""What comes of a request's values: which service and instance it gets, or why none.

A decision says nothing of the route it was made for, so each is made once for its
service or instance and handed out again and again. They are immutable.
"""

from __future__ import annotations

from enum import StrEnum

from .service import InstanceState, ServiceState


class Sticky(StrEnum):
    """What affinity had to do with a decision."""

    OFF = "off"
    NEW = "new"
    """The client brought no token that counts here."""
    HIT = "hit"
    """The client stays where it was."""
    MOVED = "moved"
    """The client's token was known, but its instance or its service could not be kept."""


class Verdict(StrEnum):
    """Can the request be served?"""

    OK = "ok"
    NO_SERVICE = "no_service"
    """The route has no member with weight."""
    NO_HEALTHY_INSTANCE = "no_healthy_instance"
    UNKNOWN_SELECTION = "unknown_selection"
    """The selector header names no member of the route."""


class Decision:
    """Where a request goes. Shared between requests and routes, never changed.

    `service` is set with OK, and with NO_HEALTHY_INSTANCE (the one that has none).
    `pinned`: use this instance; None: ask `service.pick()`.
    `renew`: the answer is to carry `Pool.set_cookie(service, instance)`. The same is
    due when a retry ends at another instance than `pinned`.
    `spilled`: the request would have gone to a service that has no usable instance.
    """

    __slots__ = ("pinned", "renew", "service", "spilled", "sticky", "verdict")

    def __init__(
        self,
        verdict: Verdict,
        service: ServiceState | None = None,
        pinned: InstanceState | None = None,
        sticky: Sticky = Sticky.OFF,
        spilled: bool = False,
        renew: bool = False,
    ) -> None:
        self.verdict = verdict
        self.service = service
        self.pinned = pinned
        self.sticky = sticky
        self.spilled = spilled
        self.renew = renew

    def __repr__(self) -> str:
        return f"<Decision {self.verdict} {self.pinned or self.service} {self.sticky}>"


NO_SERVICE = Decision(Verdict.NO_SERVICE)
UNKNOWN_SELECTION = Decision(Verdict.UNKNOWN_SELECTION)


def drawn(service: ServiceState, sticky: Sticky, *, spilled: bool = False) -> Decision:
    """The client goes to an instance of `service` that is still to be picked."""
    return _of(service, Verdict.OK, sticky, spilled)


def unhealthy(service: ServiceState) -> Decision:
    """The request belongs to `service`, which has no usable instance."""
    return _of(service, Verdict.NO_HEALTHY_INSTANCE, Sticky.OFF, False)


def held(instance: InstanceState, *, renew: bool) -> Decision:
    """The client stays on `instance`; `renew`: its token was made with an old key."""
    decision = instance.decisions.get(renew)
    if decision is None:
        decision = Decision(Verdict.OK, instance.service, instance, Sticky.HIT, False, renew)
        instance.decisions[renew] = decision
    return decision


def _of(service: ServiceState, verdict: Verdict, sticky: Sticky, spilled: bool) -> Decision:
    decision = service.decisions.get((verdict, sticky, spilled))
    if decision is None:
        renew = sticky in (Sticky.NEW, Sticky.MOVED)
        decision = Decision(verdict, service, None, sticky, spilled, renew)
        service.decisions[verdict, sticky, spilled] = decision
    return decision
