"""The gateway's own answers are whole messages, as text or JSON."""

from __future__ import annotations

import orjson

from gateway.proxy.replies import reply


def test_a_reply_counts_its_body_and_says_how_to_go_on() -> None:
    head, _, body = reply(503, "no healthy instance").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"\r\nContent-Length: %d" % len(body) in head
    assert b"\r\nRetry-After: 1" in head
    assert body == b"503 Service Unavailable: no healthy instance\n"


def test_json_is_given_to_those_who_ask_for_it() -> None:
    head, _, body = reply(404, "no route", accept=b"application/json").partition(b"\r\n\r\n")
    assert b"Content-Type: application/json" in head
    assert orjson.loads(body) == {"status": 404, "title": "Not Found", "detail": "no route"}


def test_head_gets_the_same_head_without_the_body() -> None:
    whole = reply(502, "x")
    assert reply(502, "x", head_only=True) == whole[: whole.index(b"\r\n\r\n") + 4]


def test_the_end_of_the_connection_is_announced() -> None:
    assert b"Connection: close\r\n" in reply(400, "x", close=True)
    assert b"Connection" not in reply(404, "x")
