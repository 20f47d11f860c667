"""A request of the admin API as it comes in: its bytes, then everything that it says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from aiohttp import web
from pydantic import BaseModel

from admin.audit import Actor
from gateway.core.errors import FieldError, Refused

from . import payload
from .context import Context
from .etag import read_tags
from .idempotency import read_key
from .operation import Call, Operation
from .problems import HttpCode, HttpProblem


async def ask_for_body(request: web.Request) -> None:
    """Ask for the body where that is waited for; what else may be expected is none of ours.

    RFC 9110, 10.1.1 lets a server ignore it. aiohttp would refuse it without a problem.
    """
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0


async def read_bytes(request: web.Request, within_s: float) -> bytes:
    """The body as it was sent. Raises `HttpProblem` if it is too long, encoded or too slow."""
    length = request.content_length
    if length is not None and length > payload.MAX_BYTES:
        raise too_large()
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise HttpProblem(HttpCode.UNSUPPORTED_MEDIA_TYPE, "send the body without Content-Encoding")
    if not request.can_read_body:
        return b""
    try:
        async with asyncio.timeout(within_s):
            return await request.read()
    except TimeoutError:
        raise HttpProblem(
            HttpCode.REQUEST_TIMEOUT, "the body did not come in time", {"Connection": "close"}
        ) from None


def too_large() -> HttpProblem:
    """What is said of a body over the limit."""
    return HttpProblem(
        HttpCode.PAYLOAD_TOO_LARGE, f"a body has at most {payload.MAX_BYTES} bytes here"
    )


def read_call(
    operation: Operation, context: Context, request: web.Request, actor: Actor, raw: bytes
) -> tuple[Call[Any, Any], str | None]:
    """The call and its Idempotency-Key.

    Raises `Refused` with every problem of query, header fields and body at once, and
    `HttpProblem` for a body of the wrong kind.
    """
    refusals: list[Refused] = []

    def attempt(read: Callable[[], Any]) -> Any:
        try:
            return read()
        except Refused as refused:
            refusals.append(refused)
            return None

    query = attempt(lambda: payload.read_query(operation.query, request.query.items()))
    body = attempt(lambda: _read_body(operation, request, raw))
    if_match = if_none_match = key = None
    if operation.changes:
        if_match = attempt(lambda: _tags(request, "If-Match"))
        if_none_match = attempt(lambda: _tags(request, "If-None-Match"))
        if (text := request.headers.get("Idempotency-Key")) is not None:
            key = attempt(lambda: read_key(text))
    if refusals:
        raise payload.merged(refusals)
    call: Call[Any, Any] = Call(
        context=context,
        actor=actor,
        path=request.match_info,
        query=query,
        body=body,
        accept=request.headers.get("Accept", ""),
        content_type=request.content_type,
        if_match=if_match,
        if_none_match=if_none_match,
    )
    return call, key


def _read_body(operation: Operation, request: web.Request, raw: bytes) -> BaseModel | bytes | None:
    if operation.raw_types:
        if raw or "Content-Type" in request.headers:
            _check_type(request, operation.raw_types)
        return raw
    if operation.body is None:
        if raw and operation.method != "GET":
            _check_type(request, ("application/json",))
            if payload.read_json(raw) != {}:
                raise payload.refuse([FieldError("body", "this call takes none")])
        return None
    if not raw:
        raise payload.refuse([FieldError("body", "required: a JSON object")])
    _check_type(request, ("application/json",))
    value = payload.read_json(raw, operation.place)
    return payload.parse(operation.body, value, operation.place)


def _tags(request: web.Request, field: str) -> frozenset[str] | None:
    values = request.headers.getall(field, [])
    return read_tags(field, ", ".join(values)) if values else None


def _check_type(request: web.Request, allowed: Sequence[str]) -> None:
    charset = (request.charset or "utf-8").lower()
    if request.content_type not in allowed or charset not in ("utf-8", "utf8", "us-ascii"):
        raise HttpProblem(
            HttpCode.UNSUPPORTED_MEDIA_TYPE,
            f"send the body as {' or '.join(allowed)} in UTF-8 and say so in Content-Type",
            {"Accept": ", ".join(allowed)},
        )
