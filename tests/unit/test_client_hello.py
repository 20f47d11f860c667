"""The first message of a TLS connection: what is read of it, and that nothing else breaks it."""

from __future__ import annotations

import contextlib
import ssl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.proxy.client_hello import (
    HELLO_MAX,
    RECORDS_MAX,
    TLS_1_2,
    TLS_1_3,
    Hello,
    NotTls,
    read_hello,
)


def hello(
    name: str | None = "a.test",
    protocols: list[str] | None = None,
    maximum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
) -> bytes:
    """What OpenSSL says."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.maximum_version = maximum
    if protocols is not None:
        context.set_alpn_protocols(protocols)
    out = ssl.MemoryBIO()
    tls = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name)
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return out.read()


def in_records(data: bytes, size: int) -> bytes:
    """The same message in records of `size` bytes."""
    message = data[5:]
    pieces = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(data[:3] + len(p).to_bytes(2, "big") + p for p in pieces)


def extended(*extensions: tuple[int, bytes]) -> bytes:
    """A hello with exactly these extensions."""
    body = b"\x03\x03" + bytes(32) + b"\x00" + b"\x00\x02\x13\x01" + b"\x01\x00"
    tail = b"".join(k.to_bytes(2, "big") + len(v).to_bytes(2, "big") + v for k, v in extensions)
    body += len(tail).to_bytes(2, "big") + tail
    message = b"\x01" + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x01" + len(message).to_bytes(2, "big") + message


def names(*entries: tuple[int, bytes]) -> tuple[int, bytes]:
    listed = b"".join(bytes([k]) + len(v).to_bytes(2, "big") + v for k, v in entries)
    return 0, len(listed).to_bytes(2, "big") + listed


@pytest.mark.parametrize("maximum", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_name_protocols_and_version_are_read(maximum: ssl.TLSVersion) -> None:
    found = read_hello(hello("a.test", ["h2", "http/1.1"], maximum))
    version = TLS_1_3 if maximum is ssl.TLSVersion.TLSv1_3 else TLS_1_2
    assert found == Hello(b"a.test", (b"h2", b"http/1.1"), version)


def test_what_is_not_said_is_none() -> None:
    assert read_hello(hello(None)) == Hello(None, None, TLS_1_3)
    assert read_hello(hello("10.0.0.1")) == Hello(None, None, TLS_1_3)


def test_a_hello_without_extensions_is_one() -> None:
    body = b"\x03\x02" + bytes(32) + b"\x00" + b"\x00\x02\x00\x2f" + b"\x01\x00"
    message = b"\x01" + len(body).to_bytes(3, "big") + body
    data = b"\x16\x03\x01" + len(message).to_bytes(2, "big") + message
    assert read_hello(data) == Hello(None, None, 0x0302)


@pytest.mark.parametrize(
    ("entries", "name"),
    [
        ([(0, b"A.Test")], b"a.test"),
        ([(0, b"a.test.")], b"a.test"),
        ([(7, b"x"), (0, b"a.test"), (0, b"b.test")], b"a.test"),
        ([(7, b"x")], None),
        ([(0, b"")], None),
        ([(0, b"\xff\x00")], b"\xff\x00"),
    ],
)
def test_the_first_host_name_counts(entries: list[tuple[int, bytes]], name: bytes | None) -> None:
    assert read_hello(extended(names(*entries))) == Hello(name, None, TLS_1_2)


def test_the_newest_version_counts_and_those_nobody_knows_do_not() -> None:
    versions = (43, b"\x08\x7a\x7a\x03\x02\x03\x04\x03\x03")
    assert read_hello(extended(versions)) == Hello(None, None, TLS_1_3)
    assert read_hello(extended((43, b"\x02\x7a\x7a"))) == Hello(None, None, 0)


def test_every_part_of_a_hello_says_how_much_is_needed() -> None:
    data = hello("a.test", ["http/1.1"])
    for end in range(len(data)):
        needed = read_hello(data[:end])
        assert isinstance(needed, int)
        assert end < needed <= len(data)


@pytest.mark.parametrize("size", [10, 50, 333])
def test_a_hello_in_many_records_is_the_same(size: int) -> None:
    whole = hello("a.test", ["http/1.1"])
    split = in_records(whole, size)
    assert read_hello(split) == read_hello(whole)
    for end in range(len(split)):
        needed = read_hello(split[:end])
        assert isinstance(needed, int)
        assert end < needed <= len(split)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(in_records(hello(), 1), id="more records than anybody needs"),
        pytest.param(b"\x16\x03\x01\x00\x00", id="an empty record"),
        pytest.param(b"\x16\x03\x01\x40\x01", id="a record too long"),
        pytest.param(b"\x16\x02\x01\x00\x01\x01", id="another protocol"),
        pytest.param(b"\x16\x03\x01\x00\x04\x02\x00\x00\x00", id="a server's hello"),
        pytest.param(b"\x16\x03\x01\x00\x04\x01\xff\xff\xff", id="a hello too long"),
        pytest.param(
            in_records(b"\x16\x03\x01\x00\x00\x01\x00\x7f\xf8" + bytes(HELLO_MAX - 14), 1 << 14),
            id="records up to the limit, and a hello beyond it",
        ),
        pytest.param(b"\x80\x2e\x01\x00\x02", id="SSL 2"),
        pytest.param(b"\x15\x03\x01\x00\x02\x02\x28", id="an alert"),
        pytest.param(extended((0, b"\x00\x05\x00\x00\x09abc")), id="a name beyond its end"),
        pytest.param(extended((16, b"\x00\x03\x09ab")), id="a protocol beyond its end"),
        pytest.param(extended((43, b"\x03\x03\x04\x03")), id="half a version"),
    ],
)
def test_what_is_no_hello_is_told(data: bytes) -> None:
    with pytest.raises(NotTls) as refused:
        read_hello(data)
    assert not refused.value.is_http


@pytest.mark.parametrize("data", [b"G", b"GET / HTTP/1.1\r\n", b"POST", b"OPTIONS * "])
def test_a_request_is_recognised(data: bytes) -> None:
    with pytest.raises(NotTls) as refused:
        read_hello(data)
    assert refused.value.is_http


@given(st.binary(max_size=400))
@settings(deadline=None, max_examples=300)
def test_no_bytes_do_anything_but_be_judged(data: bytes) -> None:
    for start in (b"", b"\x16\x03\x01\x00\xff\x01\x00\x00\xfb"):
        with contextlib.suppress(NotTls):
            found = read_hello(start + data)
            assert isinstance(found, Hello) or len(start + data) < found <= HELLO_MAX


@given(st.data())
@settings(deadline=None, max_examples=200)
def test_a_damaged_hello_is_judged_too(data: st.DataObject) -> None:
    whole = bytearray(in_records(hello("a.test", ["http/1.1"]), 600))
    for _ in range(data.draw(st.integers(1, 5))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(NotTls):
        read_hello(bytes(whole))


def test_the_work_for_a_hello_is_bounded() -> None:
    looks, have, data = 0, 0, in_records(hello(), 1)
    with contextlib.suppress(NotTls):
        while True:
            needed = read_hello(data[:have])
            assert isinstance(needed, int)
            looks, have = looks + 1, needed
    assert looks <= 2 * RECORDS_MAX + 1
