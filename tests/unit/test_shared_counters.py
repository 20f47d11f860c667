"""Counter memory: outlives its writer, can be read at any moment, survives garbage."""

from __future__ import annotations

import mmap
import os
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.metrics import shared
from gateway.metrics.catalogue import LAYOUTS, Scope
from gateway.metrics.reader import Change, RegionReader
from gateway.metrics.shared import PAGE, BadRegion, Key, Region, create_region, read_page

SMALL = 8 * PAGE
ERROR = Scope.UPSTREAM_ERROR


@contextmanager
def region(size: int = SMALL) -> Iterator[int]:
    fd = create_region("test", size)
    try:
        yield fd
    finally:
        os.close(fd)


def count(writer: Region, service: str, amount: int = 1, reason: str = "UF") -> None:
    cells = writer.take(ERROR, (service, reason))
    assert cells is not None
    cells[0] += amount


def held(reader: RegionReader) -> dict[Key, tuple[int, ...]]:
    """What a fresh look shows."""
    return {c.key: c.after for c in reader.poll() if c.after is not None}


def key(service: str) -> Key:
    return ERROR, (service, "UF")


def test_a_reader_sees_what_is_counted() -> None:
    with region() as fd:
        writer, reader = Region(fd), RegionReader(fd)
        assert reader.poll() == []
        count(writer, "-/a", 3)
        (change,) = reader.poll()
        assert (change.key, change.before, change.after) == (key("-/a"), None, (3,))
        count(writer, "-/a", 2)
        (change,) = reader.poll()
        assert (change.before, change.after) == ((3,), (5,))
        assert reader.poll() == []


def test_a_successor_goes_on_counting_where_the_dead_worker_ended() -> None:
    with region() as fd:
        count(Region(fd), "-/a", 3)
        successor = Region(fd)
        count(successor, "-/a", 4)
        count(successor, "-/b", 1)
        assert held(RegionReader(fd)) == {key("-/a"): (7,), key("-/b"): (1,)}


def test_gauges_begin_at_zero_with_a_successor_and_counters_stay() -> None:
    with region() as fd:
        values = ("r", "-", "-/a", "a")
        cells = Region(fd).take(Scope.TRAFFIC, values)
        assert cells is not None
        for i in range(len(cells)):
            cells[i] = 7
        after = Region(fd).take(Scope.TRAFFIC, values)
        assert after is not None
        gauges = LAYOUTS[Scope.TRAFFIC].gauges
        assert list(after) == [0 if i in gauges else 7 for i in range(len(after))]


def test_a_released_record_is_gone_and_its_memory_is_used_again() -> None:
    with region() as fd:
        writer, reader = Region(fd), RegionReader(fd)
        count(writer, "-/a", 5)
        reader.poll()
        for i in range(5000):  # far more than there is room for
            writer.release(key(f"-/v{i - 1}"))
            count(writer, f"-/v{i}")
        writer.release(key("-/a"))
        changes = reader.poll()
        assert {c.key: c.after for c in changes} == {key("-/a"): None, key("-/v4999"): (1,)}
        assert reader.unrecorded == 0


def test_a_reused_record_is_not_mistaken_for_its_predecessor() -> None:
    with region() as fd:
        writer, reader = Region(fd), RegionReader(fd)
        count(writer, "-/a", 5)
        reader.poll()
        writer.release(key("-/a"))
        count(writer, "-/a", 2)  # same place, same key, same size
        changes = reader.poll()
        assert [(c.before, c.after) for c in changes] == [(None, (2,)), ((5,), None)]
        assert changes[0].record != changes[1].record


def test_a_successor_reuses_what_its_predecessor_freed() -> None:
    with region() as fd:
        writer = Region(fd)
        while writer.take(ERROR, (f"-/{len(list(writer)):05}", "UF")) is not None:
            pass
        for k in list(writer):
            writer.release(k)
        count(Region(fd), "-/00000")
        assert held(RegionReader(fd)) == {key("-/00000"): (1,)}


def test_a_full_region_says_so_and_counts_what_it_refused() -> None:
    with region() as fd:
        writer, reader = Region(fd), RegionReader(fd)
        made = 0
        while writer.take(ERROR, (f"-/{made}", "UF")) is not None:
            made += 1
        assert made > 500
        assert writer.take(ERROR, ("-/more", "UF")) is None
        assert reader.unrecorded == 2
        assert len(held(reader)) == made
        assert Region(fd) is not None
        assert reader.unrecorded == 0  # a successor begins with a clean count


