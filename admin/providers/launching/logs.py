"""What instances wrote: their files, reading them, and keeping them small.

    <state folder>/logs/<application>/<service>/<start, UTC>-<port>.log
    <state folder>/container-logs/<application>/<service>/<start, UTC>-<container>.log

A local program writes into its file by itself (the file is opened for appending, so it
may be cut under it), that of a container is written by who follows it; neither knows
anything of anybody who reads. A file that has grown too
long loses its older part; its first line then says how much went:

    -- 5242880 bytes of older output are gone --

so that places in the file, counted from what the instance wrote first, stay what they
are: a cursor is such a place for each file.

Nothing here trusts what was written: lines are bounded, control characters escaped.
"""

from __future__ import annotations

import base64
import binascii
import logging
import os
import re
import shutil
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

import orjson

log = logging.getLogger(__name__)

FOLDER = "logs"
CONTAINERS = "container-logs"
HOST = "127.0.0.1"
FILES_KEPT = 10
"""Files kept for each service."""
SERVICES_KEPT = 20
"""Folders kept of an application's services that have no process any more."""
LINE_MAX = 4000
"""Characters shown of a line."""
LINES_MAX = 10_000
"""Lines one call gives at most."""
READ_MAX = 1 << 20
"""Bytes one call reads of a file at most."""
SETTLED_S = 1.0
"""A line without an end counts as one when its file has not grown for so long."""
_COPY = 1 << 20

_NAME = re.compile(r"(\d{8}T\d{6}\.\d{3})-(?:(\d{1,5})|([0-9a-f]{12}))\.log")
_GONE = re.compile(rb"-- (\d{1,18}) bytes of older output are gone --\n")
_GONE_MAX = 64
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class BadCursor(ValueError):  # noqa: N818 - says what it is
    """A cursor that no call gave."""


@dataclass(frozen=True, slots=True)
class LogPage:
    """Lines as (service, instance, line), those of an instance in order.

    `cursor` continues behind them. Lines of different instances are not in order of
    time: nobody knows when a line was written.
    """

    entries: Sequence[tuple[str, str, str]]
    cursor: str


# --- where -----------------------------------------------------------------------------


def new_file(folder: Path, application: str, service: str, port: int | str, now: float) -> Path:
    """The file of an instance that is started `now` (epoch seconds); nothing is made.

    `port` is a process's port, or the short id of a container.
    """
    text = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now))
    name = f"{text}.{int(now % 1 * 1000):03d}-{port}.log"
    return folder / _as_path(application) / _as_path(service) / name


def prune_files(folder: Path, application: str, service: str, live: Collection[Path]) -> None:
    """Make room for one more file of a service: the oldest go, those of `live` never."""
    of_service = folder / _as_path(application) / _as_path(service)
    old = [file for file in _files_of(of_service) if file.absolute() not in live]
    for file in old[: max(0, len(old) - FILES_KEPT + 1)]:
        with suppress(OSError):
            file.unlink()


def keep_small(folder: Path, live: Collection[Path], longest: int) -> None:
    """Trim the files that are being written, and forget services that are long gone."""
    for file in live:
        if trim(file, longest):
            log.info("the older half of %s is gone: it had more than %d bytes", file, longest)
    in_use = {file.parent for file in live}
    for application in {one.parent for one in in_use}:
        gone = [one for one in _folders_of(application) if one not in in_use]
        for one in sorted(gone, key=_changed)[: max(0, len(gone) - SERVICES_KEPT)]:
            shutil.rmtree(one, ignore_errors=True)


def names_of(folder: Path) -> tuple[str, str]:
    """Application and service of a folder with output."""
    return unquote(folder.parent.name), unquote(folder.name)


def _as_path(name: str) -> str:
    """A name as one step of a path; names of services are such already."""
    step = quote(name, safe="")
    return step if step.strip(".") else step.replace(".", "%2E")


