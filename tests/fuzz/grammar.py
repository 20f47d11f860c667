"""Messages made from a grammar, then damaged: what hostile and careless peers send.

Most inputs are whole messages with their bodies and what follows on the connection, so that a
reader that ends a body elsewhere reads something else next. Knows no parser.

A seed makes the same inputs on every machine: only `random()` is drawn from.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """What an input is."""

    REQUEST = "request"
    ANSWER = "answer"
    BODY = "body"
    """A request, its chunked body being what is varied."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One input: all that arrives on a connection before it ends."""

    kind: Kind
    data: bytes
    method: bytes
    """What an answer answers to."""


def _spread(weighted: dict[bytes, int]) -> list[bytes]:
    return [item for item, weight in weighted.items() for _ in range(weight)]


METHODS = _spread(
    {
        b"GET": 24,
        b"POST": 24,
        b"PUT": 6,
        b"HEAD": 4,
        b"DELETE": 3,
        b"OPTIONS": 6,
        b"PATCH": 2,
        b"get": 1,
        b"PURGE": 1,
        b"BREW": 1,
        b"Q!x~": 1,
        b"CONNECT": 1,
        b"TRACE": 1,
        b"PRI": 1,
        b"SOURCE": 1,
        b"M-SEARCH": 1,
    }
)
TARGETS = _spread(
    {
        b"/": 20,
        b"/a?b=c": 12,
        b"/%2e%2E/x;y=1,2": 6,
        b"//h/x": 2,
        b"/..;/a/./b": 2,
        b"/q?a=/../b?c&d=%zz": 2,
        b'/w|{}^`\\"<>': 1,
        b"*": 3,
        b"http://h.example/x": 3,
        b"HTTP://h.example:81?q": 1,
        b"http://h.example": 2,
        b"https://h.example/": 1,
        b"http://u@h.example/": 1,
        b"http:///x": 1,
        b"h.example:443": 1,
        b"x": 1,
        b"?q": 1,
        b"/a#b": 1,
        b"/a b": 1,
        b"/\xc3\xa9": 1,
    }
)
VERSIONS = _spread(
    {
        b"HTTP/1.1": 60,
        b"HTTP/1.0": 5,
        b"HTTP/1.2": 1,
        b"HTTP/2.0": 1,
        b"HTTP/0.9": 1,
        b"http/1.1": 1,
        b"HTTP/1.10": 1,
        b"HTTP/1": 1,
        b"HTTP/01.1": 1,
        b"HTTPS/1.1": 1,
        b"ICE/1.0": 1,
        b"RTSP/1.0": 1,
    }
)
HOSTS = _spread(
    {
        b"Host: h.example": 50,
        b"host:h.example:80": 4,
        b"HOST: \tH.Example \t": 2,
        b"Host: [::1]:80": 2,
        b"Host: h.example:": 1,
        b"Host: h.example.": 1,
        b"Host: a b": 1,
        b"Host:": 1,
        b"Host: h.example\r\nHost: h.example": 1,
        b"Host: h.example\r\nHost: other": 1,
        b"Host: h.example, other": 1,
        b"Host: h/x": 1,
        b"Host: u@h": 1,
        b"Host: h:99999": 1,
        b"Host: [::1": 1,
        b"Host: [1::2::3]": 1,
        b"Host : h.example": 1,
        b"X-Host: h.example": 1,
        b" Host: h.example": 1,
    }
)
FIELDS = _spread(
    {
        b"Accept: */*": 10,
        b"X-A:b": 10,
        b"X-Empty:": 4,
        b"X-Blank: \t ": 2,
        b"X-B: \xff\xe9": 2,
        b"!#$%&'*+-.^_`|~: tchar": 3,
        b'User-Agent: fuzz/1 (a; b, c) "q"': 4,
        b"Cookie: a=1; b=2": 4,
        b"Cookie: c=3": 2,
        b"Set-Cookie: a=1; Path=/": 2,
        b"Connection: keep-alive": 4,
        b"Connection: Close": 3,
        b"Connection: close, X-A": 1,
        b"Connection: keep-alive, close": 1,
        b"Connection: close\r\nConnection: keep-alive": 1,
        b"Connection: ,, X-A ,": 1,
        b"Connection: Host, Content-Length": 1,
        b"Connection: a b": 1,
        b"Keep-Alive: timeout=5": 2,
        b"Proxy-Connection: keep-alive": 2,
        b"Upgrade: websocket\r\nConnection: Upgrade": 2,
        b"Upgrade: h2c\r\nConnection: upgrade, http2-settings\r\nHTTP2-Settings: x": 1,
        b"Upgrade: websocket": 1,
        b"Expect: 100-continue": 2,
        b"Expect: 200-ok": 1,
        b"TE: trailers": 2,
        b"Trailer: X-T": 1,
        b"Max-Forwards: 5": 1,
        b"Max-Forwards: x": 2,
        b"Via: 1.1 a": 1,
        b"X-Forwarded-For: 192.0.2.1": 1,
        b"X : y": 1,
        b"X\t: y": 1,
        b" folded": 1,
        b"X-F: a\r\n b": 1,
        b"X-F: a\r\n\tb": 1,
        b"no colon": 1,
        b": no name": 1,
        b"X[]: y": 1,
        b"X y: z": 1,
        b"X-N: a\0b": 1,
        b"X-C: a\rb": 1,
        b"X-L: a\nb: c": 1,
        b"X-D: a\x7fb": 1,
        b"X-V: a\x0bb\x01": 1,
        b"X\xe9: y": 1,
    }
)
FRAMINGS = _spread(
    {
        b"Content-Length: %d": 16,
        b"content-length:\t0%d ": 3,
        b"Transfer-Encoding: chunked": 10,
        b"transfer-encoding:Chunked": 3,
        b"Transfer-Encoding: chunked \t": 1,
        b"Transfer-Encoding:\tchunked": 1,
    }
)
"""Those that are understood; `%d` is the length."""
ODD_FRAMINGS = [
    b"Content-Length: %d, %d",
    b"Content-Length: %d\r\nContent-Length: %d",
    b"Content-Length: %d\r\nContent-Length: 1%d",
    b"Content-Length: +%d",
    b"Content-Length: -%d",
    b"Content-Length: %d_0",
    b"Content-Length: 0x%d",
    b"Content-Length: %d.0",
    b"Content-Length: ",
    b"Content-Length: 1 %d",
    b"Content-Length: \xb2",
    b"Content-Length: 1%d000000000000000000000",
    b"Content-Length: 9223372036854775808",
    b"Content-Length: 9223372036854775809",
    b"Content-Length: 18446744073709551000",
    b"Content-Length: %d;a=b",
    b"Content-Length : %d",
    b"Content_Length: %d",
    b"Content-Length: %d\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: chunked\r\nContent-Length: %d",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: chunked, gzip",
    b"Transfer-Encoding: chunked, chunked",
    b"Transfer-Encoding: ,chunked",
    b"Transfer-Encoding: chunked,",
    b"Transfer-Encoding: identity",
    b"Transfer-Encoding: gzip",
    b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding: chunkedx",
    b"Transfer-Encoding: chunked;q=1",
    b'Transfer-Encoding: "chunked"',
    b"Transfer-Encoding: \x0bchunked",
    b"Transfer-Encoding:\xa0chunked",
    b"Transfer-Encoding:",
    b"Transfer-Encoding:\r\n chunked",
    b"Transfer-Encoding : chunked",
    b"Transfer_Encoding: chunked",
    b"Transfer-Encoding: chunked\r\nConnection: Transfer-Encoding",
    b"Content-Length: %d\r\nConnection: Content-Length",
]
STATUS_LINES = _spread(
    {
        b"HTTP/1.1 200 OK": 60,
        b"HTTP/1.1 204 No Content": 4,
        b"HTTP/1.1 304 N": 4,
        b"HTTP/1.1 205 Reset": 1,
        b"HTTP/1.0 200 OK": 4,
        b"HTTP/1.1 404": 2,
        b"HTTP/1.1 404 ": 2,
        b"HTTP/1.1 500 \xe9\t!": 2,
        b"HTTP/1.1 599 x": 1,
        b"HTTP/1.1 103 Early": 3,
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK": 3,
        b"HTTP/1.1 103 Early\r\nLink: </a>\r\nX-A: b\r\n\r\nHTTP/1.1 200 OK": 2,
        b"HTTP/1.1 103 Early\r\nConnection: close\r\n\r\nHTTP/1.1 200 OK": 1,
        b"HTTP/1.1 103 Early\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK": 1,
        b"HTTP/1.1 103 Early\r\nContent-Length: 5\r\n\r\nHTTP/1.1 200 OK": 1,
        b"HTTP/1.1 101 Switch": 1,
        b"HTTP/1.1 101 Switch\r\nUpgrade: websocket\r\nConnection: Upgrade": 1,
        b"HTTP/1.2 200 OK": 1,
        b"HTTP/2.0 200 OK": 1,
        b"HTTP/1.1 20 OK": 1,
        b"HTTP/1.1 2000 OK": 1,
        b"HTTP/1.1 999 OK": 1,
        b"HTTP/1.1 099 OK": 1,
        b"HTTP/1.1  200 OK": 1,
        b"HTTP/1.1\t200 OK": 1,
        b"HTTP/1.1 200OK": 1,
        b"http/1.1 200 OK": 1,
        b"ICY 200 OK": 1,
        b"HTTP/1.1 200 a\0b": 1,
        b"\r\nHTTP/1.1 200 OK": 1,
    }
)
SIZES = [
    b"%x",
    b"%X",
    b"0%x",
    b"000000000000000%x",
    b"%x;a",
    b"%x;a=b",
    b'%x;a="b c;\\" \xe9"',
    b"%x;a;b=c",
]
ODD_SIZES = [
    b"%x ",
    b"%x\t",
    b" %x",
    b"%x ;a",
    b"%x; a = b",
    b"0x%x",
    b"+%x",
    b"-%x",
    b"%x_0",
    b"",
    b"g",
    b"%x;",
    b"%x;;",
    b"%x;a=",
    b'%x;a="b',
    b"%x;a b",
    b"%x;a\nb",
    b"%x;a\rb",
    b"%x;a\0b",
    b"%x,a",
    b"0000000000000000000000%x",
    b"fffffffffffffff%x",
    b"7ffffffffffffff%x",
    b"ffffffffffffffff%x",
    b"%x\n",
    b"%x\xe9",
]
TRAILERS = _spread(
    {
        b"": 24,
        b"X-T: v\r\n": 4,
        b"X-T:v \t\r\nX-U:\r\n": 2,
        b"Content-Length: 5\r\n": 1,
        b"Transfer-Encoding: chunked\r\n": 1,
        b"Transfer_Encoding: chunked\r\n": 1,
        b"Host: other\r\n": 1,
        b"X : y\r\n": 1,
        b" folded\r\n": 1,
        b"X-T: a\r\n b\r\n": 1,
        b"no colon\r\n": 1,
        b": no name\r\n": 1,
        b"X-T: a\rb\r\n": 1,
        b"X-T: a\nb\r\n": 1,
        b"X-T: a\0b\r\n": 1,
    }
)
CONTENT = (b"a", b"hello", b"0\r\n\r\n", b"GET /in HTTP/1.1\r\nHost: h\r\n\r\n", b"x" * 17, b"\r\n")
NEXT_REQUESTS = _spread(
    {b"": 3, b"GET /next HTTP/1.1\r\nHost: n\r\n\r\n": 6, b"\r\n": 1, b"NOISE": 1}
)
NEXT_ANSWERS = _spread({b"": 6, b"HTTP/1.1 200 Next\r\nContent-Length: 0\r\n\r\n": 3, b"NOISE": 1})
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
    b";",
    b"0",
    b"\xb2",
    b"#",
    b"\x85",
]


