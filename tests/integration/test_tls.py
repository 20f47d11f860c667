"""TLS entrypoints: which certificate is shown, what is refused, what instances are told."""

from __future__ import annotations

from tests.support.certificates import (
    tls_client,
    with_tls,
)
from tests.support.plane import (
    get,
    on_both_transports,
    proxied,
    settings,
)
from tests.support.wire import Peer


async def tell_fields(peer: Peer) -> None:
    """Answer with what came."""
    while True:
        request = await peer.request()
        await peer.send(
            b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(request.head), request.head)
        )


@on_both_transports
async def test_requests_come_by_tls_and_the_instance_is_told_so() -> None:
    async with proxied(tell_fields, config=with_tls(settings())) as (found, _):
        peer = await tls_client(found.port)
        for _ in range(3):
            answer = await peer.ask(get(b"/x?y", b"X-Forwarded-Proto: http"))
            assert answer.status == 200
            assert b"\r\nX-Forwarded-Proto: https\r\n" in answer.body
