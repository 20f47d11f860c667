"""Requests are repeated only where that cannot do harm, and not too often."""

from __future__ import annotations

import pytest

from gateway.proxy.retry import Failure, RetryBudget, is_safe


@pytest.mark.parametrize("method", [b"GET", b"POST", b"BREW"])
def test_a_request_that_never_left_may_go_elsewhere(method: bytes) -> None:
    assert is_safe(Failure.NOT_SENT, method, True)


@pytest.mark.parametrize("failure", [Failure.STALE, Failure.NO_ANSWER])
def test_a_request_that_left_is_repeated_only_if_idempotent(failure: Failure) -> None:
    assert is_safe(failure, b"GET", True)
    assert is_safe(failure, b"PUT", True)
    assert not is_safe(failure, b"POST", True)
    assert not is_safe(failure, b"PATCH", True)
    assert not is_safe(failure, b"UNKNOWN", True)


def test_nothing_is_repeated_whose_body_is_gone_or_that_was_answered() -> None:
    assert not is_safe(Failure.STALE, b"PUT", False)
    assert not is_safe(Failure.BAD_ANSWER, b"GET", True)


def test_retries_are_at_most_a_fifth_of_the_requests_in_the_long_run() -> None:
    budget = RetryBudget()
    while budget.spend():
        pass
    spent = 0
    for _ in range(1000):
        budget.earn()
        spent += budget.spend()
    assert 190 <= spent <= 200
