# cython: language_level=3, annotation_typing=False
"""One request and its answer: the way through the gateway.

    routed.py: to an instance -> the answer's head and body -> finish

Every way out ends in `_finish`, once, which feeds metrics and access log.

Invariants: a connection is released only after a clean end of both messages;
after the answer's head was relayed nothing but its own body, or a cut, follows it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.routing.decision import Sticky

from . import body as bodies
from . import codec_response, finish, routed
from .attempt import Stage as AttemptStage
from .heads import Framing, Malformed
from .https import is_https
from .reasons import Reason
from .replies import reply
from .retry import Failure
from .routed import Routed
from .tls import has_hsts
from .tunnel import Tunnel

if TYPE_CHECKING:
    from .attempt import Attempt
    from .body import Body
    from .heads import RequestHead, ResponseHead
    from .stream import ClientStream

# Looking a member up in its class costs 85 ns on CPython 3.11, several times a request.
_ASKING = routed.Stage.ASKING
_ANSWERING = routed.Stage.ANSWERING
_TUNNEL = routed.Stage.TUNNEL
_DONE = routed.Stage.DONE
_FRAMED_NONE = Framing.NONE
_FRAMED_UNTIL_CLOSE = Framing.UNTIL_CLOSE
_STICKY_OFF = Sticky.OFF
_STICKY_HIT = Sticky.HIT
_STICKY_MOVED = Sticky.MOVED
_REASON_NONE = Reason.NONE


class Exchange(Routed):
    """The request and what becomes of it."""

    __slots__ = ("_answer", "_response", "bytes_in", "bytes_out", "reason", "status", "upstream_s")

    def prepare(self, client: ClientStream, head: RequestHead) -> None:
        """Begin as if new."""
        Routed.prepare(self, client, head)
        self._response: ResponseHead | None = None
        self._answer: Body | None = None
        self.status = 0
        self.reason = _REASON_NONE
        self.bytes_in = 0
        self.bytes_out = 0
        self.upstream_s = -1.0  # until an answer begins

    # -- the answer

    def answer_begins(self, response: ResponseHead, rest: bytes) -> None:
        """The final head came: relay it with what is there of the body."""
        head = self.head
        framing = codec_response.client_framing(response, head.method, head.minor)
        if framing is _FRAMED_UNTIL_CLOSE or not self.upload.done or self.plane.closing:
            self._close = True
        self._answer = bodies.body_of(
            response.framing, response.length, framing, 502, response.listed
        )
        self.stage = _ANSWERING
        now = self.plane.time()
        self._relay(rest, self._answered(response, framing, now), now)

    def _answered(self, response: ResponseHead, framing: Framing, now: float) -> bytes:
        """Take note of the answer's head; it as the client gets it."""
        attempt, target, decision = self._attempt, self.target, self._decision
        assert attempt is not None and target is not None and decision is not None
        attempt.instance.failures = 0  # passive health: they are no longer in a row
        self._response = response
        self.status = response.status
        self.upstream_s = now - self._waiting_since
        extra = target.fields if response.has_date else target.fields + self.plane.date.line
        moved = decision.pinned is not attempt.instance
        if self.sticky is not _STICKY_OFF and (moved or decision.renew):
            if moved and self.sticky is _STICKY_HIT:
                self.sticky = _STICKY_MOVED
            secure = is_https(self.client, self.head)
            cookie = target.pool.set_cookie(target.service, attempt.instance, secure)
            extra += b"Set-Cookie: %s\r\n" % cookie
        hsts = self.client.entrypoint.hsts
        if hsts and self.client.tls is not None and not has_hsts(response.fields):
            extra += hsts
        return codec_response.render_response(
            response, framing, self.head.minor, self._close, extra
        )

    def answer_data(self, data: bytes) -> None:
        """Bytes of the answer's body."""
        self._relay(data, b"", self.plane.time())

    def _relay(self, data: bytes, rendered: bytes, now: float) -> None:
        """Pass on a piece of the body, behind `rendered` (the head, or nothing)."""
        answer = self._answer
        assert answer is not None
        try:
            piece = answer.feed(data) if data else b""
        except Malformed:
            self._write(rendered)
            self._cut(Reason.UPSTREAM_PROTOCOL_ERROR)
            return
        self._write(rendered + piece if rendered else piece)
        if answer.done:
            self._complete(not answer.rest, now)
        else:
            self._touch(now)

    def _write(self, data: bytes) -> None:
        if data:
            self.bytes_out += len(data)
            self.client.write(data)

    def client_writable(self, writable: bool) -> None:
        """The client takes more, or no more, for now."""
        attempt = self._attempt
        if attempt is not None and attempt.connection is not None:
            attempt.connection.set_reading(writable)

    # -- ends

    def answer_ends(self, in_order: bool) -> None:
        """The instance sends no more of the answer."""
        answer = self._answer
        last = answer.end() if in_order and answer is not None else None
        if last is None:
            self._cut(Reason.UPSTREAM_RESET)
        else:
            self._write(last)
            self._complete(False, self.plane.time())

    def client_eof(self) -> bool:
        """The client will send no more. True: it may still be written to.

        A client that ends its side while its request is under way has gone, as
        nginx and HAProxy (`abortonclose`) see it too, unless it already gets
        its answer.
        """
        if self.stage is _ANSWERING and self.upload.done:
            self._close = True
            return True
        self.client.abort()
        return False

    def client_lost(self) -> None:
        """The client's connection is gone."""
        if self.stage is _DONE:
            return
        if self.stage is _ASKING:
            self.status = 499
        self.reason = Reason.CLIENT_GONE
        self._drop_attempt()
        self._finish(self.plane.time())

    def expire(self) -> None:
        """The deadline has passed; whose it was follows from the stage."""
        attempt = self._attempt
        if self.stage is _ANSWERING:
            if self.client.writable:
                self._cut(Reason.UPSTREAM_TIMEOUT)
            elif self.target is None or not self.client.is_still_reading(
                self.target.pool.route.timeouts.idle_stream_s
            ):
                self._cut(Reason.CLIENT_TIMEOUT)
        elif attempt is None and self.plane.waiting is not None and self.plane.waiting.has(self):
            self._overflow("no instance had room in time")
        elif attempt is None or (attempt.writable and not self.upload.done and attempt.is_sending):
            self._client_fault(
                408, "the request body did not arrive in time", Reason.CLIENT_TIMEOUT
            )
        elif attempt.stage is AttemptStage.CONNECTING:
            self.attempt_failed(
                attempt,
                Failure.NOT_SENT,
                "the service could not be reached in time",
                Reason.CONNECT_FAILURE,
                504,
            )
        else:
            self.attempt_failed(
                attempt,
                Failure.BAD_ANSWER,
                "the service did not answer in time",
                Reason.UPSTREAM_TIMEOUT,
                504,
            )

    def _cut(self, reason: Reason) -> None:
        """The answer cannot be completed: show that by cutting the connection."""
        self.reason = reason
        attempt = self._attempt
        if self.target is not None and reason is not Reason.CLIENT_TIMEOUT:
            self.target.series.upstream_error(reason)
        if attempt is not None and reason is Reason.UPSTREAM_RESET:
            self.plane.instance_failed(attempt.instance, reason)
        self._drop_attempt()
        self._finish(self.plane.time())
        self.client.cut(self._answer is not None and self._answer.out is _FRAMED_UNTIL_CLOSE)

    def _reply(self, status: int, detail: str, reason: Reason, extra: bytes = b"") -> None:
        """Answer in the gateway's own name. Nothing of another answer was sent."""
        head, client = self.head, self.client
        if client.tls is not None:
            extra += client.entrypoint.hsts
        self._drop_attempt()
        self.status = status
        self.reason = reason
        if not self.upload.done or self.plane.closing:
            self._close = True
        self._write(
            reply(
                status,
                detail,
                accept=head.accept,
                close=self._close,
                keep_alive_10=not head.minor and not self._close,
                head_only=head.method == b"HEAD",
                extra=self.plane.date.line + extra,
            )
        )
        now = self.plane.time()
        self._finish(now)
        client.exchange_done(not self._close, now)

    def _complete(self, clean: bool, now: float) -> None:
        """The answer came to its end; `clean`: with nothing behind it."""
        attempt, self._attempt = self._attempt, None
        response = self._response
        assert attempt is not None and response is not None
        if self.upload.done:
            attempt.release(now, clean and response.keep_alive, response.framing is _FRAMED_NONE)
        else:
            attempt.drop()
        self._uncount()
        self._finish(now)
        self.client.exchange_done(not self._close, now)

    def _finish(self, now: float) -> None:
        """The one way out."""
        self.stage = _DONE
        if self.upload.framing is not _FRAMED_NONE:
            self.upload.drop()
            self.bytes_in += self.upload.size
        self._count(now)
        access_log = self.plane.access_log
        if access_log.enabled:
            finish.log(self, now, access_log)

    def _count(self, now: float) -> None:
        """Feed the counters of its route and service, as far as it got."""
        target = self.target
        if target is not None:
            series = target.series
        elif self.pool is not None:
            series = self.plane.metrics.series(self.pool.route.id, "", "", "")
        else:
            self.plane.metrics.unrouted(self.head.method, self.status)
            return
        series.finish(
            self.head.method, self.status, now - self.started, self.bytes_in, self.bytes_out
        )
        if self.sticky is not _STICKY_OFF and self.upstream_s >= 0.0:
            series.sticky(self.sticky)

    # -- tunnels

    def tunnel_begins(self, attempt: Attempt, response: ResponseHead, rest: bytes) -> None:
        """101 to a client that asked for it: from here on bytes are passed on unread."""
        client, target = self.client, self.target
        assert target is not None
        self.stage = _TUNNEL
        self._close = False
        self._write(self._answered(response, _FRAMED_NONE, self.plane.time()))
        connection = attempt.hand_over()
        assert connection is not None
        self._attempt = None
        self._uncount()
        instance = attempt.instance
        instance.in_flight += 1
        instance.tunnels += 1
        target.series.websockets.add(1)
        tunnel = client.exchange = Tunnel(self, client, connection, instance)
        self.plane.tunnel_opened(tunnel)
        if rest:
            tunnel.upstream_data(rest)
        early, client.pending = client.pending, b""
        if early:
            tunnel.request_data(early)
        client.set_reading(attempt.writable)

    def tunnel_ends(self, tunnel: Tunnel) -> None:
        """Both sides have ended, or one was cut."""
        assert self.target is not None
        tunnel.instance.in_flight -= 1
        tunnel.instance.tunnels -= 1
        self.plane.tunnel_closed(tunnel)
        self.target.series.websockets.add(-1)
        self.bytes_in += tunnel.bytes_in
        self.bytes_out += tunnel.bytes_out
        self._finish(self.plane.time())


def serve_request(client: ClientStream, head: RequestHead) -> None:
    """Begin the exchange of a request."""
    exchange: Exchange = Exchange.__new__(Exchange)
    exchange.prepare(client, head)
    client.exchange = exchange
    exchange.begin()
