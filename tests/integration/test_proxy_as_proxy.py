"""Requests as to a proxy: services call their external links through the internal entrypoint.

They are routed like all others by the host of their URL. Nothing else is reached this way.
"""

from __future__ import annotations

import asyncio
import sys

import orjson

from tests.support.plane import (
    get,
    on_both_transports,
    plane,
    proxied,
    route,
    service,
    snapshot,
)
from tests.support.wire import Origin, Peer, serve_plain


async def shows_head(peer: Peer) -> None:
    """Answers with the request's head."""
    while True:
        head = (await peer.request()).head
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(head), head))


@on_both_transports
async def test_the_host_of_the_url_is_the_requests_host_whatever_host_says() -> None:
    async with proxied(shows_head, host="servicea.local", internal=True) as (found, _):
        client = await found.client("internal")
        for target in (
            b"http://servicea.local/x?y=1",
            b"HTTP://ServiceA.Local:5000/x?y=1",
        ):
            seen = (await client.ask(get(target, b"Proxy-Connection: keep-alive"))).body.lower()
            authority = target.split(b"/")[2].lower()
            assert seen.startswith(b"get /x?y=1 http/1.1\r\nhost: " + authority + b"\r\n")
            assert b"a.test" not in seen
            assert b"proxy-" not in seen
        assert (await client.ask(get(b"/", host=b"servicea.local"))).status == 200


@on_both_transports
async def test_selectors_sessions_and_upgrades_work_as_to_a_proxy() -> None:
    async with proxied(shows_head, internal=True, affinity=True, selectors=True) as (found, _):
        client = await found.client("internal")
        answer = await client.ask(get(b"http://a.test/", b"X-Gateway-Service: one"))
        assert answer.get(b"x-served-by") == b"one"
        assert (await client.ask(get(b"http://a.test/"))).get(b"set-cookie") is not None
        missing = await client.ask(get(b"http://a.test/", b"X-Gateway-Service: two"))
        assert missing.status == 404
        assert b"X-Gateway-Service" in missing.body


@on_both_transports
async def test_internal_hosts_are_not_served_as_to_a_proxy_on_public_entrypoints() -> None:
    async with proxied(host="servicea.local", internal=True) as (found, origin):
        client = await found.client("public")
        answer = await client.ask(get(b"http://servicea.local/"))
        assert answer.status == 404
        assert b"internal entrypoints only" in answer.body
        assert not origin.connections


@on_both_transports
async def test_an_unknown_host_is_404_that_explains_how_the_request_came_here() -> None:
    async with proxied() as (found, _):
        client = await found.client("internal")
        answer = await client.ask(get(b"http://elsewhere.test/secret"))
        assert answer.status == 404
        for word in (
            b"no route",
            b"http_proxy",
            b"external_links",
            b"no_proxy",
            b"proxy_env: false",
        ):
            assert word in answer.body
        assert b"elsewhere" not in answer.body
        said = await client.ask(get(b"http://elsewhere.test/", b"Accept: application/json"))
        assert said.get(b"content-type") == b"application/json"
        problem = orjson.loads(said.body)
        assert problem["status"] == 404
        assert "external_links" in problem["detail"]
        assert b"external_links" not in (await client.ask(get(host=b"elsewhere.test"))).body
        assert (await client.ask(get(b"http://a.test/"))).status == 200  # the connection goes on


@on_both_transports
async def test_an_unknown_host_on_a_public_entrypoint_is_told_no_more_than_needed() -> None:
    async with proxied() as (found, _):
        answer = await (await found.client("public")).ask(get(b"http://elsewhere.test/"))
        assert answer.status == 404
        assert b"no forward proxy" in answer.body
        assert b"external_links" not in answer.body


@on_both_transports
async def test_it_is_no_open_proxy() -> None:
    victim = await Origin(serve_plain).start()
    address = b"127.0.0.1:%d" % victim.port
    world = snapshot([route({"one": 1})], [service("one", 9)])
    async with plane(world) as found:
        for entrypoint in ("internal", "public"):
            for request, status in (
                (get(b"http://%s/" % address), 404),
                (get(b"http://%s/" % address, host=address), 404),
                (get(b"http://localhost:%d/" % victim.port), 404),
                (get(b"/", host=address), 404),
                (get(b"https://%s/" % address), 421),
                (get(b"https://a.test/"), 421),
                (get(b"http://a.test@%s/" % address), 400),
                (get(b"ftp://%s/" % address), 400),
                (get(address, method=b"CONNECT"), 501),
                (get(b"a.test:443", method=b"CONNECT"), 501),
            ):
                client = await found.client(entrypoint)
                assert (await client.ask(request)).status == status, request
        own = found.ports["internal"]
        client = await found.client("internal")
        assert (await client.ask(get(b"http://127.0.0.1:%d/" % own))).status == 404
    assert not victim.connections
    await victim.stop()


@on_both_transports
async def test_who_wants_a_tunnel_or_https_reads_why_there_is_none() -> None:
    async with proxied() as (found, _):
        for request in (get(b"b.test:443", method=b"CONNECT"), get(b"https://b.test/")):
            answer = await (await found.client("internal")).ask(request)
            for word in (b"no forward proxy", b"external_links", b"https_proxy", b"no_proxy"):
                assert word in answer.body
            assert b"b.test" not in answer.body


SERVICE = """
import urllib.error, urllib.request
def call(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            print(answer.read().decode())
    except urllib.error.HTTPError as refused:
        print(refused.code)
    except urllib.error.URLError as refused:
        print(refused.reason)
call("http://servicea.local/x")
call("http://nowhere.test/")
call("https://nowhere.test/")
"""
"""A program that knows of no gateway."""


@on_both_transports
async def test_a_program_with_http_proxy_in_its_environment_gets_through() -> None:
    async with proxied(host="servicea.local", internal=True) as (found, _):
        proxy = f"http://127.0.0.1:{found.ports['internal']}"
        program = await asyncio.create_subprocess_exec(
            sys.executable,
            "-Ic",
            SERVICE,
            env={"http_proxy": proxy, "https_proxy": proxy, "no_proxy": "localhost,127.0.0.1,::1"},
            stdout=asyncio.subprocess.PIPE,
        )
        said, _ = await program.communicate()
        served, missing, tunnel = said.decode().splitlines()
        assert served == "origin GET /x "
        assert missing == "404"
        assert "501" in tunnel


@on_both_transports
async def test_an_http10_client_may_use_it_as_a_proxy_too() -> None:
    async with proxied(shows_head) as (found, _):
        client = await found.client("internal")
        await client.send(b"GET http://a.test HTTP/1.0\r\n\r\n")
        answer = await client.answer()
        assert answer.body.startswith(b"GET / HTTP/1.1\r\nHost: a.test\r\n")
        assert await client.closed() == b""
