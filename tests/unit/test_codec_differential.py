"""The codec against h11 and llhttp: it must be the stricter reader.

Heads are made from a grammar and mutated. Whatever the codec accepts, the other two must accept
with the same framing; exceptions stand at their place with the reason. A fixed seed makes every
run the same.
"""

from __future__ import annotations

import random

import h11
import httptools
import pytest

from gateway.proxy.codec import (
    Framing,
    HeadLimits,
    Malformed,
    RequestHead,
    parse_request,
    parse_response,
)

LIMITS = HeadLimits(65536, 128)
INPUTS = 4000

METHODS = [b"GET", b"POST", b"PUT", b"HEAD", b"DELETE", b"OPTIONS", b"get", b"PATCH"]
TARGETS = [b"/", b"/a?b=c", b"/%2e/x;y", b"*", b"http://h.example/x", b"x", b"/a#b", b"//h/x"]
VERSIONS = [b"HTTP/1.1"] * 6 + [b"HTTP/1.0", b"HTTP/1.2", b"http/1.1"]
STATUS_LINES = [b"HTTP/1.1 200 OK"] * 6 + [
    b"HTTP/1.1 204 No Content",
    b"HTTP/1.1 304 N",
    b"HTTP/1.0 200 OK",
    b"HTTP/1.1 404",
    b"HTTP/1.1 103 Early",
    b"HTTP/1.2 200 OK",
    b"HTTP/1.1 20 OK",
]
FIELDS = [
    b"Accept: */*",
    b"X-A:b",
    b"X-Empty:",
    b"X-B: \xff\xe9",
    b"Connection: keep-alive",
    b"Connection: close",
    b"Content-Length: 5",
    b"Content-Length: 0",
    b"Content-Length: 5, 5",
    b"Content-Length: +5",
    b"content-length: 05",
    b"Transfer-Encoding: chunked",
    b"transfer-encoding: Chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: identity",
    b"Transfer_Encoding: chunked",
    b"Expect: 100-continue",
    b"Cookie: a=1",
    b"TE: trailers",
    b"X : y",
    b" folded",
]
HOSTS = [b"Host: h.example"] * 8 + [b"host:h.example:80", b"Host: [::1]", b"Host: a b", b"Host:"]
NOISE = [
    b"\r",
    b"\n",
    b"\r\n",
    b" ",
    b"\t",
    b"\0",
    b"\x0b",
    b"\x7f",
    b":",
    b",",
    b"0",
    b"\xb2",
    b"#",
]


def mutate(rng: random.Random, data: bytes) -> bytes:
    """Few small damages, so that many inputs stay acceptable."""
    for _ in range(rng.choice([0, 0, 1, 1, 2, 3])):
        at = rng.randrange(len(data) - 3)
        choice = rng.randrange(4)
        if choice == 0:
            data = data[:at] + data[at + 1 :]
        elif choice == 1:
            data = data[:at] + rng.choice(NOISE) + data[at:]
        elif choice == 2:
            data = data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]
        else:
            data = data[:at] + data[at : at + 1].swapcase() + data[at + 1 :]
    return data


def request(rng: random.Random) -> bytes:
    line = b" ".join([rng.choice(METHODS), rng.choice(TARGETS), rng.choice(VERSIONS)])
    lines = [rng.choice(HOSTS), *rng.choices(FIELDS, k=rng.randrange(4))]
    rng.shuffle(lines)
    return mutate(rng, b"\r\n".join([line, *lines, b"", b""]))


def response(rng: random.Random) -> bytes:
    lines = [rng.choice(STATUS_LINES), *rng.choices(FIELDS, k=rng.randrange(4))]
    return mutate(rng, b"\r\n".join([*lines, b"", b""]))


class Seen:
    """What llhttp made of a message."""

    def __init__(self) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.headers_complete = 0
        self.messages = 0
        self.body = b""

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self.headers_complete += 1

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.messages += 1


def body_for(framing: Framing, length: int) -> bytes:
    if framing == Framing.CHUNKED:
        return b"3\r\nabc\r\n0\r\n\r\n"
    return b"x" * max(length, 0)


def content_for(framing: Framing, length: int) -> bytes:
    return b"abc" if framing == Framing.CHUNKED else b"x" * max(length, 0)


