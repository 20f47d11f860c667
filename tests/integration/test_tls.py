"""TLS entrypoints: which certificate is shown, what is refused, what instances are told."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import ssl
import tempfile
import warnings
from pathlib import Path

import trustme
from msgspec import structs

from gateway.core.snapshot import Snapshot
from gateway.runtime.settings import GivenSettings, HstsSettings
from tests.support.certificates import (
    NAME,
    RawTls,
    believing_anything,
    given,
    handshake_failures,
    issue,
    names_of,
    tls_client,
    trusting,
    with_tls,
)
from tests.support.plane import (
    get,
    on_both_transports,
    plane,
    post,
    proxied,
    route,
    service,
    settings,
    snapshot,
)
from tests.support.wire import Origin, Peer, client, eventually, serve_plain


async def tell(peer: Peer) -> None:
    """Answer each request with its head."""
    while True:
        request = await peer.request()
        await peer.send(
            b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(request.head), request.head)
        )


async def refused(port: int, name: str | None, context: ssl.SSLContext | None = None) -> str:
    """Why a handshake fails, as the client's TLS library puts it."""
    context = context or trusting()

    def connect() -> str:
        with socket.create_connection(("127.0.0.1", port), 5) as sock:
            try:
                context.wrap_socket(sock, server_hostname=name).close()
            except ssl.SSLError as error:
                return error.reason or str(error)
        raise AssertionError("the handshake succeeded")

    return await asyncio.to_thread(connect)


async def shown(port: int, name: str | None) -> set[str]:
    """The names of the certificate a client gets that asks for `name` and verifies no names."""
    context = trusting()
    context.check_hostname = False
    peer = await tls_client(port, name, context)
    return names_of(peer)


@on_both_transports
async def test_instances_are_told_that_a_request_came_by_https() -> None:
    async with proxied(tell, config=with_tls(settings())) as (found, _):
        peer = await tls_client(found.port)
        for _ in range(3):
            said = (b"X-Forwarded-Proto: http", b"Forwarded: proto=http")
            answer = await peer.ask(get(b"/x?y", *said))
            assert answer.body.count(b"X-Forwarded-Proto: https\r\n") == 1
            assert b"proto: http\r\n" not in answer.body.lower()


@on_both_transports
async def test_large_bodies_pass_unchanged_both_ways() -> None:
    data = os.urandom(3_000_001)

    async def mirror(peer: Peer) -> None:
        request = await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(request.body))
        await peer.send(request.body)

    async with proxied(mirror, config=with_tls(settings())) as (found, _):
        peer = await tls_client(found.port)
        sending = asyncio.create_task(peer.send(post(data)))
        answer = await peer.answer()
        await sending
        assert hashlib.sha256(answer.body).digest() == hashlib.sha256(data).digest()


@on_both_transports
async def test_requests_that_are_sent_at_once_are_answered_in_order() -> None:
    async with proxied(config=with_tls(settings())) as (found, _):
        peer = await tls_client(found.port)
        await peer.send(b"".join(get(b"/%d" % i) for i in range(50)))
        for i in range(50):
            assert (await peer.answer()).body == b"origin GET /%d " % i


# -- which certificate


@on_both_transports
async def test_each_name_gets_its_certificate_and_all_others_the_first() -> None:
    with tempfile.TemporaryDirectory() as folder:
        files = [
            issue(Path(folder), *names)
            for names in (("a.test", "also.test"), ("*.b.test", "b.test"), ("10.0.0.1",))
        ]
        config = with_tls(settings(), *files)
    async with plane(None, config) as found:
        a, b = {"a.test", "also.test"}, {"*.b.test", "b.test"}
        assert await shown(found.port, "a.test") == a
        assert await shown(found.port, "ALSO.test") == a
        assert await shown(found.port, "b.test") == b
        assert await shown(found.port, "x.b.test") == b
        assert await shown(found.port, "y.x.b.test") == a, "a wildcard is for one label"
        assert await shown(found.port, "elsewhere.test") == a
        assert await shown(found.port, None) == a


