"""Accepted connections get their transports without a task, and nobody is left without an answer."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager

import aiofastnet
import pytest

from gateway.proxy.acceptor import Accepted, Acceptor
from gateway.proxy.transports import Transports
from gateway.runtime.loops import loop_factory
from gateway.runtime.tls_contexts import server_context
from tests.support.certificates import NAME, trusting, with_tls
from tests.support.plane import settings
from tests.support.wire import eventually

ANOTHER_VERSION = "999.0"


def tls_context() -> ssl.SSLContext:
    (certificate,) = with_tls(settings()).certificates
    return server_context(certificate.chain, certificate.private_key)


class Told(asyncio.Protocol):
    """Counts what a transport says."""

    def __init__(self) -> None:
        self.made: list[asyncio.BaseTransport] = []
        self.lost = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.made.append(transport)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost += 1


def shake_hands(client: socket.socket) -> socket.socket:
    return trusting().wrap_socket(client, server_hostname=NAME)


async def some_turns() -> None:
    """Whatever was still to be told has been told."""
    for _ in range(10):
        await asyncio.sleep(0)


def run(scenario: Callable[[], Coroutine[object, object, None]]) -> None:
    """On the loop that workers have by default."""
    with asyncio.Runner(loop_factory=loop_factory("aiofastnet")) as runner:
        runner.run(scenario())


@asynccontextmanager
async def accepted() -> AsyncIterator[tuple[Accepted, socket.socket]]:
    """A connection as the gateway accepts it, and its client."""
    found: list[Accepted] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        acceptor = Acceptor(
            asyncio.get_running_loop(), lambda sock, *_: found.append(sock), lambda: True
        )
        acceptor.listen(listening, "public")
        with socket.create_connection(listening.getsockname()) as client:
            await eventually(lambda: bool(found))
            acceptor.unlisten(listening)
            yield found[0], client
            found[0].close()


def test_an_accepted_socket_says_what_the_system_says_of_it() -> None:
    async def scenario() -> None:
        async with accepted() as (sock, client):
            with socket.socket(fileno=socket.dup(sock.fileno())) as same:
                assert (sock.family, sock.type, sock.proto) == (same.family, same.type, same.proto)
                assert type(sock.family) is int  # not a member of an enum, made anew each time
                assert sock.getpeername() == same.getpeername() == client.getsockname()
                assert sock.getsockname() == same.getsockname()
            with pytest.raises(BlockingIOError):
                sock.recv(1)
            assert not sock.get_inheritable()

    run(scenario)


def test_no_connection_costs_a_task_with_the_installed_aiofastnet() -> None:
    async def scenario() -> None:
        transports = Transports(asyncio.get_running_loop(), "aiofastnet")
        async with accepted() as (sock, client):
            told = Told()
            before = asyncio.all_tasks()
            transports.accept(sock, told)
            opening = transports.accept(client.dup(), Told(), tls_context())
            assert asyncio.all_tasks() == before
            assert opening is not None
            opening.cancel()
            await eventually(lambda: bool(told.made))
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            told.made[0].close()
            await eventually(lambda: told.lost == 1)

    run(scenario)


@pytest.mark.parametrize("version", [aiofastnet.__version__, ANOTHER_VERSION])
@pytest.mark.parametrize("with_context", [False, True])
def test_connections_are_made_whatever_the_version_of_aiofastnet(
    monkeypatch: pytest.MonkeyPatch, version: str, with_context: bool
) -> None:
    monkeypatch.setattr(aiofastnet, "__version__", version)

    async def scenario() -> None:
        transports = Transports(asyncio.get_running_loop(), "aiofastnet")
        async with accepted() as (sock, client):
            told = Told()
            if with_context:
                transports.accept(sock, told, tls_context(), 5.0)
                client = await asyncio.to_thread(shake_hands, client)
            else:
                transports.accept(sock, told)
            await eventually(lambda: bool(told.made))
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            client.close()
            await eventually(lambda: told.lost == 1)

    run(scenario)


@pytest.mark.parametrize("version", [aiofastnet.__version__, ANOTHER_VERSION])
def test_a_handshake_that_is_given_up_is_told_as_lost_once(
    monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    monkeypatch.setattr(aiofastnet, "__version__", version)

    async def scenario() -> None:
        transports = Transports(asyncio.get_running_loop(), "aiofastnet")
        async with accepted() as (sock, client):
            told = Told()
            opening = transports.accept(sock, told, tls_context(), 5.0)
            assert opening is not None
            await asyncio.sleep(0)
            opening.cancel()
            opening.cancel()
            await eventually(lambda: told.lost == 1)
            client.settimeout(5)
            assert client.recv(1) == b""
            await some_turns()
            assert (told.made, told.lost) == ([], 1)

    run(scenario)


def test_a_handshake_that_fails_is_told_as_lost_once() -> None:
    async def scenario() -> None:
        transports = Transports(asyncio.get_running_loop(), "aiofastnet")
        async with accepted() as (sock, client):
            told = Told()
            client.sendall(b"\x16\x03\x01\x00\x05nothing of the kind")
            transports.accept(sock, told, tls_context(), 5.0)
            await eventually(lambda: told.lost == 1)
            await some_turns()
            assert (told.made, told.lost) == ([], 1)

    run(scenario)


def test_a_socket_that_cannot_be_used_is_told_as_lost_once() -> None:
    async def scenario() -> None:
        transports = Transports(asyncio.get_running_loop(), "aiofastnet")
        async with accepted() as (sock, _):
            told = Told()
            sock.close()
            transports.accept(sock, told, tls_context(), 5.0)
            await eventually(lambda: told.lost == 1)
            await some_turns()
            assert (told.made, told.lost) == ([], 1)

    run(scenario)
