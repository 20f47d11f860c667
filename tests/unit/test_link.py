"""Frames between processes: whole, in order, however they are cut; and both ends of a link."""

from __future__ import annotations

import asyncio
import selectors
import socket
from collections.abc import Callable, Coroutine

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from gateway.core.snapshot import EMPTY, diff
from gateway.runtime import messages
from gateway.runtime.link import FRAME_MAX, BrokenLink, Decoder, Link, Message, encode
from gateway.runtime.link_async import AsyncLink
from gateway.runtime.settings import Settings

VALUES: st.SearchStrategy[object] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=10,
)
MESSAGES = st.lists(
    st.fixed_dictionaries({"t": st.text(max_size=5)}, optional={"a": VALUES, "b": VALUES}),
    max_size=6,
)


@given(MESSAGES, st.lists(st.integers(1, 40), min_size=1, max_size=10))
@hypothesis_settings(deadline=None, max_examples=100)
def test_messages_arrive_whole_and_in_order_however_they_are_cut(
    sent: list[Message], cuts: list[int]
) -> None:
    stream = b"".join(encode(m) for m in sent)
    decoder = Decoder()
    received: list[Message] = []
    at = turn = 0
    while at < len(stream):
        size = cuts[turn % len(cuts)]
        received += decoder.feed(stream[at : at + size])
        at, turn = at + size, turn + 1
    assert received == sent
    assert decoder.is_between_frames


def test_byte_by_byte_a_message_comes_with_its_last_byte() -> None:
    frame = encode({"t": "x", "n": 1})
    decoder = Decoder()
    for byte in frame[:-1]:
        assert decoder.feed(bytes([byte])) == []
        assert not decoder.is_between_frames
    assert decoder.feed(frame[-1:]) == [{"t": "x", "n": 1}]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"1", b"{}", b'{"t":1}', b'{"T":"x"}', b"\xff\xfe", b'{"t":"x"}x']
)
def test_a_frame_that_is_no_message_breaks_the_link(body: bytes) -> None:
    with pytest.raises(BrokenLink):
        Decoder().feed(len(body).to_bytes(4, "big") + body)


def test_an_announced_monster_is_refused_before_it_arrives() -> None:
    with pytest.raises(BrokenLink, match="at most"):
        Decoder().feed((FRAME_MAX + 1).to_bytes(4, "big"))
    with pytest.raises(BrokenLink, match="at most"):
        Decoder(limit=10).feed((11).to_bytes(4, "big"))


def test_every_message_made_here_is_encodable_and_names_its_type() -> None:
    made = [
        messages.cover({2, 1}),
        messages.drain(1.5, 30),
        messages.settings(Settings()),
        messages.reopen(),
        messages.beat(3),
        messages.ready(),
        messages.leaving(),
        messages.drained(0),
        messages.roster([], 7),
        messages.stop(),
        messages.fatal("why"),
        messages.hello(0, 1, 2, "s"),
        messages.applied(1, "s"),
        messages.ejection("i", 1.0, "UF"),
        messages.snapshot("s", diff(EMPTY, EMPTY)),
        messages.launch("i", "a/s", note={}, command=["x"], env={}, cwd=".", log="l", grace_s=1.0),
        messages.halt("i", 1.0),
        messages.processes([], []),
    ]
    received = Decoder().feed(b"".join(encode(m) for m in made))
    assert [m["t"] for m in received] == [m["t"] for m in made]
    assert {m["t"] for m in received} == set(messages.T)
    assert received[0]["slots"] == [1, 2]
    assert messages.settings_of(received[2]) == Settings()


def pair() -> tuple[Link, Link]:
    ours, theirs = socket.socketpair()
    return Link(ours), Link(theirs)