@pytest.mark.parametrize("name", ["x" * PAGE, "\ud800"], ids=["too long", "not Unicode"])
def test_a_key_that_cannot_be_written_is_refused_and_harms_nothing(name: str) -> None:
    with region() as fd:
        writer = Region(fd)
        assert writer.take(ERROR, (name, "UF")) is None
        count(writer, "-/a")
        assert held(RegionReader(fd)) == {key("-/a"): (1,)}


@pytest.mark.parametrize("values", [("", ""), ('"\\\n\0', "é✓"), ("x" * 9000, "y" * 5000)])
def test_any_text_is_a_key(values: tuple[str, str]) -> None:
    with region() as fd:
        assert Region(fd).take(ERROR, values) is not None
        assert list(held(RegionReader(fd))) == [(ERROR, values)]
        assert list(Region(fd)) == [(ERROR, values)]


def test_a_region_of_another_layout_is_not_read_and_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with region() as fd:
        with monkeypatch.context() as other_program:
            other_program.setattr(shared, "FINGERPRINT", 1)
            count(Region(fd), "-/a")
        reader = RegionReader(fd)
        assert reader.poll() == []
        assert reader.unrecorded == 0
        count(Region(fd), "-/b")
        assert held(reader) == {key("-/b"): (1,)}


@pytest.mark.parametrize("size", [0, 1, PAGE, 3 * PAGE + 8])
def test_a_descriptor_that_is_no_region_is_refused_by_name(size: int) -> None:
    with region(size) as fd:
        for kind in (Region, RegionReader):
            with pytest.raises(BadRegion, match=f"descriptor {fd} has {size} bytes"):
                kind(fd)


def test_the_size_of_a_region_is_sealed() -> None:
    with region() as fd:
        for size in (0, 2 * SMALL):
            with pytest.raises(PermissionError):
                os.ftruncate(fd, size)


def test_a_region_takes_memory_only_for_what_is_written() -> None:
    with region(shared.REGION_BYTES) as fd:
        count(Region(fd), "-/a")
        assert os.fstat(fd).st_blocks * 512 <= 4 * PAGE


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_garbage_hurts_neither_reader_nor_successor(data: st.DataObject) -> None:
    with region() as fd:
        writer, reader = Region(fd), RegionReader(fd)
        for i in range(data.draw(st.integers(0, 300))):
            count(writer, f"-/{i}")
        reader.poll()
        for _ in range(data.draw(st.integers(1, 8))):
            at = data.draw(st.integers(0, SMALL - 1) | st.integers(0, 2 * PAGE))
            rubbish = data.draw(st.binary(min_size=1, max_size=64))
            os.pwrite(fd, rubbish[: SMALL - at], at)
            reader.poll()
        assert reader.unrecorded >= 0
        RegionReader(fd).poll()
        successor = Region(fd)
        cells = successor.take(ERROR, ("-/new", "UF"))
        if cells is not None:
            cells[0] = 42
            assert held(RegionReader(fd))[key("-/new")] == (42,)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 200), st.lists(st.binary(min_size=1, max_size=200), max_size=3))
def test_half_a_record_left_by_a_killed_writer_is_ignored(
    records: int, halves: list[bytes]
) -> None:
    with region() as fd:
        writer = Region(fd)
        for i in range(records):
            count(writer, f"-/{i}")
        before = held(RegionReader(fd))
        for half in halves:
            # All of it written but its `meta`, which comes last.
            tail = writer._tail or (writer._words[shared.H_PAGES] + 1) * PAGE
            os.pwrite(fd, half[: PAGE - 8 - tail % PAGE], tail + 8)
            writer = Region(fd)
            count(writer, "-/0", 0)
        touched = {key("-/0"): before.get(key("-/0"), (0,))} if halves else {}
        assert held(RegionReader(fd)) == before | touched
        for i in range(records, records + 100):
            count(writer, f"-/{i}")
        assert set(held(RegionReader(fd))) >= {key(f"-/{i}") for i in range(records + 100)}


def test_what_lies_behind_half_a_record_is_not_taken_for_one() -> None:
    with region() as fd:
        writer = Region(fd)
        count(writer, "-/a", 5)
        image = os.pread(fd, 64, PAGE)
        # As if a record that begins with 64 unfinished bytes had held this text.
        os.pwrite(fd, image, PAGE + 128)
        count(Region(fd), "-/b")
        assert [c.key for c in RegionReader(fd).poll()] == [key("-/a"), key("-/b")]


