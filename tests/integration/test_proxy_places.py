"""A place among the connections is taken once and given back once, wherever a connection breaks off."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from msgspec import structs

from gateway.runtime.settings import LimitSettings, Settings
from tests.support.certificates import RawTls, with_tls
from tests.support.plane import Plane, get, on_both_transports, post, proxied, settings
from tests.support.wire import Peer, eventually

PLACES = 3
ROUNDS = PLACES + 1
HEADER = b"PROXY TCP4 192.0.2.7 192.0.2.1 40000 443\r\n"
SWITCHING = b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
UPGRADE = (b"Upgrade: websocket", b"Connection: Upgrade")


async def serve(peer: Peer) -> None:
    """Answers at once, half, with a tunnel, or (`/never`) not at all."""
    while True:
        request = await peer.read_head()
        if request.get(b"upgrade") is not None:
            await peer.send(SWITCHING)
            await peer.reader.read()
            return
        if request.target == b"/never":
            await peer.reader.read()
            return
        await peer.read_body(request, until_close=False)
        whole = request.target != b"/half"
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\nok" % (2 if whole else 9))


def few_places() -> Settings:
    """TLS behind a PROXY header; the address in it may hold all places of the entrypoint."""
    config = with_tls(settings())
    public = structs.replace(config.entrypoints["public"], proxy_protocol=True, connections=PLACES)
    return structs.replace(
        config,
        entrypoints={**config.entrypoints, "public": public},
        limits=LimitSettings(connections_per_address=PLACES),
        trusted_proxies=("127.0.0.0/8",),
    )


Way = Callable[[RawTls], Awaitable[None]]


def sending(data: bytes) -> Way:
    """Before TLS."""

    async def go(raw: RawTls) -> None:
        await raw.peer.send(data)

    return go


async def half_a_hello(raw: RawTls) -> None:
    await raw.peer.send(HEADER + raw.hello()[:100])


async def a_whole_hello(raw: RawTls) -> None:
    await raw.peer.send(HEADER + raw.hello())


async def shaken_hands(raw: RawTls) -> None:
    await raw.peer.send(HEADER)
    await raw.handshake()


def asking(data: bytes, until: bytes = b"") -> Way:
    """By TLS; `until` this was answered."""

    async def go(raw: RawTls) -> None:
        await shaken_hands(raw)
        await raw.send(data)
        if until:
            await raw.read_until(until)

    return go


WAYS: dict[str, Way] = {
    "nothing": sending(b""),
    "half a header": sending(HEADER[:20]),
    "no header": sending(b"GET / HTTP/1.1\r\n\r\n"),
    "a header": sending(HEADER),
    "a header that names nobody": sending(b"PROXY UNKNOWN\r\n"),
    "a plain request": sending(HEADER + get()),
    "no TLS": sending(HEADER + b"\x16\x02\x00\x00\x00"),
    "a hello nobody answers": sending(HEADER + b"\x16\x03\x01\x00\x04\x01\x00\x00\x00"),
    "half a hello": half_a_hello,
    "a whole hello": a_whole_hello,
    "a handshake": shaken_hands,
    "half a head": asking(get()[:20]),
    "a bad head": asking(b"\0\r\n\r\n"),
    "half a body": asking(post(b"abc", target=b"/never")[:-1]),
    "a request": asking(get(b"/never")),
    "half an answer": asking(get(b"/half"), b"ok"),
    "an answer": asking(get(), b"ok"),
    "a last answer": asking(get(b"/", b"Connection: close"), b"ok"),
    "a tunnel": asking(get(b"/ws", *UPGRADE), b"\r\n\r\n"),
    "requests that wait": asking(get(b"/never") * 3),
}


async def is_full_with(found: Plane, count: int) -> None:
    """As many as that have room, at the entrypoint and as clients of one address; not one more."""
    inside = []
    for _ in range(count):
        raw = RawTls(await found.client())
        await raw.peer.send(HEADER)
        await raw.handshake()
        await raw.send(get())
        await raw.read_until(b"ok")
        inside.append(raw)
    outside = await found.client()
    await outside.send(HEADER)
    other = await found.client("internal")
    assert (await other.ask(get())).status == 200  # turns enough to accept whoever may come in
    assert found.dataplane.open_connections == count + 1
    for peer in (*(raw.peer for raw in inside), outside, other):
        peer.reset()
    await eventually(lambda: found.dataplane.open_connections == 0)


@on_both_transports
async def test_wherever_a_connection_breaks_off_its_place_is_free_again() -> None:
    async with proxied(serve, few_places()) as (found, origin):
        for name, way in WAYS.items():
            for number in range(ROUNDS):
                raw = RawTls(await found.client())
                try:
                    await way(raw)
                except ConnectionError:
                    pass  # refused before all of it was sent
                if number % 2:
                    raw.peer.reset()
                else:
                    raw.peer.close()
                if number % PLACES == 0:
                    await eventually(lambda: found.dataplane.open_connections == 0)
            await eventually(lambda: found.dataplane.open_connections == 0)
            assert origin.errors == [], name
        await is_full_with(found, PLACES)
        assert [
            i.in_flight for s in found.dataplane.world.services.values() for i in s.instances
        ] == [0]