@on_both_transports
async def test_a_strict_entrypoint_refuses_names_it_has_no_certificate_for() -> None:
    async with proxied(config=with_tls(settings(), strict_sni=True)) as (found, _):
        assert (await (await tls_client(found.port)).ask(get())).status == 200
        for name in ("elsewhere.test", None):
            assert await refused(found.port, name, believing_anything()) == (
                "TLSV1_UNRECOGNIZED_NAME"
            )
        assert handshake_failures(found) == 2


@on_both_transports
async def test_certificates_of_every_kind_of_key_are_shown() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for kind in trustme.KeyType:
            files = issue(Path(folder), NAME, key_type=kind)
            async with proxied(config=with_tls(settings(), files)) as (found, _):
                for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
                    context = trusting(minimum=version, maximum=version)
                    peer = await tls_client(found.port, NAME, context)
                    assert (await peer.ask(get())).status == 200


@on_both_transports
async def test_a_connection_keeps_its_certificate_and_the_next_one_gets_the_new() -> None:
    with tempfile.TemporaryDirectory() as folder:
        files = issue(Path(folder), NAME)
        config = with_tls(settings(), files)
        async with proxied(config=config) as (found, _):
            before = await tls_client(found.port)
            issue(Path(folder), NAME, "new.test", file=NAME)
            found.dataplane.configure(structs.replace(given(config), transport=config.transport))
            after = await tls_client(found.port)
            assert "new.test" in names_of(after)
            for peer in (before, after):
                assert (await peer.ask(get())).status == 200


# -- what is spoken


@on_both_transports
async def test_nothing_older_than_tls_1_2_is_spoken() -> None:
    async with proxied(config=with_tls(settings())) as (found, _):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            peer = await tls_client(found.port, NAME, trusting(version, version))
            assert (await peer.ask(get())).status == 200
            assert peer.writer.get_extra_info("ssl_object").version() == f"TLSv1.{version - 769}"
        for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
            old = believing_anything()
            old.set_ciphers("ALL:@SECLEVEL=0")
            with warnings.catch_warnings():  # the standard library warns of what is tried here
                warnings.simplefilter("ignore", DeprecationWarning)
                old.minimum_version = old.maximum_version = version
            assert "VERSION" in await refused(found.port, NAME, old)


@on_both_transports
async def test_an_entrypoint_can_insist_on_tls_1_3() -> None:
    async with proxied(config=with_tls(settings(), minimum="1.3")) as (found, _):
        assert (await (await tls_client(found.port)).ask(get())).status == 200
        old = trusting(maximum=ssl.TLSVersion.TLSv1_2)
        assert "VERSION" in await refused(found.port, NAME, old)


@on_both_transports
async def test_http_1_1_is_agreed_on_and_who_speaks_only_something_else_is_refused() -> None:
    async with proxied(config=with_tls(settings())) as (found, _):
        for offered, agreed in (
            (["h2", "http/1.1"], "http/1.1"),
            (["http/1.1"], "http/1.1"),
            (["http/1.0"], None),
            (None, None),
        ):
            peer = await tls_client(found.port, NAME, trusting(protocols=offered))
            chosen = peer.writer.get_extra_info("ssl_object").selected_alpn_protocol()
            assert chosen == agreed
            assert (await peer.ask(get())).status == 200
        only_h2 = trusting(protocols=["h2", "smtp"])
        reason = await refused(found.port, NAME, only_h2)
        assert "no application protocol" in reason.lower().replace("_", " ")


@on_both_transports
async def test_a_plain_request_is_told_that_this_port_is_for_https() -> None:
    async with proxied(config=with_tls(settings())) as (found, origin):
        peer = await client(found.port)
        answer = await peer.ask(get())
        assert answer.status == 400
        assert b"https" in answer.body
        assert await peer.closed() == b""
        assert not origin.connections


@on_both_transports
async def test_what_is_neither_tls_nor_http_is_cut_off_at_once() -> None:
    async with proxied(config=with_tls(settings())) as (found, origin):
        for junk in (
            b"\x00" * 100,
            b"\x80\x2e\x01\x00\x02",  # SSL 2
            b"\x16\x03\x01\x00\x00",
            b"\x16\x03\x01\xff\xff" + b"x" * 100,
            b"\x16\x03\x01\x00\x04\x02\x00\x00\x00",  # a server's hello
            b"\x16\x03\x01\x00\x06\x01\x00\x00\x02\x03\x03",  # a hello of two bytes
            b"SSH-2.0-x\r\n",
        ):
            peer = await client(found.port)
            await peer.send(junk)
            rest = await peer.closed()
            assert rest in (b"", b"\x15\x03\x03\x00\x02\x022") or b" 400 " in rest, junk
            peer.close()
        await eventually(lambda: found.dataplane.open_connections == 0)
        assert not origin.connections


