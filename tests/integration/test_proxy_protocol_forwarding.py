"""What a request becomes on its way: targets, hosts, hops and the gateway's own statements."""

from __future__ import annotations

import random

from msgspec import structs

from tests.support.plane import get, on_both_transports, settings
from tests.support.recorder import recorded, statuses, talk
from tests.support.wire import Message

PATH_BYTES = bytes(b for b in range(0x21, 0x7F) if b != ord("#"))


@on_both_transports
async def test_targets_arrive_byte_for_byte() -> None:
    rng = random.Random(11)
    targets = [
        b"/" + bytes(rng.choices(PATH_BYTES, k=rng.randrange(1, 80))) for _ in range(150)
    ] + [
        b"/%0d%0aHost:%20evil",
        b"/%0D%0A%0D%0AGET%20/hidden",
        b"/%00/%ff/%C0%AF/%e2%80%ae",
        b"/%2e%2E/%2F%5c/..;/",
        b"/../../etc/passwd",
        b"/a/./b//c/../d/",
        b"//evil.test/x",
        b"///",
        b"/?",
        b"/??a=b&a=b&&=&%",
        b"/?a=/../b?c#".rstrip(b"#"),
        b"/;p=1;q/?x=http://evil.test/",
        b"/\\..\\x",
        b"/%zz%",
        b"/http://evil.test/",
        b"/*",
        b"/:80",
        b"/@evil.test",
        b"/" + b"a" * 8000,
        b"/?" + b"%20" * 2500,
    ]
    async with recorded() as (plane, recorder):
        client = await plane.client()
        for target in targets:
            assert (await client.ask(get(target))).body == b"ok " + target
        for target in targets[:150]:
            said = await client.ask(get(b"http://a.test" + target, host=b"else.test"))
            assert said.body == b"ok " + target
        assert recorder.targets == targets + targets[:150]
        assert all(request.all(b"host") == [b"a.test"] for request in recorder.requests)


@on_both_transports
async def test_asterisk_is_for_options_and_stays_one() -> None:
    async with recorded() as (plane, recorder):
        for request in (
            get(b"*", method=b"OPTIONS"),
            get(b"http://a.test", method=b"OPTIONS"),
            get(b"http://A.test:80", method=b"OPTIONS"),
        ):
            assert statuses(await talk(plane, request)) == [200, 200]
            assert recorder.requests[-2].start == b"OPTIONS * HTTP/1.1"
        for request, target in (
            (get(b"http://a.test/", method=b"OPTIONS"), b"/"),
            (get(b"http://a.test?q", method=b"OPTIONS"), b"/?q"),
            (get(b"http://a.test"), b"/"),
            (get(b"HTTP://A.TEST:8080?q=/"), b"/?q=/"),
        ):
            assert statuses(await talk(plane, request)) == [200, 200]
            assert recorder.requests[-2].target == target
        for request in (get(b"*"), get(b"*", method=b"POST"), get(b"*", method=b"options")):
            assert statuses(await talk(plane, request)) == [400]
        assert statuses(await talk(plane, get(b"*", method=b"OPTIONS", host=b"b.test"))) == [
            404,
            200,
        ]


@on_both_transports
async def test_max_forwards_counts_down_and_ends_here() -> None:
    async with recorded() as (plane, recorder):
        for target in (b"/", b"*", b"http://a.test/x"):
            for given, passed in (
                (b"1", b"0"),
                (b"7", b"6"),
                (b"007", b"6"),
                (b"9" * 19, b"9" * 18 + b"8"),
            ):
                await talk(plane, get(target, b"max-forwards: " + given, method=b"OPTIONS"))
                assert recorder.requests[-2].all(b"max-forwards") == [passed]
            before = len(recorder.requests)
            for zero in (b"0", b"00"):
                said = await talk(plane, get(target, b"Max-Forwards: " + zero, method=b"OPTIONS"))
                assert statuses(said) == [200, 200]
            assert recorder.targets[before:] == [b"/bye", b"/bye"]
        for bad in (b"-1", b"+1", b"1.0", b"x", b"", b"1, 2", b"9" * 20):
            said = await talk(plane, get(b"/", b"Max-Forwards: " + bad, method=b"OPTIONS"))
            assert statuses(said) == [400]
        # Other methods may ignore it (RFC 9110, 7.6.2): it passes as it is.
        await talk(plane, get(b"/", b"Max-Forwards: 0"))
        assert recorder.requests[-2].get(b"max-forwards") == b"0"