def read_h11(data: bytes, role: type[h11.CLIENT] | type[h11.SERVER], method: bytes) -> bytes:
    """The body h11 finds; raises if it refuses the message."""
    connection = h11.Connection(our_role=role)
    if role is h11.CLIENT:
        asked = h11.Request(method=method, target="/", headers=[("Host", "h")])
        connection.send(asked)
        connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    body = b""
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            assert connection.trailing_data[0] == b""
            return body
        elif event is h11.NEED_DATA:
            connection.receive_data(b"")  # the end of a close-delimited body
        elif isinstance(event, h11.InformationalResponse):
            return body


def test_what_the_codec_accepts_of_requests_h11_and_llhttp_read_the_same() -> None:
    rng = random.Random(20240611)
    accepted = 0
    for _ in range(INPUTS):
        data = request(rng)
        try:
            head = parse_request(data, LIMITS)
        except Malformed:
            continue
        if head is None or head.size < len(data):
            continue
        accepted += 1
        body = body_for(head.framing, head.length)
        if len(body) > 100:
            continue
        content = content_for(head.framing, head.length)
        skipped = data.lstrip(b"\r\n")  # h11 leaves empty lines before a request to its caller
        assert read_h11(skipped + body, h11.SERVER, b"") == content, data
        if head.method not in METHODS or head.method == b"get":
            continue  # llhttp knows a list of methods, RFC 9110, 9.1 leaves it open
        if b"chunked\t" in data.lower():
            continue  # llhttp takes the tab for a part of the coding, RFC 9110, 5.5 for a blank
        seen = Seen()
        parser = httptools.HttpRequestParser(seen)
        parser.feed_data(data + body)
        assert (seen.headers_complete, seen.messages, seen.body) == (1, 1, content), data
        assert parser.get_method() == head.method
        assert parser.get_http_version() == f"1.{head.minor}"
        # Of `close` and `keep-alive` together llhttp takes the last, RFC 9112, 9.3 `close`; of
        # HTTP/1.0 it forgets at the end of the message.
        assert parser.should_keep_alive() or not head.keep_alive or head.minor == 0, data
    assert accepted > INPUTS // 10


def verdict_byte_by_byte(data: bytes) -> RequestHead | None:
    buffer = bytearray()
    for byte in data:
        searched = len(buffer)
        buffer.append(byte)
        head = parse_request(buffer, LIMITS, searched)
        if head is not None:
            return head
    return None


def test_a_head_has_one_verdict_however_it_is_cut() -> None:
    rng = random.Random(20240613)
    for _ in range(INPUTS // 8):
        data = request(rng)
        try:
            whole = parse_request(data, LIMITS)
        except Malformed:
            with pytest.raises(Malformed):
                verdict_byte_by_byte(data)
        else:
            part = verdict_byte_by_byte(data)
            assert (part is None) == (whole is None), data
            if part is not None and whole is not None:
                assert (part.size, part.framing, part.fields) == (
                    whole.size,
                    whole.framing,
                    whole.fields,
                )


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_what_the_codec_accepts_of_answers_h11_and_llhttp_read_the_same(method: bytes) -> None:
    rng = random.Random(20240612)
    accepted = 0
    for _ in range(INPUTS):
        data = response(rng)
        try:
            head = parse_response(data, method, LIMITS)
        except Malformed:
            continue
        if head is None or head.size < len(data) or head.status == 101:
            continue
        accepted += 1
        body = body_for(head.framing, head.length)
        if len(body) > 100:
            continue
        content = content_for(head.framing, head.length)
        if head.framing == Framing.UNTIL_CLOSE:
            body = content = b"until close"
        assert read_h11(data + body, h11.CLIENT, method) == content, data
        if method == b"HEAD" or head.framing == Framing.NONE:
            continue  # llhttp does not know what was asked
        if b"chunked\t" in data.lower():
            continue  # llhttp takes the tab for a part of the coding, RFC 9110, 5.5 for a blank
        seen = Seen()
        parser = httptools.HttpResponseParser(seen)
        parser.feed_data(data + body)
        assert (seen.headers_complete, seen.body) == (1, content), data
        assert parser.get_status_code() == head.status
        assert seen.messages == (0 if head.framing == Framing.UNTIL_CLOSE else 1)
    assert accepted > INPUTS // 10
