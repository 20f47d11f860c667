"""Memory in which counters outlive the worker that counts.

The supervisor makes one region per worker slot (`create_region`) and keeps its
descriptor; the slot's worker writes it (`Region`), the control process reads it
at any moment (`reader.py`), a successor opens it and goes on counting.

Form: pages of 16 KiB. Page 0 is the header; the others hold records one after
another, none crossing a page's end:

    meta   8 bytes  state (low 8 bits), scope (8), cells (16), incarnation (32)
    sizes  8 bytes  size of the record in bytes (low 32), of its key (32)
    check  8 bytes  CRC-32 over meta's upper parts and the key
    key    a JSON array of label values, padded to 8 bytes
    cells  signed 64-bit integers

Words are in native byte order and aligned. What makes reading without locks
safe:

* A record is complete before its `meta` word, a single aligned store, says
  LIVE; it is FREE before anything in it changes. A record's size never changes.
* No two LIVE records ever have the same incarnation, so that a reader who knew
  a record's predecessor notices; what fails the check is not there (yet).
* At most one process writes, and each cell by a single aligned store.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import orjson

from .catalogue import FINGERPRINT, KEYS, LAYOUTS, Scope

REGION_BYTES = 64 << 20
"""Address space of a region; memory is only taken by pages that are written."""
PAGE = 16384
LINE = 64
"""Records are multiples of a cache line."""
HEAD = 24
MAGIC = 0x31_54_4E_43_57_47
"""`GWCNT1`"""

H_MAGIC, H_FINGERPRINT, H_PAGES, H_INCARNATION, H_UNRECORDED = range(5)
"""Words of the header: `H_PAGES` counts the pages in use behind it, `H_UNRECORDED`
the series that found no room."""

_UNUSED, _FREE, _LIVE = 0, 1, 2
_WORDS = struct.Struct("=QQQ")
_LOW32 = 0xFFFFFFFF
_SCOPES = {int(scope): scope for scope in Scope}

Key = tuple[Scope, tuple[str, ...]]
"""What a record is about: its scope and the values of `KEYS[scope]`."""


class BadRegion(Exception):  # noqa: N818 - says what it is
    """A descriptor that is no region."""


class Record(NamedTuple):
    """A record found in a page; places in bytes from the page's beginning."""

    at: int
    size: int
    meta: int
    key: Key | None
    """None: free, or the check fails."""
    cells_at: int
    cells: int

    @property
    def is_free(self) -> bool:
        """Left by a series that was retired."""
        return self.meta & 0xFF == _FREE

    @property
    def cells_end(self) -> int:
        """Behind its last cell."""
        return self.cells_at + 8 * self.cells


def create_region(name: str, size: int = REGION_BYTES) -> int:
    """A fresh region's descriptor (closed on exec: pass it on explicitly). Linux only.

    Its size is sealed: a mapping of it can't be made to fault.
    """
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, size)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    return fd


def region_size(fd: int) -> int:
    """Bytes of the region behind `fd`; raises BadRegion."""
    size = os.fstat(fd).st_size
    if size < 2 * PAGE or size % PAGE:
        raise BadRegion(f"descriptor {fd} has {size} bytes: not a region of counters")
    return size


def read_page(page: bytes) -> Iterator[Record]:
    """The records of one page, up to the first thing that makes no sense."""
    at = 0
    while at <= PAGE - LINE:
        meta, sizes, check = _WORDS.unpack_from(page, at)
        state = meta & 0xFF
        size = sizes & _LOW32
        if state not in (_FREE, _LIVE) or size < LINE or size % LINE or at + size > PAGE:
            return
        cells = meta >> 16 & 0xFFFF
        key_size = sizes >> 32
        cells_at = at + HEAD + _aligned(key_size)
        key = None
        if state == _LIVE and cells_at + 8 * cells <= at + size:
            raw = page[at + HEAD : at + HEAD + key_size]
            if check == _check(meta, raw):
                key = _key(meta >> 8 & 0xFF, cells, raw)
        yield Record(at, size, meta, key, cells_at, cells)
        at += size


def _key(scope: int, cells: int, raw: bytes) -> Key | None:
    known = _SCOPES.get(scope)
    if known is None or cells != LAYOUTS[known].cells:
        return None
    try:
        values = orjson.loads(raw)
    except ValueError:
        return None
    if not isinstance(values, list) or len(values) != len(KEYS[known]):
        return None
    if set(map(type, values)) - {str}:
        return None
    return known, tuple(values)


def _check(meta: int, key: bytes) -> int:
    return zlib.crc32(key, zlib.crc32((meta >> 8).to_bytes(7, "little")))


def _aligned(size: int) -> int:
    return size + 7 & ~7


