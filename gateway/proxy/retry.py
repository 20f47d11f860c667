# cython: language_level=3, annotation_typing=False
"""When a failed attempt may be made again, and how often in all.

A retry is only ever asked for while nothing of the answer reached the client.
Beyond that it must be safe (RFC 9110, 9.2.2): the request never left (the
connection could not be made), or the method is idempotent and the body can be
sent again. A budget bounds retries to a fifth of the requests, so that a
failing service is not hit three times as hard (Envoy's retry budget).
"""

from __future__ import annotations

from enum import Enum

MAX_ATTEMPTS = 3
REPLAY_BYTES = 64 * 1024
"""A body is kept for a second attempt up to this size."""

IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"})
"""TRACE is idempotent too but never forwarded; unknown methods are not assumed to be."""


class Failure(Enum):
    """How an attempt failed, as far as safety goes."""

    NOT_SENT = 1
    """No byte of the request can have been processed: no connection was made."""
    STALE = 2
    """A kept-alive connection ended before a byte came back."""
    NO_ANSWER = 3
    """A fresh connection ended, or timed out, before a byte came back."""
    BAD_ANSWER = 4
    """Something came back that is no valid answer."""


EARN = 0.2
"""Tokens for each request."""
CAP = 20.0
_EARN = EARN
_CAP = CAP


class RetryBudget:
    """Tokens for retries: each request earns a fifth of one, each retry spends one."""

    __slots__ = ("_tokens",)

    def __init__(self) -> None:
        self._tokens = _CAP / 2

    def earn(self) -> None:
        """A request came in."""
        if self._tokens < _CAP:
            self._tokens += _EARN

    def spend(self) -> bool:
        """Take a token; False when there is none: the failure must be passed on."""
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


def is_safe(failure: Failure, method: bytes, replayable: bool) -> bool:
    """May this attempt be repeated? `replayable`: all body bytes sent so far are kept.

    An invalid answer is an answer: the origin has processed the request, and
    would most likely answer the same again. A fresh connection that ended in
    silence is repeated only for idempotent methods.
    """
    if failure is Failure.NOT_SENT:
        return replayable
    if failure is Failure.BAD_ANSWER:
        return False
    return replayable and method in IDEMPOTENT
