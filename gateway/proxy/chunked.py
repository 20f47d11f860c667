# cython: language_level=3, annotation_typing=False
"""The chunked transfer coding (RFC 9112, 7.1): strict decoding and plain encoding.

Pure: bytes in, bytes out. What is passed on is encoded anew, so extensions and odd chunk
sizes end here. Memory is bounded by the piece fed and one line. Blanks around the parts of an
extension are refused though the RFC reads them: nobody sends them, and readers differ.

A piece that lies wholly inside a chunk is returned as it is, without a copy; a chunk costs
one regular expression, so 20,000 chunks of one byte cost about 15 ms.
"""

from __future__ import annotations

import re

from gateway.proxy.field_names import flat
from gateway.proxy.fields import FRAMING_FLAT, NEVER_IN_TRAILERS, NOTHING_LISTED
from gateway.proxy.heads import HeadLimits, Malformed
from gateway.proxy.lines import TOKEN
from gateway.proxy.scan import TCHAR, VALUE_BYTES

TRAILER_LIMITS = HeadLimits(bytes=16384, fields=64)
LAST_CHUNK = b"0\r\n\r\n"

MAX_LINE = 4096
"""Of a chunk's size and extensions, line end included."""
MAX_EXTENSIONS = 65536
"""Sum of all extensions of one body: they are overhead nobody reads (CVE-2023-39326)."""

_TOKEN = rb"[" + TCHAR + rb"]++"
_QUOTED = rb'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*+"'
_SIZE = re.compile(
    rb"([0-9A-Fa-f]{1,16})"
    rb"((?:;" + _TOKEN + rb"(?:=(?:" + _TOKEN + rb"|" + _QUOTED + rb"))?)*+)"
    rb"\r\n"
)
_PART_OF_SIZE = re.compile(rb"(?:[0-9A-Fa-f]{1,16}(?:;[\t -~\x80-\xff]*)?\r?)?")
_HEX = re.compile(rb"[0-9A-Fa-f]{1,16}")
_MAX_SIZE = (1 << 62) - 1
"""With the CRLF behind the data still a `long long`, for the compiled module."""

# Where the decoder stands; DATA lasts until the CRLF behind the data.
_AT_SIZE = 0
_IN_DATA = 1
_IN_TRAILERS = 2
_DONE = 3
_BROKEN = 4


