"""PROXY headers: what is valid is read, all else refused, however it arrives."""

from __future__ import annotations

import ipaddress
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.proxy.proxy_protocol import (
    V1_MAX,
    V2_MAX,
    NoProxyHeader,
    ProxyHeader,
    read_proxy_header,
)

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"


def v1(source: str, target: str = "10.0.0.1", family: str = "TCP4", ports: str = "1 2") -> bytes:
    return f"PROXY {family} {source} {target} {ports}\r\n".encode()


def v2(
    source: str, target: str, *, command: int = 0x21, kind: int | None = None, tlv: bytes = b""
) -> bytes:
    a, b = ipaddress.ip_address(source), ipaddress.ip_address(target)
    family = (0x11 if a.version == 4 else 0x21) if kind is None else kind
    body = a.packed + b.packed + struct.pack("!HH", 1, 2) + tlv
    return SIGNATURE + bytes([command, family]) + struct.pack("!H", len(body)) + body


v4 = st.ip_addresses(v=4).map(str)
v6 = st.ip_addresses(v=6).filter(lambda a: getattr(a, "ipv4_mapped", None) is None).map(str)
ports = st.integers(0, 65535)
valid = (
    st.builds(lambda s, t, p, q: (v1(s, t, "TCP4", f"{p} {q}"), s), v4, v4, ports, ports)
    | st.builds(lambda s, t, p, q: (v1(s, t, "TCP6", f"{p} {q}"), s), v6, v6, ports, ports)
    | st.builds(lambda s, t, x: (v2(s, t, tlv=x), s), v4, v4, st.binary(max_size=60))
    | st.builds(lambda s, t, x: (v2(s, t, tlv=x), s), v6, v6, st.binary(max_size=60))
    | st.builds(lambda s, t: (v2(s, t, command=0x20), None), v4, v4)
    | st.just((b"PROXY UNKNOWN\r\n", None))
    | st.just((b"PROXY UNKNOWN ffff:f...f:ffff 65535 and so on\r\n", None))
)


@settings(deadline=None)
@given(valid, st.binary(max_size=40))
def test_a_valid_header_is_read_and_what_follows_left(
    header: tuple[bytes, str | None], rest: bytes
) -> None:
    data, source = header
    assert read_proxy_header(data + rest) == ProxyHeader(len(data), source)


@settings(deadline=None)
@given(valid)
def test_a_part_of_a_valid_header_is_waited_for(header: tuple[bytes, str | None]) -> None:
    data, _ = header
    for size in range(len(data)):
        assert read_proxy_header(data[:size]) is None


def outcome(data: bytes) -> ProxyHeader | None:
    try:
        return read_proxy_header(data)
    except NoProxyHeader:
        return None


@settings(deadline=None, max_examples=300)
@given(valid, st.integers(0, 200), st.integers(0, 255), st.sampled_from(["put", "insert", "cut"]))
def test_a_header_with_one_byte_changed_means_the_same_at_every_length(
    header: tuple[bytes, str | None], place: int, byte: int, how: str
) -> None:
    """Read in pieces it is what it is in one; a refusal is never taken back."""
    data = bytearray(header[0])
    place %= len(data)
    if how == "put":
        data[place] = byte
    elif how == "insert":
        data.insert(place, byte)
    else:
        del data[place]
    whole = outcome(bytes(data))
    refused = False
    for size in range(len(data) + 1):
        try:
            found = read_proxy_header(bytes(data[:size]))
        except NoProxyHeader:
            refused = True
            continue
        assert not refused
        assert found is None or found == whole


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=300) | st.binary(max_size=200).map(lambda b: SIGNATURE + b"\x21\x11" + b))
def test_any_bytes_are_a_header_or_not_and_nothing_else_happens(data: bytes) -> None:
    outcome(data)


@pytest.mark.parametrize(
    "line",
    [
        "GET / HTTP/1.1\r\n",
        "proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n",
        "PROXY TCP4 1.2.3.04 1.2.3.4 1 2\r\n",
        "PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n",
        "PROXY TCP4 256.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP4 ::1 ::1 1 2\r\n",
        "PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
        "PROXY TCP6 [::1] ::1 1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 ¹ 2\r\n",
        "PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP4\t1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY UNKNOWN" + " " * 100 + "\r\n",
        "PROXY \r\n",
        "PROXY \n",
    ],
)
def test_what_is_no_line_of_version_1_is_refused(line: str) -> None:
    with pytest.raises(NoProxyHeader):
        read_proxy_header(line.encode())


def test_a_line_may_have_107_bytes_and_no_more() -> None:
    longest = b"PROXY UNKNOWN".ljust(V1_MAX - 2) + b"\r\n"
    assert read_proxy_header(longest) == ProxyHeader(V1_MAX, None)
    with pytest.raises(NoProxyHeader):
        read_proxy_header(longest[:-2] + b" \r\n")


@pytest.mark.parametrize(
    "header",
    [
        v2("1.2.3.4", "1.2.3.4", command=0x11),
        v2("1.2.3.4", "1.2.3.4", command=0x22),
        v2("1.2.3.4", "1.2.3.4", command=0x31),
        v2("1.2.3.4", "1.2.3.4", kind=0x12),  # datagrams
        v2("1.2.3.4", "1.2.3.4", kind=0x31),  # Unix sockets
        v2("1.2.3.4", "1.2.3.4", kind=0x41),
        v2("1.2.3.4", "1.2.3.4", kind=0x13),
        v2("1.2.3.4", "1.2.3.4", kind=0x21),  # too short for its family
        SIGNATURE + b"\x21\x11\x00\x0b" + b"\0" * 11,
        SIGNATURE + b"\x21\x11" + struct.pack("!H", V2_MAX - 15) + b"\0" * 5000,
        SIGNATURE[:-1] + b"\r",
    ],
)
def test_what_is_no_header_of_version_2_is_refused(header: bytes) -> None:
    with pytest.raises(NoProxyHeader):
        read_proxy_header(header)


def test_addresses_of_version_2_that_say_nothing_are_skipped() -> None:
    for header in (
        v2("1.2.3.4", "1.2.3.4", kind=0),
        v2("1.2.3.4", "1.2.3.4", command=0x20, kind=0x31),
        SIGNATURE + b"\x20\x00\x00\x00",
        SIGNATURE + b"\x21\x00\x00\x00",
    ):
        assert read_proxy_header(header) == ProxyHeader(len(header), None)


def test_a_mapped_address_is_told_as_the_address_it_stands_for() -> None:
    for header in (v1("::ffff:192.0.2.1", "::1", "TCP6"), v2("::ffff:192.0.2.1", "::1")):
        assert read_proxy_header(header) == ProxyHeader(len(header), "192.0.2.1")
