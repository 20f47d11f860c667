"""Answers the gateway gives itself: short, text or JSON by Accept.

A reply never says what runs behind the gateway beyond the names an operator
gave to routes and services, and never echoes what the client sent.
"""

from __future__ import annotations

from http import HTTPStatus

import orjson

_REASONS = {s.value: s.phrase.encode() for s in HTTPStatus} | {
    413: b"Content Too Large",
    414: b"URI Too Long",
    431: b"Request Header Fields Too Large",
    499: b"Client Closed Request",
}

RETRY_AFTER_S = 1


def reply(
    status: int,
    detail: str,
    *,
    accept: bytes | None = None,
    close: bool = False,
    keep_alive_10: bool = False,
    head_only: bool = False,
    extra: bytes = b"",
) -> bytes:
    """A whole HTTP/1.1 response with a Content-Length.

    `close` announces the end of the connection; `keep_alive_10` tells an
    HTTP/1.0 client that it stays open; `head_only` answers HEAD; `extra` is
    ready `Name: value` lines with CRLF. 503 carries Retry-After.
    """
    reason = _REASONS.get(status, b"Error")
    if accept is not None and b"json" in accept:
        kind = b"application/json"
        body = orjson.dumps(
            {"status": status, "title": reason.decode(), "detail": detail},
            option=orjson.OPT_APPEND_NEWLINE,
        )
    else:
        kind = b"text/plain; charset=utf-8"
        body = b"%d %s: %s\n" % (status, reason, detail.encode())
    return b"HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n%s%s%s\r\n%s" % (
        status,
        reason,
        kind,
        len(body),
        b"Retry-After: %d\r\n" % RETRY_AFTER_S if status == 503 else b"",
        b"Connection: close\r\n"
        if close
        else (b"Connection: keep-alive\r\n" if keep_alive_10 else b""),
        extra,
        b"" if head_only else body,
    )
