# cython: language_level=3, annotation_typing=False
"""What holds for the lines of every head, whatever they say: bytes, line ends, bounds."""

from __future__ import annotations

import re

from gateway.proxy import scan
from gateway.proxy.heads import HeadLimits, Malformed
from gateway.proxy.scan import TCHAR

TOKEN = re.compile(rb"[" + TCHAR + rb"]+")


def check_part(data: bytes, start: int, searched: int, limits: HeadLimits, status: int) -> None:
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
    at = searched - 1 if searched > 1 else 0
    end = len(data)
    if searched > 1 and data[at : at + 1] == b"\n":  # seen before, with its CR
        at += 1
    if end > at and data[end - 1] == 13:  # its LF may come yet
        end -= 1
    if scan.count_lines(data, at, end) < 0:
        raise bad_bytes(data[at:end], status)


def check_lines(data: bytes, start: int, end: int, limits: HeadLimits, status: int) -> None:
    """Refuse a head, data[start:end] without its empty line, unless it is whole lines and few."""
    count = scan.count_lines(data, start, end)
    if count < 0:
        raise bad_bytes(data[start:end], status)
    if count > limits.fields:
        raise Malformed(502 if status == 502 else 431, "too many fields")


def bad_bytes(lines: bytes, status: int) -> Malformed:
    """What is wrong with bytes that are not those of lines."""
    left = lines.replace(b"\r\n", b"")
    is_line_end = b"\r" in left or b"\n" in left
    return Malformed(status, "bare CR or LF" if is_line_end else "control byte")
