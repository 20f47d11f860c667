"""How TLS connections begin and end: nobody can hold what belongs to others, nothing is cut short."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from typing import Any, cast

import pytest
from msgspec import structs

from gateway.proxy.transports import Transports, resume_reading
from gateway.runtime.settings import LimitSettings
from gateway.runtime.tls_contexts import server_context
from tests.support.certificates import (
    Cut,
    RawTls,
    handshake_failures,
    raw_tls,
    tls_client,
    trusting,
    with_tls,
)
from tests.support.plane import (
    chunked,
    current_transport,
    get,
    on_both_transports,
    post,
    proxied,
    settings,
)
from tests.support.wire import Peer, client, eventually, serve_plain

UPGRADE = (
    b"Upgrade: websocket",
    b"Connection: Upgrade",
    b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
SWITCHING = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


def tls_settings(**timeouts: float) -> Any:
    return with_tls(settings(**timeouts))


class Pauses(asyncio.Protocol):
    """Reads no more after each piece, until it is told to."""

    def __init__(self) -> None:
        self.got = 0
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.got += len(data)
        assert self.transport is not None
        self.transport.pause_reading()

    def eof_received(self) -> bool:
        return False


@on_both_transports
async def test_what_had_come_when_reading_was_paused_is_read_although_nothing_follows() -> None:
    loop = asyncio.get_running_loop()
    (certificate,) = tls_settings().certificates
    context = server_context(certificate.chain, certificate.private_key)
    kind = current_transport()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        raw = RawTls(await client(listener.getsockname()[1]))
        sock, _ = listener.accept()
        sock.setblocking(False)
        protocol = Pauses()
        Transports(loop, kind).accept(sock, protocol, context, 5.0)
        await raw.handshake()
        for size in (1, 16_384, 40_000, 1_000_000):  # records of 16 KiB, and the rest
            protocol.got = 0
            sending = asyncio.create_task(raw.send(b"x" * size))
            while protocol.got < size:
                before = protocol.got
                await eventually(lambda before=before: protocol.got > before)  # type: ignore[misc]
                if before == 0:
                    await asyncio.sleep(0.05)  # now all that fits is in the socket
                assert protocol.transport is not None
                resume_reading(protocol.transport)
            await sending
        assert protocol.transport is not None
        protocol.transport.abort()


# -- the beginning


@on_both_transports
async def test_a_hello_may_come_byte_by_byte() -> None:
    async with proxied(config=tls_settings()) as (found, _):
        raw = RawTls(await client(found.port))
        for byte in raw.hello():
            await raw.peer.send(bytes([byte]))
            await asyncio.sleep(0)
        await raw.handshake()
        await raw.send(get(b"/", b"Connection: close"))
        assert b"200 OK" in await raw.read_to_end()


@on_both_transports
async def test_a_hello_may_come_in_many_records() -> None:
    async with proxied(config=tls_settings()) as (found, _):
        raw = RawTls(await client(found.port))
        hello = raw.hello()
        head, message = hello[:3], hello[5:]
        for at in range(0, len(message), 50):
            piece = message[at : at + 50]
            await raw.peer.send(head + len(piece).to_bytes(2, "big") + piece)
            await asyncio.sleep(0.001)
        await raw.handshake()
        await raw.send(get(b"/", b"Connection: close"))
        assert b"200 OK" in await raw.read_to_end()


@on_both_transports
async def test_a_slow_handshake_is_ended_and_others_are_served_meanwhile() -> None:
    async with proxied(config=tls_settings(tls_handshake=0.5)) as (found, _):
        silent = await client(found.port)
        some = await client(found.port)
        await some.send(RawTls(some).hello()[:20])
        silent_later = RawTls(await client(found.port))
        await silent_later.peer.send(silent_later.hello())  # and never an answer
        for _ in range(3):
            assert (await (await tls_client(found.port)).ask(get())).status == 200
        loop = asyncio.get_running_loop()
        begin = loop.time()
        assert await silent.closed() == b""
        assert await some.closed() == b""
        await silent_later.peer.closed()
        assert loop.time() - begin < 2
        assert handshake_failures(found) == 3


@on_both_transports
async def test_a_port_that_is_only_looked_at_is_no_failed_handshake() -> None:
    async with proxied(config=tls_settings()) as (found, _):
        for _ in range(3):
            (await client(found.port)).close()
        await eventually(lambda: found.dataplane.open_connections == 0)
        (await client(found.port)).reset()
        await eventually(lambda: found.dataplane.open_connections == 0)
        assert handshake_failures(found) == 0


@on_both_transports
async def test_clients_that_leave_in_the_middle_of_a_handshake_are_forgotten() -> None:
    async with proxied(config=tls_settings()) as (found, _):
        for leave in (Peer.close, Peer.reset):
            for size in (1, 5, 60, None):
                raw = RawTls(await client(found.port))
                await raw.peer.send(raw.hello()[:size])
                await asyncio.sleep(0.01)
                leave(raw.peer)
        await eventually(lambda: found.dataplane.open_connections == 0)
        assert handshake_failures(found) == 8
        assert (await (await tls_client(found.port)).ask(get())).status == 200


@on_both_transports
async def test_a_client_that_does_not_believe_us_is_counted() -> None:
    async with proxied(config=tls_settings()) as (found, _):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            stranger = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            stranger.minimum_version = stranger.maximum_version = version
            raw = RawTls(await client(found.port), context=stranger)
            with pytest.raises(ssl.SSLCertVerificationError):
                await raw.handshake()
            with pytest.raises(ssl.SSLError):
                raw.tls.read(1)
            raw.peer.close()
        await eventually(lambda: found.dataplane.open_connections == 0)


@on_both_transports
async def test_connections_in_their_handshake_count_and_leave_when_draining() -> None:
    config = structs.replace(tls_settings(tls_handshake=0.3), limits=LimitSettings(connections=1))
    async with proxied(config=config) as (found, _):
        silent = await client(found.port)
        await eventually(lambda: found.dataplane.open_connections == 1)
        waiting = asyncio.create_task(tls_client(found.port))
        await silent.closed()
        assert (await (await waiting).ask(get())).status == 200


@on_both_transports
async def test_a_handshake_begun_before_draining_ends_with_an_answer() -> None:
    async with proxied(config=tls_settings()) as (found, _):
        raw = RawTls(await client(found.port))
        hello = raw.hello()
        await raw.peer.send(hello[:30])
        await eventually(lambda: found.dataplane.open_connections == 1)
        draining = asyncio.create_task(found.dataplane.drain(5))
        await asyncio.sleep(0.05)
        await raw.peer.send(hello[30:])
        await raw.handshake()
        await raw.send(get())
        answer = await raw.read_to_end()
        assert b"200 OK" in answer
        assert b"Connection: close" in answer
        await raw.send_end()
        raw.peer.close()
        assert await draining == 0


# -- the end


@on_both_transports
async def test_an_answer_that_closes_ends_with_the_end_of_tls() -> None:
    async def serve(peer: Peer) -> None:
        request = await peer.request()
        if b"until-close" in request.target:
            await peer.send(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 500_000)
            peer.close()
        else:
            await serve_plain(peer)

    async with proxied(serve, config=tls_settings()) as (found, _):
        raw = await raw_tls(found.port)
        await raw.send(b"GET /until-close HTTP/1.0\r\nHost: a.test\r\n\r\n")
        answer = await raw.read_to_end()
        assert answer.count(b"x") >= 500_000


@on_both_transports
async def test_an_answer_that_the_instance_cuts_short_looks_cut() -> None:
    async def serve(peer: Peer) -> None:
        request = await peer.request()
        if b"close" in request.target:
            await peer.send(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 5000)
            await asyncio.sleep(0.05)
            peer.reset()
        else:
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n" + b"x" * 5000)
            peer.close()

    async with proxied(serve, config=tls_settings()) as (found, _):
        raw = await raw_tls(found.port)
        await raw.send(b"GET /until-close HTTP/1.0\r\nHost: a.test\r\n\r\n")
        with pytest.raises((Cut, ConnectionResetError)):
            await raw.read_to_end()
        raw = await raw_tls(found.port)
        await raw.send(get())
        answer = await raw.read_to_end()
        assert b"Content-Length: 9000" in answer
        assert answer.count(b"x") == 5000


@on_both_transports
async def test_the_end_of_tls_from_a_client_that_waits_ends_its_request() -> None:
    gone = asyncio.Event()

    async def hang(peer: Peer) -> None:
        await peer.request()
        await peer.reader.read()
        gone.set()

    async with proxied(hang, config=tls_settings()) as (found, _):
        for end in (RawTls.send_end, leave_without_a_word):
            gone.clear()
            raw = await raw_tls(found.port)
            await raw.send(get())
            await asyncio.sleep(0.05)
            await end(raw)
            await asyncio.wait_for(gone.wait(), 5)
        await eventually(lambda: found.dataplane.open_connections == 0)


async def leave_without_a_word(raw: RawTls) -> None:
    """End the connection, but not TLS."""
    raw.peer.writer.write_eof()


@on_both_transports
async def test_an_upload_cut_without_the_end_of_tls_reaches_no_instance_as_whole() -> None:
    whole: list[bytes] = []

    async def take(peer: Peer) -> None:
        request = await peer.request()
        whole.append(request.body)

    async with proxied(take, config=tls_settings()) as (found, origin):
        for part in (post(b"x" * 1000)[:-500], chunked(b"x" * 1000)[:-7]):
            for end in (RawTls.send_end, leave_without_a_word):
                raw = await raw_tls(found.port)
                await raw.send(part)
                await asyncio.sleep(0.02)
                await end(raw)
        await eventually(lambda: found.dataplane.open_connections == 0)
        await eventually(lambda: origin.open == 0)
        assert whole == []


@on_both_transports
async def test_what_comes_behind_the_end_of_tls_is_never_read_as_a_request() -> None:
    async with proxied(config=tls_settings()) as (found, origin):
        raw = await raw_tls(found.port)
        await raw.send(get(b"/one"))
        await raw.read_until(b"origin GET /one ")
        await raw.send_end()
        with contextlib.suppress(OSError):
            for _ in range(5):
                await raw.peer.send(get(b"/plain"))
                await asyncio.sleep(0.01)
        await eventually(lambda: found.dataplane.open_connections == 0)
        assert origin.connections == 1


@on_both_transports
async def test_a_refused_upload_is_told_why_although_it_goes_on() -> None:
    config = structs.replace(tls_settings(), limits=LimitSettings(body_bytes=1000))
    async with proxied(config=config) as (found, _):
        raw = await raw_tls(found.port)
        await raw.send(post(b"x" * 100_000)[:5000])
        reading = asyncio.create_task(raw.read_until(b"larger than allowed"))
        for _ in range(20):
            try:
                await raw.send(b"x" * 1000)
            except (ConnectionError, ssl.SSLError):
                break
            await asyncio.sleep(0.002)
        assert b" 413 " in await reading


@on_both_transports
async def test_an_idle_client_is_told_the_end_and_need_not_answer() -> None:
    async with proxied(config=tls_settings(client_idle=0.2)) as (found, _):
        raw = await raw_tls(found.port)
        await raw.send(get())
        await raw.read_until(b"origin GET / ")
        assert await raw.read_to_end() == b""
        await raw.send_end()
        silent = await raw_tls(found.port)
        await silent.send(get())
        await eventually(lambda: found.dataplane.open_connections == 0)


@on_both_transports
async def test_draining_does_not_wait_for_idle_clients_that_do_not_listen() -> None:
    async with proxied(config=tls_settings()) as (found, _):
        for _ in range(3):
            raw = await raw_tls(found.port)
            await raw.send(get())
            await raw.read_until(b"origin GET / ")
        loop = asyncio.get_running_loop()
        begin = loop.time()
        assert await found.dataplane.drain(10) == 0
        assert loop.time() - begin < 3


@on_both_transports
async def test_a_slow_reader_gets_all_of_a_large_answer() -> None:
    size = 3_000_000

    async def serve(peer: Peer) -> None:
        await peer.request()
        head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % size
        await peer.send(head + b"x" * size)

    async with proxied(serve, config=tls_settings()) as (found, _):
        raw = await raw_tls(found.port)
        await raw.send(get(b"/", b"Connection: close"))
        got = 0
        while data := await raw.read():
            got += data.count(b"x")
            await asyncio.sleep(0.005)
        assert got == size


@on_both_transports
async def test_a_client_that_does_not_read_stops_the_instance_and_is_ended() -> None:
    sent = 0

    async def flood(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while True:
            await peer.send(b"x" * 65536)
            sent += 65536

    config = tls_settings(client_body=0.2)
    async with proxied(flood, config=config, idle_stream_s=0.3) as (found, origin):
        raw = await raw_tls(found.port)
        await raw.send(get())
        await eventually(lambda: found.dataplane.open_connections == 0, 10)
        assert sent < 40_000_000
        await eventually(lambda: origin.open == 0)


# -- tunnels


async def echo(peer: Peer) -> None:
    request = await peer.read_head()
    assert request.get(b"upgrade") == b"websocket"
    await peer.send(SWITCHING + b"hello")
    while data := await peer.reader.read(65536):
        await peer.send(data)


@on_both_transports
async def test_a_websocket_passes_both_ways_and_ends_when_the_client_ends_tls() -> None:
    async with proxied(echo, config=tls_settings()) as (found, origin):
        raw = await raw_tls(found.port)
        await raw.send(get(b"/ws", *UPGRADE))
        assert b"101 Switching" in await raw.read_until(b"hello")
        for size in (1, 70_000, 1_000_000):
            await raw.send(b"\x82" * size)
            got = 0
            while got < size:
                got += len(await raw.read())
            assert got == size
        await raw.send_end()
        await eventually(lambda: origin.open == 0)
        await eventually(lambda: found.dataplane.open_connections == 0)


@on_both_transports
async def test_a_websocket_whose_instance_ends_is_ended_for_the_client() -> None:
    async def leave(peer: Peer) -> None:
        await peer.read_head()
        await peer.send(SWITCHING + b"bye")
        peer.close()

    async with proxied(leave, config=tls_settings()) as (found, _):
        raw = await raw_tls(found.port)
        await raw.send(get(b"/ws", *UPGRADE))
        assert (await raw.read_to_end()).endswith(b"bye")
        raw.peer.close()
        await eventually(lambda: found.dataplane.open_connections == 0)


# -- what TLS has besides


@on_both_transports
async def test_sessions_are_resumed() -> None:
    async with proxied(config=tls_settings()) as (found, _):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = trusting(version, version)

            def visit(
                session: ssl.SSLSession | None, context: ssl.SSLContext = context
            ) -> tuple[bool | None, ssl.SSLSession | None]:
                with (
                    socket.create_connection(("127.0.0.1", found.port), 5) as plain,
                    context.wrap_socket(plain, server_hostname="a.test", session=session) as sock,
                ):
                    sock.sendall(get(b"/", b"Connection: close"))
                    while sock.recv(65536):
                        pass
                    return sock.session_reused, sock.session

            reused, session = await asyncio.to_thread(visit, None)
            assert not reused
            reused, _ = await asyncio.to_thread(visit, session)
            assert reused


@on_both_transports
async def test_a_client_cannot_renegotiate() -> None:
    async with proxied(config=tls_settings()) as (found, _):
        program = await asyncio.create_subprocess_exec(
            *("openssl", "s_client", "-connect", f"127.0.0.1:{found.port}", "-tls1_2"),
            *("-servername", "a.test"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await asyncio.wait_for(program.communicate(b"R\n"), 10)
        assert b"RENEGOTIATING" in said
        assert b"no renegotiation" in said.lower() or b"error" in said.lower()