class _Draw:
    """Cheap draws: several for each input."""

    __slots__ = ("random",)

    def __init__(self, seed: int) -> None:
        self.random: Callable[[], float] = random.Random(seed).random

    def one(self, items: Sequence[bytes]) -> bytes:
        return items[int(self.random() * len(items))]

    def below(self, end: int) -> int:
        return int(self.random() * end)


def samples(seed: int, count: int) -> Iterator[Sample]:
    """`count` inputs; the same for the same seed."""
    draw = _Draw(seed)
    for _ in range(count):
        choice = draw.random()
        if choice < 0.45:
            yield _request(draw)
        elif choice < 0.75:
            yield _answer(draw)
        else:
            yield _body(draw)


def _request(draw: _Draw) -> Sample:
    line = b"%b %b %b" % (draw.one(METHODS), draw.one(TARGETS), draw.one(VERSIONS))
    fields, body = _fields_and_body(draw, 0.5)
    lines = [draw.one(HOSTS), *fields]
    if draw.random() < 0.3:
        lines.reverse()
    head = b"\r\n".join([line, *lines, b"", b""])
    return Sample(Kind.REQUEST, _damaged(draw, head, body, NEXT_REQUESTS), b"GET")


def _answer(draw: _Draw) -> Sample:
    method = b"HEAD" if draw.random() < 0.15 else b"GET"
    fields, body = _fields_and_body(draw, 0.2)
    if not body and draw.random() < 0.5:
        body = b"until close"
    head = b"\r\n".join([draw.one(STATUS_LINES), *fields, b"", b""])
    return Sample(Kind.ANSWER, _damaged(draw, head, body, NEXT_ANSWERS), method)


