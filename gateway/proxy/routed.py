# cython: language_level=3, annotation_typing=False
"""A request on its way to an instance: routed, waiting, sent, tried again.

    head -> route -> service -> instance -> connection -> the request's body

The route is decided once, from one table. A failed attempt goes round from
"instance" only while nothing reached the client and `retry.is_safe` says so;
from "route", if the service is not on its route any more.

Knows nothing of what becomes of an answer: that is the exchange's.
Invariant: bytes of a request go to at most one connection at a time.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from gateway.routing.decision import Sticky, Verdict
from gateway.routing.pool import Pool

from . import codec_request
from . import upload as uploads
from .attempt import FRESH, Asker, Attempt
from .attempt import Stage as AttemptStage
from .heads import Framing, Malformed
from .https import is_https, location, misdirected
from .reasons import Reason
from .refusals import NO_TARGET, missed
from .retry import MAX_ATTEMPTS, Failure, is_safe
from .waiting import Ticket

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.routing.decision import Decision
    from gateway.routing.service import InstanceState

    from .heads import RequestHead
    from .stream import ClientStream
    from .target import Target

TOO_LARGE = "the request body is larger than allowed"


class Stage(Enum):
    """How far the exchange has come; stages never go back."""

    ASKING = 1
    """Nothing of a final answer reached the client."""
    ANSWERING = 2
    TUNNEL = 3
    DONE = 4


# Looking a member up in its class costs 85 ns on CPython 3.11, several times a request.
_ASKING = Stage.ASKING
_ANSWERING = Stage.ANSWERING
_DONE = Stage.DONE
_FRAMED_NONE = Framing.NONE
_STICKY_OFF = Sticky.OFF
_VERDICT_OK = Verdict.OK
_REASON_NONE = Reason.NONE


class Routed(Asker):
    """The request under way on a client's connection, up to its answer."""

    __slots__ = (
        "_attempt",
        "_attempts",
        "_close",
        "_decision",
        "_tried",
        "_waiting_since",
        "instance",
        "pool",
        "request_id",
        "retries",
        "stage",
        "started",
        "sticky",
        "target",
        "upload",
    )

    def prepare(self, client: ClientStream, head: RequestHead) -> None:
        """Begin as if new. No `__init__`: calling the class was 3 % of a request's samples."""
        plane = client.plane
        self.client = client
        self.plane = plane
        self.head = head
        self.upload = uploads.upload_of(head)
        self.stage = _ASKING
        self._attempt: Attempt | None = None
        self._attempts = 0
        self._tried: list[InstanceState] | None = None
        self._decision: Decision | None = None
        self._close = not head.keep_alive
        self._waiting_since = 0.0
        self.started = plane.time()
        self.request_id = head.request_id or plane.new_request_id()
        self.pool: Pool | None = None
        self.target: Target | None = None
        self.instance = ""
        self.sticky = _STICKY_OFF
        self.retries = 0

    def has_whole_request(self) -> bool:
        """Was all of the request read?"""
        return self.upload.done

    def begin(self) -> None:
        """Decide where the request goes and set it on its way."""
        client, head, plane = self.client, self.head, self.plane
        if plane.body_bytes >= 0 and head.length > plane.body_bytes:
            self._reply(413, TOO_LARGE, _REASON_NONE)
            return
        if client.pending and not self.upload.done:
            data, client.pending = client.pending, b""
            self.request_data(data)
            if self.stage is _DONE:
                return
        if client.tls is not None or head.is_https:
            refusal = misdirected(client, head)
            if refusal is not None:
                self._reply(*refusal)
                return
        if head.max_forwards is not None and head.max_forwards == 0:
            self._reply(200, "this is the gateway", _REASON_NONE)
            return
        self._route()

    def _route(self) -> None:
        """Look up route, service and instance, and ask that."""
        client, head, plane = self.client, self.head, self.plane
        table = plane.table
        internal: bool = client.entrypoint.internal
        if table.has_held:
            match = table.match_selected(
                head.host, head.path, internal, head.cookies, head.selector
            )
        else:
            match = table.match(head.host, head.path, internal)
        if not isinstance(match, Pool):
            self._reply(*missed(match, is_absolute=head.is_absolute, internal=internal))
            return
        pool = self.pool = match
        port = client.entrypoint.redirect
        if port is not None and not is_https(client, head) and head.path != b"*":
            extra = location(head, port)
            self._reply(308, "this host is served by https", _REASON_NONE, extra)
            return
        plane.budget.earn()
        decision = self._decision = pool.decide(head.cookies, head.selector)
        service = decision.service
        if service is None:
            self._reply(*NO_TARGET[decision.verdict])
            return
        target = self.target = plane.target(pool, service)
        if decision.spilled:
            target.series.spilled()
        instance = decision.pinned or service.pick()
        if decision.verdict is not _VERDICT_OK or instance is None:
            self._reply(*NO_TARGET[Verdict.NO_HEALTHY_INSTANCE])
            return
        self.sticky = decision.sticky
        if plane.waiting is None:
            self._ask(target, instance, False, self.started)
        else:
            self._try(target, instance, False)

    # -- attempts

    def _try(self, target: Target, instance: InstanceState, fresh: bool) -> None:
        """Ask `instance`, or wait until it may be asked; `fresh`: over a connection of its own."""
        waiting = self.plane.waiting
        if waiting is not None and not waiting.may_go(target.service, instance):
            decision = self._decision
            pin = instance if decision is not None and decision.pinned is instance else None
            other = None if pin is not None else waiting.find(target.service, self.tried)
            if other is None:
                self._wait(target, Ticket(pin, fresh))
                return
            instance = other
        self._ask(target, instance, fresh, self.plane.time())

    def _wait(self, target: Target, ticket: Ticket) -> None:
        """All instances have their fill: wait for one that has not."""
        waiting = self.plane.waiting
        assert waiting is not None
        if waiting.wait(self, target.service, ticket):
            target.series.waiting.add(1)
            self.client.deadline = self.plane.time() + self.plane.timeouts.queue
        else:
            self._overflow("too many requests wait for this service")

    def go_on(self, instance: InstanceState | None, ticket: Ticket) -> None:
        """The waiting is over: `instance` has room, or (None) its service has no instances."""
        target = self.target
        assert target is not None
        target.series.waiting.add(-1)
        route = self.plane.world.pools.get(target.pool.route.id)
        if instance is not None and route is not None and target.service in route.services:
            self._ask(target, instance, ticket.fresh, self.plane.time())
            return
        instance = self._decide_anew()
        if instance is None:
            self._reply(*NO_TARGET[Verdict.NO_HEALTHY_INSTANCE])
        else:
            self._try(self.target or target, instance, ticket.fresh)

    def _overflow(self, detail: str) -> None:
        if self.target is not None:
            self.target.series.upstream_error(Reason.OVERFLOW)
        self._reply(503, detail, Reason.OVERFLOW)

    def _ask(self, target: Target, instance: InstanceState, fresh: bool, now: float) -> None:
        plane = self.plane
        self._attempts += 1
        self.instance = instance.id
        target.series.in_flight.add(1)
        attempt: Attempt = Attempt.__new__(Attempt)
        attempt.prepare(self, instance, now)
        self._attempt = attempt
        self.client.deadline = now + target.connect_s
        attempt.begin(
            plane.upstreams(instance, target.port_of(instance)),
            FRESH if fresh else now - plane.upstream_idle_s,
        )

    def connected(self, attempt: Attempt) -> None:
        """A new connection was opened for the attempt."""
        if self.target is not None:
            self.target.series.connect_seconds(self.plane.time() - attempt.started)

    def attempt_ready(self, attempt: Attempt) -> None:
        """The attempt has its connection: send what there is of the request."""
        client, target = self.client, self.target
        assert target is not None
        upload = self.upload
        rendered = codec_request.render_request(
            self.head, client.hop(), self.request_id, target.pool.cookie_name
        )
        if upload.framing is _FRAMED_NONE:
            attempt.write(rendered)
        else:
            attempt.write(rendered + upload.kept())
            upload.mark_sent()
            if not upload.done:
                client.set_reading(attempt.writable)
        connection = attempt.connection
        is_kept = connection is not None and connection.reused
        self._await_answer(attempt, attempt.started if is_kept else self.plane.time())

    def _await_answer(self, attempt: Attempt, now: float) -> None:
        """Whose turn is it: the client's, to send more, or the instance's, to answer?"""
        assert self.target is not None
        self._waiting_since = now
        if attempt.writable and not self.upload.done:
            self.client.deadline = now + self.plane.timeouts.client_body
        else:
            self.client.deadline = now + self.target.response_header_s

    # -- the next attempt

    def attempt_failed(
        self,
        attempt: Attempt,
        failure: Failure,
        detail: str,
        reason: Reason,
        status: int = 502,
    ) -> None:
        """The attempt failed: make another one if that is safe, else answer `status`."""
        target = self.target
        assert target is not None
        self._drop_attempt()
        stale = failure is Failure.STALE
        if not stale and reason is not Reason.OVERFLOW:  # which is no fault of the instance
            self.plane.instance_failed(attempt.instance, reason)
        if (
            self._attempts <= MAX_ATTEMPTS - (0 if stale else 1)
            and is_safe(failure, self.head.method, self.upload.is_replayable)
            and (stale or self.plane.budget.spend())
        ):
            following = self._following(target, attempt.instance, failure)
            if following is not None:
                self.retries += 1
                target.series.retried()
                # `self.target` is another one if all was decided anew.
                self._try(self.target or target, following, True)
                return
        target.series.upstream_error(reason)
        self._reply(status, detail, reason)

    @property
    def tried(self) -> Sequence[InstanceState]:
        """Instances that failed it."""
        return self._tried or ()

    def _following(
        self, target: Target, failed: InstanceState, failure: Failure
    ) -> InstanceState | None:
        """Who is asked next: of the same service, as long as that is on the route."""
        world = self.plane.world
        stale = failure is Failure.STALE
        route = world.pools.get(target.pool.route.id)
        if route is None or target.service not in route.services:
            self._note_failed(failed)
            return self._decide_anew()
        if stale and failed.usable:
            return failed
        following = target.service.pick(self._note_failed(failed))
        if following is None and (stale or failure is Failure.NO_ANSWER):
            return failed if world.instance(failed.id) is failed else None
        return following

    def _note_failed(self, instance: InstanceState) -> list[InstanceState]:
        """Those that failed it, with this one."""
        if self._tried is None:
            self._tried = []
        self._tried.append(instance)
        return self._tried

    def _decide_anew(self) -> InstanceState | None:
        """Go the way of a request that begins now: the service was taken off its route meanwhile.

        None: such a request would find nobody either.
        """
        head, plane = self.head, self.plane
        pool = plane.world.table.match_selected(
            head.host, head.path, self.client.entrypoint.internal, head.cookies, head.selector
        )
        if not isinstance(pool, Pool):
            return None
        decision = pool.decide(head.cookies, head.selector)
        service = decision.service
        if service is None or decision.verdict is not _VERDICT_OK:
            return None
        instance = decision.pinned
        if instance is None or instance in self.tried:
            instance = service.pick(self.tried)
        if instance is not None:
            self.pool, self._decision, self.sticky = pool, decision, decision.sticky
            self.target = target = plane.target(pool, service)
            if decision.spilled:
                target.series.spilled()
        return instance

    def _drop_attempt(self) -> None:
        attempt, self._attempt = self._attempt, None
        waiting = self.plane.waiting
        if attempt is not None:
            attempt.drop()
            self._uncount()
        elif waiting is not None and waiting.leave(self) and self.target is not None:
            self.target.series.waiting.add(-1)

    def _uncount(self) -> None:
        if self.target is not None:
            self.target.series.in_flight.add(-1)
        waiting = self.plane.waiting
        if waiting is not None:
            waiting.wake()

    # -- the request's body

    def request_data(self, data: bytes) -> None:
        """Bytes the client sent behind the head."""
        upload = self.upload
        if upload.done:
            self.client.hold(data)
            return
        try:
            piece = upload.feed(data)
        except Malformed as error:
            self._client_fault(error.status, error.reason, Reason.CLIENT_PROTOCOL_ERROR)
            return
        limit = self.plane.body_bytes
        if limit >= 0 and upload.size > limit:
            self._client_fault(413, TOO_LARGE, Reason.CLIENT_PROTOCOL_ERROR)
            return
        if upload.rest:
            self.client.hold(upload.rest)
            upload.rest = b""
        if not piece and not upload.done:
            return  # a part of a chunk's size or of trailers: who dawdles there gets no more time
        upload.keep(piece)
        attempt = self._attempt
        if attempt is None or attempt.stage is AttemptStage.CONNECTING:
            if upload.is_held_back:
                self.client.set_reading(False)
            return
        attempt.write(piece)
        upload.mark_sent()
        if self.stage is _ASKING:
            self._await_answer(attempt, self.plane.time())
        else:
            self._touch(self.plane.time())

    def attempt_writable(self, writable: bool) -> None:
        """The instance takes more of the body, or no more, for now."""
        self.client.set_reading(writable)
        if self._attempt is not None and self.stage is _ASKING:
            self._await_answer(self._attempt, self.plane.time())
        else:
            self._touch(self.plane.time())

    def _client_fault(self, status: int, detail: str, reason: Reason) -> None:
        """The client broke its own request: what reached the instance must stay incomplete."""
        if self.stage is _ANSWERING:
            self._cut(reason)
        else:
            self._close = True
            self._reply(status, detail, reason)

    def _touch(self, now: float) -> None:
        """Something moved: the stream is not idle."""
        if self.target is not None:
            self.client.deadline = now + self.target.idle_stream_s

    # -- what comes of it

    def _reply(self, status: int, detail: str, reason: Reason, extra: bytes = b"") -> None:
        """Answer in the gateway's own name. Nothing of another answer was sent."""
        raise NotImplementedError

    def _cut(self, reason: Reason) -> None:
        """The answer cannot be completed: show that by cutting the connection."""
        raise NotImplementedError
