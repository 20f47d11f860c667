"""Answers of instances: relayed with one end, refused when they have two, never another's."""

from __future__ import annotations

import asyncio
import gzip
import random

import pytest

from gateway.proxy.attempt import INTERIM_ANSWERS
from tests.support.plane import chunked, get, on_both_transports, post, proxied
from tests.support.recorder import statuses
from tests.support.wire import Peer, Script, eventually

OK = b"HTTP/1.1 200 OK\r\n"


def answering(*pieces: bytes, close: bool = False) -> Script:
    """Answers every request with these bytes, each piece in a segment of its own."""

    async def serve(peer: Peer) -> None:
        while True:
            await peer.request()
            for piece in pieces:
                await peer.send(piece)
                await asyncio.sleep(0)
            if close:
                return

    return serve


SPLIT = b"HTTP/1.1 200 Split\r\nContent-Length: 5\r\n\r\nsplit"
REFUSED = [
    OK + b"X: a\rSet-Cookie: evil=1\r\nContent-Length: 0\r\n\r\n",
    OK + b"X: a\nSet-Cookie: evil=1\r\nContent-Length: 0\r\n\r\n",
    OK + b"X: a\r\n\rSet-Cookie: evil=1\r\nContent-Length: 0\r\n\r\n",
    OK + b"X: a\0\r\nContent-Length: 0\r\n\r\n",
    OK + b"X: a\r\n Set-Cookie: evil=1\r\nContent-Length: 0\r\n\r\n",
    OK + b"X : a\r\nContent-Length: 0\r\n\r\n",
    OK + b"X\r\nContent-Length: 0\r\n\r\n",
    OK + b": a\r\nContent-Length: 0\r\n\r\n",
    OK + b"Content-Length: 0\n\n" + SPLIT,
    OK + b"Content-Length: 0\r\n\n" + SPLIT,
    OK + b"Content-Length: 0\r\nContent-Length: 5\r\n\r\n" + SPLIT,
    OK + b"Content-Length: 0, 0\r\n\r\n",
    OK + b"Content-Length: +0\r\n\r\n",
    OK + b"Content-Length:\r\n\r\n" + SPLIT,
    OK + b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SPLIT,
    OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    OK + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    OK + b"Transfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n",
    OK + b"Transfer-Encoding: gzip\r\n\r\n0\r\n\r\n",
    b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200\rOK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 O\0K\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 2OO OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 +20 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 999 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/2 200\r\nContent-Length: 0\r\n\r\n",
    b"\r\n" + OK + b"Content-Length: 0\r\n\r\n",
    b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    b"HTTP/1.1 103 Early\r\nContent-Length: 83\r\n\r\n" + SPLIT,
    b"HTTP/1.1 100 Continue\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SPLIT,
    b"HTTP/1.1 103 Early\r\nX: a\rb\r\n\r\n" + SPLIT,
]


@on_both_transports
async def test_an_answer_with_two_readings_is_502_and_nothing_of_it_gets_through() -> None:
    for answer in REFUSED:
        async with proxied(answering(answer)) as (plane, origin):
            client = await plane.client()
            said = await client.ask(get())
            assert said.status == 502, answer
            assert b"evil" not in said.head and b"split" not in said.body, answer
            # not repeated, the client's connection goes on, the other one is not used again
            assert (await client.ask(get())).status == 502, answer
            assert origin.connections == 2, answer


@on_both_transports
async def test_what_follows_an_answer_is_nobodys() -> None:
    for framed in (
        OK + b"Content-Length: 2\r\n\r\nok" + SPLIT,
        OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n" + SPLIT,
        b"HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\nsplit",
        b"HTTP/1.1 204 No\r\n\r\n" + SPLIT,
        b"HTTP/1.1 304 No\r\nContent-Length: 5\r\n\r\nsplit",
        b"HTTP/1.1 304 No\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nsplit\r\n0\r\n\r\n",
        b"HTTP/1.1 205 Reset\r\nContent-Length: 0\r\n\r\n" + SPLIT,
    ):
        async with proxied(answering(framed)) as (plane, origin):
            client = await plane.client()
            for _ in range(3):
                said = await client.ask(get())
                assert said.status != 502 and said.body in (b"", b"ok"), framed
            assert origin.connections == 3, framed


