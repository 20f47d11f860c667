"""The three readers: what the gateway's codec, llhttp and h11 make of the bytes on a connection.

Each reads messages until something ends it, so that a body which ends elsewhere shows up in what
is read next.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import h11
import httptools
from h11._state import MIGHT_SWITCH_PROTOCOL  # not in __all__

from gateway.proxy.body import Body
from gateway.proxy.codec import (
    Framing,
    HeadLimits,
    Hop,
    Malformed,
    client_framing,
    parse_request,
    parse_response,
    render_interim,
    render_request,
    render_response,
)
from tests.fuzz.grammar import Kind, Sample

LIMITS = HeadLimits(65536, 128)
MOST = 3
"""Messages read of one connection."""

Fields = list[tuple[bytes, bytes]]


class End(Enum):
    """Why a reader read no further."""

    DRY = "waiting"
    """Between messages, or within one: more must come."""
    CLOSED = "closed"
    """The message before was the last one."""
    SWITCHED = "switched"
    """What follows is not HTTP any more."""
    REFUSED = "refused"


@dataclass(slots=True)
class Message:
    """One message as a reader understood it."""

    start: tuple[bytes, bytes]
    """Method and target, or status and nothing: reasons mean nothing."""
    minor: int
    fields: Fields
    """Names in lower case, in order. The gateway's: those it passes on, and Host last."""
    trailers: Fields
    body: bytes
    keep_alive: bool


@dataclass(slots=True)
class Reading:
    """All a reader made of an input."""

    messages: list[Message] = field(default_factory=list)
    end: End = End.DRY
    why: str = ""
    """Of a refusal, in the reader's words."""
    in_body: bool = False
    """It was a body that was refused."""
    sent: bytes = b""
    """The gateway's: what goes to the other side for all of these messages."""


# -- the gateway


class _Gateway:
    """As a client's or an instance's connection reads and passes on, without the connections."""

    def __init__(self, sample: Sample) -> None:
        self.method = sample.method
        self.rest = sample.data
        self.reading = Reading()
        self.is_last = False

    def request(self) -> Message | None:
        head = parse_request(self.rest, LIMITS)
        if head is None:
            return None
        self.rest = self.rest[head.size :]
        body = Body(head.framing, head.length, head.framing, 400, head.listed)
        if not self._read_body(body, 400):
            return None
        fields = _fields(head.fields)
        if not head.is_absolute and head.authority:
            fields.append((b"host", head.authority))
        start = (head.method, head.target)
        sent = render_request(head, Hop(b"192.0.2.7", b"http", b"80", False), b"1", None)
        return self._message(start, head.minor, fields, head.keep_alive, sent)

    def answer(self) -> Message | None:
        head = parse_response(self.rest, self.method, LIMITS)
        if head is None:
            return None
        if head.status == 101:
            raise Malformed(502, "101 that nobody asked for")
        self.rest = self.rest[head.size :]
        framing = client_framing(head, self.method, 1)
        body = Body(head.framing, head.length, framing, 502, head.listed)
        if not self._read_body(body, 502):
            return None
        start = (b"%d" % head.status, b"")
        self.is_last = self.is_last or not head.keep_alive
        if head.status < 200:
            sent = render_interim(head)
            return self._message(start, head.minor, _fields(head.fields), head.keep_alive, sent)
        sent = render_response(head, framing, 1, False, b"")
        return self._message(start, head.minor, _fields(head.fields), not self.is_last, sent)

    def _read_body(self, body: Body, fault: int) -> bool:
        self.sent_body, self.payload, self.trailers = b"", b"", b""
        if body.done:
            return True
        self.reading.in_body = True
        data = self.rest
        self.sent_body = body.feed(data)
        if body.framing is Framing.UNTIL_CLOSE:
            self.sent_body += body.end() or b""
            self.payload = data
        elif body.framing is Framing.CHUNKED:
            again = Body(Framing.CHUNKED, -1, Framing.NONE, fault)
            self.payload = again.feed(data)
            self.trailers = self.sent_body.rpartition(b"\r\n0\r\n")[2] if body.done else b""
        else:
            self.payload = self.sent_body
        self.rest = body.rest
        self.reading.in_body = not body.done
        return not self.reading.in_body

    def _message(
        self, start: tuple[bytes, bytes], minor: int, fields: Fields, keep_alive: bool, sent: bytes
    ) -> Message:
        self.reading.sent += sent + self.sent_body
        trailers = _fields(self.trailers)
        return Message(start, minor, fields, trailers, self.payload, keep_alive)


def read_gateway(sample: Sample) -> Reading:
    """What clients' and instances' connections read, and what they pass on."""
    gateway = _Gateway(sample)
    reading = gateway.reading
    read = gateway.answer if sample.kind is Kind.ANSWER else gateway.request
    try:
        while gateway.rest and len(reading.messages) < MOST:
            message = read()
            if message is None:
                break
            reading.messages.append(message)
            if not message.keep_alive and message.start[0][:1] != b"1":
                reading.end = End.CLOSED
                break
    except Malformed as refusal:
        reading.end, reading.why = End.REFUSED, refusal.reason
    return reading


