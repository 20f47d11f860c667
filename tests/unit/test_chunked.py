"""The chunked coding: what is decoded, what is refused, what it costs."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.proxy.chunked import LAST_CHUNK, ChunkedDecoder, encode_chunk, last_chunk
from gateway.proxy.codec import HeadLimits, Malformed


def feed(decoder: ChunkedDecoder, pieces: Iterable[bytes]) -> bytes:
    return b"".join(decoder.feed(piece) for piece in pieces)


def decode(*pieces: bytes) -> tuple[bytes, ChunkedDecoder]:
    decoder = ChunkedDecoder()
    return feed(decoder, pieces), decoder


def one_by_one(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


BODY = (
    b'5\r\nhello\r\n1;a;b=c\r\n \r\n00A;q="x \\" ;y"\r\n0123456789\r\n'
    b"0;last\r\nX-T: \t1 \r\nHost: 9\r\nx-u:2\r\n\r\n"
)
REST = b"GET / HTTP/1.1\r\n"
PAYLOAD = b"hello 0123456789"
TRAILERS = b"X-T: 1\r\nx-u: 2\r\n"


def check(payload: bytes, decoder: ChunkedDecoder) -> None:
    assert payload == PAYLOAD
    assert decoder.done
    assert (decoder.trailers, decoder.rest) == (TRAILERS, REST)


def test_a_body_is_decoded_however_it_is_cut() -> None:
    data = BODY + REST
    check(*decode(data))
    check(*decode(*one_by_one(data)))
    for cut in range(len(data) + 1):
        check(*decode(data[:cut], data[cut:]))
        check(*decode(data[:cut], data[cut : cut + 1], data[cut + 1 :]))


def test_nothing_is_done_before_the_last_byte() -> None:
    for cut in range(len(BODY)):
        assert not decode(BODY[:cut])[1].done


def test_payload_is_given_as_soon_as_it_comes() -> None:
    decoder = ChunkedDecoder()
    assert decoder.feed(b"a\r\nhel") == b"hel"
    assert decoder.feed(b"lo") == b"lo"
    assert decoder.feed(b"") == b""
    assert decoder.feed(b"world\r\n") == b"world"


def test_a_piece_inside_a_chunk_is_not_copied() -> None:
    decoder = ChunkedDecoder()
    decoder.feed(b"10000\r\n")
    piece = bytes(1000)
    assert decoder.feed(piece) is piece


@pytest.mark.parametrize(
    "data",
    [
        # RFC 9112, 7.1: sizes
        b"0x5\r\nhello\r\n",
        b"0_5\r\nhello\r\n",
        b"+5\r\nhello\r\n",
        b"-1\r\nhello\r\n",
        b" 5\r\nhello\r\n",
        b"5 \r\nhello\r\n",
        b"5\t\r\nhello\r\n",
        b"5 5\r\nhello\r\n",
        b"g\r\nhello\r\n",
        b"\r\n\r\n",
        b"\xb2\r\nxx\r\n",
        b"FFFFFFFFFFFFFFED5\r\nhello\r\n",
        b"00000000000000005\r\nhello\r\n",
        b"8000000000000000\r\nhello\r\n",
        b"7fffffffffffffff\r\nhello\r\n",
        b"4000000000000000\r\nhello\r\n",
        # line ends
        b"5\nhello\r\n",
        b"5\r\nhello\n0\r\n\r\n",
        b"5\rhello\r\n",
        b"5\r\r\nhello\r\n",
        b"5\r\nhelloXX0\r\n\r\n",
        b"5\r\nhello!\r\n",
        b"5\r\nhello\r!",
        b"5\r\nhell\r\n0\r\n\r\n",
        b"0\r\n\n",
        b"0\r\n\r\r",
        # 7.1.1: extensions
        b"5;\r\nhello\r\n",
        b"5;a\nhello\r\n",
        b"2;\nxx\r\n",
        b"5;a\rb\r\nhello\r\n",
        b"5\r\r;a\r\nhello\r\n",
        b"5;\0x\r\nhello\r\n",
        b"5;a=\r\nhello\r\n",
        b"5;a b\r\nhello\r\n",
        b'5;a="b\r\nhello\r\n',
        b'5;a="\x7f"\r\nhello\r\n',
        b"5,a\r\nhello\r\n",
        b"5 ;a\r\nhello\r\n",
        b"5; a\r\nhello\r\n",
        b"5;a =b\r\nhello\r\n",
        b"5;a=\tb\r\nhello\r\n",
        b"5;a \r\nhello\r\n",
        # 7.1.2: trailers
        b"0\r\nX\r\n\r\n",
        b"0\r\n: x\r\n\r\n",
        b"0\r\nX : y\r\n\r\n",
        b"0\r\n X: y\r\n\r\n",
        b"0\r\nX: y\r\n z\r\n\r\n",
        b"0\r\nX: a\0\r\n\r\n",
        b"0\r\nX: a\rb\r\n\r\n",
        b"0\r\nX: a\nY: b\r\n\r\n",
        b"0\r\nGET / HTTP/1.1\r\n\r\n",
    ],
)
def test_refused(data: bytes) -> None:
    for pieces in ([data], one_by_one(data)):
        decoder = ChunkedDecoder(status=502)
        with pytest.raises(Malformed) as refusal:
            feed(decoder, pieces)
        assert refusal.value.status == 502
        assert not decoder.done
        with pytest.raises(Malformed):
            decoder.feed(b"\r\n0\r\n\r\n")


def test_what_can_never_become_a_size_is_refused_before_its_line_ends() -> None:
    for data in (b"g", b"5x", b"5;\0", b"5\rx"):
        with pytest.raises(Malformed):
            ChunkedDecoder().feed(data)


def test_extensions_are_bounded() -> None:
    for data in (
        b"1;" + b"x" * 5000,
        b"1;" + b"x" * 5000 + b"\r\na\r\n",
        (b"1;" + b"x" * 1024 + b"\r\na\r\n") * 2000,
    ):
        with pytest.raises(Malformed):
            ChunkedDecoder().feed(data)
    assert decode(b"1;" + b"x" * 4000 + b"\r\na\r\n" + LAST_CHUNK)[0] == b"a"


def test_trailers_are_bounded() -> None:
    limits = HeadLimits(1024, 4)
    for data in (
        b"X: " + b"v" * 1100,
        b"X: " + b"v" * 1100 + b"\r\n\r\n",
        (b"X: " + b"v" * 500 + b"\r\n") * 3,
        b"X: y\r\n" * 5,
    ):
        for pieces in ([b"0\r\n", data], one_by_one(b"0\r\n" + data)):
            decoder = ChunkedDecoder(limits=limits)
            with pytest.raises(Malformed):
                feed(decoder, pieces)


@pytest.mark.parametrize(
    "name",
    [
        b"Host",
        b"Authorization",
        b"Cookie",
        b"Set-Cookie",
        b"Connection",
        b"Trailer",
        b"X-Forwarded-For",
        b"X_Forwarded_Proto",
        b"Forwarded",
        b"X-Gateway-Service",
        b"Sec-WebSocket-Key",
    ],
)
def test_fields_a_trailer_must_not_hold_are_dropped(name: bytes) -> None:
    _, decoder = decode(b"0\r\nA: 1\r\n" + name + b": x\r\nB: 2\r\n\r\n")
    assert decoder.trailers == b"A: 1\r\nB: 2\r\n"


@pytest.mark.parametrize("name", [b"Content-Length", b"content_length", b"Transfer-Encoding"])
def test_framing_in_trailers_is_refused_of_clients_and_dropped_of_instances(name: bytes) -> None:
    """A reader that merges trailers would frame the message anew (RFC 9110, 6.5.1)."""
    data = b"0\r\nA: 1\r\n" + name + b": 5\r\n\r\n"
    with pytest.raises(Malformed):
        ChunkedDecoder(status=400).feed(data)
    decoder = ChunkedDecoder(status=502)
    decoder.feed(data)
    assert decoder.trailers == b"A: 1\r\n"


def test_trailers_that_connection_listed_end_here() -> None:
    decoder = ChunkedDecoder(listed=frozenset({b"x-hop"}))
    decoder.feed(b"0\r\nX-Hop: 1\r\nX-End: 2\r\n\r\n")
    assert decoder.trailers == b"X-End: 2\r\n"


def test_encoding() -> None:
    assert encode_chunk(b"x" * 26) == b"1a\r\n" + b"x" * 26 + b"\r\n"
    assert encode_chunk(b"") == b""
    assert last_chunk() == LAST_CHUNK
    assert last_chunk(b"X-T: 1\r\n") == b"0\r\nX-T: 1\r\n\r\n"


@settings(deadline=None, max_examples=100)
@given(st.lists(st.binary(max_size=30)), st.lists(st.integers(0, 400)), st.binary(max_size=9))
def test_what_is_encoded_is_decoded_however_it_is_cut(
    parts: list[bytes], cuts: list[int], rest: bytes
) -> None:
    data = b"".join(encode_chunk(part) for part in parts) + last_chunk(b"X-T: 1\r\n") + rest
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    payload, decoder = decode(*(data[a:b] for a, b in itertools.pairwise(places)))
    assert payload == b"".join(parts)
    assert decoder.done
    assert (decoder.rest, decoder.trailers) == (rest, b"X-T: 1\r\n")


def verdict(pieces: list[bytes]) -> tuple[bytes, bool, bytes, bytes] | None:
    try:
        payload, decoder = decode(*pieces)
    except Malformed:
        return None
    return payload, decoder.done, decoder.trailers, decoder.rest


@settings(deadline=None, max_examples=300)
@given(
    st.integers(0, len(BODY) - 1),
    st.sampled_from(
        [b"", b"\r", b"\n", b"\r\n", b" ", b"\t", b";", b"0", b"f", b"\0", b"\xff", b'"']
    ),
    st.integers(0, 2),
)
def test_a_damaged_body_has_one_verdict_however_it_is_cut(at: int, put: bytes, take: int) -> None:
    data = BODY[:at] + put + BODY[at + take :]
    whole = verdict([data])
    assert verdict(one_by_one(data)) == whole
    assert verdict([data[:at], data[at:]]) == whole


def test_many_tiny_chunks_cost_little() -> None:
    """20,000 chunks took 0.012 s whole and 0.08 s byte by byte."""
    data = b"1\r\na\r\n" * 20000 + LAST_CHUNK
    began = time.perf_counter()
    assert decode(data)[0] == b"a" * 20000
    assert decode(*one_by_one(data))[0] == b"a" * 20000
    assert time.perf_counter() - began < 2
