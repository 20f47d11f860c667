# cython: language_level=3, annotation_typing=False
"""What a line of the access log looks like: one JSON object and a line feed.

Two ways with one meaning. `defined` says what a line is, with a JSON library. `quick` is for
the compiler: it copies a line together byte by byte and knows only what nearly all requests are
made of; it gives None where it does not know (then ask `defined`). A test compares both.

Must not know files, clocks, requests: it is given values. A line is never longer than
`LINE_BYTES`; which is also all the memory that `quick` writes to.
"""

from __future__ import annotations

import select

import orjson

INTERPRETED = __file__.endswith(".py")
LINE_BYTES = select.PIPE_BUF
"""4096 on Linux."""
_PATH_BYTES = 2048
_PATH_BYTES_CUT = 256
_NAME_BYTES = 255
_LONGEST_NUMBER = 20
"""Digits of 2**64."""
_SPACE_BYTES = LINE_BYTES
_SPACE = bytearray(_SPACE_BYTES)
"""Where `quick` makes its line: nothing is awaited or called back meanwhile."""

_COPIED, _ESCAPED, _UNKNOWN = 0, 1, 2
_KINDS = bytes(
    _UNKNOWN if byte < 0x20 or byte > 0x7E else _ESCAPED if byte in b'"\\' else _COPIED
    for byte in range(256)
)
"""How a byte is shown in JSON: as it is, behind a backslash, or otherwise."""

# Each value is preceded by what separates it from the one before.
_TIME = b'{"time":"'
_ENTRYPOINT = b'Z","entrypoint":'
_CLIENT = b',"client":'
_METHOD = b',"method":'
_HOST = b',"host":'
_PATH = b',"path":'
_STATUS = b',"status":'
_FLAGS = b',"flags":'
_ROUTE = b',"route":'
_SERVICE = b',"service":'
_INSTANCE = b',"instance":'
_DURATION = b',"duration_ms":'
_UPSTREAM = b',"upstream_ms":'
_BYTES_IN = b',"bytes_in":'
_BYTES_OUT = b',"bytes_out":'
_REQUEST_ID = b',"request_id":'
_STICKY = b',"sticky":'
_RETRIES = b',"retries":'
_END = b"}\n"
_NULL = b"null"


class Entry:
    """What a line tells of a finished request, or of a client that sent none.

    What is empty is shown as null, what is too long is cut. `path` is the target with its query,
    `flags` Envoy's two-letter reason, `upstream_s` the time from the request's last byte sent
    to the head of the answer (below 0: there was none).
    """

    __slots__ = (
        "bytes_in",
        "bytes_out",
        "client",
        "duration_s",
        "entrypoint",
        "flags",
        "host",
        "instance",
        "method",
        "path",
        "request_id",
        "retries",
        "route",
        "service",
        "status",
        "sticky",
        "upstream_s",
    )

    def __init__(
        self,
        entrypoint: str,
        client: str,
        status: int,
        method: bytes = b"",
        host: bytes = b"",
        path: bytes = b"",
        flags: str = "",
        route: str = "",
        service: str = "",
        instance: str = "",
        duration_s: float = 0.0,
        upstream_s: float = -1.0,
        bytes_in: int = 0,
        bytes_out: int = 0,
        request_id: bytes = b"",
        sticky: str = "",
        retries: int = 0,
    ) -> None:
        """Each request's is made without this."""
        self.entrypoint = entrypoint
        self.client = client
        self.status = status
        self.method = method
        self.host = host
        self.path = path
        self.flags = flags
        self.route = route
        self.service = service
        self.instance = instance
        self.duration_s = duration_s
        self.upstream_s = upstream_s
        self.bytes_in = bytes_in
        self.bytes_out = bytes_out
        self.request_id = request_id
        self.sticky = sticky
        self.retries = retries


def defined(second: bytes, millis: int, entry: Entry) -> bytes | None:
    """The line; None if it would be too long even with its path cut, or has a name that is not Unicode.

    `second`: the date and time up to the second.
    """
    fields = {
        "time": f"{second.decode()}.{millis:03d}Z",
        "entrypoint": entry.entrypoint,
        "client": entry.client,
        "method": _text(entry.method, _NAME_BYTES),
        "host": _text(entry.host, _NAME_BYTES),
        "path": _text(entry.path, _PATH_BYTES),
        "status": entry.status,
        "flags": entry.flags or None,
        "route": entry.route or None,
        "service": entry.service or None,
        "instance": entry.instance or None,
        "duration_ms": round(entry.duration_s * 1e3, 3),
        "upstream_ms": None if entry.upstream_s < 0 else round(entry.upstream_s * 1e3, 3),
        "bytes_in": entry.bytes_in,
        "bytes_out": entry.bytes_out,
        "request_id": _text(entry.request_id, _NAME_BYTES),
        "sticky": entry.sticky or None,
        "retries": entry.retries,
    }
    try:
        line = orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE)
        if len(line) > LINE_BYTES:  # much that JSON has to escape
            fields["path"] = _text(entry.path, _PATH_BYTES_CUT)
            line = orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:  # a name that is not Unicode
        return None
    return line if len(line) <= LINE_BYTES else None