# -- whose connection it is


def two_hosts(port: int) -> Snapshot:
    hosts = ("a.test", "b.test", "x.a.test", "c.test")
    return snapshot([route({"one": 1}, host=h) for h in hosts], [service("one", port)])


def two_certificates(config: GivenSettings | None = None) -> GivenSettings:
    with tempfile.TemporaryDirectory() as folder:
        files = [issue(Path(folder), *names) for names in (("a.test", "*.a.test"), ("b.test",))]
        return with_tls(config or settings(), *files)


@on_both_transports
async def test_a_request_for_a_host_of_another_certificate_is_misdirected() -> None:
    origin = await Origin(serve_plain).start()
    async with plane(two_hosts(origin.port), two_certificates()) as found:
        for name, host, status in (
            ("a.test", b"a.test", 200),
            ("a.test", b"A.TEST:8443", 200),
            ("a.test", b"x.a.test", 200),  # not asked for, but the certificate is for it
            ("a.test", b"b.test", 421),
            ("a.test", b"c.test", 421),  # not asked for, and no certificate is for it
            ("b.test", b"a.test", 421),
            ("c.test", b"c.test", 200),  # the client has accepted a certificate of others
            ("c.test", b"b.test", 421),
            (None, b"a.test", 200),
            (None, b"b.test", 421),
            (None, b"c.test", 200),
        ):
            peer = await tls_client(found.port, name, believing_anything())
            answer = await peer.ask(get(host=host))
            assert answer.status == status, (name, host)
        peer = await tls_client(found.port, "a.test")
        for host, status in ((b"a.test", 200), (b"b.test", 421), (b"a.test", 200)):
            assert (await peer.ask(get(host=host))).status == status, "each request is looked at"
    await origin.stop()


@on_both_transports
async def test_a_trusted_proxy_may_send_everything_over_one_connection() -> None:
    origin = await Origin(serve_plain).start()
    config = structs.replace(two_certificates(), trusted_proxies=("127.0.0.0/8",))
    async with plane(two_hosts(origin.port), config) as found:
        peer = await tls_client(found.port, "a.test")
        for host in (b"a.test", b"b.test", b"c.test"):
            assert (await peer.ask(get(host=host))).status == 200
    await origin.stop()


@on_both_transports
async def test_an_https_url_as_the_target_needs_tls_and_a_certificate_for_its_host() -> None:
    origin = await Origin(serve_plain).start()
    async with plane(two_hosts(origin.port), two_certificates()) as found:
        peer = await tls_client(found.port, "a.test")
        for url, status in (
            (b"https://a.test/x", 200),
            (b"https://a.test:443/x", 200),
            (b"https://b.test/x", 421),
            (b"http://a.test/x", 200),
        ):
            assert (await peer.ask(get(url, host=b"a.test"))).status == status, url
        plain = await found.client("internal")
        assert (await plain.ask(get(b"https://a.test/x", host=b"a.test"))).status == 421
    await origin.stop()


# -- https as the user sees it


@on_both_transports
async def test_a_cookie_of_affinity_is_secure_when_the_user_came_by_https() -> None:
    config = structs.replace(with_tls(settings()), trusted_proxies=("127.0.0.0/8",))
    async with proxied(config=config, affinity=True) as (found, _):
        peer = await tls_client(found.port)
        assert b"; Secure" in ((await peer.ask(get())).get(b"set-cookie") or b"")
        for proto, is_secure in (
            (b"https", True),
            (b"HTTPS", True),
            (b"https, http", True),
            (b"http, https", False),
            (b"http", False),
            (b"", False),
        ):
            plain = await found.client("internal")
            answer = await plain.ask(get(b"/", b"X-Forwarded-Proto: " + proto))
            assert (b"; Secure" in (answer.get(b"set-cookie") or b"")) is is_secure, proto


