"""Borders of WebSocket frames are found, however the stream is cut into pieces."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.proxy.frames import CLOSE_TO_CLIENT, CLOSE_TO_SERVER, Border, Frames


@dataclass(frozen=True)
class Frame:
    opcode: int
    size: int
    fin: bool = True
    masked: bool = False
    rsv1: bool = False

    def bytes(self) -> bytes:
        first = self.opcode | (0x80 if self.fin else 0) | (0x40 if self.rsv1 else 0)
        mask = 0x80 if self.masked else 0
        if self.size < 126:
            head = bytes([first, mask | self.size])
        elif self.size < 1 << 16:
            head = bytes([first, mask | 126]) + self.size.to_bytes(2, "big")
        else:
            head = bytes([first, mask | 127]) + self.size.to_bytes(8, "big")
        # A payload full of what looks like the beginning of a Close frame.
        return head + (b"\x88\x02\x03\xe9" if self.masked else b"") + b"\x88\x02"[:1] * self.size


controls = st.builds(Frame, st.sampled_from([9, 10]), st.integers(0, 125), masked=st.booleans())
sizes = st.sampled_from([0, 1, 125, 126, 127, 300, 65535, 65536, 70000])


@st.composite
def messages(draw: st.DrawFn) -> list[Frame]:
    """A message in fragments, control frames in between."""
    masked = draw(st.booleans())
    found: list[Frame] = []
    count = draw(st.integers(1, 4))
    for n in range(count):
        found += draw(st.lists(controls, max_size=1))
        opcode = draw(st.sampled_from([1, 2])) if n == 0 else 0
        fin = n == count - 1
        found.append(Frame(opcode, draw(sizes), fin, masked, rsv1=n == 0))
    return found


streams = st.lists(messages(), min_size=1, max_size=4).map(lambda all: [f for m in all for f in m])


def borders(frames: list[Frame]) -> dict[Border, set[int]]:
    """Where a stream may be interrupted, by what was written."""
    at, inside = 0, False
    found: dict[Border, set[int]] = {Border.FRAME: {0}, Border.MESSAGE: {0}}
    for frame in frames:
        at += len(frame.bytes())
        if frame.opcode < 8:
            inside = not frame.fin
        found[Border.FRAME].add(at)
        if not inside:
            found[Border.MESSAGE].add(at)
    return found


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(c % (len(data) + 1) for c in cuts)})
    return [data[a:b] for a, b in itertools.pairwise(places)]


cuts = st.lists(st.integers(0, 1 << 20), max_size=12)


@settings(deadline=None, max_examples=150)
@given(streams, cuts)
def test_after_any_piece_it_is_known_whether_that_was_a_border(
    frames: list[Frame], places: list[int]
) -> None:
    data = b"".join(f.bytes() for f in frames)
    right = borders(frames)
    follower = Frames()
    at = 0
    for piece in pieces(data, places):
        follower.feed(piece)
        at += len(piece)
        for border in Border:
            assert follower.is_at(border) is (at in right[border])
    assert follower.is_at(Border.MESSAGE) and not follower.closed


@settings(deadline=None, max_examples=150)
@given(streams, cuts, st.sampled_from(Border), st.integers(0, 12))
def test_waiting_for_a_border_stops_at_the_first_one(
    frames: list[Frame], places: list[int], border: Border, before: int
) -> None:
    data = b"".join(f.bytes() for f in frames)
    follower = Frames()
    at = 0
    wanted = None
    for number, piece in enumerate(pieces(data, places)):
        if number < before:
            follower.feed(piece)
            at += len(piece)
            continue
        if wanted is None:
            wanted = min(b for b in borders(frames)[border] if b >= at)
        used = follower.feed_until(border, piece)
        at += used
        if follower.is_at(border):
            assert at == wanted
            return
        assert used == len(piece)
    assert wanted is None or wanted == len(data) == at


def test_a_stream_of_single_bytes_has_the_same_borders() -> None:
    frames = [Frame(1, 70000, masked=True), Frame(9, 0), Frame(2, 126), Frame(2, 125)]
    follower = Frames()
    found = {0}
    for at, byte in enumerate(b"".join(f.bytes() for f in frames), 1):
        follower.feed(bytes([byte]))
        if follower.is_at(Border.FRAME):
            found.add(at)
    assert found == borders(frames)[Border.FRAME]


@pytest.mark.parametrize("close", [CLOSE_TO_CLIENT, CLOSE_TO_SERVER, b"\x88\x00"])
def test_a_close_frame_is_noticed_with_its_first_two_bytes(close: bytes) -> None:
    follower = Frames()
    follower.feed(Frame(1, 5).bytes() + close[:1])
    assert not follower.closed
    follower.feed(close[1:2])
    assert follower.closed


def test_what_is_no_stream_of_frames_does_no_harm() -> None:
    follower = Frames()
    follower.feed(b"GET / HTTP/1.1\r\n" * 1000 + bytes(range(256)) * 10)
    assert follower.feed_until(Border.FRAME, b"x" * 1000) <= 1000


def test_the_gateways_own_frames_are_whole_frames() -> None:
    for close in (CLOSE_TO_CLIENT, CLOSE_TO_SERVER):
        follower = Frames()
        follower.feed(close)
        assert follower.is_at(Border.MESSAGE)
    assert CLOSE_TO_SERVER[1] & 0x80
    assert not CLOSE_TO_CLIENT[1] & 0x80


@pytest.mark.parametrize("size", [(1 << 62) - 1, 1 << 62, 1 << 63, (1 << 64) - 1])
@pytest.mark.parametrize("masked", [False, True])
def test_a_frame_that_says_it_is_longer_than_any_stream_never_ends(size: int, masked: bool) -> None:
    head = bytes([0x82, 127 | (0x80 if masked else 0)]) + size.to_bytes(8, "big")
    frames = Frames()
    frames.feed(bytes([0x82, 1]) + b"x" + head[:5])
    frames.feed(head[5:])
    for _ in range(3):
        assert frames.feed_until(Border.FRAME, b"\x88\x02" * 500) == 1000
        assert not frames.is_at(Border.FRAME)
    assert not frames.closed
