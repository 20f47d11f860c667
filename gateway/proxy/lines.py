# cython: language_level=3, annotation_typing=False
"""What holds for the lines of every head, whatever they say: bytes, line ends, bounds."""

from __future__ import annotations

import re

from gateway.proxy.heads import HeadLimits, Malformed

TCHAR = rb"!#$%&'*+\-.^_`|~0-9A-Za-z"
TOKEN = re.compile(rb"[" + TCHAR + rb"]+")
VALUE_BYTES = bytes([9, *range(0x20, 0x7F), *range(0x80, 0x100)])
"""What a line may hold (RFC 9110, 5.5); CR, LF, NUL and other controls are not in it."""


def find_head_end(data: bytes | bytearray, start: int) -> int:
    """Index behind the empty line that ends a head, -1 if it has not come yet.

    `start`: how many bytes an earlier call has already searched.
    """
    end = data.find(b"\r\n\r\n", start - 3 if start > 3 else 0)
    return end + 4 if end >= 0 else -1


def check_part(
    data: bytes | bytearray, start: int, searched: int, limits: HeadLimits, status: int
) -> None:
    """Refuse a head that is still incomplete but cannot become a good one any more.

    `start`: where its first line begins. Malformed carries `status`, or 414 or 431 for sizes of
    requests.
    """
    if len(data) >= limits.bytes:
        if status == 502:
            raise Malformed(502, "head is too large")
        line_end = data.find(b"\r\n", start, limits.bytes)
        if line_end < 0:
            raise Malformed(414, "request line is too long")
        raise Malformed(431, "head is too large")
    piece = data[searched - 1 if searched > 1 else 0 :]
    if searched > 1 and piece[:1] == b"\n":  # seen before, with its CR
        piece = piece[1:]
    if piece[-1:] == b"\r":  # its LF may come yet
        piece = piece[:-1]
    check_bytes(piece, piece.count(b"\r\n"), status)


def check_lines(head: bytes | bytearray, count: int, limits: HeadLimits, status: int) -> None:
    """Refuse a head (without its empty line) unless it is `count` fields and whole lines."""
    if count > limits.fields:
        raise Malformed(502 if status == 502 else 431, "too many fields")
    check_bytes(head, count, status)


def check_bytes(lines: bytes | bytearray, count: int, status: int) -> None:
    """Refuse bytes that are not those of lines with the `count` CRLF pairs they hold.

    Equality leaves no CR or LF outside a pair, and no other control byte.
    """
    if lines.translate(None, VALUE_BYTES) != b"\r\n" * count:
        left = lines.replace(b"\r\n", b"")
        is_line_end = b"\r" in left or b"\n" in left
        raise Malformed(status, "bare CR or LF" if is_line_end else "control byte")
