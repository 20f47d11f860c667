# cython: language_level=3, annotation_typing=False
"""One try of a request on one instance, up to the head of its answer.

It owns the connection, counts as the instance's open work from begin to end,
reads heads (1xx included) off what comes back, and says how it failed. What a
failure means for the client is the exchange's business.
"""

from __future__ import annotations

import errno
from enum import Enum
from typing import TYPE_CHECKING

from . import codec_response, scan
from .acceptor import EXHAUSTED
from .heads import Malformed
from .reasons import Reason
from .retry import Failure
from .users import ConnectionUser

if TYPE_CHECKING:
    from gateway.routing.service import InstanceState

    from .heads import RequestHead, ResponseHead
    from .plane import Plane
    from .stream import ClientStream
    from .upstream import UpstreamConnection, UpstreamPool

FRESH = float("inf")
INTERIM_ANSWERS = 64
"""More 1xx answers than this to one request are no answer at all."""
SHORTAGES = EXHAUSTED | {errno.EADDRNOTAVAIL}
"""Why a connection could not be made that is no fault of the instance (the last one: no port left)."""


class Stage(Enum):
    """How far the attempt has come; it only goes downwards in this list."""

    CONNECTING = 1
    WAITING = 2
    """The request goes, or went, out; no final head came back."""
    ANSWERING = 3
    """The head came; the body is the exchange's."""
    ENDED = 4


# Looking a member up in its class costs 85 ns on CPython 3.11, several times a request.
_CONNECTING = Stage.CONNECTING
_WAITING = Stage.WAITING
_ANSWERING = Stage.ANSWERING
_ENDED = Stage.ENDED


class Asker(ConnectionUser):
    """Whose request it is; hears how the attempt goes."""

    __slots__ = ("client", "head", "plane")

    client: ClientStream
    head: RequestHead
    plane: Plane

    def connected(self, attempt: Attempt) -> None:
        """A new connection was opened for the attempt."""
        raise NotImplementedError

    def attempt_ready(self, attempt: Attempt) -> None:
        """The attempt has its connection: send what there is of the request."""
        raise NotImplementedError

    def attempt_failed(
        self,
        attempt: Attempt,
        failure: Failure,
        detail: str,
        reason: Reason,
        status: int = 502,
    ) -> None:
        """The attempt failed: make another one if that is safe, else answer `status`."""
        raise NotImplementedError

    def attempt_writable(self, writable: bool) -> None:
        """The instance takes more of the body, or no more, for now."""
        raise NotImplementedError

    def answer_begins(self, response: ResponseHead, rest: bytes) -> None:
        """The final head came: relay it with what is there of the body."""
        raise NotImplementedError

    def answer_data(self, data: bytes) -> None:
        """Bytes of the answer's body."""
        raise NotImplementedError

    def answer_ends(self, in_order: bool) -> None:
        """The instance sends no more of the answer."""
        raise NotImplementedError

    def tunnel_begins(self, attempt: Attempt, response: ResponseHead, rest: bytes) -> None:
        """101 to a client that asked for it: from here on bytes are passed on unread."""
        raise NotImplementedError


