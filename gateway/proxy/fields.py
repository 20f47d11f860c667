"""What the head codec knows about fields by name, and the grammar of their values.

Tables and small readers; nothing here knows whole messages. Names in the tables are
spelled as browsers and servers spell them, so that one dict look-up both recognises a
name and proves it a token; any other spelling goes the slow way through `classify_*`.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

from gateway.proxy import scan
from gateway.proxy.field_names import PLAIN, FieldNames, flat
from gateway.proxy.heads import Malformed
from gateway.proxy.lines import TOKEN

DIGITS = re.compile(rb"[0-9]{1,19}")
AUTHORITY = re.compile(rb"(\[[0-9A-Fa-f:.]{2,45}\]|[0-9A-Za-z._-]{1,255})(?::([0-9]{0,5}))?")
REQUEST_ID = re.compile(rb"[0-9A-Za-z._~:/+=@-]{1,128}")
MAX_LENGTH = (1 << 63) - 1
MAX_OPTIONS = 64
"""In Connection: 64 KiB of them cost 5 ms to compare."""

# What to do with a field. Ints, not an enum: they are compared once per line of every head.
HOST = 1
CONTENT_LENGTH = 2
TRANSFER_ENCODING = 3
CONNECTION = 4
COOKIE = 5
EXPECT = 6
UPGRADE = 7
TE = 8
TRAILER = 9
DROP = 10
FORWARDING = 11
SELECTOR = 12
REQUEST_ID_FIELD = 13
MAX_FORWARDS = 15
DATE = 16

_PLAIN_REQUEST = """
Accept Accept-Charset Accept-Encoding Accept-Language Access-Control-Request-Headers
Access-Control-Request-Method Authorization Cache-Control Content-Disposition Content-Encoding
Content-Language Content-Location Content-Type DNT Date From If-Match If-Modified-Since
If-None-Match If-Range If-Unmodified-Since Last-Event-ID Origin Pragma Priority Range Referer
Sec-CH-UA Sec-CH-UA-Mobile Sec-CH-UA-Platform Sec-Fetch-Dest Sec-Fetch-Mode Sec-Fetch-Site
Sec-Fetch-User Sec-GPC Sec-WebSocket-Extensions Sec-WebSocket-Key Sec-WebSocket-Protocol
Sec-WebSocket-Version Traceparent Tracestate Baggage Upgrade-Insecure-Requests User-Agent Via
X-Requested-With X-CSRF-Token X-API-Key
"""
_PLAIN_RESPONSE = """
Accept-Ranges Access-Control-Allow-Credentials Access-Control-Allow-Headers
Access-Control-Allow-Methods Access-Control-Allow-Origin Access-Control-Expose-Headers
Access-Control-Max-Age Age Allow Alt-Svc Cache-Control Content-Disposition Content-Encoding
Content-Language Content-Location Content-Range Content-Security-Policy Content-Type
Cross-Origin-Opener-Policy ETag Expires Last-Modified Link Location Pragma Permissions-Policy
Referrer-Policy Retry-After Sec-WebSocket-Accept Sec-WebSocket-Extensions Sec-WebSocket-Protocol
Server Server-Timing Set-Cookie Strict-Transport-Security Vary Via WWW-Authenticate
X-Content-Type-Options X-Frame-Options X-Powered-By X-Request-Id X-XSS-Protection
"""
_SPECIAL = {
    b"Connection": CONNECTION,
    b"Content-Length": CONTENT_LENGTH,
    b"Transfer-Encoding": TRANSFER_ENCODING,
    b"Trailer": TRAILER,
    b"Upgrade": UPGRADE,
    b"Keep-Alive": DROP,
    b"Proxy-Connection": DROP,
}
_SPECIAL_REQUEST = _SPECIAL | {
    b"Host": HOST,
    b"Cookie": COOKIE,
    b"Expect": EXPECT,
    b"Max-Forwards": MAX_FORWARDS,
    b"TE": TE,
    b"X-Gateway-Service": SELECTOR,
    b"X-Request-Id": REQUEST_ID_FIELD,
    b"X-Request-ID": REQUEST_ID_FIELD,
    b"Forwarded": FORWARDING,
    b"X-Forwarded-For": FORWARDING,
    b"X-Forwarded-Host": FORWARDING,
    b"X-Forwarded-Port": FORWARDING,
    b"X-Forwarded-Proto": FORWARDING,
    b"HTTP2-Settings": DROP,  # belongs to an upgrade that is never passed on
    b"Proxy": DROP,  # CGI would make HTTP_PROXY of it (CVE-2016-5385)
    b"Proxy-Authorization": DROP,  # meant for a proxy, and this is the last one
    b"X-Real-IP": DROP,
}
_SPECIAL_RESPONSE = _SPECIAL | {
    b"Date": DATE,
    b"Proxy-Authenticate": DROP,
    b"Proxy-Authentication-Info": DROP,
}

# Names a client may not spell in another way: an instance that flattens names (CGI, WSGI: `-` and
# `_` are one) would take them for the gateway's own statement.
_RESERVED_FLAT = frozenset({b"forwarded", b"proxy", b"xgatewayservice", b"xrealip", b"xrequestid"})
FRAMING_FLAT = frozenset({b"contentlength", b"transferencoding"})

PROTECTED = frozenset(
    b"""
    age authorization cache-control content-disposition content-encoding content-language
    content-location content-range content-type date etag expires if-match if-modified-since
    if-none-match if-range if-unmodified-since last-modified location origin range set-cookie
    traceparent tracestate vary via www-authenticate sec-websocket-accept sec-websocket-extensions
    sec-websocket-key sec-websocket-protocol sec-websocket-version
    """.split()
)
"""End-to-end fields that `Connection` cannot remove (RFC 9110, 7.6.1: a sender must not list them).

