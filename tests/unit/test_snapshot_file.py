"""The last published snapshot on disk: made whole, grown record by record, read only when sound."""

from __future__ import annotations

import stat
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from gateway.core.model import AffinityKey, AtZero, BalancerName, InstanceId, RouteId, ServiceId
from gateway.core.snapshot import (
    EMPTY,
    FORMAT,
    Affinity,
    Condition,
    Member,
    Snapshot,
    SnapshotInstance,
    SnapshotRoute,
    SnapshotService,
    Timeouts,
    delta_to_wire,
    diff,
)
from gateway.runtime import snapshot_file
from gateway.runtime.snapshot_file import body, read, read_header, record, write

SID = ServiceId("-/a-v1")
RID = RouteId("a.test/x")
SNAPSHOT = Snapshot(
    generation=7,
    revision=3,
    created=12.5,
    routes={
        RID: SnapshotRoute(
            RID,
            "a.test",
            "/x",
            False,
            (Member(SID, 100, 80), Member(ServiceId("-/b"), 0)),
            Affinity(True, "C", 60, AtZero.EVICT),
            Timeouts(1.0, 2.0, 3.0),
            True,
            False,
        )
    },
    services={
        SID: SnapshotService(
            SID,
            "-",
            "a-v1",
            "v1",
            BalancerName.LEAST_REQUESTS,
            (SnapshotInstance(InstanceId("i"), "::1", 80, Condition.EJECTED, {80: 8080}),),
        )
    },
    keys=(AffinityKey("k", "00" * 32, 1.0),),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "snapshot.json"


def put(path: Path, snapshot: Snapshot = SNAPSHOT) -> None:
    write(path, snapshot.generation, "s1", body(snapshot))


@pytest.mark.parametrize("snapshot", [SNAPSHOT, EMPTY])
def test_what_was_written_is_read(path: Path, snapshot: Snapshot) -> None:
    put(path, snapshot)
    assert read(path) == ("s1", snapshot)
    header = read_header(path)
    assert header is not None
    assert (header.generation, header.session) == (snapshot.generation, "s1")


def test_the_file_is_for_its_owner_alone_and_leaves_no_temporary_one(path: Path) -> None:
    put(path)
    put(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(path: Path) -> None:
    path.mkdir()  # what cannot be replaced by a file
    with pytest.raises(OSError, match="directory"):
        put(path)
    assert list(path.parent.iterdir()) == [path]


def test_no_file_is_no_snapshot(path: Path) -> None:
    assert read(path) is None
    assert read_header(path) is None


@pytest.mark.parametrize("cut", [0, 1, 20, 150, -1])
def test_a_file_cut_short_is_no_snapshot(path: Path, cut: int) -> None:
    put(path)
    path.write_bytes(path.read_bytes()[:cut])
    assert read(path) is None


NEXT = replace(SNAPSHOT, generation=9, revision=4, routes={}, keys=())
LAST = replace(NEXT, generation=10, services={})


def records() -> list[bytes]:
    """A whole snapshot and what changed twice."""
    return [
        record(0, 7, "s1", body(SNAPSHOT)),
        record(7, 9, "s1", orjson.dumps(delta_to_wire(diff(SNAPSHOT, NEXT)))),
        record(9, 10, "s1", orjson.dumps(delta_to_wire(diff(NEXT, LAST)))),
    ]


def test_a_kill_at_any_byte_leaves_all_that_was_complete_before(path: Path) -> None:
    data, ends = b"".join(records()), list(accumulate(map(len, records())))
    for cut in range(len(data) + 1):
        path.write_bytes(data[:cut])
        complete = sum(end <= cut for end in ends)
        expected = [None, SNAPSHOT, NEXT, LAST][complete]
        found, header = read(path), read_header(path)
        assert found == (None if expected is None else ("s1", expected)), cut
        if expected is not None:
            assert header is not None
            assert header.generation == expected.generation, cut


@pytest.mark.parametrize("torn", [b" ", b"\0" * 5000, b"\n\n", b"{}\n{}\n", b"x" * 9999])
def test_what_a_loss_of_power_left_behind_the_last_record_is_no_part_of_the_file(
    path: Path, torn: bytes
) -> None:
    path.write_bytes(b"".join(records()) + torn)
    assert read(path) == ("s1", LAST)


def test_a_broken_record_with_a_sound_one_behind_it_makes_the_file_none(path: Path) -> None:
    """What it held was answered; what is before must not pass for the latest."""
    first, second, third = records()
    for at in range(len(second)):
        broken = bytearray(second)
        broken[at] ^= 1
        path.write_bytes(first + broken + third)
        assert read(path) is None, at


def test_a_last_record_of_full_length_that_is_broken_makes_the_file_none(path: Path) -> None:
    """No kill leaves such a one: it may have been answered."""
    first, second, third = records()
    for at in range(third.index(b"\n") + 1, len(third)):
        broken = bytearray(third)
        broken[at] ^= 1
        path.write_bytes(first + second + broken)
        assert read(path) is None, at


@pytest.mark.parametrize(
    "second",
    [record(8, 9, "s1", b"{}"), record(7, 9, "s2", b"{}"), record(0, 9, "s1", b"{}")],
    ids=["of another base", "of another session", "a whole one"],
)
def test_a_record_that_is_not_on_top_of_the_one_before_makes_the_file_none(
    path: Path, second: bytes
) -> None:
    path.write_bytes(records()[0] + second)
    assert read(path) is None


def test_a_header_that_says_another_generation_than_its_delta_makes_the_file_none(
    path: Path,
) -> None:
    wire = orjson.dumps(delta_to_wire(diff(SNAPSHOT, NEXT)))
    path.write_bytes(records()[0] + record(7, 8, "s1", wire))
    assert read(path) is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("format", FORMAT + 1),
        ("format", None),
        ("generation", 8),
        ("generation", "7"),
        ("generation", True),
        ("length", 1),
        ("length", -1),
        ("crc32", 0),
        ("session", 5),
    ],
)
def test_a_header_that_does_not_fit_is_no_snapshot(path: Path, key: str, value: object) -> None:
    put(path)
    line, _, rest = path.read_bytes().partition(b"\n")
    path.write_bytes(orjson.dumps({**orjson.loads(line), key: value}) + b"\n" + rest)
    assert read(path) is None