def _text(raw: bytes, limit: int) -> str | None:
    if not raw:
        return None
    if len(raw) > limit:
        raw = raw[:limit] + b"..."
    return raw.decode("utf-8", "backslashreplace")


def quick(second: bytes, millis: int, entry: Entry) -> bytes | None:
    """The same; None if it is none of the simple ones, or nearly too long."""
    if millis < 0 or millis > 999:
        return None
    space = _SPACE
    at = _plain(space, _plain(space, 0, _TIME), second)
    if not at or at + 4 > _SPACE_BYTES:
        return None
    space[at] = 46  # .
    space[at + 1] = 48 + millis // 100
    space[at + 2] = 48 + millis // 10 % 10
    space[at + 3] = 48 + millis % 10
    at += 4
    at = _name(space, at, _ENTRYPOINT, entry.entrypoint, False)
    at = _name(space, at, _CLIENT, entry.client, False)
    at = _quoted(space, at, _METHOD, entry.method, _NAME_BYTES, True)
    at = _quoted(space, at, _HOST, entry.host, _NAME_BYTES, True)
    at = _quoted(space, at, _PATH, entry.path, _PATH_BYTES, True)
    at = _number(space, _plain(space, at, _STATUS), entry.status)
    at = _name(space, at, _FLAGS, entry.flags, True)
    at = _name(space, at, _ROUTE, entry.route, True)
    at = _name(space, at, _SERVICE, entry.service, True)
    at = _name(space, at, _INSTANCE, entry.instance, True)
    at = _milliseconds(space, _plain(space, at, _DURATION), entry.duration_s)
    at = _plain(space, at, _UPSTREAM)
    at = (
        _plain(space, at, _NULL)
        if entry.upstream_s < 0
        else _milliseconds(space, at, entry.upstream_s)
    )
    at = _number(space, _plain(space, at, _BYTES_IN), entry.bytes_in)
    at = _number(space, _plain(space, at, _BYTES_OUT), entry.bytes_out)
    at = _quoted(space, at, _REQUEST_ID, entry.request_id, _NAME_BYTES, True)
    at = _name(space, at, _STICKY, entry.sticky, True)
    at = _number(space, _plain(space, at, _RETRIES), entry.retries)
    at = _plain(space, at, _END)
    return bytes(space[:at]) if at else None


# Each of these writes at `at` and returns where it came to: 0 if it can't, also when given 0.


def _plain(space: bytearray, at: int, piece: bytes) -> int:
    """`piece` as it is."""
    size = len(piece)
    if (not at and piece is not _TIME) or at + size > _SPACE_BYTES:
        return 0
    p = piece
    for i in range(size):
        space[at + i] = p[i]
    return at + size


def _name(space: bytearray, at: int, key: bytes, text: str, null: bool) -> int:
    """`key`, then a string of `text`."""
    if type(text) is not str:  # a member of an enum
        return 0
    exact = text
    try:
        raw = exact.encode()
    except UnicodeEncodeError:
        return 0
    return _quoted(space, at, key, raw, _SPACE_BYTES, null)


def _quoted(space: bytearray, at: int, key: bytes, raw: bytes, limit: int, null: bool) -> int:
    """`key`, then a string of `raw`; `null`: what is empty is null."""
    at = _plain(space, at, key)
    size = len(raw)
    if null and not size:
        return _plain(space, at, _NULL)
    if not at or size > limit or at + 2 * size + 2 > _SPACE_BYTES:
        return 0
    kinds = _KINDS
    p = raw
    space[at] = 34  # "
    at += 1
    for i in range(size):
        kind = kinds[p[i]]
        if kind == _COPIED:
            space[at] = p[i]
            at += 1
        elif kind == _ESCAPED:
            space[at] = 92  # \
            space[at + 1] = p[i]
            at += 2
        else:
            return 0
    space[at] = 34
    return at + 1


def _number(space: bytearray, at: int, value: int) -> int:
    """In digits."""
    if not at or value < 0 or at + _LONGEST_NUMBER > _SPACE_BYTES:
        return 0
    size = 1
    rest = value
    while rest > 9:
        rest = rest // 10
        size += 1
    rest = value
    end = at + size
    while end > at:
        end -= 1
        space[end] = 48 + rest % 10
        rest = rest // 10
    return at + size


def _milliseconds(space: bytearray, at: int, seconds: float) -> int:
    """To three places, as `round` and JSON write it; below 1,000 s."""
    # `round` looks at the exact value of this product, which is halfway between two of
    # its results once in a while: too close to that, the product below can't tell.
    scaled = seconds * 1e3 * 1e3
    if not at or not 0 <= scaled < 1e9 or at + _LONGEST_NUMBER + 4 > _SPACE_BYTES:
        return 0
    whole = int(scaled)
    part = scaled - whole
    if 0.499999 < part < 0.500001:
        return 0
    if part > 0.5:
        whole += 1
    at = _number(space, at, whole // 1000)
    whole = whole % 1000
    space[at] = 46  # .
    space[at + 1] = 48 + whole // 100
    at += 2
    whole = whole % 100
    if whole:
        space[at] = 48 + whole // 10
        at += 1
        whole = whole % 10
        if whole:
            space[at] = 48 + whole
            at += 1
    return at