def _body(draw: _Draw) -> Sample:
    head = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = _chunks(draw, 0.25)
    if draw.random() < 0.4:
        body = _mutated(draw, body)
    return Sample(Kind.BODY, head + body + draw.one(NEXT_REQUESTS), b"GET")


def _fields_and_body(draw: _Draw, without: float) -> tuple[list[bytes], bytes]:
    fields = [draw.one(FIELDS) for _ in range(int(draw.random() ** 2 * 4))]
    choice = draw.random()
    if choice < without:
        return fields, b""
    odd = choice > 0.88
    framing = draw.one(ODD_FRAMINGS if odd else FRAMINGS)
    length = draw.below(10)
    body = b"0123456789"[:length]
    if odd:
        framing = framing.replace(b"%d", b"%d" % length)
        if b"coding" in framing and draw.random() < 0.7:
            body = _chunks(draw, 0.0)
    elif b"%" in framing:
        framing = framing % length
    else:
        body = _chunks(draw, 0.03)
    fields.insert(draw.below(len(fields) + 1), framing)
    return fields, body


def _chunks(draw: _Draw, odd: float) -> bytes:
    out = []
    for _ in range(draw.below(3)):
        data = draw.one(CONTENT)
        size = draw.one(ODD_SIZES if draw.random() < odd else SIZES)
        if b"%" in size:
            size = size.replace(b"%x", b"%x" % len(data)).replace(b"%X", b"%X" % len(data))
        out.append(size + b"\r\n" + data + b"\r\n")
    out.append(draw.one((b"0", b"0", b"0", b"00", b"0;e=1", b"0 ", b"")) if odd else b"0")
    out.append(b"\r\n" + (draw.one(TRAILERS) if draw.random() < 0.5 else b"") + b"\r\n")
    return b"".join(out)