class ChunkedDecoder:
    """Decodes one chunked body, fed in pieces of any size.

    done: the end was seen. rest: what came behind it (the next message).
    trailers: ready `Name: value` lines, without those a trailer must not hold.
    """

    __slots__ = (
        "_extensions",
        "_left",
        "_limits",
        "_listed",
        "_part",
        "_state",
        "_trailer_bytes",
        "_trailer_fields",
        "done",
        "rest",
        "status",
        "trailers",
    )

    done: bool
    rest: bytes
    trailers: bytes

    def __init__(
        self,
        status: int = 400,
        limits: HeadLimits = TRAILER_LIMITS,
        listed: frozenset[bytes] = NOTHING_LISTED,
    ) -> None:
        """`status` goes into Malformed (502 for bodies of instances); `limits` bound the trailers.

        `listed`: trailers that Connection named, in lower case: they end here (RFC 9110, 7.6.1).
        """
        self.status = status
        self._listed = listed
        self.done = False
        self.rest = b""
        self.trailers = b""
        self._limits = limits
        self._state = _AT_SIZE
        self._left = 0  # bytes of data and of the CRLF behind it that have not come yet
        self._part = b""  # a line, or the CRLF behind data, that has come in part
        self._extensions = 0
        self._trailer_bytes = 0
        self._trailer_fields = 0

    def feed(self, data: bytes) -> bytes:
        """The payload in this piece, b"" if none. Raises Malformed, then and ever after."""
        if self._state == _IN_DATA and len(data) <= self._left - 2:
            self._left -= len(data)
            return data
        if self._state == _DONE:
            self.rest += data
            return b""
        if self._part:
            data = self._part + data
            self._part = b""
        out: list[bytes] = []
        at = 0
        if self._state <= _IN_DATA:
            at = self._chunks(data, out)
        if self._state == _IN_TRAILERS:
            at = self._trailers(data, at)
        if self._state == _DONE:
            self.rest = data[at:]
        elif self._state == _BROKEN:
            raise Malformed(self.status, "invalid chunked body")
        return out[0] if len(out) == 1 else b"".join(out)

    def _broken(self, reason: str) -> Malformed:
        self._state = _BROKEN
        return Malformed(self.status, reason)

    def _chunks(self, data: bytes, out: list[bytes]) -> int:
        """Reads chunks up to the last one or the end of `data`; returns where it stopped."""
        at = 0
        end = len(data)
        left = self._left
        match_size = _SIZE.match
        while True:
            if left:  # data, then CRLF
                if end - at < left:
                    payload = min(end - at, left - 2) if left > 2 else 0
                    if payload:
                        out.append(data[at : at + payload])
                        at += payload
                        left -= payload
                    if at < end:
                        if data[at] != 13:
                            raise self._broken("chunk data is longer than its size")
                        self._part = data[at:]
                    self._left = left
                    self._state = _IN_DATA
                    return end
                stop = at + left - 2
                if data[stop : stop + 2] != b"\r\n":
                    raise self._broken("chunk data is longer than its size")
                if stop > at:
                    out.append(data[at:stop])
                at = stop + 2
                left = 0
            if at == end:
                break
            match = match_size(data, at, at + MAX_LINE)
            if match is None:
                self._part_of_size(data, at)
                break
            digits, extensions = match.groups()
            at = match.end()
            if extensions:
                self._extensions += len(extensions)
                if self._extensions > MAX_EXTENSIONS:
                    raise self._broken("chunk extensions are too large")
            size = int(digits, 16)
            if size == 0:
                self._left = 0
                self._state = _IN_TRAILERS
                return at
            if size > _MAX_SIZE:
                raise self._broken("chunk is too large")
            left = size + 2
        self._left = 0
        self._state = _AT_SIZE
        return end

    def _part_of_size(self, data: bytes, at: int) -> None:
        """Keeps the beginning of a size line, if it can still become one."""
        part = data[at : at + MAX_LINE]
        if len(part) == MAX_LINE or _PART_OF_SIZE.fullmatch(part) is None:
            is_size = _HEX.fullmatch(part.partition(b";")[0]) is not None
            raise self._broken("invalid chunk extension" if is_size else "invalid chunk size")
        self._part = part

    def _trailers(self, data: bytes, at: int) -> int:
        """Reads trailer lines up to the empty one or the end of `data`."""
        kept: list[bytes] = []
        while True:
            stop = data.find(b"\r\n", at)
            used = (len(data) if stop < 0 else stop + 2) - at
            if self._trailer_bytes + used > self._limits.bytes:
                raise self._broken("trailers are too large")
            if stop < 0:
                part = data[at:]
                # Only line ends are looked at before the line is whole: this runs for every piece.
                if b"\n" in part or b"\r" in part[:-1]:
                    raise self._broken("bare CR or LF in trailers")
                self._part = part
                at = len(data)
                break
            self._trailer_bytes += used
            line = data[at:stop]
            at = stop + 2
            if not line:
                self._state = _DONE
                self.done = True
                break
            self._trailer_fields += 1
            if self._trailer_fields > self._limits.fields:
                raise self._broken("too many trailers")
            name, colon, value = line.partition(b":")
            if not colon or TOKEN.fullmatch(name) is None or line.translate(None, VALUE_BYTES):
                raise self._broken("invalid trailer")
            # Of instances it is dropped: they are careless, clients are not.
            if self.status != 502 and flat(name) in FRAMING_FLAT:
                raise self._broken("framing field in trailers")
            if _is_allowed(name) and name.lower() not in self._listed:
                kept.append(b"%b: %b\r\n" % (name, value.strip(b" \t")))
        if kept:
            self.trailers += b"".join(kept)
        return at


_FORBIDDEN = frozenset(flat(name) for name in NEVER_IN_TRAILERS)


def _is_allowed(name: bytes) -> bool:
    """Compared by letters only, so that no other spelling gets through."""
    letters = flat(name)
    return letters not in _FORBIDDEN and not letters.startswith((b"xforwarded", b"secwebsocket"))


def encode_chunk(data: bytes) -> bytes:
    """One chunk; b"" for no data, since an empty chunk would end the body."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def last_chunk(trailers: bytes = b"") -> bytes:
    """The end of the body with trailers as `ChunkedDecoder.trailers` gives them."""
    return b"0\r\n%b\r\n" % trailers