@on_both_transports
async def test_nobody_else_can_say_that_it_was_https() -> None:
    async with proxied(affinity=True) as (found, _):
        plain = await found.client()
        answer = await plain.ask(get(b"/", b"X-Forwarded-Proto: https"))
        assert b"; Secure" not in (answer.get(b"set-cookie") or b"")


@on_both_transports
async def test_plain_requests_are_sent_to_https_with_path_and_query() -> None:
    async with proxied(config=with_tls(settings(), redirect_https=443)) as (found, origin):
        peer = await found.client("internal")
        answer = await peer.ask(get(b"/a/../b?c=%0d&d"))
        assert answer.status == 308
        assert answer.get(b"location") == b"https://a.test/a/../b?c=%0d&d"
        answer = await peer.ask(get(b"/x", host=b"A.test:8081"))
        assert answer.get(b"location") == b"https://a.test/x"
        answer = await peer.ask(get(b"http://a.test/y", host=b"a.test"))
        assert answer.get(b"location") == b"https://a.test/y"
        assert (await peer.ask(get(host=b"unknown.test"))).status == 404
        answer = await peer.ask(post(b"x"))
        assert answer.status == 308
        assert not origin.connections


@on_both_transports
async def test_a_redirect_can_name_another_port() -> None:
    async with proxied(config=with_tls(settings(), redirect_https=8443)) as (found, _):
        answer = await (await found.client("internal")).ask(get(b"/x"))
        assert answer.get(b"location") == b"https://a.test:8443/x"


@on_both_transports
async def test_what_a_trusted_proxy_got_by_https_is_not_sent_round_in_circles() -> None:
    config = with_tls(settings(), redirect_https=443)
    config = structs.replace(config, trusted_proxies=("127.0.0.0/8",))
    async with proxied(config=config) as (found, _):
        peer = await found.client("internal")
        assert (await peer.ask(get(b"/", b"X-Forwarded-Proto: https"))).status == 200
        assert (await peer.ask(get(b"/", b"X-Forwarded-Proto: http"))).status == 308


@on_both_transports
async def test_hsts_is_said_over_tls_only_and_once() -> None:
    async def choose(peer: Peer) -> None:
        while True:
            request = await peer.request()
            own = b"strict-transport-security: max-age=1\r\n" if b"own" in request.target else b""
            await peer.send(b"HTTP/1.1 200 OK\r\n%bContent-Length: 0\r\n\r\n" % own)

    hsts = HstsSettings(max_age=600, include_subdomains=True, preload=True)
    async with proxied(choose, config=with_tls(settings(), hsts=hsts)) as (found, _):
        peer = await tls_client(found.port)
        ours = [b"max-age=600; includeSubDomains; preload"]
        assert (await peer.ask(get())).all(b"strict-transport-security") == ours
        answer = await peer.ask(get(b"/own"))
        assert answer.all(b"strict-transport-security") == [b"max-age=1"]
        answer = await peer.ask(get(host=b"x.a.test"))
        assert (answer.status, answer.all(b"strict-transport-security")) == (404, ours)
        plain = await (await found.client("internal")).ask(get())
        assert not plain.all(b"strict-transport-security")


@on_both_transports
async def test_a_proxy_header_comes_before_tls() -> None:
    config = with_tls(settings())
    public = structs.replace(config.entrypoints["public"], proxy_protocol=True)
    config = structs.replace(
        config,
        entrypoints={**config.entrypoints, "public": public},
        trusted_proxies=("127.0.0.0/8",),
    )
    async with proxied(tell, config=config) as (found, _):
        for size in (1, 7, 1000):
            raw = RawTls(await client(found.port))
            begin = b"PROXY TCP4 192.0.2.7 192.0.2.1 40000 443\r\n" + raw.hello()
            for at in range(0, len(begin), size):
                await raw.peer.send(begin[at : at + size])
                await asyncio.sleep(0)
            await raw.handshake()
            await raw.send(get(b"/", b"Connection: close", b"X-Forwarded-For: 10.0.0.1"))
            said = await raw.read_to_end()
            assert b"\r\nX-Forwarded-For: 192.0.2.7\r\n" in said, "an address that is not trusted"
            assert b"\r\nX-Forwarded-Proto: https\r\n" in said
