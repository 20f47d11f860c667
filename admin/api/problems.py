"""RFC 9457 problem answers: the one form every refusal of the admin API has.

Two sources: `Refused` from pure code (its codes are the contract's), and
`HttpProblem` for what only HTTP can get wrong (method, media type, size).
Nothing else may describe itself to a client: an unexpected exception becomes a
500 that says nothing but where to look (the log), so no traceback ever leaves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from http import HTTPStatus

import orjson
from aiohttp import web

from gateway.core.errors import Code, FieldError, Refused

MEDIA_TYPE = "application/problem+json"

TITLES: Mapping[str, str] = {
    Code.INVALID: "The request is not valid",
    Code.SERVICE_REDEFINED: "A service of that name exists with another definition",
    Code.STRATEGY_FORBIDS_WEIGHT: "The release strategy forbids this weight",
    Code.ROUTE_WITHOUT_TRAFFIC: "A route would be left without traffic",
    Code.NOTHING_TO_RELEASE: "Nothing to release",
    Code.ROUTE_CONFLICT: "The route is held by another service",
    Code.RELEASE_IN_PROGRESS: "A release is in progress",
    Code.ILLEGAL_TRANSITION: "The release cannot do that now",
    Code.NO_HEALTHY_INSTANCE: "No healthy instance",
    Code.NO_TRAFFIC_ON_NEW: "The new version has no traffic",
    Code.OLD_HAS_TRAFFIC: "The old version still has traffic",
    Code.AMBIGUOUS: "The name is ambiguous",
    Code.IN_USE: "Still in use",
    Code.STALE_REVISION: "The resource has changed",
    Code.UNAUTHORIZED: "Not authenticated",
    Code.FORBIDDEN: "Not allowed",
    Code.NOT_FOUND: "Not found",
    Code.STORE_UNAVAILABLE: "The store is not available",
}


class HttpCode(StrEnum):
    """Problem codes of HTTP itself, beside the contract's `Code`."""

    BAD_REQUEST = "bad_request"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    REQUEST_TIMEOUT = "request_timeout"
    PAYLOAD_TOO_LARGE = "payload_too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    NOT_READY = "not_ready"
    INTERNAL = "internal"


HTTP_STATUS: Mapping[HttpCode, int] = {
    HttpCode.BAD_REQUEST: 400,
    HttpCode.METHOD_NOT_ALLOWED: 405,
    HttpCode.REQUEST_TIMEOUT: 408,
    HttpCode.PAYLOAD_TOO_LARGE: 413,
    HttpCode.UNSUPPORTED_MEDIA_TYPE: 415,
    HttpCode.INTERNAL: 500,
    HttpCode.NOT_READY: 503,
}


class HttpProblem(Exception):  # noqa: N818 - an answer, not an error
    """A request refused for its HTTP form; `headers` go into the answer."""

    def __init__(
        self,
        code: HttpCode,
        detail: str,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = HTTP_STATUS[code]
        self.code = code
        self.detail = detail
        self.headers: Mapping[str, str] = headers or {}


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    errors: Sequence[FieldError] = (),
    extra: Mapping[str, object] | None = None,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """A problem answer. `extra` never replaces one of the standard members."""
    body: dict[str, object] = {
        "type": f"/docs#problem-{code}",
        "title": TITLES.get(code) or HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": str(code),
    }
    if errors:
        body["errors"] = [{"field": e.field, "message": e.message} for e in errors]
    body.update((k, v) for k, v in (extra or {}).items() if k not in body)
    return web.Response(
        status=status,
        body=orjson.dumps(body, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS),
        content_type=MEDIA_TYPE,
        headers=dict(headers or {}),
    )


def from_refused(refused: Refused) -> web.Response:
    """The problem answer of a refusal, with what HTTP wants beside it."""
    headers: dict[str, str] = {}
    if refused.code is Code.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Bearer realm="gateway admin API"'
    if refused.code is Code.STORE_UNAVAILABLE:
        headers["Retry-After"] = "1"
    return problem(
        refused.status,
        refused.code,
        refused.detail,
        errors=refused.errors,
        extra=refused.extra,
        headers=headers,
    )


def from_http(error: HttpProblem) -> web.Response:
    """The problem answer of an HTTP-level refusal."""
    return problem(error.status, error.code, error.detail, headers=error.headers)


def internal() -> web.Response:
    """What a client sees of an unexpected exception: nothing but its existence."""
    return problem(
        500,
        HttpCode.INTERNAL,
        "the gateway failed to carry this out; its log says why. Nothing about the request "
        "is known to be wrong, repeating it is safe with an Idempotency-Key",
    )
