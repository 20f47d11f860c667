"""Applications and their releases as values.

An *application* is deployed and released as a whole; it owns one template. A
*release* is the passage of an application from one template to the next. The
services themselves live in `State.services`, old and new side by side; a release
only remembers which is which, and what the routes were like before it began.

`phases.py` says which phase follows which; `releasing.py` carries it out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from .model import RouteId, Service, ServiceId


class Strategy(StrEnum):
    """How traffic may move from the old services to the new ones."""

    BLUE_GREEN = "blue-green"
    """A version has all or nothing: weight 0 or 100."""
    CANARY = "canary"
    """The new version gets at most half."""
    GRAY = "gray"
    """The share moves step by step; any weights."""
    AB = "ab"
    """Two versions are compared; any weights, either may win."""
    STANDARD = "standard"
    """Shifts and confirms by itself once everything is healthy."""


class OnDeadline(StrEnum):
    """What becomes of a release whose new services are not healthy in time."""

    ROLLBACK = "rollback"
    HOLD = "hold"
    """It waits on."""


class Colour(StrEnum):
    """What a service is to a release."""

    GREEN = "green"
    """New."""
    BLUE = "blue"
    """Old: not in the new template."""
    YELLOW = "yellow"
    """In both templates, unchanged."""


class Phase(StrEnum):
    """Where a release stands. Phases never go back."""

    RELEASING = "releasing"
    """New services are not all healthy yet."""
    PENDING_CONFIRMATION = "pending_confirmation"
    """Old and new run side by side; the operator decides."""
    CONFIRMING = "confirming"
    """Old services are drained, stopped and removed."""
    CONFIRMED = "confirmed"
    ROLLING_BACK = "rolling_back"
    """New services are drained, stopped and removed."""
    ROLLED_BACK = "rolled_back"

    @property
    def is_over(self) -> bool:
        """Nothing follows."""
        return self in (Phase.CONFIRMED, Phase.ROLLED_BACK)


class ConfirmMode(StrEnum):
    """How to confirm."""

    PLAIN = "plain"
    """All traffic is on the new services already."""
    SMOOTH = "smooth"
    """Move all traffic first, and confirm after a while without errors."""
    FORCE = "force"
    """Move all traffic and confirm, whatever the guards say."""


@dataclass(frozen=True, slots=True)
class Template:
    """What an application consists of. `source` is the text as it was sent."""

    services: tuple[Service, ...]
    source: str = ""

    def service(self, name: str) -> Service | None:
        """The service of this short name."""
        return next((s for s in self.services if s.name == name), None)


@dataclass(frozen=True, slots=True)
class Application:
    """A deployed application. `template` None: its first deployment is under way."""

    name: str
    template: Template | None = None
    previous: Template | None = None
    """The template before the last confirmed release."""
    release: str | None = None
    """The id of the release in flight."""
    leaving: bool = False
    """Being removed; gone when its last service is."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of a release's timeline. `time` is seconds since the epoch; `by` an actor."""

    time: float
    phase: Phase
    by: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class SmoothConfirm:
    """A smooth confirmation under way: asked for at `since` (epoch seconds).

    `before` are the weights to give back if the new services show errors.
    """

    since: float
    by: str
    before: Mapping[RouteId, Mapping[ServiceId, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Release:
    """A release. Times are seconds since the epoch.

    `id` is `application-n`, n counting the application's releases.
    """

    id: str
    application: str
    strategy: Strategy
    phase: Phase
    created: float
    deadline: float
    on_deadline: OnDeadline
    template: Template
    previous: Template | None
    """None: the first deployment."""
    colours: Mapping[str, Colour]
    """By short name, in the order of the new template, then the old one's."""
    before: Mapping[RouteId, Mapping[ServiceId, int]] = field(default_factory=dict)
    """The weights of old services on their routes when the release began.

    Where no new ones come, of the unchanged too, who take their traffic over.
    """
    warnings: tuple[str, ...] = ()
    timeline: tuple[Entry, ...] = ()
    smooth: SmoothConfirm | None = None
    key: str | None = None
    """The Idempotency-Key it was made with."""
    keys: tuple[str, ...] = ()
    """Those of the last calls that moved its traffic or ended it."""

    def names(self, colour: Colour) -> tuple[str, ...]:
        """Short names of one colour."""
        return tuple(name for name, c in self.colours.items() if c is colour)

    def ids(self, colour: Colour) -> tuple[ServiceId, ...]:
        """Full ids of one colour."""
        return tuple(ServiceId(f"{self.application}/{name}") for name in self.names(colour))
