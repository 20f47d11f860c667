# cython: language_level=3, annotation_typing=False
"""The first message of a TLS connection, read before anybody answers it (RFC 8446, 4.1.2).

Only what chooses a certificate and what refuses the handshake at once is read:
the name the client asks for (RFC 6066, 3), the protocols it speaks on top (ALPN,
RFC 7301) and the newest version of TLS it speaks. Whether the rest is right is judged by the TLS library, which
reads the same bytes again.

Pure. Invariant: nothing but `NotTls` is raised, whatever the bytes.
"""

from __future__ import annotations

from typing import NamedTuple

HELLO_MAX = 32 * 1024
"""Bytes of a hello, with its framing. Those with post-quantum keys have 2 KB."""
RECORD_MAX = 1 << 14
RECORDS_MAX = 64
"""Records of a hello. They are read from the first one on each time there is another."""
HANDSHAKE = 22
CLIENT_HELLO = 1
SERVER_NAME = 0
ALPN = 16
SUPPORTED_VERSIONS = 43
TLS_1_2, TLS_1_3 = 0x0303, 0x0304

_HTTP_LETTERS = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ")


class Hello(NamedTuple):
    """What a client said: None where it said nothing of it. `name` is lower case."""

    name: bytes | None
    protocols: tuple[bytes, ...] | None
    version: int = TLS_1_3
    """The newest one it speaks, up to 1.3."""


class NotTls(Exception):  # noqa: N818 - says what was found
    """These bytes do not begin a TLS connection. `is_http`: they look like a request instead."""

    def __init__(self, is_http: bool = False) -> None:
        super().__init__()
        self.is_http = is_http


def read_hello(data: bytes) -> Hello | int:
    """The hello at the beginning of `data`, or how many bytes are needed to say more.

    The number is greater than `len(data)`, and at most `HELLO_MAX`. Raises `NotTls`.
    """
    if data and data[0] != HANDSHAKE:
        raise NotTls(is_http=data[0] in _HTTP_LETTERS)
    message = b""
    at = 0
    for _ in range(RECORDS_MAX):
        if at + 5 > HELLO_MAX:
            raise NotTls
        if len(data) < at + 5:
            return at + 5
        size = data[at + 3] << 8 | data[at + 4]
        end = at + 5 + size
        if data[at] != HANDSHAKE or data[at + 1] != 3 or not 0 < size <= RECORD_MAX:
            raise NotTls
        if end > HELLO_MAX:
            raise NotTls
        if len(data) < end:
            return end
        message += data[at + 5 : end]
        at = end
        if len(message) >= 4:
            if message[0] != CLIENT_HELLO:
                raise NotTls
            length = message[1] << 16 | message[2] << 8 | message[3]
            if length > HELLO_MAX:
                raise NotTls
            if len(message) >= 4 + length:
                return _read_message(_Reader(message[4 : 4 + length]))
    raise NotTls


class _Reader:
    """Takes fields off the front; `NotTls` when there is less than they say."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def has_more(self) -> bool:
        return self._at < len(self._data)

    def skip(self, size: int) -> int:
        """Where what was skipped begins."""
        begin = self._at
        if size > len(self._data) - begin:
            raise NotTls
        self._at = begin + size
        return begin

    def number(self, size: int) -> int:
        at = self.skip(size)
        value = 0
        while at < self._at:
            value = value << 8 | self._data[at]
            at += 1
        return value

    def vector(self, size: int) -> bytes:
        """A field with its length in front, in `size` bytes."""
        at = self.skip(self.number(size))
        return self._data[at : self._at]


def _read_message(body: _Reader) -> Hello:
    version = body.number(2)  # since 1.3 the newest one stands in an extension
    body.skip(32)  # random
    body.skip(body.number(1))  # session
    body.skip(body.number(2))  # cipher suites
    body.skip(body.number(1))  # compressions
    name: bytes | None = None
    protocols: tuple[bytes, ...] | None = None
    extensions = _Reader(body.vector(2) if body.has_more() else b"")
    while extensions.has_more():
        kind = extensions.number(2)
        if kind == SERVER_NAME and name is None:
            name = _read_name(_Reader(_Reader(extensions.vector(2)).vector(2)))
        elif kind == ALPN and protocols is None:
            protocols = _read_protocols(_Reader(_Reader(extensions.vector(2)).vector(2)))
        elif kind == SUPPORTED_VERSIONS:
            version = _read_versions(_Reader(_Reader(extensions.vector(2)).vector(1)))
        else:
            extensions.skip(extensions.number(2))
    return Hello(name, protocols, version)


def _read_name(names: _Reader) -> bytes | None:
    while names.has_more():
        kind, name = names.number(1), names.vector(2)
        if kind == 0:
            return name.lower().removesuffix(b".") or None
    return None


def _read_versions(versions: _Reader) -> int:
    newest = 0
    while versions.has_more():
        version = versions.number(2)
        if version <= TLS_1_3:  # others are to test whether we ignore them (RFC 8701)
            newest = max(newest, version)
    return newest


def _read_protocols(names: _Reader) -> tuple[bytes, ...]:
    found = []
    while names.has_more():
        found.append(names.vector(1))
    return tuple(found)