class Attempt(ConnectionUser):
    """See the module. `begin` it once; it ends by `release` or `drop`."""

    __slots__ = (
        "_buffer",
        "_interims",
        "_is_last",
        "_searched",
        "connection",
        "exchange",
        "instance",
        "stage",
        "started",
        "writable",
    )

    def prepare(self, exchange: Asker, instance: InstanceState, now: float) -> None:
        """Begin as if new (see `Exchange.prepare`)."""
        self.exchange = exchange
        self.instance = instance
        self.started = now
        self.stage = _CONNECTING
        self.connection: UpstreamConnection | None = None
        self.writable = True
        self._buffer = b""
        self._searched = 0
        self._interims = 0
        self._is_last = False

    def begin(self, pool: UpstreamPool, not_before: float) -> None:
        """Take a connection used since `not_before`, or open one (`FRESH`: always)."""
        self.instance.in_flight += 1
        if not_before != FRESH:
            self.connection = pool.claim(self, not_before)
        if self.connection is None:
            self.connection = pool.connect(self)
        else:
            self.stage = _WAITING
            self.exchange.attempt_ready(self)

    @property
    def is_sending(self) -> bool:
        """Does the request go out, or has it gone out?"""
        return self.stage is _WAITING

    def write(self, data: bytes) -> None:
        """Send a part of the request."""
        connection = self.connection
        if connection is not None:
            connection.write(data)

    def release(self, now: float, clean: bool, quarantine: bool) -> None:
        """The answer has ended; `clean`: the connection may serve another request."""
        connection = self._end()
        if connection is not None:
            if clean:
                connection.release(now, quarantine)
            else:
                connection.close()

    def drop(self) -> None:
        """Give up: the instance must not take what it got for a whole request."""
        connection = self._end()
        if connection is not None:
            connection.abort()

    def hand_over(self) -> UpstreamConnection | None:
        """End without touching the connection, which is the caller's now."""
        return self._end()

    def _end(self) -> UpstreamConnection | None:
        connection, self.connection = self.connection, None
        if self.stage is not _ENDED:
            self.stage = _ENDED
            self.instance.in_flight -= 1
        return connection

    # -- what the connection says

    def upstream_ready(self, connection: UpstreamConnection) -> None:
        """The new connection is open."""
        self.stage = _WAITING
        self.exchange.connected(self)
        self.exchange.attempt_ready(self)

    def upstream_failed(self, error: OSError) -> None:
        """The new connection could not be made."""
        self.connection = None
        if error.errno in SHORTAGES:
            self.exchange.attempt_failed(
                self, Failure.NOT_SENT, "the gateway has no connections left", Reason.OVERFLOW, 503
            )
            return
        self.exchange.attempt_failed(
            self, Failure.NOT_SENT, "the service could not be reached", Reason.CONNECT_FAILURE
        )

    def upstream_data(self, data: bytes) -> None:
        """Bytes came."""
        if self.stage is _ANSWERING:
            self.exchange.answer_data(data)
        else:
            self._read_head(self._buffer + data if self._buffer else data)

    def upstream_eof(self) -> bool:
        """The instance will send no more."""
        if self.stage is _ANSWERING:
            self.exchange.answer_ends(True)
        else:
            self._ended_early()
        return False

    def upstream_lost(self, error: Exception | None) -> None:
        """The connection is gone."""
        if self.stage is _ANSWERING:
            self.exchange.answer_ends(False)
        else:
            self._ended_early()

    def upstream_writable(self, writable: bool) -> None:
        """The instance takes more, or no more, for now."""
        self.writable = writable
        self.exchange.attempt_writable(writable)

    # -- heads

    def _ended_early(self) -> None:
        if self._buffer or self._interims:
            failure = Failure.BAD_ANSWER
        elif self.connection is not None and self.connection.reused:
            failure = Failure.STALE
        else:
            failure = Failure.NO_ANSWER
        self.exchange.attempt_failed(
            self,
            failure,
            "the service ended the connection without an answer",
            Reason.UPSTREAM_RESET,
        )

    def _read_head(self, data: bytes) -> None:
        exchange = self.exchange
        head = exchange.head
        while True:
            try:
                response = codec_response.parse_response(
                    data, head.method, exchange.plane.head_limits, self._searched
                )
            except Malformed:
                self._bad("the service sent an invalid answer")
                return
            if response is None:
                self._buffer = data
                self._searched = len(data)
                return
            self._searched = 0
            rest = scan.piece(data, response.size, len(data))
            if not response.keep_alive:
                self._is_last = True
            if response.status >= 200:
                # An interim answer may have said it for all of them.
                response.keep_alive = not self._is_last
                self.stage = _ANSWERING
                exchange.answer_begins(response, rest)
                return
            if response.status == 101:
                if head.upgrade is None:
                    self._bad("the service changed the protocol without being asked")
                else:
                    exchange.tunnel_begins(self, response, rest)
                return
            self._interims += 1
            if self._interims > INTERIM_ANSWERS:
                self._bad("the service sent no final answer")
                return
            self._pass_on(response)
            if not rest:
                self._buffer = b""
                return
            data = rest

    def _pass_on(self, interim: ResponseHead) -> None:
        """Forward a 1xx, but none to HTTP/1.0 (RFC 9110, 15.2)."""
        if self.exchange.head.minor:
            self.exchange.client.write(codec_response.render_interim(interim))

    def _bad(self, detail: str) -> None:
        self.exchange.attempt_failed(
            self, Failure.BAD_ANSWER, detail, Reason.UPSTREAM_PROTOCOL_ERROR
        )
