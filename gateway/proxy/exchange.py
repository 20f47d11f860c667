"""One request and its answer: the way through the gateway.

    head -> route -> service -> instance -> connection -> bodies both ways -> finish

The route is decided once, from one table. A failed attempt goes round from
"instance" only while nothing reached the client and `retry.is_safe` says so.
Every way out ends in `_finish`, once, which feeds metrics, access log, passive
health and in-flight counts.

Invariants: bytes of a request go to at most one connection at a time; a
connection is released only after a clean end of both messages; after the
answer's head was relayed nothing but its own body, or a cut, follows it.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

from gateway.routing.pool import Pool, ServiceState, Sticky, Verdict
from gateway.routing.table import Miss

from .body import Body
from .codec import (
    Framing,
    Malformed,
    RequestHead,
    ResponseHead,
    client_framing,
    parse_response,
    render_interim,
    render_request,
    render_response,
)
from .reasons import Reason
from .replies import reply
from .retry import IDEMPOTENT, MAX_ATTEMPTS, REPLAY_BYTES, Failure, is_safe

if TYPE_CHECKING:
    from gateway.metrics.worker import ServiceSeries, WorkerMetrics
    from gateway.routing.pool import Decision, InstanceState

    from .client import ClientConnection
    from .upstream import UpstreamConnection

HELD_BYTES = 64 * 1024
"""Reading the client pauses when this much body waits for a connection."""
INTERIM_ANSWERS = 64
"""More 1xx answers than this to one request are no answer at all."""
HALF_CLOSED_S = 30.0
"""How long a tunnel stays after one side has ended its half."""


class Stage(Enum):
    """How far the exchange has come; stages never go back, but for a retry."""

    ROUTING = 1
    CONNECTING = 2
    WAITING = 3
    """The request goes, or went, to an instance; no final head came back."""
    ANSWERING = 4
    """The answer's head was relayed, its body follows."""
    TUNNEL = 5
    DONE = 6


