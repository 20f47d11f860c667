"""The last published snapshot as a file, so that workers start without the control process.

Line 1 is a JSON header `{"format", "generation", "session", "length", "crc32"}`,
the rest is the JSON of `delta_to_wire(whole(snapshot))`, `length` bytes long.

Invariants: the file at `path` is always a whole one (temporary file, fsync,
rename, fsync of the folder); it holds the affinity keys, so its mode is 0600; a
reader takes a damaged file, or one of another format, for no file.
"""

from __future__ import annotations

import os
import zlib
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


@dataclass(frozen=True, slots=True)
class Header:
    """What the first line says. `session` is the publishing control process's."""

    generation: int
    session: str
    length: int
    crc32: int


def body(snapshot: Snapshot) -> bytes:
    """The body for `write`."""
    return orjson.dumps(delta_to_wire(whole(snapshot)))


def write(path: Path, generation: int, session: str, body: bytes) -> None:
    """Replace the file by this snapshot, durably. Raises `OSError`; the old file then stays."""
    header = orjson.dumps(
        {
            "format": FORMAT,
            "generation": generation,
            "session": session,
            "length": len(body),
            "crc32": zlib.crc32(body),
        }
    )
    temporary = path.with_name(path.name + ".tmp")
    fd = os.open(
        temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
    )
    try:
        with open(fd, "wb") as file:
            os.fchmod(fd, 0o600)
            file.write(header + b"\n")
            file.write(body)
            file.flush()
            os.fsync(fd)
        os.replace(temporary, path)
    except BaseException:
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
            header = _header(file.readline(_HEADER_MAX))
            if header is None:
                return None
            data = file.read()
    except OSError:
        return None
    if len(data) != header.length or zlib.crc32(data) != header.crc32:
        return None
    try:
        snapshot = patch(EMPTY, delta_from_wire(orjson.loads(data)))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    return (header.session, snapshot) if snapshot.generation == header.generation else None


def read_header(path: Path) -> Header | None:
    """Only the first line, for who needs no more than the generation; the body is not checked."""
    try:
        with open(path, "rb") as file:
            return _header(file.readline(_HEADER_MAX))
    except OSError:
        return None


def _header(line: bytes) -> Header | None:
    try:
        value: Any = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        return None
    session: Any = value.get("session")
    generation, length, crc32 = (_whole_number(value, k) for k in ("generation", "length", "crc32"))
    if not isinstance(session, str) or generation is None or length is None or crc32 is None:
        return None
    return Header(generation, session, length, crc32)


def _whole_number(value: dict[str, Any], key: str) -> int | None:
    number = value.get(key)
    return number if type(number) is int and number >= 0 else None
