"""The admin API as an aiohttp application: from bytes to a `Call`, from a `Reply` to bytes.

The order for every call: who is it, may they, is the request well formed (query,
header fields and body, all problems at once), was it answered before
(Idempotency-Key), then the handler. Whatever goes wrong becomes a problem
answer at one place; an exception nobody expected is logged and told as nothing
but a 500. Refused changes go to the audit trail, also those that never became a
command.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace

import orjson
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from admin.audit import Actor
from gateway.core.errors import Code, Refused
from gateway.core.model import Role

from . import (
    applications,
    audit,
    auth,
    explain,
    found,
    health,
    instances,
    logs,
    metrics,
    openapi,
    payload,
    problems,
    releases,
    routes,
    services,
    stats,
    tokens,
    validate,
    weights,
)
from .connections import Bounds, Lobby
from .context import Context
from .idempotency import Answer, Answers
from .incoming import ask_for_body, read_bytes, read_call, too_large
from .operation import Operation, Reply
from .pages import add_pages
from .problems import HttpCode, HttpProblem
from .throttle import Throttle
from .writes import Recorded

log = logging.getLogger("gateway.admin.api")

OPERATIONS: tuple[Operation, ...] = (
    *routes.OPERATIONS,
    *weights.OPERATIONS,
    *services.OPERATIONS,
    *instances.OPERATIONS,
    *applications.OPERATIONS,
    *releases.OPERATIONS,
    *logs.OPERATIONS,
    *explain.OPERATIONS,
    *found.OPERATIONS,
    *stats.OPERATIONS,
    *audit.OPERATIONS,
    *tokens.OPERATIONS,
    *validate.OPERATIONS,
    *health.OPERATIONS,
    *metrics.OPERATIONS,
)

BOUNDED = Bounds()
LINE_MAX = 64 << 10
"""Bytes of a request line: places in the output of many instances are long (`after` of logs)."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


LOBBIES = web.AppKey("lobbies", list[Lobby])
"""One for each listener."""
SERVERS = web.AppKey("servers", list[asyncio.Server])
BOUNDS = web.AppKey("bounds", Bounds)


def create_app(context: Context, bounds: Bounds) -> web.Application:
    """The application; serve it on the admin API's TCP and Unix sockets alike."""
    app = web.Application(middlewares=[_occupied, _problems], client_max_size=payload.MAX_BYTES)
    app[LOBBIES] = []
    app[SERVERS] = []
    app.on_shutdown.append(_close_servers)
    app[BOUNDS] = bounds
    app.on_response_prepare.append(_finish)
    kept = Answers(context.monotonic)
    strangers = Throttle(context.monotonic)
    for operation in OPERATIONS:
        endpoint = _Endpoint(operation, context, kept, strangers)
        if operation.method == "GET":
            app.router.add_get(operation.path, endpoint.handle, expect_handler=ask_for_body)
        else:
            app.router.add_route(
                operation.method, operation.path, endpoint.handle, expect_handler=ask_for_body
            )
    add_pages(app, lambda: openapi.document(OPERATIONS))
    return app


def create_runner(context: Context, farewell_s: float, bounds: Bounds = BOUNDED) -> web.AppRunner:
    """The application with the server settings it counts on; `listen` adds the listeners.

    Calls under way may take `farewell_s` seconds when it is cleaned up.
    """
    return web.AppRunner(
        create_app(context, bounds),
        access_log=None,
        logger=_server_log,
        # A body is judged by its bytes on the wire: nobody may send us a bomb.
        auto_decompress=False,
        handle_signals=False,
        max_line_size=LINE_MAX,
        shutdown_timeout=farewell_s,
    )


async def listen(runner: web.AppRunner, sock: socket.socket) -> None:
    """Serve the application of a runner that is set up on a listening socket."""
    make = runner.server
    assert make is not None
    loop = asyncio.get_running_loop()
    lobby = Lobby(make, runner.app[BOUNDS], loop.call_later)
    runner.app[LOBBIES].append(lobby)
    runner.app[SERVERS].append(await loop.create_server(lobby, sock=sock))


async def _close_servers(app: web.Application) -> None:
    for server in app[SERVERS]:
        server.close()


