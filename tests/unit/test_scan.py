"""The codec's inner loops do what methods of `bytes` do, on any bytes."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.proxy import field_names, fields, scan

TEXT = st.text(alphabet="aZ09-_.:?#~ \t\r\n\x00\x7f\xff", max_size=40).map(
    lambda t: t.encode("latin-1")
)
BYTES = st.one_of(TEXT, st.binary(max_size=40))
TOKEN = re.compile(rb"[" + scan.TCHAR + rb"]*")
NAMES = st.one_of(
    st.sampled_from(sorted({*fields.REQUEST_KINDS, *fields.RESPONSE_KINDS})),
    st.text(alphabet="XFORWARDEDxforwarded-_9Hostcontelgh", max_size=20).map(str.encode),
    st.binary(max_size=20),
)


@st.composite
def pieces(draw: st.DrawFn) -> tuple[bytes, int, int]:
    data = draw(BYTES)
    at = draw(st.integers(0, len(data)))
    return data, at, draw(st.integers(at, len(data)))


@given(pieces(), st.integers(0, 255))
@settings(deadline=None, max_examples=400)
def test_places_are_those_that_bytes_find(piece: tuple[bytes, int, int], byte: int) -> None:
    data, at, end = piece
    found = data.find(bytes([byte]), at, end)
    assert scan.find_byte(data, byte, at, end) == (end if found < 0 else found)
    assert scan.piece(data, at, end) == data[at:end]
    assert scan.trimmed(data, at, end) == data[at:end].strip(b" \t")
    for find, pattern in (
        (scan.token_end, TOKEN),
        (scan.target_end, re.compile(rb"[!\"$-~]*")),
        (scan.host_end, re.compile(rb"[a-z0-9._-]*")),
    ):
        match = pattern.match(data, at, end)
        assert match is not None
        assert find(data, at, end) == match.end()


@given(
    st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"a", b"\r\n\r\n", b"bc"])), st.integers(0, 9)
)
@settings(deadline=None, max_examples=400)
def test_a_head_ends_behind_its_first_empty_line(parts: list[bytes], searched: int) -> None:
    data = b"".join(parts)
    start = min(searched, len(data))
    found = data.find(b"\r\n\r\n", max(start - 3, 0))
    assert scan.find_head_end(data, start) == (found + 4 if found >= 0 else -1)


@given(pieces())
@settings(deadline=None, max_examples=600)
def test_lines_are_counted_if_nothing_but_lines_is_there(piece: tuple[bytes, int, int]) -> None:
    data, at, end = piece
    lines = data[at:end].split(b"\r\n")
    good = all(not line.translate(None, scan.VALUE_BYTES) for line in lines)
    assert scan.count_lines(data, at, end) == (len(lines) - 1 if good else -1)


@given(st.one_of(st.integers(0, 10**20).map(lambda n: b"%d" % n), BYTES))
@settings(deadline=None)
def test_numbers_are_digits_only_and_not_too_many(data: bytes) -> None:
    good = 0 < len(data) <= 18 and all(48 <= byte <= 57 for byte in data)
    assert scan.number(data, 0, len(data)) == (int(data) if good else -1)


@given(NAMES, st.sampled_from([b":", b" :", b"", b": x: y"]))
@settings(deadline=None, max_examples=1000)
def test_a_kind_that_is_known_at_once_is_that_of_the_name(name: bytes, rest: bytes) -> None:
    line = name + rest
    for names, kinds, classify in (
        (fields.REQUEST_NAMES, fields.REQUEST_KINDS, fields.classify_request),
        (fields.RESPONSE_NAMES, fields.RESPONSE_KINDS, fields.classify_response),
    ):
        at_once = names.kind(line, 0, len(line))
        if at_once != field_names.UNKNOWN:
            found, colon, _ = line.partition(b":")
            kind = kinds.get(found)
            assert colon
            assert (classify(found) if kind is None else kind) == at_once


@pytest.mark.parametrize("name", [b"Host", b"cookie", b"CONNECTION", b"Content-Length", b"tE"])
def test_names_of_other_kinds_are_known_at_once_in_any_case(name: bytes) -> None:
    line = name + b": v"
    assert fields.REQUEST_NAMES.kind(line, 0, len(line)) == fields.REQUEST_KINDS[name.lower()]


@pytest.mark.parametrize(
    "name", [b"Content_Length", b"X-Forwarded-Any", b"X_Real_IP", b"Hos", b"HostT", b"Co-okie", b""]
)
def test_disguised_names_are_looked_up_or_plain_as_they_are(name: bytes) -> None:
    line = name + b": v"
    kind = fields.REQUEST_NAMES.kind(line, 0, len(line))
    assert kind == field_names.UNKNOWN or kind == fields.classify_request(name)


def test_plain_names_are_known_at_once_as_a_rule() -> None:
    common = (b"User-Agent", b"Accept", b"Accept-Language", b"Referer", b"Sec-Fetch-Mode", b"X-Odd")
    known = [
        name
        for name in common
        if fields.REQUEST_NAMES.kind(name + b": v", 0, len(name) + 3) == field_names.PLAIN
    ]
    assert len(known) >= len(common) - 1