@on_both_transports
async def test_methods_that_are_not_the_gateways_to_pass_on_end_here() -> None:
    async with recorded() as (plane, recorder):
        for request, status in (
            (get(b"a.test:443", method=b"CONNECT"), 501),
            (get(b"/", method=b"CONNECT"), 501),
            (get(b"http://a.test/", method=b"CONNECT"), 501),
            (get(b"/", b"Content-Length: 5", method=b"CONNECT"), 501),
            (get(b"/", method=b"TRACE"), 405),
            (get(b"/", b"Max-Forwards: 0", method=b"TRACE"), 405),
            (get(b"*", method=b"PRI"), 501),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        ):
            assert statuses(await talk(plane, request)) == [status], request
        assert recorder.requests == []
        for method in (
            b"get",
            b"Get",
            b"BREW",
            b"M-SEARCH",
            b"PROPFIND",
            b"!#$%&'*+-.^_`|~",
            b"X" * 200,
        ):
            assert statuses(await talk(plane, get(b"/", method=method))) == [200, 200]
            assert recorder.requests[-2].method == method


@on_both_transports
async def test_a_client_says_nothing_in_the_gateways_name() -> None:
    claims = [
        b"X-Forwarded-For: 10.0.0.1",
        b"x-forwarded-for: 10.0.0.2",
        b"X_Forwarded_For: 10.0.0.3",
        b"X-Forwarded_For: 10.0.0.3",
        b"X.Forwarded.For: 10.0.0.3",
        b"X-Forwarded-Proto: https",
        b"X-Forwarded-Host: evil.test",
        b"X-Forwarded-Port: 1",
        b"X-Forwarded-Prefix: /evil",
        b"X_FORWARDED_PROTO: https",
        b"Forwarded: for=10.0.0.4;proto=https",
        b"X-Real-IP: 10.0.0.5",
        b"X_Real_IP: 10.0.0.5",
        b"Proxy: http://evil.test",
        b"Proxy-Authorization: Basic evil",
        b"Proxy-Connection: evil",
        b"Keep-Alive: evil",
        b"Connection: X-Forwarded-For, X-Forwarded-Proto, Via, X-Request-Id",
        b"X-Request-Id: a b",
    ]
    async with recorded() as (plane, recorder):
        client = await plane.client()
        await client.ask(get(b"/", *claims))
        seen: Message = recorder.last
        assert b"evil" not in seen.head and b"10.0.0." not in seen.head
        assert seen.all(b"x-forwarded-for") == [b"127.0.0.1"]
        assert seen.all(b"x-forwarded-proto") == [b"http"]
        assert seen.all(b"x-forwarded-host") == [b"a.test"]
        assert seen.all(b"x-forwarded-port") == [b"%d" % plane.port]
        assert seen.all(b"via") == [b"1.1 gateway"]
        (request_id,) = seen.all(b"x-request-id")
        assert len(request_id) == 32


@on_both_transports
async def test_a_trusted_proxys_statements_are_extended() -> None:
    config = structs.replace(settings(), trusted_proxies=("127.0.0.0/8",))
    async with recorded(config) as (plane, recorder):
        client = await plane.client()
        await client.ask(
            get(
                b"/",
                b"X-Forwarded-For: 192.0.2.1",
                b"X-Forwarded-For: 192.0.2.2",
                b"X-Forwarded-Proto: https",
                b'Forwarded: for="[2001:db8::1]";proto=https',
                b"Via: 1.0 edge",
            )
        )
        seen = recorder.last
        assert seen.all(b"x-forwarded-for") == [b"192.0.2.1, 192.0.2.2, 127.0.0.1"]
        assert seen.all(b"x-forwarded-proto") == [b"https"]
        assert seen.all(b"forwarded") == [
            b'for="[2001:db8::1]";proto=https, for=127.0.0.1;host="a.test";proto=http'
        ]
        assert seen.all(b"via") == [b"1.0 edge", b"1.1 gateway"]


@on_both_transports
async def test_via_tells_the_version_that_was_received() -> None:
    async with recorded() as (plane, recorder):
        client = await plane.client()
        await client.send(b"GET / HTTP/1.0\r\nHost: a.test\r\nVia: 1.1 a (b)\r\n\r\n")
        assert (await client.answer()).status == 200
        assert recorder.last.start == b"GET / HTTP/1.1"
        assert recorder.last.all(b"via") == [b"1.1 a (b)", b"1.0 gateway"]