@pytest.mark.parametrize(
    "text", [b"", b"\n", b"[]\n", b"{}\n", b"null\n{}", b"\xff\n", b"{" * 9999]
)
def test_something_else_is_no_snapshot(path: Path, text: bytes) -> None:
    path.write_bytes(text)
    assert read(path) is None
    assert read_header(path) is None


@pytest.mark.parametrize("made", [b"{}", b"[]", b"1", b'{"base":0}', b"{"])
def test_a_sound_header_over_a_body_that_is_none_is_no_snapshot(path: Path, made: bytes) -> None:
    write(path, 7, "s1", made)
    assert read(path) is None
    assert read_header(path) is not None


@given(st.integers(0, 400), st.integers(1, 255))
@hypothesis_settings(deadline=None, max_examples=60)
def test_one_flipped_byte_is_noticed(at: int, flip: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "snapshot.json"
        put(path)
        data = bytearray(path.read_bytes())
        at = min(at, len(data) - 1)
        data[at] ^= flip
        path.write_bytes(data)
        found = read(path)
        # The session's name is the one thing that nothing else depends on.
        assert found is None or found[1] == SNAPSHOT


def test_a_file_beyond_the_bound_is_not_read(path: Path) -> None:
    put(path)
    with open(path, "r+b") as file:
        file.truncate(snapshot_file.SIZE_MAX + 1)  # sparse
    assert read(path) is None