@on_both_transports
async def test_a_broken_chunk_cuts_the_answer_visibly() -> None:
    head = OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n"
    for rest in (
        b"0x2\r\nno\r\n0\r\n\r\n",
        b"2 \r\nno\r\n0\r\n\r\n",
        b"2;a\nb\r\nno\r\n0\r\n\r\n",
        b"2\r\nnoX0\r\n\r\n",
        b"7FFFFFFFFFFFFFFF\r\nno\r\n0\r\n\r\n",
        b"0\r\nX: a\rb\r\n\r\n",
    ):
        async with proxied(answering(head, rest)) as (plane, _):
            client = await plane.client()
            await client.send(get())
            said = await client.closed()
            assert not said.endswith(b"0\r\n\r\n"), rest
            assert b"no" not in said.partition(b"\r\n\r\n")[2].replace(b"ok", b""), rest


@on_both_transports
async def test_interim_answers_are_forwarded_one_after_the_other() -> None:
    interims = [
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 102 Processing\r\nX-Left: 9\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nConnection: x-hop\r\nX-Hop: 1\r\n\r\n",
        b"HTTP/1.1 199 Odd\r\n\r\n",
    ]
    script = answering(*interims, OK + b"Content-Length: 2\r\n\r\nok")
    async with proxied(script) as (plane, origin):
        client = await plane.client()
        for _ in range(2):
            await client.send(get())
            heads = [await client.read_head() for _ in interims]
            assert [h.status for h in heads] == [100, 102, 103, 199]
            assert heads[2].fields == [(b"Link", b"</a.css>; rel=preload")]
            assert (await client.answer()).body == b"ok"
        assert origin.connections == 1
        old = await plane.client()
        await old.send(b"GET / HTTP/1.0\r\nHost: a.test\r\n\r\n")
        assert statuses(await old.closed()) == [200]


@on_both_transports
async def test_a_flood_of_interim_answers_is_no_answer() -> None:
    interim = b"HTTP/1.1 102 Processing\r\n\r\n"
    for pieces in ([interim * 10_000], [interim] * (INTERIM_ANSWERS + 1)):
        async with proxied(answering(*pieces)) as (plane, origin):
            client = await plane.client()
            await client.send(get())
            for _ in range(INTERIM_ANSWERS):
                assert (await client.read_head()).status == 102
            assert (await client.answer()).status == 502
            assert origin.connections == 1
            await eventually(lambda origin=origin: origin.open == 0)  # type: ignore[misc]


@on_both_transports
async def test_close_in_an_interim_answer_holds_for_the_final_one() -> None:
    script = answering(
        b"HTTP/1.1 103 Early\r\nConnection: close\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nok"
    )
    async with proxied(script) as (plane, origin):
        client = await plane.client()
        assert (await client.ask(get())).body == b"ok"
        assert (await client.ask(get())).body == b"ok"
        assert origin.connections == 2


@on_both_transports
async def test_an_answer_that_ends_with_the_connection_comes_whole_to_either_version() -> None:
    body = random.Random(1).randbytes(100_000)
    for head in (OK + b"\r\n", b"HTTP/1.0 200 OK\r\n\r\n", OK + b"Connection: close\r\n\r\n"):
        async with proxied(answering(head, body, close=True)) as (plane, _):
            client = await plane.client()
            for _ in range(2):  # of HTTP/1.1: the connection goes on
                said = await client.ask(get())
                assert said.get(b"transfer-encoding") == b"chunked"
                assert said.body == body
            old = await plane.client()
            await old.send(b"GET / HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n")
            said = await old.answer()
            assert said.get(b"transfer-encoding") is None
            assert said.get(b"connection") == b"close"
            assert said.body == body


