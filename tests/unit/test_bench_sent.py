"""What is sent to the proxies, and what stands behind them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from admin.store.factory import make_store
from bench.backends import BODY_BYTES, body
from bench.heads import browser_heads
from bench.prepared import PAIRS_MAX, host_of, state_of, write_store
from gateway.proxy.codec import HeadLimits, parse_request

LIMITS = HeadLimits(65536, 128)


def test_heads_are_ten_fields_that_vary_and_are_good_http() -> None:
    heads = browser_heads("a.example", 200, cookies=("S=1", "S=2"))
    assert len(set(heads)) == 200
    assert heads == browser_heads("a.example", 200, cookies=("S=1", "S=2"))
    for data in heads:
        assert data.count(b"\r\n") == 1 + 10 + 1
        head = parse_request(data, LIMITS)
        assert head is not None
        assert head.size == len(data)
        assert head.keep_alive
        assert head.cookies is not None
        assert b"; S=" in head.cookies
    assert {b"S=1" in data for data in heads} == {True, False}


def test_heads_may_ask_for_the_connections_end() -> None:
    head = parse_request(browser_heads("a.example", 1, close=True)[0], LIMITS)
    assert head is not None
    assert not head.keep_alive


def test_heads_of_uploads_announce_the_body_that_their_sender_adds() -> None:
    head = parse_request(browser_heads("a.example", 1, below="upload", upload=7)[0], LIMITS)
    assert head is not None
    assert (head.method, head.length) == (b"POST", 7)
    assert head.target.startswith(b"/upload/")


def test_backends_say_who_they_are_in_115_bytes() -> None:
    assert [len(body(number)) for number in (1, 2)] == [BODY_BYTES, BODY_BYTES]
    assert body(2).startswith("v2 ")


@pytest.mark.parametrize("routes", [3, PAIRS_MAX + 5])
def test_a_prepared_store_holds_what_the_gateway_reads(routes: int, tmp_path: Path) -> None:
    async def written_and_read() -> None:
        path = tmp_path / "state" / "gateway.db"
        await write_store(path, state_of(routes, (1001, 1002)))
        store = make_store(f"sqlite:{path}", 1)
        state, _ = await store.open()
        await store.close()
        assert len(state.routes) == routes
        assert len(state.services) == 2 * min(routes, PAIRS_MAX)
        for route in state.routes.values():
            assert sorted(route.weights.values()) == [10, 90]
            for service in route.weights:
                assert route.id in {claim.route for claim in state.services[service].claims}
        assert host_of(0) in state.routes

    asyncio.run(written_and_read())