def _fields(lines: bytes) -> Fields:
    out = []
    for line in lines.split(b"\r\n"):
        if b":" not in line:
            continue
        name, _, value = line.partition(b":")
        out.append((name.lower(), value.strip(b" \t")))
    return out


# -- llhttp


class _Events:
    """httptools' callbacks; the first message begins, as it were, before the first byte."""

    def __init__(self, kind: Kind) -> None:
        self.is_answer = kind is Kind.ANSWER
        self.parser: Any = (
            httptools.HttpResponseParser(self)
            if self.is_answer
            else httptools.HttpRequestParser(self)
        )
        self.messages: list[Message] = []
        self.on_message_begin()

    def on_message_begin(self) -> None:
        self.target = b""
        self.fields: Fields = []
        self.trailers: Fields = []
        self.body = b""
        self.in_body = False

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        to = self.trailers if self.in_body else self.fields
        to.append((name.lower(), value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        self.in_body = True

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        if len(self.messages) < MOST:
            self.messages.append(self.message(self.parser.should_keep_alive()))
        self.in_body = False

    def message(self, keep_alive: bool) -> Message:
        parser = self.parser
        if self.is_answer:
            start = (b"%d" % parser.get_status_code(), b"")
        else:
            start = (parser.get_method(), self.target)
        minor = int(parser.get_http_version()[-1:])
        return Message(start, minor, self.fields, self.trailers, self.body, keep_alive)


def read_llhttp(sample: Sample) -> Reading:
    """llhttp, as httptools sets it up. It does not know that an answer is one to HEAD."""
    events = _Events(sample.kind)
    reading = Reading(events.messages)
    try:
        events.parser.feed_data(sample.data)
    except httptools.HttpParserUpgrade:
        reading.end = End.SWITCHED
    except httptools.HttpParserError as error:
        reading.why = str(error)
        # What comes behind a last message is an error to it.
        is_over = "Connection: close" in reading.why
        reading.end = End.CLOSED if is_over else End.REFUSED
    if (
        reading.end is End.DRY
        and events.is_answer
        and events.in_body
        and len(reading.messages) < MOST
        and _lasts_until_close(events.fields)
    ):
        reading.messages.append(events.message(keep_alive=False))
        reading.end = End.CLOSED
    return reading


def _lasts_until_close(fields: Fields) -> bool:
    names = {name for name, _ in fields}
    return b"content-length" not in names and b"transfer-encoding" not in names


# -- h11

_ASKED = {
    method: h11.Request(method=method, target="/", headers=[("Host", "h")])
    for method in (b"GET", b"HEAD")
}


def _h11_connection(sample: Sample, data: bytes) -> h11.Connection:
    """A connection that expects one message."""
    if sample.kind is Kind.ANSWER:
        connection = h11.Connection(our_role=h11.CLIENT)
        connection.send(_ASKED[sample.method])
        connection.send(h11.EndOfMessage())
    else:
        connection = h11.Connection(our_role=h11.SERVER)
        data = data.lstrip(b"\r\n")  # h11 leaves empty lines before a request to its caller
    connection.receive_data(data)
    return connection


def read_h11(sample: Sample) -> Reading:
    """h11 in the other side's role: a connection for each message, or it would wait for ours."""
    reading = Reading()
    rest = sample.data
    try:
        while rest and len(reading.messages) < MOST and reading.end is End.DRY:
            connection = _h11_connection(sample, rest)
            rest = b""
            if _read_h11_message(connection, reading):
                rest = connection.trailing_data[0]
    except h11.RemoteProtocolError as error:
        reading.end, reading.why = End.REFUSED, str(error)
    return reading


def _read_h11_message(connection: h11.Connection, reading: Reading) -> bool:
    """Read one message, and interim answers before it; False if it is not complete."""
    head: h11.Request | h11.Response | None = None
    body = b""
    ended = False
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Request | h11.Response):
            head = event
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.InformationalResponse):
            reading.messages.append(_h11_message(event, event, b"", True))
        elif isinstance(event, h11.EndOfMessage):
            assert head is not None
            state = connection.their_state
            keep_alive = not ended and state is not h11.MUST_CLOSE
            reading.messages.append(_h11_message(head, event, body, keep_alive))
            if not keep_alive:
                reading.end = End.CLOSED
            elif state is MIGHT_SWITCH_PROTOCOL:
                reading.end = End.SWITCHED
            return True
        elif (
            isinstance(head, h11.Response) and not ended and _lasts_until_close(list(head.headers))
        ):
            ended = True
            connection.receive_data(b"")
        else:
            return False


def _h11_message(
    head: h11.Request | h11.Response | h11.InformationalResponse,
    end: h11.EndOfMessage | h11.InformationalResponse,
    body: bytes,
    keep_alive: bool,
) -> Message:
    if isinstance(head, h11.Request):
        start = (head.method, head.target)
    else:
        start = (b"%d" % head.status_code, b"")
    minor = int(head.http_version[-1:])
    trailers = [] if end is head else list(end.headers)
    return Message(start, minor, list(head.headers), trailers, body, keep_alive)


READERS = {"llhttp": read_llhttp, "h11": read_h11}