@on_both_transports
async def test_http10_clients_get_lengths_and_keep_what_they_asked_to_keep() -> None:
    async with proxied(answering(OK + b"Content-Length: 2\r\n\r\nok")) as (plane, _):
        client = await plane.client()
        for _ in range(3):
            await client.send(b"GET / HTTP/1.0\r\nHost: a.test\r\nConnection: Keep-Alive\r\n\r\n")
            said = await client.answer()
            assert (said.body, said.get(b"connection")) == (b"ok", b"keep-alive")
        for field in (
            b"",
            b"Proxy-Connection: keep-alive\r\n",
            b"Connection: close, keep-alive\r\n",
        ):
            client = await plane.client()
            await client.send(b"GET / HTTP/1.0\r\nHost: a.test\r\n" + field + b"\r\n")
            assert statuses(await client.closed()) == [200]
        proxy = await plane.client()
        await proxy.send(b"GET http://a.test/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert b"Connection: close" in await proxy.closed()


@on_both_transports
async def test_trailers_go_both_ways_less_what_ends_here() -> None:
    seen: list[bytes] = []

    async def trails(peer: Peer) -> None:
        while True:
            if (await peer.read_head()).method == b"POST":
                seen.append(await peer.reader.readuntil(b"X-End: 3\r\n\r\n"))
            await peer.send(
                OK + b"Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\nConnection: x-hop\r\n\r\n"
                b"2\r\nok\r\n0\r\nX-Sum: 1\r\nX-Hop: 2\r\nSet-Cookie: a=b\r\nContent-Length: 9\r\nX-End: 3\r\n\r\n"
            )

    async with proxied(trails) as (plane, _):
        client = await plane.client()
        await client.send(
            get(b"/", b"Transfer-Encoding: chunked", b"Connection: X-Mine", method=b"POST")
            + b"1\r\na\r\n0\r\nX-Sum: 1\r\nx-mine: 2\r\nHost: evil\r\nX_Forwarded_For: 6\r\nX-End: 3\r\n\r\n"
        )
        said = await client.reader.readuntil(b"X-End: 3\r\n\r\n")
        assert seen == [b"1\r\na\r\n0\r\nX-Sum: 1\r\nX-End: 3\r\n\r\n"]
        assert said.endswith(b"2\r\nok\r\n0\r\nX-Sum: 1\r\nX-End: 3\r\n\r\n")
        assert b"Trailer: X-Sum" in said
        old = await plane.client()
        await old.send(b"GET / HTTP/1.0\r\nHost: a.test\r\n\r\n")
        assert (await old.closed()).endswith(b"\r\n\r\nok")


@on_both_transports
async def test_an_early_answer_reaches_who_is_still_sending() -> None:
    async def refuses(peer: Peer) -> None:
        await peer.read_head()
        await peer.send(
            b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"
        )

    for size in (100, 1_000_000, 8_000_000):
        async with proxied(refuses) as (plane, origin):
            client = await plane.client()
            await client.send(get(b"/", b"Content-Length: %d" % size, method=b"POST"))
            sending = asyncio.ensure_future(client.send(bytes(size - 1)))
            said = await client.answer()
            assert (said.status, said.body) == (413, b"no"), size
            assert said.get(b"connection") == b"close"
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            await eventually(lambda origin=origin: origin.open == 0)  # type: ignore[misc]


@on_both_transports
async def test_encoded_bodies_pass_untouched() -> None:
    body = gzip.compress(bytes(1_000_000)) + b"no gzip any more"
    for coding in (b"gzip", b"br", b"x-own", b"gzip, gzip"):
        head = OK + b'Content-Encoding: %b\r\nContent-Length: %d\r\nETag: W/"x"\r\n\r\n'
        async with proxied(answering(head % (coding, len(body)) + body)) as (plane, _):
            client = await plane.client()
            said = await client.ask(get(b"/", b"Accept-Encoding: identity"))
            assert (said.body, said.get(b"content-encoding")) == (body, coding)
            assert said.get(b"etag") == b'W/"x"'


@on_both_transports
async def test_an_answer_has_one_date() -> None:
    given = b"Wed, 21 Oct 2026 07:28:00 GMT"
    dated = answering(OK + b"date: %b\r\nContent-Length: 0\r\n\r\n" % given)
    async with proxied(dated) as (plane, _):
        client = await plane.client()
        assert (await client.ask(get())).all(b"date") == [given]
    async with proxied(answering(OK + b"Content-Length: 0\r\n\r\n")) as (plane, _):
        client = await plane.client()
        (line,) = (await client.ask(get())).all(b"date")
        assert line.endswith(b" GMT") and len(line) == 29
        for own in (get(host=b"b.test"), b"broken\r\n\r\n"):  # 404 and 400
            (line,) = (await client.ask(own)).all(b"date")
            assert len(line) == 29


@on_both_transports
async def test_an_instances_hop_by_hop_fields_end_here() -> None:
    script = answering(
        OK + b"Connection: Keep-Alive, X-Hop\r\nConnection: x-two\r\nKeep-Alive: timeout=5\r\n"
        b"X-Hop: 1\r\nX-Two: 2\r\nProxy-Connection: keep-alive\r\nUpgrade: h2c\r\n"
        b"Proxy-Authenticate: Basic\r\nContent_Length: 9\r\nX-End: 3\r\nContent-Length: 2\r\n\r\nok"
    )
    async with proxied(script) as (plane, origin):
        client = await plane.client()
        for _ in range(2):
            said = await client.ask(get())
            names = {name.lower() for name, _ in said.fields}
            assert names == {b"x-end", b"content-length", b"date", b"x-served-by"}
        assert origin.connections == 1


@on_both_transports
async def test_an_answer_that_a_client_left_meets_nobody_else() -> None:
    """The other half of a left answer must not be read as the answer to the next request."""
    held = asyncio.Event()

    async def halves(peer: Peer) -> None:
        while True:
            request = await peer.request()
            if request.target == b"/left":
                await peer.send(OK + b"Content-Length: 60\r\n\r\nhalf")
                await held.wait()
                await peer.send(SPLIT[:56])
            else:
                await peer.send(OK + b"Content-Length: 4\r\n\r\nmine")

    async with proxied(halves) as (plane, origin):
        first = await plane.client()
        assert (await first.ask(get())).body == b"mine"
        for leave in ("reset", "close"):
            held.clear()
            client = await plane.client()
            await client.send(get(b"/left"))
            assert (await client.read_head()).status == 200
            client.reset() if leave == "reset" else client.close()
            before = origin.open
            held.set()
            others = [await plane.client() for _ in range(5)]
            answers = await asyncio.gather(*(other.ask(get()) for other in others))
            assert {answer.body for answer in answers} == {b"mine"}, before


@on_both_transports
async def test_events_come_one_by_one_whatever_frames_them() -> None:
    for head, frame in (
        (OK + b"Content-Type: text/event-stream\r\n\r\n", b"%b"),
        (
            OK + b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"9\r\n%b\r\n",
        ),
        (OK + b"Content-Type: text/event-stream\r\nContent-Length: 27\r\n\r\n", b"%b"),
    ):
        for version in (b"1.0", b"1.1"):
            turn = asyncio.Event()

            async def streams(
                peer: Peer, head: bytes = head, frame: bytes = frame, turn: asyncio.Event = turn
            ) -> None:
                await peer.request()
                await peer.send(head)
                for number in range(3):
                    await peer.send(frame % (b"data: %d\n\n" % number))
                    await turn.wait()  # silent until the client has it
                    turn.clear()
                await peer.closed()

            async with proxied(streams) as (plane, _):
                client = await plane.client()
                await client.send(b"GET / HTTP/%b\r\nHost: a.test\r\n\r\n" % version)
                for number in range(3):
                    await asyncio.wait_for(client.reader.readuntil(b"data: %d\n\n" % number), 5)
                    turn.set()
                client.close()


@on_both_transports
async def test_uploads_of_either_framing_reach_the_instance_with_the_framing_they_had() -> None:
    framings: list[tuple[bytes | None, bytes | None]] = []

    async def notes(peer: Peer) -> None:
        while True:
            request = await peer.request()
            framings.append((request.get(b"content-length"), request.get(b"transfer-encoding")))
            await peer.send(OK + b"Content-Length: %d\r\n\r\n" % len(request.body) + request.body)

    async with proxied(notes) as (plane, _):
        client = await plane.client()
        assert (await client.ask(post(b"abc"))).body == b"abc"
        assert (await client.ask(chunked(b"abc", b"d"))).body == b"abcd"
        assert (await client.ask(post(b""))).body == b""
        assert (await client.ask(get())).body == b""
        assert framings == [(b"3", None), (None, b"chunked"), (b"0", None), (None, None)]


@pytest.mark.parametrize("status", [201, 206, 226, 299, 301, 308, 399, 401, 418, 499, 511, 599])
def test_every_status_is_relayed(status: int) -> None:
    async def relays() -> None:
        answer = b"HTTP/1.1 %d Own Words\r\nContent-Length: 2\r\n\r\nok" % status
        async with proxied(answering(answer)) as (plane, _):
            said = await (await plane.client()).ask(get())
            assert (said.start, said.body) == (b"HTTP/1.1 %d Own Words" % status, b"ok")

    on_both_transports(relays)(transport="aiofastnet")