def _damaged(draw: _Draw, head: bytes, body: bytes, following: Sequence[bytes]) -> bytes:
    choice = draw.random()
    if choice < 0.4:
        head = _mutated(draw, head)
        if choice < 0.08:
            head = _mutated(draw, head)
    data = head + body
    if choice > 0.97:
        return data[: draw.below(len(data)) + 1]
    return data + draw.one(following)


def _mutated(draw: _Draw, data: bytes) -> bytes:
    """One small damage."""
    at = draw.below(len(data))
    choice = draw.below(7)
    if choice == 0:
        return data[:at] + data[at + 1 :]
    if choice == 1:
        return data[:at] + draw.one(NOISE) + data[at:]
    if choice == 2:
        return data[:at] + bytes((draw.below(256),)) + data[at + 1 :]
    if choice == 3:
        return data[:at] + data[at : at + 1].swapcase() + data[at + 1 :]
    # the rest is done to a line: that is where messages are fragile
    end = data.find(b"\r\n", at)
    if end < 0:
        return data
    if choice == 4:
        return (
            data[:end] + draw.one((b"\n", b"\r", b"\r\r\n", b" \r\n", b"\0\r\n")) + data[end + 2 :]
        )
    if choice == 5:
        return (
            data[: end + 2] + draw.one((b" ", b"\t", b"\r\n", b"\n", b"\r", b":")) + data[end + 2 :]
        )
    colon = data.find(b":", at, end)
    if colon < 0:
        return data[:end] + draw.one(NOISE) + data[end:]
    return data[:colon] + draw.one(NOISE) + data[colon:]
