# cython: language_level=3, annotation_typing=False
"""The weighted choice of one route, with spill.

Two schedules: the *full* one, of all members with weight, and while one of them
has no usable instance the *reduced* one, of the others. With spill, requests are
drawn from the reduced schedule, so that the others keep their ratio exactly;
the full one goes on counting, and says which requests would have gone to the
missing member. Without spill the full one is used alone, and the missing
member's share is refused.

Cursors stay in place as long as the weights (the full one) or the weights and
the usability (the reduced one) do, over any number of generations. A new one
begins where the old one stood, so that frequent changes do not always serve the
same beginning of a round.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.core.vocabulary import ServiceId

from .decision import NO_SERVICE, Decision, Sticky, drawn, unhealthy
from .schedule import Cursor, schedule
from .service import ServiceState

Weights = tuple[tuple[ServiceId, int], ...]


class _Track:
    """A schedule's cursor and the weights it is for."""

    __slots__ = ("cursor", "length", "weights")

    length: int

    def __init__(self, weights: Weights, slot: int, before: _Track | None, place: int) -> None:
        turns = schedule(tuple(n for _, n in weights))
        start = place
        if before is None or before.length != turns.length:
            start += turns.start_of(slot)
        self.weights = weights
        self.length = turns.length
        self.cursor: Cursor = turns.cursor(start)


class Outcomes:
    """The decisions of a draw for one result of affinity.

    `full` is by turn of the full schedule; `kept` and `spilled`, by turn of the reduced
    one, are there while requests spill.
    """

    __slots__ = ("full", "kept", "spilled")

    def __init__(
        self, members: Sequence[ServiceState], usable: Sequence[ServiceState], sticky: Sticky
    ) -> None:
        self.full = [drawn(s, sticky) if s.usable else unhealthy(s) for s in members]
        self.kept = [drawn(s, sticky) for s in usable]
        self.spilled = [drawn(s, sticky, spilled=True) for s in usable]


class Draw:
    """Draws services by weight. `members` with weight 0 are never drawn.

    `before` is the draw of the same route in the generation before. `refresh` has to
    be called before the first draw and after a member's usability changed.
    """

    __slots__ = (
        "_full",
        "_lost",
        "_members",
        "_reduced",
        "_slot",
        "_spill",
        "_weights",
        "moved",
        "new",
    )

    _full: _Track | None
    _reduced: _Track | None
    new: Outcomes
    moved: Outcomes

    def __init__(
        self,
        members: Sequence[tuple[ServiceState, int]],
        spill: bool,
        slot: int,
        before: Draw | None,
    ) -> None:
        weighted = [(service, weight) for service, weight in members if weight > 0]
        self._members = tuple(service for service, _ in weighted)
        self._weights: Weights = tuple((service.id, weight) for service, weight in weighted)
        self._spill = spill
        self._slot = slot
        self._full = None if before is None else before._full
        self._reduced = None if before is None else before._reduced
        self._lost: list[Decision | None] | None = None
        """While requests spill: by turn of the full schedule, the refusal of a member without
        usable instance, None for the others."""

    def refresh(self, sticky: bool) -> None:
        """Rebuild for the members' present usability; `sticky`: affinity is on."""
        members = self._members
        usable = [s for s in members if s.usable]
        spilling = self._spill and len(usable) < len(members)
        self._full = self._track(self._full, self._weights)
        if spilling:
            place = self._full.cursor.position if self._full is not None else 0
            alive = {s.id for s in usable}
            self._reduced = self._track(
                self._reduced, tuple(w for w in self._weights if w[0] in alive), place
            )
            self._lost = [None if s.usable else unhealthy(s) for s in members]
        else:
            self._lost = None
            usable = []
        if sticky:
            self.new = Outcomes(members, usable, Sticky.NEW)
            self.moved = Outcomes(members, usable, Sticky.MOVED)
        else:
            self.new = self.moved = Outcomes(members, usable, Sticky.OFF)

    def next(self, outcomes: Outcomes) -> Decision:
        """The next draw; `outcomes` is `new` or `moved` (without affinity: the same)."""
        full = self._full
        if full is None:
            return NO_SERVICE
        turn = full.cursor.next()
        lost = self._lost
        if lost is None:
            return outcomes.full[turn]
        refusal = lost[turn]
        reduced = self._reduced
        if reduced is None:
            return refusal or NO_SERVICE
        table = outcomes.kept if refusal is None else outcomes.spilled
        return table[reduced.cursor.next()]

    def spill(self, outcomes: Outcomes) -> Decision | None:
        """A draw for a client whose own service, one with weight, has no usable instance.

        It is no draw of the full schedule. None: no member has a usable instance.
        """
        reduced = self._reduced
        return None if reduced is None else outcomes.spilled[reduced.cursor.next()]

    def _track(self, track: _Track | None, weights: Weights, place: int = 0) -> _Track | None:
        if track is not None and track.weights == weights:
            return track
        if not weights:
            return None
        if not place and track is not None:
            place = track.cursor.position
        return _Track(weights, self._slot, track, place)