def _files_of(folder: Path) -> list[Path]:
    """Oldest first."""
    with suppress(OSError):
        return [folder / n for n in sorted(os.listdir(folder)) if _NAME.fullmatch(n)]
    return []


def _folders_of(folder: Path) -> list[Path]:
    with suppress(OSError):
        return sorted(Path(entry) for entry in os.scandir(folder) if entry.is_dir())
    return []


def _changed(path: Path) -> float:
    with suppress(OSError):
        return path.stat().st_mtime
    return 0.0


# --- keeping them small ----------------------------------------------------------------


def trim(file: Path, longest: int) -> bool:
    """Take the older half away from a file of more than `longest` bytes; was it so?

    It is done in place, since the program goes on writing into this very file. What
    it writes in the instant between the last look and the cut is lost.
    """
    try:
        fd = os.open(file, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        size = os.fstat(fd).st_size
        if size <= longest:
            return False
        gone, start = _gone_of(os.pread(fd, _GONE_MAX, 0))
        begin = _next_line(fd, max(start, size - longest // 2), size)
        head = b"-- %d bytes of older output are gone --\n" % (gone + begin - start)
        if begin < len(head):
            return False
        os.pwrite(fd, head, 0)
        end = len(head)
        while data := os.pread(fd, _COPY, begin):
            os.pwrite(fd, data, end)
            begin += len(data)
            end += len(data)
        os.ftruncate(fd, end)
        return True
    except OSError:
        return False
    finally:
        os.close(fd)


def _next_line(fd: int, at: int, size: int) -> int:
    """Where the first line behind `at` begins; `at` itself when it takes too long to come."""
    end = os.pread(fd, min(_COPY, size - at), at).find(b"\n")
    return at if end < 0 else at + end + 1


def _gone_of(head: bytes) -> tuple[int, int]:
    """How many bytes went before, and how long the line is that says so."""
    found = _GONE.match(head)
    return (int(found[1]), found.end()) if found else (0, 0)


# --- reading ---------------------------------------------------------------------------


def tail(file: Path, lines: int, most_bytes: int = 8192) -> tuple[str, ...]:
    """The last lines of a file, fit to be shown; () when it cannot be read."""
    try:
        with open(file, "rb") as opened:
            size = opened.seek(0, os.SEEK_END)
            opened.seek(max(0, size - most_bytes))
            data = opened.read(most_bytes)
    except OSError:
        return ()
    pieces = data.split(b"\n")
    if len(data) < size and len(pieces) > 1:
        del pieces[0]  # the end of a line
    if not pieces[-1]:
        del pieces[-1]
    return tuple(map(_shown, pieces[-lines:]))


def read_logs(
    roots: Sequence[Path], application: str, service: str | None, lines: int, after: str | None
) -> LogPage:
    """The last `lines` lines of an application, or so many behind the cursor `after`.

    `roots` are the folders of all logs; `service` a short name, None for all of them. What
    is not there has no lines. Raises `BadCursor`.
    """
    lines = min(max(lines, 0), LINES_MAX)
    places = None if after is None else _places_of(after)
    folders: list[Path] = []
    for root in roots:
        of_application = root / _as_path(application)
        if service is not None:
            folders.append(of_application / _as_path(service))
        else:
            folders += _folders_of(of_application)
    files = [
        _File(unquote(one.name), file, f"{one.name}/{file.stem}")
        for one in folders
        for file in _files_of(one)
    ]
    if places is None:
        return _last(files, lines)
    return _behind(files, places, lines)


@dataclass(frozen=True, slots=True)
class _File:
    service: str
    path: Path
    key: str
    """What it goes by in cursors."""

    @property
    def instance(self) -> str:
        found = _NAME.fullmatch(self.path.name)
        if found is not None and found[3] is not None:
            return f"{self.service}@{found[3]}"
        return f"{self.service}@{HOST}:{found[2] if found else 0}"


@dataclass(frozen=True, slots=True)
class _Lines:
    """Whole lines of a part of a file; `ends` is the place behind each."""

    texts: Sequence[str]
    ends: Sequence[int]
    begin: int


def _last(files: Sequence[_File], lines: int) -> LogPage:
    """The last lines of each file, with fair parts for all."""
    found = [_read(file.path, None, lines) for file in files]
    parts = _fair([len(one.texts) for one in found], lines)
    entries = [
        (file.service, file.instance, text)
        for file, one, part in zip(files, found, parts, strict=True)
        for text in one.texts[len(one.texts) - part :]
    ]
    places = {
        file.key: one.ends[-1] if one.ends else one.begin
        for file, one in zip(files, found, strict=True)
    }
    return LogPage(entries, _cursor(places))


def _behind(files: Sequence[_File], places: Mapping[str, int], lines: int) -> LogPage:
    """What was written behind these places; files that are not named are new."""
    entries: list[tuple[str, str, str]] = []
    reached: dict[str, int] = {}
    for file in files:
        place = places.get(file.key, 0)
        room = lines - len(entries)
        found = _read(file.path, place, room)
        entries += ((file.service, file.instance, text) for text in found.texts)
        reached[file.key] = found.ends[-1] if found.ends else found.begin
    return LogPage(entries, _cursor(reached))


def _fair(counts: Sequence[int], total: int) -> list[int]:
    """Parts of at most `total` in all, as equal as the counts allow."""
    parts = [0] * len(counts)
    for left, position in enumerate(sorted(range(len(counts)), key=lambda p: counts[p])):
        parts[position] = min(counts[position], (total - sum(parts)) // (len(counts) - left))
    return parts


def _read(path: Path, place: int | None, lines: int) -> _Lines:
    """At most `lines` lines: the first ones behind a place, or the last ones of all."""
    try:
        with open(path, "rb") as file:
            gone, start = _gone_of(file.read(_GONE_MAX))
            first = gone - start  # the place of the file's first byte, so to speak
            info = os.fstat(file.fileno())
            size = info.st_size
            if place is None:
                begin = max(start, size - READ_MAX)
            else:
                begin = max(start, place - first)
                if begin > size:
                    begin = start  # somebody else has cut it
            file.seek(begin)
            data = file.read(min(READ_MAX, size - begin))
    except OSError:
        return _Lines((), (), place or 0)
    is_settled = begin + len(data) == size and time.time() - info.st_mtime > SETTLED_S
    at = first + begin
    texts: list[str] = []
    ends: list[int] = []
    pieces = data.split(b"\n")
    rest = pieces.pop()
    for piece in pieces:
        at += len(piece) + 1
        texts.append(_shown(piece))
        ends.append(at)
    if rest and (is_settled or (not pieces and len(data) == READ_MAX)):
        texts.append(_shown(rest))
        ends.append(at + len(rest))
    if place is None and begin > start and len(texts) > 1:
        del texts[0], ends[0]  # the end of a line
    if place is None:
        keep = slice(max(0, len(texts) - lines), None)
        # Places count for all that was read, also when nothing of it is shown.
        if ends and not lines:
            return _Lines((), (), ends[-1])
    else:
        keep = slice(0, lines)
    return _Lines(texts[keep], ends[keep], first + begin)


def _shown(line: bytes) -> str:
    text = line[: 4 * LINE_MAX].decode("utf-8", "replace").rstrip("\r")
    text = _COLOUR.sub("", text)
    if len(text) > LINE_MAX:
        text = text[: LINE_MAX - 3] + "..."
    return "".join(c if c.isprintable() or c == "\t" else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


# --- cursors ---------------------------------------------------------------------------


def _cursor(places: Mapping[str, int]) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(places)).decode().rstrip("=")


def _places_of(cursor: str) -> Mapping[str, int]:
    try:
        value = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, binascii.Error):
        value = None
    if not isinstance(value, dict) or not all(_is_place(one) for one in value.values()):
        raise BadCursor("this is no place in the output; give what the last answer called `after`")
    return value


def _is_place(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 62
