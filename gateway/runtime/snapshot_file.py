"""The last published snapshot as a file, so that workers start without the control process.

A row of records of two lines each. The first line is a JSON header
`{"format", "base", "generation", "session", "length", "crc32"}`, the second the JSON of
a delta, `length` bytes long. The first record is a whole snapshot (base 0); each of the
others, put behind it when something changed, is on top of the one before.

Invariants:

* the file is made whole (temporary file, fsync, rename, fsync of the folder) and then
  only grows, so a kill between any two bytes leaves all that was synced before;
* the beginning of a record behind the last sound one is what a kill or a loss of power
  left of one that nobody was told of: it is no part of the file. A record that is broken
  and yet as long as it says, or has a sound one behind it, is other damage: a reader takes
  such a file, one whose first record is broken and one of another format for no file;
* it holds the affinity keys, so its mode is 0600.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from gateway.core.snapshot import (
    EMPTY,
    FORMAT,
    Snapshot,
    delta_from_wire,
    delta_to_wire,
    patch,
    whole,
)

SIZE_MAX = 1 << 30
"""A larger file is not read."""
_HEADER_MAX = 4096
_BEGIN = b'{"format":'
"""Of every header as it is written."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a record's first line says. `session` is the publishing control process's."""

    base: int
    generation: int
    session: str
    length: int
    crc32: int


def body(snapshot: Snapshot) -> bytes:
    """The body for `write`."""
    return orjson.dumps(delta_to_wire(whole(snapshot)))


def record(base: int, generation: int, session: str, body: bytes) -> bytes:
    """A record; `body` is the JSON of a delta, on one line."""
    header = {
        "format": FORMAT,
        "base": base,
        "generation": generation,
        "session": session,
        "length": len(body),
        "crc32": zlib.crc32(body),
    }
    return b"%b\n%b\n" % (orjson.dumps(header), body)


def write(path: Path, generation: int, session: str, body: bytes) -> None:
    """Replace the file by this snapshot, durably. Raises `OSError`; the old file then stays."""
    temporary = path.with_name(path.name + ".tmp")
    fd = create(temporary, record(EMPTY.generation, generation, session, body))
    try:
        install(temporary, path)
    finally:
        os.close(fd)


def create(temporary: Path, first: bytes) -> int:
    """A new file with its first record, durably; gives the descriptor to append with.

    Raises `OSError`; there is no such file then.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    fd = os.open(temporary, flags, 0o600)
    try:
        os.fchmod(fd, 0o600)
        append(fd, first)
    except BaseException:
        os.close(fd)
        temporary.unlink(missing_ok=True)
        raise
    return fd


def append(fd: int, record: bytes) -> None:
    """Put a record behind the others, durably.

    Raises `OSError`; there may be a part of it then, which must stay the last of the file.
    """
    rest = memoryview(record)
    while rest:
        rest = rest[os.write(fd, rest) :]
    os.fdatasync(fd)


def install(temporary: Path, path: Path) -> None:
    """Put a created file in its place, durably. Raises `OSError`; the old file then stays."""
    try:
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read(path: Path) -> tuple[str, Snapshot] | None:
    """The session and snapshot in the file; None when there is no sound one."""
    try:
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size > SIZE_MAX:
                return None
            data = file.read()
    except OSError:
        return None
    records = list(_records(data, 0))
    if not records:
        return None
    last, end = records[-1][0], records[-1][2]
    if _is_damaged(data, end):
        return None
    try:
        deltas = [delta_from_wire(orjson.loads(body)) for _, body, _ in records]
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    heads = [(header.base, header.generation) for header, _, _ in records]
    if heads != [(delta.base, delta.generation) for delta in deltas]:
        return None
    return last.session, patch(EMPTY, *deltas)


def read_header(path: Path) -> Header | None:
    """The header of the last record, for who needs no more than the generation.

    The first record's body is not looked at.
    """
    try:
        with open(path, "rb") as file:
            first = _header(file.readline(_HEADER_MAX))
            if first is None:
                return None
            file.seek(first.length + 1, os.SEEK_CUR)
            rest = file.read(SIZE_MAX)
    except OSError:
        return None
    last = first
    for header, _, _ in _records(rest, 0, first):
        last = header
    return last


def _records(
    data: bytes, at: int, before: Header | None = None
) -> Iterator[tuple[Header, memoryview, int]]:
    """Header, body and end of the sound records from `at` on that follow one another."""
    view = memoryview(data)
    while True:
        begin = data.find(b"\n", at, at + _HEADER_MAX) + 1
        header = _header(data[at:begin]) if begin else None
        if header is None:
            return
        base, session = (
            (EMPTY.generation, header.session)
            if before is None
            else (before.generation, before.session)
        )
        body = view[begin : begin + header.length]
        end = begin + header.length + 1
        is_next = header.base == base and header.session == session
        if not is_next or data[end - 1 : end] != b"\n" or zlib.crc32(body) != header.crc32:
            return
        yield header, body, end
        before, at = header, end


def _is_damaged(data: bytes, at: int) -> bool:
    """Is there more behind the last sound record than the beginning of one?"""
    begin = data.find(b"\n", at, at + _HEADER_MAX) + 1
    header = _header(data[at:begin]) if begin else None
    if header is not None and len(data) > begin + header.length:
        return True
    at -= 1
    while (at := data.find(_BEGIN, at + 1)) >= 0:
        begin = data.find(b"\n", at, at + _HEADER_MAX) + 1
        header = _header(data[at:begin]) if begin else None
        if header is not None:
            end = begin + header.length
            if data[end : end + 1] == b"\n" and zlib.crc32(data[begin:end]) == header.crc32:
                return True
    return False


def _header(line: bytes) -> Header | None:
    try:
        value: Any = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        return None
    session: Any = value.get("session")
    base, generation, length, crc32 = (
        _whole_number(value, key) for key in ("base", "generation", "length", "crc32")
    )
    if not isinstance(session, str) or base is None or generation is None:
        return None
    if length is None or crc32 is None:
        return None
    return Header(base, generation, session, length, crc32)


def _whole_number(value: dict[str, Any], key: str) -> int | None:
    number = value.get(key)
    return number if type(number) is int and number >= 0 else None
