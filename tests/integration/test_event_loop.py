"""The workers' event loop tells transports everything, also what comes at once."""

from __future__ import annotations

import asyncio
import os
import socket
import sys

import pytest

from gateway.runtime.poller import PolledLoop
from tests.support.plane import on_both_transports, proxied
from tests.support.wire import Peer, eventually

RESETS = """
import socket, struct, sys, time
for number in range(60):
    sock = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    sock.sendall(b"POST / HTTP/1.1\\r\\nHost: a.test\\r\\nContent-Length: 100000\\r\\n\\r\\n" + b"x" * (number * 50))
    if number % 3 == 0:
        time.sleep(0.005)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
"""


@on_both_transports
async def test_clients_that_send_and_reset_at_once_are_noticed_at_once() -> None:
    async def reads(peer: Peer) -> None:
        await peer.read_head()
        await peer.reader.readexactly(100_000)

    async with proxied(reads) as (found, origin):
        clients = await asyncio.create_subprocess_exec(
            sys.executable, "-c", RESETS, str(found.port)
        )
        assert await clients.wait() == 0
        await eventually(lambda: found.dataplane.open_connections == 0, 2)
        await eventually(lambda: origin.open == 0, 2)


def test_readers_and_writers_are_called_and_removed() -> None:
    with asyncio.Runner(loop_factory=PolledLoop) as runner:
        loop = runner.get_loop()
        ours, theirs = socket.socketpair()
        seen: list[str] = []

        async def scenario() -> None:
            loop.add_writer(ours, seen.append, "writable")
            await asyncio.sleep(0.01)
            assert "writable" in seen
            assert loop.remove_writer(ours)
            assert not loop.remove_writer(ours)
            loop.add_reader(ours.fileno(), lambda: seen.append(ours.recv(10).decode()))
            theirs.send(b"hello")
            await asyncio.sleep(0.01)
            assert seen[-1] == "hello"
            assert loop.remove_reader(ours.fileno())
            theirs.send(b"unheard")
            await asyncio.sleep(0.01)
            assert seen[-1] == "hello"

        runner.run(scenario())
        ours.close()
        theirs.close()


def test_an_exception_in_a_callback_is_told_and_the_others_go_on() -> None:
    with asyncio.Runner(loop_factory=PolledLoop) as runner:
        loop = runner.get_loop()
        told: list[str] = []
        loop.set_exception_handler(lambda _loop, what: told.append(what["message"]))
        one, other = socket.socketpair()
        third, fourth = socket.socketpair()

        async def scenario() -> None:
            loop.add_reader(one, lambda: 1 / 0)
            loop.add_reader(third, lambda: (loop.remove_reader(one), loop.remove_reader(third)))
            other.send(b"x")
            fourth.send(b"x")
            await asyncio.sleep(0.02)

        runner.run(scenario())
        assert told
        for sock in (one, other, third, fourth):
            sock.close()


def test_a_number_that_was_closed_and_given_again_is_watched_again() -> None:
    with asyncio.Runner(loop_factory=PolledLoop) as runner:
        loop = runner.get_loop()

        async def scenario() -> None:
            first, second = os.pipe()
            loop.add_reader(first, lambda: None)
            os.close(first)  # without remove_reader
            os.close(second)
            again, writer = os.pipe()
            assert again == first
            read = asyncio.Event()

            def take() -> None:
                os.read(again, 1)
                read.set()

            loop.add_reader(again, take)
            os.write(writer, b"x")
            await asyncio.wait_for(read.wait(), 2)
            loop.remove_reader(again)
            os.close(again)
            os.close(writer)

        runner.run(scenario())


def test_a_descriptor_that_cannot_be_watched_is_refused() -> None:
    with asyncio.Runner(loop_factory=PolledLoop) as runner:
        loop = runner.get_loop()
        with open(__file__) as file, pytest.raises(OSError):  # an ordinary file
            loop.add_reader(file.fileno(), lambda: None)


def test_more_at_once_than_are_taken_at_once_are_all_called() -> None:
    with asyncio.Runner(loop_factory=PolledLoop) as runner:
        loop = runner.get_loop()
        pairs = [socket.socketpair() for _ in range(400)]
        seen: list[int] = []

        def take(number: int) -> None:
            pairs[number][0].recv(1)
            seen.append(number)

        async def scenario() -> None:
            for number, (ours, theirs) in enumerate(pairs):
                loop.add_reader(ours, take, number)
                theirs.send(b"x")
            while len(seen) < len(pairs):
                await asyncio.sleep(0)

        runner.run(asyncio.wait_for(scenario(), 5))
        assert sorted(seen) == list(range(400))
        for ours, theirs in pairs:
            ours.close()
            theirs.close()


def test_who_is_always_readable_does_not_keep_others_from_their_turn() -> None:
    with asyncio.Runner(loop_factory=PolledLoop) as runner:
        loop = runner.get_loop()
        pairs = [socket.socketpair() for _ in range(20)]

        async def scenario() -> None:
            for ours, theirs in pairs:
                loop.add_reader(ours, lambda: None)  # which leaves it readable
                theirs.send(b"x")
            await asyncio.sleep(0.01)

        runner.run(asyncio.wait_for(scenario(), 5))
        for ours, theirs in pairs:
            ours.close()
            theirs.close()


def test_a_number_that_is_none_is_nobodys() -> None:
    with asyncio.Runner(loop_factory=PolledLoop) as runner:
        loop = runner.get_loop()
        assert not loop.remove_reader(-1)
        assert not loop.remove_writer(10_000)
        with pytest.raises(ValueError):
            loop.add_reader(-1, lambda: None)