def test_a_link_never_blocks_and_delivers_what_waited_when_the_peer_reads() -> None:
    here, there = pair()
    text = "x" * 100_000
    for n in range(30):
        here.send({"t": "n", "n": n, "text": text})
    assert here.wants_write
    received: list[Message] = []
    with selectors.DefaultSelector() as selector:
        selector.register(there, selectors.EVENT_READ)
        while len(received) < 30:
            here.flush()
            if selector.select(5):
                received += there.receive()
    assert [m["n"] for m in received] == list(range(30))
    here.flush()
    assert there.receive() == []
    here.close()
    there.close()


def test_a_peer_that_does_not_read_is_given_up_at_the_limit() -> None:
    ours, theirs = socket.socketpair()
    link = Link(ours, limit=1 << 20)

    def send_much() -> None:
        for _ in range(100):
            link.send({"t": "x", "text": "x" * 100_000})

    with theirs, pytest.raises(BrokenLink, match="unread"):
        send_much()
    link.close()


def test_the_peer_s_end_is_told_after_what_it_sent() -> None:
    here, there = pair()
    here.send({"t": "last"})
    here.close()
    assert there.receive() == [{"t": "last"}]
    with pytest.raises(BrokenLink, match="closed"):
        there.receive()
    with pytest.raises(BrokenLink):
        there.send({"t": "x"})
    there.close()


def test_what_an_ended_peer_left_behind_is_read_to_the_end() -> None:
    ours, theirs = socket.socketpair()
    link = Link(ours)
    with theirs:
        theirs.sendall(encode({"t": "a"}) + encode({"t": "b"}) + b"\0\0")
    assert [m["t"] for m in link.receive_rest()] == ["a", "b"]
    link.close()


def run_pair(test: Callable[[AsyncLink, AsyncLink], Coroutine[None, None, None]]) -> None:
    """Kept free of fixtures: `test(here, there)` is a coroutine function."""

    async def main() -> None:
        ours, theirs = socket.socketpair()
        here, there = await AsyncLink.attach(ours), await AsyncLink.attach(theirs)
        try:
            await asyncio.wait_for(test(here, there), 10)
        finally:
            here.close()
            there.close()
            await asyncio.sleep(0)

    asyncio.run(main())


def test_asyncio_ends_exchange_messages_both_ways() -> None:
    async def test(here: AsyncLink, there: AsyncLink) -> None:
        for n in range(500):  # more than are held unread
            here.send({"t": "n", "n": n})
        there.send_frame(encode({"t": "back"}))
        assert [(await there.receive())["n"] for _ in range(500)] == list(range(500))
        assert await here.receive() == {"t": "back"}

    run_pair(test)


def test_a_slow_asyncio_reader_slows_the_sender_down() -> None:
    async def test(here: AsyncLink, there: AsyncLink) -> None:
        sent = 0
        while here.waiting_bytes == 0 and sent < 5000:
            here.send({"t": "x", "text": "x" * 20_000})
            sent += 1
            await asyncio.sleep(0)
        assert here.waiting_bytes > 0
        waiter = asyncio.ensure_future(here.wait_writable())
        for _ in range(sent):
            await there.receive()
        await waiter

    run_pair(test)


def test_the_asyncio_peer_s_end_is_told_after_what_it_sent() -> None:
    async def test(here: AsyncLink, there: AsyncLink) -> None:
        here.send({"t": "last"})
        await here.finish(5)
        assert await there.receive() == {"t": "last"}
        with pytest.raises(BrokenLink):
            await there.receive()
        assert not there.is_open
        there.send({"t": "dropped"})
        with pytest.raises(BrokenLink):
            await there.wait_writable()

    run_pair(test)


def test_nonsense_breaks_an_asyncio_link_and_wakes_its_reader() -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        link = await AsyncLink.attach(ours)
        waiting = asyncio.ensure_future(link.receive())
        await asyncio.sleep(0)
        with theirs:
            theirs.sendall(b"\xff\xff\xff\xff")
            with pytest.raises(BrokenLink, match="at most"):
                await asyncio.wait_for(waiting, 10)
            await link.finish(5)

    asyncio.run(main())
