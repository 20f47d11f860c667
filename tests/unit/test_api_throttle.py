"""Noise is let through in small doses, and what was left out is counted."""

from __future__ import annotations

from admin.api.throttle import BURST, INTERVAL_S, Throttle


def test_a_burst_is_admitted_then_one_an_interval() -> None:
    now = 0.0
    throttle = Throttle(lambda: now)
    assert [throttle.admits() for _ in range(BURST)] == [0] * BURST
    assert [throttle.admits() for _ in range(7)] == [None] * 7
    now = INTERVAL_S
    assert throttle.admits() == 7
    assert throttle.admits() is None
    now = 1000 * INTERVAL_S
    assert sum(throttle.admits() is not None for _ in range(3 * BURST)) == BURST
