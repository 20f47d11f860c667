"""The link between processes: framed JSON messages over a Unix stream socket.

A frame is a 4-byte big-endian length and a JSON object of that many bytes whose
key `t` names the message (`messages.py` makes them). Both ends are the same
program in the same version, so there is no negotiation; a peer that breaks the
framing is cut off (`BrokenLink`), never guessed at.

This half knows no asyncio: the supervisor drives `Link` from its selector. The
asyncio half is `link_async.py`.

Invariants: a frame is delivered whole or not at all, in the order sent. A
reader never holds more than one frame and what one `recv` brought behind it.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Mapping
from typing import Any

import orjson

FRAME_MAX = 256 << 20
"""Bytes of one message; a snapshot of 100,000 routes is about 40 MB."""
_HEADER = 4
_CHUNK = 256 << 10

Message = dict[str, Any]
"""A received message; `message["t"]` is its type."""


class BrokenLink(Exception):  # noqa: N818 - says what happened to the link
    """The peer is gone, or does not speak the protocol. The link is of no more use."""


def encode(message: Mapping[str, object]) -> bytes:
    """The frame of a message. One frame may be sent over many links."""
    body = orjson.dumps(message, option=orjson.OPT_NON_STR_KEYS)
    if len(body) > FRAME_MAX:
        raise ValueError(f"message {message.get('t')!r} has {len(body)} bytes, at most {FRAME_MAX}")
    return len(body).to_bytes(_HEADER, "big") + body


class Decoder:
    """Bytes in, messages out."""

    __slots__ = ("_buffer", "_limit", "_need")

    def __init__(self, limit: int = FRAME_MAX) -> None:
        self._buffer = bytearray()
        self._limit = limit
        self._need = _HEADER
        """Bytes the buffer must hold before looking at it again is worth while."""

    def feed(self, data: bytes) -> list[Message]:
        """The messages that `data` completes. Raises `BrokenLink` on anything unreadable."""
        buffer = self._buffer
        buffer += data
        messages: list[Message] = []
        start = 0
        while len(buffer) - start >= self._need:
            length = int.from_bytes(buffer[start : start + _HEADER], "big")
            if length > self._limit:
                raise BrokenLink(f"a frame of {length} bytes, at most {self._limit} are allowed")
            end = start + _HEADER + length
            if len(buffer) < end:
                self._need = _HEADER + length
                break
            messages.append(_message(memoryview(buffer)[start + _HEADER : end]))
            self._need = _HEADER
            start = end
        if start:
            del buffer[:start]
        return messages

    @property
    def unfinished(self) -> bytes:
        """The part of a frame that is held."""
        return bytes(self._buffer)

    @property
    def is_between_frames(self) -> bool:
        """No part of a frame is held: the peer may end here without loss."""
        return not self._buffer


def _message(body: memoryview) -> Message:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BrokenLink(f"a frame that is no JSON: {error}") from None
    finally:
        body.release()
    if not isinstance(value, dict) or not isinstance(value.get("t"), str):
        raise BrokenLink("a frame that is no message: an object with a text `t` is expected")
    return value


class Link:
    """One end of a link for a selector loop; never blocks.

    Sending queues; call `flush` when the selector says writable while
    `wants_write`. A peer that does not read until `limit` bytes wait for it is
    treated as gone.
    """

    def __init__(
        self,
        sock: socket.socket,
        limit: int = 64 << 20,
        *,
        unread: bytes = b"",
        unsent: bytes = b"",
    ) -> None:
        """`unread` and `unsent` are what `leftover` gave for the same socket."""
        sock.setblocking(False)
        self._sock = sock
        self._decoder = Decoder()
        self._decoder.feed(unread)
        self._out: deque[memoryview] = deque([memoryview(unsent)] if unsent else [])
        self._waiting = len(unsent)
        self._limit = limit

    def fileno(self) -> int:
        """For selectors; -1 when closed."""
        return self._sock.fileno()

    @property
    def wants_write(self) -> bool:
        """Something waits to be sent."""
        return bool(self._out)

    def send(self, message: Mapping[str, object]) -> None:
        """Queue a message and send what fits. Raises `BrokenLink` when the peer is gone."""
        frame = encode(message)
        if self._waiting + len(frame) > self._limit:
            raise BrokenLink(f"the peer left {self._waiting} bytes unread")
        self._out.append(memoryview(frame))
        self._waiting += len(frame)
        self.flush()

    def flush(self) -> None:
        """Send what fits. Raises `BrokenLink` when the peer is gone."""
        while self._out:
            piece = self._out[0]
            try:
                sent = self._sock.send(piece)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                raise BrokenLink(f"sending failed: {error.strerror}") from None
            self._waiting -= sent
            if sent == len(piece):
                self._out.popleft()
            else:
                self._out[0] = piece[sent:]

    def receive(self) -> list[Message]:
        """What has arrived; [] when nothing has. Raises `BrokenLink` at the peer's end."""
        try:
            data = self._sock.recv(_CHUNK)
        except (BlockingIOError, InterruptedError):
            return []
        except OSError as error:
            raise BrokenLink(f"receiving failed: {error.strerror}") from None
        if not data:
            raise BrokenLink("the peer closed the link")
        return self._decoder.feed(data)

    def receive_rest(self) -> list[Message]:
        """All that a peer which has ended left behind; what makes no sense is dropped."""
        messages: list[Message] = []
        try:
            while data := self._sock.recv(_CHUNK):
                messages += self._decoder.feed(data)
        except (OSError, BrokenLink):
            pass
        return messages

    def leftover(self) -> tuple[bytes, bytes]:
        """The part of a frame that has arrived, and what was not sent yet."""
        return self._decoder.unfinished, b"".join(self._out)

    def close(self) -> None:
        """Close the socket; what was not sent is lost."""
        self._out.clear()
        self._waiting = 0
        self._sock.close()