class Region:
    """A region as its one writer sees it.

    Opening continues what is there: counters keep their values, gauges begin at
    0. Contents of another layout, or garbage, are given up for an empty region.
    """

    def __init__(self, fd: int) -> None:
        """Raises BadRegion if `fd` is none. The descriptor may be closed afterwards."""
        size = region_size(fd)
        self._map = mmap.mmap(fd, size)
        view = memoryview(self._map)
        self._words = view.cast("Q")
        self._cells = view.cast("q")
        self._capacity = size // PAGE - 1
        self._records: dict[Key, int] = {}
        self._free: dict[int, list[int]] = {}
        self._tail = 0
        """Where the last page's unused rest begins; 0: it has none."""
        words = self._words
        if (
            words[H_MAGIC] != MAGIC
            or words[H_FINGERPRINT] != FINGERPRINT
            or words[H_PAGES] > self._capacity
        ):
            self._reset()
        words[H_UNRECORDED] = 0
        for page in range(1, words[H_PAGES] + 1):
            self._open_page(page * PAGE)

    def _reset(self) -> None:
        words = self._words
        words[H_MAGIC] = 0
        words[H_PAGES] = 0
        # Not 0: a reader may remember incarnations of what was here before.
        words[H_INCARNATION] = int.from_bytes(os.urandom(4), "little")
        words[H_FINGERPRINT] = FINGERPRINT
        words[H_MAGIC] = MAGIC

    def _open_page(self, begin: int) -> None:
        self._tail = 0
        end = 0
        for record in read_page(self._map[begin : begin + PAGE]):
            at = begin + record.at
            end = record.at + record.size
            if record.key is not None and record.key not in self._records:
                self._records[record.key] = at
                for cell in LAYOUTS[record.key[0]].gauges:
                    self._cells[(begin + record.cells_at) // 8 + cell] = 0
            else:
                self._set_free(at, record.size)
        if end < PAGE and self._words[(begin + end) // 8] & 0xFF == _UNUSED:
            self._tail = begin + end
            # A writer that was killed may have left half a record here.
            self._map[self._tail : begin + PAGE] = bytes(PAGE - end)

    def __iter__(self) -> Iterator[Key]:
        """What there are records of."""
        return iter(self._records)

    def take(self, scope: Scope, values: tuple[str, ...]) -> memoryview | None:
        """The cells (format `q`) of a record, made if there is none.

        None: no room, or a key that can't be written; that is counted in the header.
        """
        key = (scope, values)
        at = self._records.get(key)
        if at is None:
            at = self._make(key)
            if at is None:
                self._words[H_UNRECORDED] += 1
                return None
            self._records[key] = at
        begin = (at + HEAD + _aligned(self._words[at // 8 + 1] >> 32)) // 8
        return self._cells[begin : begin + LAYOUTS[scope].cells]

    def release(self, key: Key) -> None:
        """Free a record. Nobody may write to its cells any more."""
        at = self._records.pop(key, None)
        if at is not None:
            self._set_free(at, self._words[at // 8 + 1] & _LOW32)

    def _make(self, key: Key) -> int | None:
        scope, values = key
        try:
            raw = orjson.dumps(values)
        except TypeError:  # text that is not Unicode
            return None
        cells = LAYOUTS[scope].cells
        used = HEAD + _aligned(len(raw)) + 8 * cells
        found = self._allocate(-(-used // LINE) * LINE)
        if found is None:
            return None
        at, size = found
        words = self._words
        words[H_INCARNATION] = incarnation = words[H_INCARNATION] + 1 & _LOW32
        meta = incarnation << 32 | cells << 16 | scope << 8 | _LIVE
        words[at // 8 + 1] = len(raw) << 32 | size
        words[at // 8 + 2] = _check(meta, raw)
        self._map[at + HEAD : at + size] = raw + bytes(size - HEAD - len(raw))
        words[at // 8] = meta
        return at

    def _allocate(self, size: int) -> tuple[int, int] | None:
        # A bigger free record is used up to twice the size: versions of a
        # service come and go with names of about the same length.
        for fit in range(size, min(2 * size, PAGE) + 1, LINE):
            if self._free.get(fit):
                return self._free[fit].pop(), fit
        if size > PAGE:
            return None
        if not self._tail or self._tail % PAGE + size > PAGE:
            pages = self._words[H_PAGES]
            if pages >= self._capacity:
                return None
            if self._tail:
                self._set_free(self._tail, PAGE - self._tail % PAGE)
            self._tail = (pages + 1) * PAGE
            self._map[self._tail : self._tail + PAGE] = bytes(PAGE)
            self._words[H_PAGES] = pages + 1
        at = self._tail
        self._tail = at + size if at % PAGE + size < PAGE else 0
        return at, size

    def _set_free(self, at: int, size: int) -> None:
        words = self._words
        words[at // 8] = _FREE
        words[at // 8 + 1] = size
        self._map[at + HEAD : at + size] = bytes(size - HEAD)
        self._free.setdefault(size, []).append(at)
