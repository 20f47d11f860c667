"""WebSocket messages as the benchmark sends them, and their way there and back."""

from __future__ import annotations

import asyncio

import pytest
import uvloop

from bench.echo import Echo
from bench.frames import accept, agreed, frame, upgrade
from bench.generators import Volley
from bench.messages import talk


def test_a_key_is_answered_as_in_the_rfcs_example() -> None:
    assert accept(b"dGhlIHNhbXBsZSBub25jZQ==") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.mark.parametrize(
    ("size", "head"),
    [(125, "827d"), (126, "827e007e"), (65535, "827effff"), (65536, "827f0000000000010000")],
)
def test_frames_say_their_length_in_the_shortest_way(size: int, head: str) -> None:
    start = bytes.fromhex(head)
    assert frame(size, masked=False) == start + bytes(size)
    masked = frame(size, masked=True)
    assert len(masked) == len(start) + 4 + size
    assert masked[1] == start[1] | 0x80


def test_who_asks_for_an_upgrade_gets_it() -> None:
    assert upgrade("a.example", 7).startswith(b"GET /7 HTTP/1.1\r\nHost: a.example\r\n")
    assert agreed().startswith(b"HTTP/1.1 101 ")


@pytest.mark.parametrize("size", [1, 125, 65536])
def test_every_message_comes_back_whole(size: int) -> None:
    async def run() -> Volley:
        server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server:
            return await talk(port, "a.example", size, 3, 0.05)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        volley = runner.run(run())
    assert volley.requests >= 3
    assert volley.bad == 0


class Written(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.pieces.append(bytes(data))


@pytest.mark.parametrize("step", [1, 7, 130, 131, 132, 1000])
def test_each_message_is_sent_back_once_however_it_is_cut(step: int) -> None:
    echo, written = Echo(), Written()
    echo.connection_made(written)
    echo.data_received(upgrade("a.example", 125))
    sent = 5 * frame(125, masked=True)
    for at in range(0, len(sent), step):
        echo.data_received(sent[at : at + step])
    assert written.pieces == [agreed(), *[frame(125, masked=False)] * 5]


def test_a_health_check_is_answered() -> None:
    echo, written = Echo(), Written()
    echo.connection_made(written)
    echo.data_received(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert written.pieces[0].startswith(b"HTTP/1.1 200 ")


def test_who_does_not_talk_websocket_is_told_so() -> None:
    async def run() -> None:
        def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 503 Sorry\r\nContent-Length: 0\r\n\r\n")
            writer.close()

        server = await asyncio.start_server(refuse, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server:
            await talk(port, "a.example", 1, 1, 0.05)

    with (
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        pytest.raises(ConnectionError, match="503"),
    ):
        runner.run(run())
