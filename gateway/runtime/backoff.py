"""How long to wait before a child is started again. Pure: times are arguments."""

from __future__ import annotations

FIRST_S = 0.1
MAX_S = 10.0
CALM_S = 30.0
"""A child that lived this long has not failed to start."""


class Backoff:
    """Counts failures in a row: at once after the first, then 0.1 s doubling to 10 s."""

    __slots__ = ("failures",)

    def __init__(self) -> None:
        self.failures = 0

    def next_delay_s(self, lived_s: float) -> float:
        """The wait after a child's death that had lived for `lived_s`."""
        if lived_s >= CALM_S:
            self.failures = 0
        self.failures += 1
        if self.failures == 1:
            return 0.0
        # The exponent is bounded too: a float overflows at 2**1024.
        return float(min(MAX_S, FIRST_S * 2 ** min(self.failures - 2, 16)))