def test_a_record_whose_key_was_damaged_is_not_shown() -> None:
    with region() as fd:
        count(Region(fd), "-/a")
        page = os.pread(fd, PAGE, PAGE)
        os.pwrite(fd, b"b", PAGE + page.index(b"-/a") + 2)
        assert RegionReader(fd).poll() == []


def test_cells_are_never_looked_for_outside_of_their_record() -> None:
    cells = LAYOUTS[Scope.TRAFFIC].cells
    raw = b'["","","",""]'
    meta = 1 << 32 | cells << 16 | Scope.TRAFFIC << 8 | 2
    words = (meta, len(raw) << 32 | 64, shared._check(meta, raw))
    page = struct.pack("=QQQ", 1, PAGE - 64, 0).ljust(PAGE - 64, b"\0")
    page += (struct.pack("=QQQ", *words) + raw).ljust(64, b"\0")
    assert [r.key for r in read_page(page)] == [None, None]


class Torn:
    """A mapping in which the writer acts in the middle of the n-th copy of a page."""

    def __init__(
        self, real: mmap.mmap, copy: int, at: int, backwards: bool, act: Callable[[], None]
    ) -> None:
        self._real, self._left, self._at = real, copy, at
        self._backwards, self._act = backwards, act

    def __getitem__(self, part: slice) -> bytes:
        self._left -= 1
        if self._left:
            return self._real[part]
        middle = part.start + self._at
        lower, upper = slice(part.start, middle), slice(middle, part.stop)
        if self._backwards:
            last = self._real[upper]
            self._act()
            return self._real[lower] + last
        first = self._real[lower]
        self._act()
        return first + self._real[upper]


@pytest.mark.parametrize("is_known", [False, True], ids=["new page", "known page"])
@pytest.mark.parametrize("backwards", [False, True], ids=["forwards", "backwards"])
@pytest.mark.parametrize("at", range(0, 80, 8))
@pytest.mark.parametrize("copy", range(1, 6))
def test_a_copy_torn_by_the_writer_is_not_believed(
    copy: int, at: int, backwards: bool, is_known: bool
) -> None:
    with region() as fd:
        writer, reader = Region(fd), RegionReader(fd)
        for number in (1, 2):
            count(writer, f"-/{number}", number)
        seen: dict[tuple[Key, int], bool] = {}
        if is_known:
            _check(reader.poll(), seen)
            cells = writer.take(*key("-/9"))
            assert cells is not None
            cells[0] = 9

        def replace() -> None:
            writer.release(key("-/1"))
            count(writer, "-/3", 3)

        real = reader._map
        reader._map = Torn(real, copy, at, backwards, replace)  # type: ignore[assignment]
        _check(reader.poll(), seen)
        reader._map = real
        _check(reader.poll(), seen)
        names = {k[1][0] for (k, _), is_live in seen.items() if is_live}
        assert names - {"-/9"} in ({"-/2", "-/3"}, {"-/1", "-/2"})


WRITER = """
import itertools
import select
import sys

from gateway.metrics.catalogue import Scope
from gateway.metrics.shared import Region

region = Region(int(sys.argv[1]))
keys = []
for number in itertools.count(1):
    if number % 1000 == 0 and select.select([sys.stdin], [], [], 0)[0]:
        break
    service = f"-/{number}" + "x" * (number % 50)
    key = Scope.UPSTREAM_ERROR, (service, "UF")
    cells = region.take(*key)
    assert cells is not None
    cells[0] = number
    keys.append(key)
    if len(keys) > 100:
        region.release(keys.pop(number % 100))
"""


def test_a_reader_beside_a_busy_writer_never_sees_a_mixture() -> None:
    with region() as fd:
        Region(fd)
        reader = RegionReader(fd)
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(fd)], pass_fds=[fd], stdin=subprocess.PIPE
        )
        seen: dict[tuple[Key, int], bool] = {}
        while len(seen) < 2000 and writer.poll() is None:
            _check(reader.poll(), seen)
        writer.communicate()
        assert writer.returncode == 0
        _check(reader.poll(), seen)
        assert len(seen) >= 2000
        assert sum(seen.values()) == 100  # what the writer did not release


def _check(changes: list[Change], seen: dict[tuple[Key, int], bool]) -> None:
    for change in changes:
        number = int(change.key[1][0].removeprefix("-/").rstrip("x"))
        if change.after is None:
            assert seen[change.key, change.record]
            seen[change.key, change.record] = False
        else:
            assert change.after in ((0,), (number,))
            seen[change.key, change.record] = True
