"""Letting some of many through: so that noise can't displace what matters."""

from __future__ import annotations

from collections.abc import Callable

BURST = 10
INTERVAL_S = 10.0


class Throttle:
    """Admits `BURST` at once, then one every `INTERVAL_S`. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._tokens = float(BURST)
        self._seen = clock()
        self._missed = 0

    def admits(self) -> int | None:
        """How many were turned away since the last one admitted; None: this one is, too."""
        now = self._clock()
        self._tokens = min(BURST, self._tokens + (now - self._seen) / INTERVAL_S)
        self._seen = now
        if self._tokens < 1:
            self._missed += 1
            return None
        self._tokens -= 1
        missed, self._missed = self._missed, 0
        return missed