Fields with a kind of their own (Host, framing, Cookie, forwarding ...) cannot be removed either."""

NEVER_IN_TRAILERS = frozenset(
    b"""
    accept accept-charset accept-encoding accept-language age authorization cache-control connection
    content-encoding content-length content-range content-type cookie date expect expires forwarded
    host if-match if-modified-since if-none-match if-range if-unmodified-since keep-alive location
    max-forwards origin pragma proxy proxy-authenticate proxy-authorization proxy-connection range
    retry-after set-cookie te traceparent tracestate trailer transfer-encoding upgrade vary via
    www-authenticate x-gateway-service x-real-ip x-request-id x-served-by
    """.split()
)
"""Fields for framing, routing, authentication, control (RFC 9110, 6.5.1)."""


def _table(plain: str, special: dict[bytes, int]) -> dict[bytes, int]:
    table = dict.fromkeys(plain.encode().split(), PLAIN) | special
    return table | {name.lower(): kind for name, kind in table.items()}


REQUEST_KINDS = _table(_PLAIN_REQUEST, _SPECIAL_REQUEST)
RESPONSE_KINDS = _table(_PLAIN_RESPONSE, _SPECIAL_RESPONSE)


def classify_request(name: bytes) -> int:
    """What to do with a request field whose name is not spelled as in the table."""
    lower = name.lower()
    kind = REQUEST_KINDS.get(lower)
    if kind is not None:
        return kind
    if TOKEN.fullmatch(name) is None:
        raise Malformed(400, what_is_wrong(name))
    letters = flat(name)
    if letters in FRAMING_FLAT:
        raise Malformed(400, "disguised framing field")
    if letters in _RESERVED_FLAT:
        return DROP
    if letters.startswith(b"xforwarded"):
        # X-Forwarded-Prefix, -Server ...: a trusted proxy's statements as well, but no aliases.
        return FORWARDING if lower.startswith(b"x-forwarded-") and b"_" not in lower else DROP
    return PLAIN


def classify_response(name: bytes) -> int:
    """What to do with an answer's field whose name is not spelled as in the table."""
    kind = RESPONSE_KINDS.get(name.lower())
    if kind is not None:
        return kind
    if TOKEN.fullmatch(name) is None:
        raise Malformed(502, what_is_wrong(name))
    return DROP if flat(name) in FRAMING_FLAT else PLAIN