class _OwnFaultsOnly(logging.Filter):
    """Keeps out of the log what a client did wrong: anybody could fill it."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.exc_info is None or not isinstance(record.exc_info[1], HttpProcessingError)


_server_log = logging.getLogger("gateway.admin.http")
_server_log.addFilter(_OwnFaultsOnly())


class _Endpoint:
    """One operation, served."""

    def __init__(
        self, operation: Operation, context: Context, kept: Answers, strangers: Throttle
    ) -> None:
        self._operation = operation
        self._context = context
        self._kept = kept
        self._strangers = strangers

    async def handle(self, request: web.Request) -> web.Response:
        """Answer a request, or raise what `_problems` makes a problem of."""
        actor: Actor | None = None
        try:
            actor = self._admit(request)
            return await self._answer(request, actor)
        except Recorded:
            raise
        except Refused as refused:
            await self._record(request, actor, refused)
            raise
        except HttpProblem as error:
            if actor is not None:
                await self._record(request, actor, Refused(Code.INVALID, error.detail))
            raise

    def _admit(self, request: web.Request) -> Actor:
        operation, controller = self._operation, self._context.controller
        if operation.role is None:
            return Actor("anonymous", Role.VIEWER)
        return auth.authenticate(
            auth.connection_of(request),
            controller.settings.admin,
            controller.state.tokens.values(),
            authorization=request.headers.get("Authorization"),
            host=request.headers.get("Host"),
            origin=request.headers.get("Origin"),
        )

    async def _answer(self, request: web.Request, actor: Actor) -> web.Response:
        operation = self._operation
        if operation.role is not None:
            auth.require(actor, operation.role)
        raw = await read_bytes(request, request.app[BOUNDS].body_s)
        call, key = read_call(operation, self._context, request, actor, raw)
        fingerprint = hashlib.blake2b(f"{request.path_qs}\n".encode() + raw).digest()
        if key is not None:
            call = replace(call, key=_lasting_key(actor, key, fingerprint))

        async def act() -> Answer:
            return _encode(await operation.handler(call))

        if key is None or getattr(call.query, "dry_run", False):
            return _response(await act())
        answer, again = await self._kept.once(
            (key, actor.name, operation.method, request.path), fingerprint, act
        )
        response = _response(answer)
        if again:
            response.headers["Idempotency-Replayed"] = "true"
        return response

    async def _record(self, request: web.Request, actor: Actor | None, refused: Refused) -> None:
        """Put a refusal into the audit trail, if it is worth a line there."""
        operation = self._operation
        if actor is None:
            # Strangers must not be able to flush the trail by knocking.
            missed = self._strangers.admits()
            if missed is None:
                return
            peer = auth.connection_of(request).peer or "unknown"
            actor = Actor(f"anonymous@{peer}", Role.VIEWER)
            if missed:
                log.warning("%d more calls without a valid token were refused", missed)
        elif not operation.changes or request.query.get("dry_run") == "true":
            return
        target = payload.shorten("/".join(request.match_info.values()))
        reason = request.query.get("reason")
        try:
            await self._context.controller.refuse(
                actor,
                operation.action,
                target,
                refused,
                payload.shorten(reason, 500) if reason is not None else None,
            )
        except Refused:
            log.warning("a refused call could not be put into the audit trail", exc_info=True)


def _lasting_key(actor: Actor, key: str, fingerprint: bytes) -> str:
    # A digest, so that nobody's key can pass for the key of another.
    told = f"{actor.name}\n{key}\n".encode("utf-8", "replace")
    return hashlib.blake2b(told + fingerprint, digest_size=24).hexdigest()


def _encode(reply: Reply) -> Answer:
    headers = {"Content-Type": reply.content_type, **reply.headers}
    if reply.etag is not None:
        headers["ETag"] = reply.etag
    if isinstance(reply.body, bytes):
        return Answer(reply.status, headers, reply.body)
    body = orjson.dumps(reply.body, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS)
    return Answer(reply.status, headers, body)


def _response(answer: Answer) -> web.Response:
    return web.Response(status=answer.status, headers=dict(answer.headers), body=answer.body)


@web.middleware
async def _occupied(request: web.Request, handler: Handler) -> web.StreamResponse:
    """While it is answered a connection is not idle."""
    with contextlib.ExitStack() as stack:
        for lobby in request.app[LOBBIES]:
            stack.enter_context(lobby.serving(request.protocol))
        return await handler(request)


@web.middleware
async def _problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Everything that goes wrong becomes a problem answer here."""
    try:
        return await handler(request)
    except Refused as refused:
        return problems.from_refused(refused)
    except HttpProblem as error:
        return problems.from_http(error)
    except web.HTTPRequestEntityTooLarge:
        return problems.from_http(too_large())
    except web.HTTPMethodNotAllowed as error:
        allowed = ", ".join(sorted(error.allowed_methods))
        return problems.problem(
            405,
            HttpCode.METHOD_NOT_ALLOWED,
            f"this address takes {allowed}",
            headers={"Allow": allowed},
        )
    except web.HTTPNotFound:
        return problems.problem(
            404, "not_found", "there is no such address here; /docs lists them all"
        )
    except web.HTTPException as error:
        code = HttpCode.BAD_REQUEST if error.status < 500 else HttpCode.INTERNAL
        return problems.problem(error.status, code, error.reason)
    except ConnectionError:
        raise  # the client is gone; there is nobody to answer
    except Exception:
        log.exception("unexpected failure in %s %s", request.method, request.path)
        return problems.internal()


async def _finish(request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = "release-gateway"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cache-Control"] = "no-store"