class Exchange:
    """The request under way on a client's connection."""

    __slots__ = (
        "_answer",
        "_attempts",
        "_body",
        "_bytes_out",
        "_close",
        "_connect_started",
        "_decision",
        "_ended_half",
        "_instance",
        "_interims",
        "_kept",
        "_kept_bytes",
        "_last_instance",
        "_pool",
        "_reason",
        "_response",
        "_response_buffer",
        "_retries",
        "_searched",
        "_sent",
        "_series",
        "_service",
        "_status",
        "_sticky",
        "_tried",
        "_tunnelled",
        "_upstream",
        "_upstream_s",
        "_upstream_writable",
        "_waiting_since",
        "client",
        "head",
        "plane",
        "request_id",
        "stage",
        "started",
    )

    def __init__(self, client: ClientConnection, head: RequestHead) -> None:
        self.client = client
        self.plane = client.plane
        self.head = head
        self.started = self.plane.time()
        self.stage = Stage.ROUTING
        self.request_id = head.request_id or self.plane.new_request_id()
        # the request's body
        self._body = Body(head.framing, head.length, head.framing, 400)
        self._kept: list[bytes] | None = []  # what a (further) attempt sends; None: not kept
        self._kept_bytes = 0
        # where it goes
        self._pool: Pool | None = None
        self._decision: Decision | None = None
        self._service: ServiceState | None = None
        self._series: ServiceSeries | None = None
        self._sticky = Sticky.OFF
        # the attempt
        self._attempts = 0
        self._retries = 0
        self._tried: list[InstanceState] = []
        self._instance: InstanceState | None = None
        self._last_instance = ""
        self._upstream: UpstreamConnection | None = None
        self._upstream_writable = True
        self._sent = False
        self._connect_started = 0.0
        self._waiting_since = 0.0
        self._upstream_s: float | None = None
        # the answer
        self._response: ResponseHead | None = None
        self._response_buffer = b""
        self._searched = 0
        self._answer: Body | None = None
        self._interims = 0
        self._close = not head.keep_alive
        self._status = 0
        self._bytes_out = 0
        self._tunnelled = 0
        self._ended_half = False
        self._reason = Reason.NONE

    @property
    def request_done(self) -> bool:
        """Was the whole request read?"""
        return self._body.done

    # -- routing

    def begin(self) -> None:
        """Decide where the request goes and set it on its way."""
        client, head = self.client, self.head
        limit = self.plane.limits.body_bytes
        if limit is not None and head.length > limit:
            self._answer_self(413, "the request body is larger than allowed", Reason.NONE)
            return
        if client.pending and not self.request_done:
            data, client.pending = client.pending, b""
            self.request_data(data)
            if self.stage is Stage.DONE:
                return
        if head.max_forwards == 0 and head.method == b"OPTIONS":
            self._answer_self(200, "this is the gateway", Reason.NONE)
            return
        pool = self.plane.world.table.match(head.host, head.path, client.entrypoint.internal)
        if isinstance(pool, Miss):
            self._answer_self(
                404,
                "this host is served on internal entrypoints only"
                if pool is Miss.INTERNAL_ONLY
                else "no route for this host and path",
                Reason.NO_ROUTE,
            )
            return
        self._pool = pool
        self.plane.budget.earn()
        decision = self._decision = pool.decide(head.cookies, head.selector)
        service = self._service = decision.service
        if service is not None:
            self._series = self.plane.series(pool, service)
            if decision.spilled:
                self._series.spilled()
        if decision.verdict is not Verdict.OK or service is None:
            self._answer_verdict(decision.verdict)
            return
        self._sticky = decision.sticky
        instance = decision.pinned or service.pick()
        if instance is None:
            self._answer_verdict(Verdict.NO_HEALTHY_INSTANCE)
            return
        self._attempt(instance, fresh=False)

    def _answer_verdict(self, verdict: Verdict) -> None:
        if verdict is Verdict.UNKNOWN_SELECTION:
            self._answer_self(
                404,
                "the service selected by X-Gateway-Service is not on this route",
                Reason.NO_ROUTE,
            )
        elif verdict is Verdict.NO_SERVICE:
            self._answer_self(
                503, "no service takes traffic on this route", Reason.NO_HEALTHY_UPSTREAM
            )
        else:
            self._answer_self(503, "no healthy instance is available", Reason.NO_HEALTHY_UPSTREAM)

    # -- attempts

    def _attempt(self, instance: InstanceState, *, fresh: bool) -> None:
        """Claim or open a connection to `instance`; `fresh` does not take a kept-alive one."""
        pool, service, series = self._pool, self._service, self._series
        assert pool is not None and service is not None and series is not None
        plane = self.plane
        self._attempts += 1
        self._instance = instance
        self._last_instance = instance.id
        instance.in_flight += 1
        series.in_flight.add(1)
        self._sent = False
        self._upstream_writable = True
        self._response_buffer = b""
        self._searched = 0
        now = plane.time()
        upstreams = plane.upstreams(instance, instance.port_for(pool.port_of(service)))
        connection = None if fresh else upstreams.claim(self, now - plane.timeouts.upstream_idle)
        if connection is not None:
            self._upstream = connection
            self._send()
            return
        self.stage = Stage.CONNECTING
        self._connect_started = now
        self.client.deadline = now + pool.route.timeouts.connect_s
        self._upstream = upstreams.connect(self)

    def upstream_ready(self, connection: UpstreamConnection) -> None:
        """The new connection is open."""
        assert self._series is not None
        self._series.connect_seconds(self.plane.time() - self._connect_started)
        self._send()

    def upstream_failed(self, error: OSError) -> None:
        """The new connection could not be made."""
        self._upstream = None
        self._fail(
            Failure.NOT_SENT, 502, "the service could not be reached", Reason.CONNECT_FAILURE
        )

    def _send(self) -> None:
        upstream, pool, client = self._upstream, self._pool, self.client
        assert upstream is not None and pool is not None and self._kept is not None
        head = render_request(
            self.head,
            peer=client.peer,
            proto=b"http",
            port=client.entrypoint.port,
            trusted=client.trusted,
            request_id=self.request_id,
            strip_cookie=pool.cookie_name,
        )
        self.stage = Stage.WAITING
        self._sent = True
        if self._kept:
            upstream.write(head + b"".join(self._kept))
            self._forget_body()
        else:
            upstream.write(head)
        if not self.request_done:
            client.set_reading(self._upstream_writable)
        self._await_answer()

    def _forget_body(self) -> None:
        """Some of the body was sent: keep it only for a second attempt that may be made."""
        if self._kept_bytes > REPLAY_BYTES or self.head.method not in IDEMPOTENT:
            self._kept = None

    def _await_answer(self) -> None:
        """Set the deadline of the WAITING stage: ours for the client, or the instance's."""
        assert self._pool is not None
        plane = self.plane
        waits_for_client = not self.request_done and self._upstream_writable
        self._waiting_since = now = plane.time()
        self.client.deadline = now + (
            plane.timeouts.client_body
            if waits_for_client
            else self._pool.route.timeouts.response_header_s
        )

    def _fail(self, failure: Failure, status: int, detail: str, reason: Reason) -> None:
        """The attempt failed: make another one if that is safe, else answer `status`."""
        instance, service = self._instance, self._service
        assert instance is not None and service is not None
        series = self._series
        assert series is not None
        self._drop_upstream()
        self._end_attempt()
        stale = failure is Failure.STALE
        if not stale:
            self.plane.instance_failed(instance, reason)
        if (
            self.stage in (Stage.CONNECTING, Stage.WAITING)
            and self._attempts <= MAX_ATTEMPTS - (0 if stale else 1)
            and is_safe(failure, self.head.method, self._kept is not None)
            and (stale or self.plane.budget.spend())
        ):
            following = instance if stale else self._another(service, instance, failure)
            if following is not None:
                self._retries += 1
                series.retried()
                self._attempt(following, fresh=True)
                return
        series.upstream_error(reason)
        self._answer_self(status, detail, reason)

    def _another(
        self, service: ServiceState, failed: InstanceState, failure: Failure
    ) -> InstanceState | None:
        self._tried.append(failed)
        following = service.pick(self._tried)
        if following is None and failure is Failure.NO_ANSWER:
            return failed
        return following

    def _end_attempt(self) -> None:
        instance, self._instance = self._instance, None
        if instance is None:
            return
        assert self._series is not None
        instance.in_flight -= 1
        if self.stage is Stage.TUNNEL:
            instance.tunnels -= 1
            self._series.websockets.add(-1)
        else:
            self._series.in_flight.add(-1)

    def _drop_upstream(self) -> None:
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.abort()

    # -- the request's body

    def request_data(self, data: bytes) -> None:
        """Bytes the client sent behind the head."""
        if self.stage is Stage.TUNNEL:
            self._tunnel_to_upstream(data)
            return
        body = self._body
        if body.done:
            self.client.hold(data)
            return
        try:
            piece = body.feed(data)
        except Malformed as error:
            self._client_fault(error.status, error.reason)
            return
        limit = self.plane.limits.body_bytes
        if limit is not None and body.size > limit:
            self._client_fault(413, "the request body is larger than allowed")
            return
        if body.rest:
            self.client.hold(body.rest)
            body.rest = b""
        if piece:
            self._forward(piece)

    def _forward(self, data: bytes) -> None:
        if self._kept is not None:
            self._kept.append(data)
            self._kept_bytes += len(data)
        if self._sent:
            assert self._upstream is not None
            self._upstream.write(data)
            if self._kept is not None:
                self._forget_body()
            if self.stage is Stage.WAITING:
                self._await_answer()
            elif self.stage is Stage.ANSWERING:
                self._touch()
        elif self._kept_bytes > HELD_BYTES and not self.request_done:
            self.client.set_reading(False)

    def upstream_writable(self, writable: bool) -> None:
        """The instance takes more, or no more, for now."""
        self._upstream_writable = writable
        self.client.set_reading(writable)
        if self.stage is Stage.WAITING:
            self._await_answer()
        else:
            self._touch()

    # -- the answer

    def upstream_data(self, data: bytes) -> None:
        """Bytes the instance sent."""
        stage = self.stage
        if stage is Stage.ANSWERING:
            self._relay(data, b"")
        elif stage is Stage.TUNNEL:
            self._bytes_out += len(data)
            self.client.write(data)
            self._touch()
        elif stage is Stage.WAITING:
            self._read_head(self._response_buffer + data if self._response_buffer else data)

    def _read_head(self, data: bytes) -> None:
        while True:
            try:
                response = parse_response(
                    data, self.head.method, self.plane.head_limits, self._searched
                )
                if response is not None and response.status == 101 and not self._may_upgrade():
                    raise Malformed(502, "101 without an upgrade request")
            except Malformed:
                self._fail(
                    Failure.BAD_ANSWER,
                    502,
                    "the service sent an invalid answer",
                    Reason.UPSTREAM_PROTOCOL_ERROR,
                )
                return
            if response is None:
                self._response_buffer = data
                self._searched = len(data)
                return
            self._searched = 0
            if response.status >= 200:
                self._begin_answer(response, data[response.size :])
                return
            if response.status == 101:
                self._open_tunnel(response, data[response.size :])
                return
            self._interims += 1
            if self._interims > INTERIM_ANSWERS:
                self._fail(
                    Failure.BAD_ANSWER,
                    502,
                    "the service sent no final answer",
                    Reason.UPSTREAM_PROTOCOL_ERROR,
                )
                return
            if self.head.minor and (response.status != 100 or self.head.expect_continue):
                self.client.write(render_interim(response))
                # Something reached the client: a second attempt would show.
                self._kept = None
            data = data[response.size :]
            if not data:
                self._response_buffer = b""
                return

    def _may_upgrade(self) -> bool:
        return self.head.upgrade is not None

    def _extra_fields(self) -> bytes:
        """The gateway's own fields of an answer, as ready lines."""
        pool, service, instance = self._pool, self._service, self._instance
        decision = self._decision
        assert pool is not None and service is not None and instance is not None
        assert decision is not None
        extra = self.plane.served_by(service)
        if self._sticky is not Sticky.OFF and (decision.renew or decision.pinned is not instance):
            if self._sticky is Sticky.HIT and decision.pinned is not instance:
                self._sticky = Sticky.MOVED
            extra += b"Set-Cookie: %s\r\n" % pool.set_cookie(service, instance, False)
        return extra

    def _begin_answer(self, response: ResponseHead, rest: bytes) -> None:
        """The final head came: relay it with what is there of the body."""
        instance = self._instance
        assert instance is not None
        self.plane.instance_answered(instance)
        head = self.head
        framing = client_framing(response, head.method, head.minor)
        self._response = response
        self._status = response.status
        self._upstream_s = self.plane.time() - self._waiting_since
        if framing is Framing.UNTIL_CLOSE or not self.request_done or self.plane.closing:
            self._close = True
        self._answer = Body(response.framing, response.length, framing, 502)
        self.stage = Stage.ANSWERING
        rendered = render_response(
            response,
            framing=framing,
            client_minor=head.minor,
            close=self._close,
            extra=self._extra_fields(),
        )
        self._relay(rest, rendered)

    def _relay(self, data: bytes, rendered: bytes) -> None:
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
            self._complete(clean=not answer.rest)
        else:
            self._touch()

    def _write(self, data: bytes) -> None:
        if data:
            self._bytes_out += len(data)
            self.client.write(data)

    def _touch(self) -> None:
        """Something moved: the stream is not idle."""
        if self.stage is Stage.TUNNEL:
            self.client.deadline = self.plane.time() + self.plane.timeouts.tunnel
        elif self._pool is not None:
            self.client.deadline = self.plane.time() + self._pool.route.timeouts.idle_stream_s

    def client_writable(self, writable: bool) -> None:
        """The client takes more, or no more, for now."""
        if self._upstream is not None and self.stage is not Stage.CONNECTING:
            self._upstream.set_reading(writable)

    # -- ends

    def upstream_eof(self) -> bool:
        """The instance will send no more. True: the connection may still be written to."""
        if self.stage is Stage.TUNNEL:
            self.client.write_eof()
            return self._half_closed()
        if self.stage is Stage.ANSWERING and self._answer is not None:
            last = self._answer.end()
            if last is not None:
                self._write(last)
                self._complete(clean=False)
                return False
        self._upstream_gone()
        return False

    def upstream_lost(self, error: Exception | None) -> None:
        """The connection is gone."""
        if self.stage is Stage.TUNNEL:
            self._upstream = None
            self._finish()
            self.client.exchange_done(keep_alive=False)
            return
        self._upstream_gone()

    def _upstream_gone(self) -> None:
        if self.stage is Stage.ANSWERING:
            self._cut(Reason.UPSTREAM_RESET)
        elif self.stage is Stage.WAITING:
            if self._response_buffer or self._interims:
                failure = Failure.BAD_ANSWER
            elif self._upstream is not None and self._upstream.reused:
                failure = Failure.STALE
            else:
                failure = Failure.NO_ANSWER
            self._fail(
                failure,
                502,
                "the service ended the connection without an answer",
                Reason.UPSTREAM_RESET,
            )

    def client_eof(self) -> bool:
        """The client will send no more. True: it may still be written to.

        A client that ends its side while its request is under way has gone, as
        nginx and HAProxy (`abortonclose`) see it too; in a tunnel it has only
        said all it had to say.
        """
        if self.stage is Stage.TUNNEL:
            assert self._upstream is not None
            self._upstream.write_eof()
            return self._half_closed()
        if self.stage is Stage.ANSWERING and self.request_done:
            self._close = True
            return True
        self.client.abort()
        return False

    def client_lost(self) -> None:
        """The client's connection is gone."""
        if self.stage is Stage.DONE:
            return
        if self.stage is Stage.TUNNEL:
            upstream, self._upstream = self._upstream, None
            if upstream is not None:
                upstream.close()
            self._finish()
            return
        if self.stage is not Stage.ANSWERING:
            self._status = 499
        self._reason = Reason.CLIENT_GONE
        self._drop_upstream()
        self._finish()

    def expire(self) -> None:
        """The deadline has passed; whose it was follows from the stage."""
        if self.stage is Stage.CONNECTING:
            self._fail(
                Failure.NOT_SENT,
                504,
                "the service could not be reached in time",
                Reason.CONNECT_FAILURE,
            )
        elif self.stage is Stage.WAITING:
            if not self.request_done and self._upstream_writable:
                self._client_fault(408, "the request body did not arrive in time")
            else:
                self._fail(
                    Failure.BAD_ANSWER,
                    504,
                    "the service did not answer in time",
                    Reason.UPSTREAM_TIMEOUT,
                )
        else:
            self._cut(Reason.UPSTREAM_TIMEOUT if self.client.writable else Reason.CLIENT_TIMEOUT)

    def _client_fault(self, status: int, detail: str) -> None:
        """The client broke its own request: what reached the instance must stay incomplete."""
        self._drop_upstream()
        if self.stage is Stage.ANSWERING:
            self._cut(Reason.CLIENT_PROTOCOL_ERROR)
            return
        self._close = True
        self._answer_self(
            status,
            detail,
            Reason.CLIENT_TIMEOUT if status == 408 else Reason.CLIENT_PROTOCOL_ERROR,
        )

    def _cut(self, reason: Reason) -> None:
        """The answer cannot be completed: show that by cutting the connection."""
        self._reason = reason
        if self._series is not None and reason is not Reason.CLIENT_TIMEOUT:
            self._series.upstream_error(reason)
        if self._instance is not None and reason is Reason.UPSTREAM_RESET:
            self.plane.instance_failed(self._instance, reason)
        self._drop_upstream()
        self._finish()
        self.client.cut(reset=self._answer is not None and self._answer.out is Framing.UNTIL_CLOSE)

    def _answer_self(self, status: int, detail: str, reason: Reason) -> None:
        """Answer in the gateway's own name. Nothing of another answer was sent."""
        head, client = self.head, self.client
        self._drop_upstream()
        self._status = status
        self._reason = reason
        if not self.request_done or self.plane.closing:
            self._close = True
        data = reply(
            status,
            detail,
            accept=head.accept,
            close=self._close,
            keep_alive_10=not head.minor and not self._close,
            head_only=head.method == b"HEAD",
        )
        self._bytes_out += len(data)
        client.write(data)
        self._finish()
        client.exchange_done(not self._close)

    def _complete(self, clean: bool) -> None:
        """Answer and request came to an end; `clean`: exactly to their end."""
        upstream, self._upstream = self._upstream, None
        response = self._response
        assert response is not None
        if upstream is not None:
            if clean and self.request_done and response.keep_alive:
                upstream.release(self.plane.time(), quarantine=response.framing is Framing.NONE)
            elif self.request_done:
                upstream.close()
            else:
                upstream.abort()
        self._finish()
        self.client.exchange_done(not self._close)

    def _finish(self) -> None:
        """The one way out: counts, metrics, log."""
        self._end_attempt()
        self.stage = Stage.DONE
        self._kept = None
        self.plane.finished(self)

    # -- tunnel

    def _open_tunnel(self, response: ResponseHead, rest: bytes) -> None:
        """101: from here on bytes are passed on unread, both ways."""
        series = self._series
        instance = self._instance
        assert series is not None and self._upstream is not None and instance is not None
        self.plane.instance_answered(instance)
        self._response = response
        self._status = 101
        self._close = True
        rendered = render_response(
            response,
            framing=Framing.NONE,
            client_minor=self.head.minor,
            close=False,
            extra=self._extra_fields(),
        )
        self.stage = Stage.TUNNEL
        series.in_flight.add(-1)
        series.websockets.add(1)
        instance.tunnels += 1
        self._bytes_out += len(rendered) + len(rest)
        self.client.write(rendered + rest)
        early, self.client.pending = self.client.pending, b""
        if early:
            self._tunnel_to_upstream(early)
        self.client.set_reading(self._upstream_writable)
        self._touch()

    def _tunnel_to_upstream(self, data: bytes) -> None:
        assert self._upstream is not None
        self._tunnelled += len(data)
        self._upstream.write(data)
        self._touch()

    def _half_closed(self) -> bool:
        """One side of a tunnel has ended; after the second it is over. False: close."""
        if not self._ended_half:
            self._ended_half = True
            self.client.deadline = self.plane.time() + HALF_CLOSED_S
            return True
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.close()
        self._finish()
        self.client.exchange_done(keep_alive=False)
        return False

    # -- what is told of it

    def count(self, now: float, metrics: WorkerMetrics) -> None:
        """Feed the counters; called once, at the end."""
        series = self._series
        if series is None:
            if self._pool is None:
                metrics.unrouted(self.head.method, self._status)
                return
            series = metrics.series(self._pool.route.id, "", "", "")
        series.finish(
            self.head.method,
            self._status,
            now - self.started,
            self._body.size + self._tunnelled,
            self._bytes_out,
        )
        if self._sticky is not Sticky.OFF and self._response is not None:
            series.sticky(self._sticky.value)

    def log_fields(self, now: float) -> dict[str, Any]:
        """What the access log says of it."""
        head, pool, service = self.head, self._pool, self._service
        return {
            "entrypoint": self.client.entrypoint.name,
            "client": self.client.peer_text,
            "method": head.method,
            "host": head.host,
            "path": head.target,
            "status": self._status,
            "flags": self._reason,
            "route": pool.route.id if pool is not None else "",
            "service": service.id if service is not None else "",
            "instance": self._last_instance,
            "duration_s": now - self.started,
            "upstream_s": self._upstream_s,
            "bytes_in": self._body.size + self._tunnelled,
            "bytes_out": self._bytes_out,
            "request_id": self.request_id,
            "sticky": self._sticky.value,
            "retries": self._retries,
        }