REQUEST_NAMES = FieldNames(REQUEST_KINDS, _RESERVED_FLAT | FRAMING_FLAT, b"xforwarded")
RESPONSE_NAMES = FieldNames(RESPONSE_KINDS, FRAMING_FLAT, b"")


def what_is_wrong(name: bytes) -> str:
    """Why this is no name of a field."""
    if not name:
        return "empty field name"
    if name[0] in b" \t":
        return "folded field line"
    if name[-1] in b" \t":
        return "blank between field name and colon"
    return "invalid field name"


def read_length(value: bytes, status: int) -> int:
    """Content-Length: digits only, before `int` sees them (RFC 9110, 8.6)."""
    length = scan.number(value, 0, len(value))
    if length >= 0:
        return length
    if DIGITS.fullmatch(value) is None:
        raise Malformed(status, "invalid Content-Length")
    length = int(value)
    if length > MAX_LENGTH:
        raise Malformed(status, "Content-Length is too large")
    return length


def read_authority(value: bytes) -> tuple[bytes, bytes]:
    """(host as routes know it, authority to send on) of `host[:port]` (RFC 9112, 3.2)."""
    size = len(value)
    if 0 < size < 256 and scan.host_end(value, 0, size) == size and value[size - 1] != 46:
        return value, value  # as nearly all are: a name in lower case, nothing else
    match = AUTHORITY.fullmatch(value)
    if match is None:
        raise Malformed(400, "invalid Host")
    host, port = match.groups()
    host = host.lower()
    if port is not None:
        if not port:  # `host:` is the same as `host` (RFC 9110, 4.2.3)
            value = value[:-1]
        elif int(port) > 65535:
            raise Malformed(400, "invalid port in Host")
    if host[0] == 91:  # [
        try:
            ipaddress.IPv6Address(host[1:-1].decode("ascii"))
        except ValueError:
            raise Malformed(400, "invalid address in Host") from None
    elif host[-1] == 46:  # the root's dot
        host = host[:-1]
        if not host or host[-1] == 46:
            raise Malformed(400, "invalid Host")
    return host, value


def split_list(value: bytes) -> list[bytes]:
    """Elements of a comma list in lower case, empty ones left out."""
    return [part for item in value.lower().split(b",") if (part := item.strip(b" \t"))]


class Options:
    """What Connection said: `close`, `keep_alive`, `upgrade`, and names of fields to remove."""

    __slots__ = ("close", "keep_alive", "listed", "upgrade")

    def __init__(self, tokens: Iterable[bytes]) -> None:
        names = set(tokens)
        self.close = b"close" in names
        self.keep_alive = b"keep-alive" in names
        self.upgrade = b"upgrade" in names
        self.listed = frozenset(names - _SELF_SPEAKING - PROTECTED)


NOTHING_LISTED: frozenset[bytes] = frozenset()
_SELF_SPEAKING = frozenset({b"close", b"keep-alive", b"upgrade", b"te"})
NO_OPTIONS = Options(())
_KNOWN_OPTIONS = {
    spelling: Options(spelling.lower().split(b", "))
    for spelling in (
        b"keep-alive",
        b"Keep-Alive",
        b"close",
        b"Upgrade",
        b"upgrade",
        b"keep-alive, Upgrade",
    )
}


def read_connection(value: bytes, status: int) -> Options:
    """The options in a Connection field (all its values joined with commas)."""
    known = _KNOWN_OPTIONS.get(value)
    if known is not None:
        return known
    tokens = split_list(value)
    if len(tokens) > MAX_OPTIONS:
        raise Malformed(status, "too many Connection options")
    for token in tokens:
        if TOKEN.fullmatch(token) is None:
            raise Malformed(status, "invalid Connection option")
    return Options(tokens)


def without_listed(lines: bytes, listed: frozenset[bytes]) -> bytes:
    """`lines`, each with its CRLF, less those whose field is in `listed` (RFC 9110, 7.6.1)."""
    kept = [
        line
        for line in lines.split(b"\r\n")
        if line and line.partition(b":")[0].lower() not in listed
    ]
    return b"".join([line + b"\r\n" for line in kept])
