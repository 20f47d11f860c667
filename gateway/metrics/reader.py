"""A region as it is read while its worker writes: what changed since the last look.

A page is compared with its last copy as a whole, so that looking at counters
that stand still costs a memory comparison and no Python objects; a page whose
records are the same ones as before costs ~20 us, most of it the comparison of
each record's cells.

Invariant: a page is either taken in whole, in a state in which no record was
being made or freed, or left for the next look; so a cell is never counted for
a key it does not belong to. Nothing a region holds makes this fail.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass, replace

from .catalogue import FINGERPRINT
from .shared import (
    H_FINGERPRINT,
    H_MAGIC,
    H_PAGES,
    H_UNRECORDED,
    MAGIC,
    PAGE,
    Key,
    Record,
    read_page,
    region_size,
)

_ATTEMPTS = 4


@dataclass(frozen=True, slots=True)
class Change:
    """A record whose cells went from `before` to `after`.

    `before` is None for a record that is new, `after` for one that is gone.
    """

    key: Key
    record: int
    """Tells it from every other record of its region, earlier ones too."""
    before: tuple[int, ...] | None
    after: tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class _Page:
    """A settled copy of a page and the live records in it.

    `places` are the words that tell whether the records are still the same: the
    `meta` of each, free ones too, and where the next would be made.
    """

    raw: bytes
    places: tuple[int, ...] = ()
    records: tuple[tuple[Key, Record], ...] = ()
    is_whole: bool = False
    """No record failed its check."""

    def has_records_of(self, raw: bytes) -> bool:
        """Is a copy of the page the same, but for the values of cells?"""
        if raw == self.raw:
            return True
        mine = memoryview(self.raw).cast("Q")
        other = memoryview(raw).cast("Q")
        return all(mine[place] == other[place] for place in self.places)

    def with_cells_of(self, raw: bytes) -> _Page | None:
        """The page as of a later copy; None if its records may have changed."""
        if self.is_whole and self.has_records_of(raw):
            return replace(self, raw=raw)
        return None


_NEVER_SEEN = _Page(b"")


class RegionReader:
    """The changes of one region. Raises BadRegion if `fd` is none."""

    def __init__(self, fd: int) -> None:
        size = region_size(fd)
        self._map = mmap.mmap(fd, size, prot=mmap.PROT_READ)
        self._words = memoryview(self._map).cast("Q")
        self._capacity = size // PAGE - 1
        self._pages: dict[int, _Page] = {}

    @property
    def unrecorded(self) -> int:
        """Series that found no room in this region."""
        return self._words[H_UNRECORDED] if self._is_known else 0

    @property
    def _is_known(self) -> bool:
        words = self._words
        return words[H_MAGIC] == MAGIC and words[H_FINGERPRINT] == FINGERPRINT

    def poll(self) -> list[Change]:
        """What changed since the last call."""
        return [change for number in self.pages() for change in self.poll_page(number)]

    def pages(self) -> list[int]:
        """The numbers of all pages to look at, those that are gone included."""
        count = self._count
        return [*range(1, count + 1), *(n for n in list(self._pages) if n > count)]

    def poll_page(self, number: int) -> list[Change]:
        """What changed in one page since it was last looked at."""
        if number > self._count:
            gone = self._pages.pop(number, _NEVER_SEEN)
            return _changes(gone, _NEVER_SEEN)
        old = self._pages.get(number, _NEVER_SEEN)
        begin = number * PAGE
        if self._map[begin : begin + PAGE] == old.raw:
            return []
        new = self._settled(begin, old)
        if new is None:
            return []
        self._pages[number] = new
        return _changes(old, new)

    @property
    def _count(self) -> int:
        return min(self._words[H_PAGES], self._capacity) if self._is_known else 0

    def _settled(self, begin: int, old: _Page) -> _Page | None:
        """The page in a state during whose copying no record was made or freed.

        That is so if the words that tell of it were the same before and after:
        `meta` words hold an incarnation, and no incarnation comes back.
        """
        for _ in range(_ATTEMPTS):
            # Three copies in a row take 3 us; looking at them must wait, or a busy
            # writer would always be faster.
            before, raw, after = (self._map[begin : begin + PAGE] for _ in range(3))
            page = old.with_cells_of(raw) or _parse(raw)
            if page.has_records_of(before) and page.has_records_of(after):
                return page
        return None


def _parse(raw: bytes) -> _Page:
    records = tuple(read_page(raw))
    places = [record.at // 8 for record in records]
    end = records[-1].at + records[-1].size if records else 0
    if end < PAGE:
        places.append(end // 8)
    live = tuple((record.key, record) for record in records if record.key is not None)
    is_whole = all(record.key is not None or record.is_free for record in records)
    return _Page(raw, tuple(places), live, is_whole)


def _changes(old: _Page, new: _Page) -> list[Change]:
    if new.records is old.records:
        return [
            Change(key, record.meta, _cells(old.raw, record), _cells(new.raw, record))
            for key, record in new.records
            if new.raw[record.cells_at : record.cells_end]
            != old.raw[record.cells_at : record.cells_end]
        ]
    changes: list[Change] = []
    known = {record.meta: (key, record) for key, record in old.records}
    for key, record in new.records:
        had = known.pop(record.meta, None)
        before = _cells(old.raw, had[1]) if had and had[0] == key else None
        after = _cells(new.raw, record)
        if before != after:
            changes.append(Change(key, record.meta, before, after))
    changes.extend(
        Change(key, record.meta, _cells(old.raw, record), None) for key, record in known.values()
    )
    return changes


def _cells(raw: bytes, record: Record) -> tuple[int, ...]:
    return struct.unpack_from(f"={record.cells}q", raw, record.cells_at)
