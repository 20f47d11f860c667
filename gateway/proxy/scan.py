# cython: language_level=3, annotation_typing=False
"""The inner loops of the head codec: places in bytes. They know bytes, not messages.

Each function has two bodies with one meaning, since each would be ten times as slow in the other
world: a loop over bytes for the compiler, a call of a method of `bytes` for the interpreter
([measured] a head of 10 fields, byte by byte: 32 us interpreted, 0.7 us compiled). A test
compares both on arbitrary bytes.
"""

from __future__ import annotations

import re

INTERPRETED = __file__.endswith(".py")
"""Is this the source itself?"""
_INTERPRETED = INTERPRETED

TCHAR = rb"!#$%&'*+\-.^_`|~0-9A-Za-z"
"""What a token is made of (RFC 9110, 5.6.2), for a regular expression."""
_TOKEN = re.compile(rb"[" + TCHAR + rb"]*")
_TARGET = re.compile(rb"[!\"$-~]*")
_HOST = re.compile(rb"[a-z0-9._-]*")
_DIGITS = re.compile(rb"[0-9]*")
VALUE_BYTES = bytes([9, *range(0x20, 0x7F), *range(0x80, 0x100)])
"""What a line may hold (RFC 9110, 5.5); CR, LF, NUL and other controls are not in it."""


def _class_of(pattern: re.Pattern[bytes]) -> bytes:
    return bytes(bool(pattern.fullmatch(bytes([byte]))) for byte in range(256))


IS_TOKEN = _class_of(_TOKEN)
_IS_TARGET = _class_of(_TARGET)
_IS_HOST = _class_of(_HOST)


def find_byte(data: bytes, byte: int, at: int, end: int) -> int:
    """Where `byte` is first in data[at:end]; `end` if nowhere."""
    if _INTERPRETED:
        found = data.find(byte, at, end)
        return end if found < 0 else found
    p = data
    place = memchr(p + at, byte, end - at)  # type: ignore[name-defined,operator]  # noqa: F821
    return place - p if place else end


def find_head_end(data: bytes, start: int) -> int:
    """Index behind the empty line that ends a head, -1 if it has not come yet.

    `start`: how many bytes an earlier call has already searched.
    """
    at = start - 3 if start > 3 else 0
    if _INTERPRETED:
        found = data.find(b"\r\n\r\n", at)
        return found + 4 if found >= 0 else -1
    p = data
    end = len(data) - 3
    while at < end:
        at = find_byte(data, 13, at, end)
        if at < end:
            if p[at + 1] == 10 and p[at + 2] == 13 and p[at + 3] == 10:
                return at + 4
            at += 1
    return -1


def count_lines(data: bytes, start: int, end: int) -> int:
    """How many CRLF are in data[start:end]; -1 if it has any other control byte, or a bare CR or LF."""
    if _INTERPRETED:
        piece = data[start:end]
        pairs = piece.count(b"\r\n")
        return pairs if piece.translate(None, VALUE_BYTES) == b"\r\n" * pairs else -1
    p = data
    pairs = 0
    controls = 0
    if start < end:
        at = start
        last = end - 1
        while at < last:  # without a branch, so that compilers make 16 steps one
            byte = p[at]
            controls += (byte < 32) & (byte != 9) | (byte == 127)
            pairs += (byte == 13) & (p[at + 1] == 10)
            at += 1
        byte = p[last]
        controls += (byte < 32) & (byte != 9) | (byte == 127)
    return pairs if controls == 2 * pairs else -1


def token_end(data: bytes, at: int, end: int) -> int:
    """How far the token at data[at] reaches; `at` if there is none."""
    if _INTERPRETED:
        return _TOKEN.match(data, at, end).end()  # type: ignore[union-attr]
    p = data
    table = IS_TOKEN
    while at < end and table[p[at]]:
        at += 1
    return at


def target_end(data: bytes, at: int, end: int) -> int:
    """How far what may be in a request target reaches: printable ASCII but `#`."""
    if _INTERPRETED:
        return _TARGET.match(data, at, end).end()  # type: ignore[union-attr]
    p = data
    table = _IS_TARGET
    while at < end and table[p[at]]:
        at += 1
    return at


def host_end(data: bytes, at: int, end: int) -> int:
    """How far what may be in a host name in lower case reaches."""
    if _INTERPRETED:
        return _HOST.match(data, at, end).end()  # type: ignore[union-attr]
    p = data
    table = _IS_HOST
    while at < end and table[p[at]]:
        at += 1
    return at


def number(data: bytes, at: int, end: int) -> int:
    """The number whose digits are data[at:end]; -1 if they are none, or more than 18."""
    if at == end or end - at > 18:
        return -1
    if _INTERPRETED:
        return int(data[at:end]) if _DIGITS.fullmatch(data, at, end) is not None else -1
    p = data
    value = 0
    while at < end:
        digit = p[at] - 48
        if digit < 0 or digit > 9:
            return -1
        value = value * 10 + digit
        at += 1
    return value


def piece(data: bytes, at: int, end: int) -> bytes:
    """data[at:end], without a slice object."""
    p = data
    return p[at:end]


def trimmed(data: bytes, at: int, end: int) -> bytes:
    """data[at:end] without the blanks (space, tab) around it."""
    if _INTERPRETED:
        return data[at:end].strip(b" \t")
    p = data
    while at < end and (p[at] == 32 or p[at] == 9):
        at += 1
    while at < end and (p[end - 1] == 32 or p[end - 1] == 9):
        end -= 1
    return p[at:end]