@on_both_transports
async def test_fields_arrive_in_order_with_their_bytes() -> None:
    lines = [
        b"X-B: 1",
        b"x-a:  two  words\t",
        b"X-B: 2",
        b"!#$%&'*+-.^_`|~: tchar",
        b"X-Raw: \xff\xfe\xc3\xa9",
        b"X-Empty:",
        b"Authorization: Basic a:b==",
        b"Origin: null",
        b"User-Agent: x",
        b"User-Agent: y",
        b'Content-Type: a/b; c="d\\"e"',
        b"X-Colons: a:b::c",
    ]
    async with recorded() as (plane, recorder):
        client = await plane.client()
        await client.ask(get(b"/", *lines))
        assert b"\r\n".join(lines) in recorder.last.head
        await client.ask(get())
        assert {name.lower() for name, _ in recorder.last.fields} == {
            b"host",
            b"x-forwarded-for",
            b"x-forwarded-proto",
            b"x-forwarded-host",
            b"x-forwarded-port",
            b"x-request-id",
            b"via",
        }


@on_both_transports
async def test_only_a_request_for_a_websocket_asks_for_an_upgrade() -> None:
    upgrades = [
        (b"websocket", b"Upgrade", b"GET", b"1.1", True),
        (b"WebSocket", b"keep-alive, Upgrade", b"GET", b"1.1", True),
        (b"websocket", b"close", b"GET", b"1.1", False),
        (b"websocket", b"Upgrade", b"GET", b"1.0", False),
        (b"websocket", b"Upgrade", b"POST", b"1.1", False),
        (b"h2c", b"Upgrade, HTTP2-Settings", b"GET", b"1.1", False),
        (b"websocket, h2c", b"Upgrade", b"GET", b"1.1", False),
        (b"TLS/1.0", b"Upgrade", b"OPTIONS", b"1.1", False),
    ]
    async with recorded() as (plane, recorder):
        for protocol, connection, method, version, passes in upgrades:
            client = await plane.client()
            await client.send(
                b"%b / HTTP/%b\r\nHost: a.test\r\nUpgrade: %b\r\nConnection: %b\r\nHTTP2-Settings: x\r\n\r\n"
                % (method, version, protocol, connection)
            )
            assert (await client.answer()).status == 200
            seen = recorder.last
            assert seen.all(b"upgrade") == ([b"websocket"] if passes else [])
            assert seen.all(b"connection") == ([b"Upgrade"] if passes else [])
            assert seen.get(b"http2-settings") is None
            client.close()


@on_both_transports
async def test_expectations_are_passed_on_only_where_somebody_waits() -> None:
    async with recorded() as (plane, recorder):
        for version, length, passes in ((b"1.1", 1, True), (b"1.1", 0, False), (b"1.0", 1, False)):
            client = await plane.client()
            await client.send(
                b"POST / HTTP/%b\r\nHost: a.test\r\nExpect: 100-Continue\r\nContent-Length: %d\r\n\r\n%b"
                % (version, length, b"x" * length)
            )
            assert (await client.answer()).status == 200
            assert (recorder.last.get(b"expect") is not None) == passes
            client.close()
        for unknown in (b"200-ok", b"100-continue, x", b"", b"100-continue=1"):
            said = await talk(plane, get(b"/", b"Expect: " + unknown, b"Content-Length: 1"))
            assert statuses(said) == [417]


@on_both_transports
async def test_te_passes_for_trailers_only() -> None:
    async with recorded() as (plane, recorder):
        for te, passes in (
            (b"trailers", True),
            (b"gzip, Trailers", True),
            (b"gzip", False),
            (b"chunked", False),
            (b"trailers;q=0", False),
        ):
            client = await plane.client()
            await client.ask(get(b"/", b"TE: " + te, b"Connection: TE"))
            assert recorder.last.all(b"te") == ([b"trailers"] if passes else [])
            assert recorder.last.all(b"connection") == ([b"TE"] if passes else [])


@on_both_transports
async def test_nothing_a_client_sends_comes_back_as_a_field() -> None:
    """Replies never quote: no header injection towards the client."""
    async with recorded(affinity=True, selectors=True) as (plane, _):
        for request in (
            get(b"/%0d%0aX-Evil:1", host=b"b.test"),
            get(b"/", b"X-Gateway-Service: evil%0d%0aX-Evil: 1"),
            get(b"/", b"X-Request-Id: evil%0d%0aX-Evil: 1"),
            get(b"/", b"Cookie: GATEWAYSESSION=evil%0d%0aX-Evil: 1"),
            get(b"/", b"Accept: evil%0d%0aX-Evil: 1", host=b"b.test"),
            get(b"http://evil%0d%0a/"),
        ):
            assert b"evil" not in (await talk(plane, request)).lower().replace(
                b"/%0d%0ax-evil:1", b""
            )
