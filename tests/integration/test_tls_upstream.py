"""TLS to instances: who is believed, what they are asked for, and how their connections end."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import trustme
from msgspec import structs

from admin.probes import Question, probe
from gateway.core.model import CheckKind, InstanceId, InstanceTls
from gateway.core.snapshot import Condition, Snapshot, SnapshotInstance
from gateway.proxy.client_hello import TLS_1_3, Hello, read_hello
from gateway.runtime.settings import GivenSettings, Settings
from gateway.runtime.tls_contexts import be_quiet_about_handshakes, client_context
from tests.support.certificates import NAME, authority, given, issue, tls_client, with_tls
from tests.support.plane import (
    Plane,
    get,
    on_both_transports,
    plane,
    post,
    route,
    service,
    settings,
    snapshot,
)
from tests.support.wire import Origin, Peer, Script, eventually, serve_plain

VERIFIED = InstanceTls(NAME)


def believing(config: Settings | None = None) -> GivenSettings:
    """Settings in which `upstream_tls.ca` is the authority of tests."""
    found = given(config or settings())
    pem = authority().cert_pem.bytes().decode()
    return structs.replace(found, authorities=pem)


def showing(*names: str, ca: trustme.CA | None = None, days: float = 30) -> ssl.SSLContext:
    """An instance with a certificate for these names."""
    with tempfile.TemporaryDirectory() as folder:
        files = issue(Path(folder), *(names or (NAME,)), ca=ca, days=days)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files.cert, files.key)
    return context


def world(port: int, tls: InstanceTls | None, *, generation: int = 1, **options: Any) -> Snapshot:
    """One route to one instance."""
    one = SnapshotInstance(InstanceId("one@1"), "127.0.0.1", port, Condition.UP, tls=tls)
    served = dataclasses.replace(service("one"), instances=(one,))
    return snapshot([route({"one": 1}, **options)], [served], generation)


@contextlib.asynccontextmanager
async def https_instance(
    script: Script = serve_plain,
    *,
    context: ssl.SSLContext,
    tls: InstanceTls = VERIFIED,
    config: Settings | None = None,
) -> AsyncIterator[tuple[Plane, Origin]]:
    """One https instance behind one route."""
    origin = await Origin(script, tls=context).start()
    async with plane(world(origin.port, tls), config) as found:
        yield found, origin
    await origin.stop()


async def answer_at_once(peer: Peer) -> None:
    """Whatever comes."""
    await peer.reader.read(1)
    await peer.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")


async def status(found: Plane) -> int:
    return (await (await found.client()).ask(get())).status


@on_both_transports
async def test_an_instance_is_spoken_to_by_tls_over_connections_that_are_kept() -> None:
    async with https_instance(context=showing(), config=believing()) as (found, origin):
        peer = await found.client()
        for _ in range(5):
            assert (await peer.ask(get(b"/x"))).body == b"origin GET /x "
        assert origin.connections == 1


@on_both_transports
async def test_who_is_not_believed_gets_no_request() -> None:
    asked = 0

    async def count(peer: Peer) -> None:
        nonlocal asked
        await peer.request()
        asked += 1
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    stranger = trustme.CA()
    by_address, unverified = InstanceTls("127.0.0.1"), InstanceTls(NAME, verify=False)
    for context, tls, config, expected in (
        (showing(), VERIFIED, believing(), 200),
        (showing(ca=stranger), VERIFIED, believing(), 502),
        (showing(), VERIFIED, settings(), 502),  # the system knows no such authority
        (showing("b.test"), VERIFIED, believing(), 502),
        (showing(days=-3), VERIFIED, believing(), 502),
        (showing("127.0.0.1"), by_address, believing(), 200),
        (showing("b.test"), by_address, believing(), 502),
        (showing("b.test", ca=stranger), unverified, settings(), 200),
    ):
        asked = 0
        async with https_instance(count, context=context, tls=tls, config=config) as (found, _):
            assert await status(found) == expected
            assert asked == (expected == 200)


@on_both_transports
async def test_an_instance_is_asked_for_its_name_and_for_http_1_1() -> None:
    hellos: list[Hello] = []

    async def listen(peer: Peer) -> None:
        hello = read_hello(await peer.reader.read(65536))
        assert isinstance(hello, Hello)
        hellos.append(hello)

    origin = await Origin(listen).start()
    async with plane(world(origin.port, InstanceTls("inner.test")), believing()) as found:
        assert await status(found) == 502
    assert {(h.name, h.protocols, h.version) for h in hellos} == {
        (b"inner.test", (b"http/1.1",), TLS_1_3)
    }
    await origin.stop()


@on_both_transports
async def test_tls_is_spoken_to_instances_of_https_only_and_from_a_change_on() -> None:
    plain = await Origin(answer_at_once).start()
    async with plane(world(plain.port, VERIFIED), believing()) as found:
        assert await status(found) == 502
        found.dataplane.apply(world(plain.port, None, generation=2))
        assert await status(found) == 200
    await plain.stop()


@on_both_transports
async def test_a_handshake_that_hangs_is_504_at_the_time_for_connecting() -> None:
    async def hang(peer: Peer) -> None:
        await peer.reader.read()

    silent = await Origin(hang).start()
    async with plane(world(silent.port, VERIFIED, connect_s=0.3), believing()) as found:
        assert await status(found) == 504
        await eventually(lambda: silent.open == 0)
    await silent.stop()


@on_both_transports
async def test_other_authorities_are_for_connections_from_then_on() -> None:
    async with https_instance(context=showing(), config=believing()) as (found, origin):
        assert await status(found) == 200
        stranger = trustme.CA().cert_pem.bytes().decode()
        now = found.dataplane.settings
        assert isinstance(now, GivenSettings)
        found.dataplane.configure(structs.replace(now, authorities=stranger))
        await origin.stop()
        await origin.start()
        assert await status(found) == 502


@on_both_transports
async def test_bodies_pass_both_ways_with_tls_on_both_sides() -> None:
    async def mirror(peer: Peer) -> None:
        while True:
            request = await peer.request()
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(request.body))
            await peer.send(request.body)

    config = believing(with_tls(settings()))
    async with https_instance(mirror, context=showing(), config=config) as (found, _):
        peer = await tls_client(found.port)
        for size in (1, 16_384, 1_000_000):
            sending = asyncio.create_task(peer.send(post(b"x" * size)))
            assert len((await peer.answer()).body) == size
            await sending


@on_both_transports
async def test_an_answer_up_to_the_end_of_tls_is_whole_and_one_without_it_is_cut() -> None:
    async def serve(peer: Peer) -> None:
        request = await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100_000)
        if b"cut" in request.target:
            await asyncio.sleep(0.1)
            # TCP ends, TLS does not.
            fd = peer.writer.get_extra_info("socket").fileno()
            with socket.socket(fileno=os.dup(fd)) as sock:
                sock.shutdown(socket.SHUT_WR)
            await peer.closed()
        else:
            peer.close()

    async with https_instance(serve, context=showing(), config=believing()) as (found, _):
        peer = await found.client()
        answer = await peer.ask(get(b"/whole"))
        assert answer.body == b"x" * 100_000
        peer = await found.client()
        await peer.send(get(b"/cut"))
        whole = await peer.closed()
        assert not whole.endswith(b"0\r\n\r\n")


@on_both_transports
async def test_checks_speak_tls_and_say_whom_they_do_not_believe() -> None:
    be_quiet_about_handshakes(asyncio.get_running_loop())
    pem = authority().cert_pem.bytes().decode()
    verifying = client_context(pem, verify=True)
    anybody = client_context(None, verify=False)
    for names, ca, context, kind, words in (
        ((NAME,), None, verifying, CheckKind.HTTP, None),
        ((NAME,), None, verifying, CheckKind.TCP, None),
        (("b.test",), None, verifying, CheckKind.TCP, "not accepted: hostname mismatch"),
        ((NAME,), trustme.CA(), verifying, CheckKind.HTTP, "not accepted: "),
        (("b.test",), trustme.CA(), anybody, CheckKind.HTTP, None),
    ):
        origin = await Origin(serve_plain, tls=showing(*names, ca=ca)).start()
        question = Question(kind, "127.0.0.1", origin.port, "/", NAME, 5.0, tls=(context, NAME))
        why = await probe(question)
        assert why is None if words is None else words in (why or "").lower()
        await origin.stop()
    plain = await Origin(answer_at_once).start()
    question = Question(
        CheckKind.TCP, "127.0.0.1", plain.port, "/", NAME, 5.0, tls=(verifying, NAME)
    )
    assert "TLS failed" in (await probe(question) or "")
    await plain.stop()
