"""Bodies are framed anew, and end only where the sender's ended."""

from __future__ import annotations

import pytest

from gateway.proxy.body import Body
from gateway.proxy.codec import Framing, Malformed

LENGTH, CHUNKED, CLOSE, NONE = (
    Framing.LENGTH,
    Framing.CHUNKED,
    Framing.UNTIL_CLOSE,
    Framing.NONE,
)


def test_a_counted_body_ends_at_its_length_and_leaves_the_rest() -> None:
    body = Body(LENGTH, 5, LENGTH, 400)
    assert body.feed(b"abc") == b"abc"
    done_early = body.done
    assert not done_early
    assert body.feed(b"deGET /") == b"de"
    assert body.done
    assert body.rest == b"GET /"
    assert body.size == 5


@pytest.mark.parametrize(("framing", "length"), [(NONE, -1), (LENGTH, 0)])
def test_an_empty_body_is_done_at_once_and_what_follows_is_rest(
    framing: Framing, length: int
) -> None:
    body = Body(framing, length, framing, 400)
    assert body.done
    assert body.feed(b"x") == b""
    assert body.rest == b"x"


def test_chunks_are_made_anew_without_the_senders_extensions() -> None:
    body = Body(CHUNKED, -1, CHUNKED, 400)
    assert body.feed(b"3;secret=1\r\nabc\r\n2\r\nde\r\n0\r\n\r\nrest") == b"5\r\nabcde\r\n0\r\n\r\n"
    assert body.done
    assert body.rest == b"rest"
    assert body.size == 5


def test_a_chunked_body_is_decoded_for_a_side_that_knows_no_chunks() -> None:
    body = Body(CHUNKED, -1, CLOSE, 502)
    assert body.feed(b"3\r\nabc\r\n0\r\n\r\n") == b"abc"
    assert body.done


def test_broken_chunks_carry_the_status_of_whose_fault_it_is() -> None:
    body = Body(CHUNKED, -1, CHUNKED, 502)
    with pytest.raises(Malformed) as caught:
        body.feed(b"zz\r\n")
    assert caught.value.status == 502


def test_a_close_ends_only_a_body_that_lasts_until_close() -> None:
    until_close = Body(CLOSE, -1, CHUNKED, 502)
    assert until_close.feed(b"abc") == b"3\r\nabc\r\n"
    assert until_close.end() == b"0\r\n\r\n"
    counted = Body(LENGTH, 5, LENGTH, 502)
    counted.feed(b"abc")
    assert counted.end() is None
    chunked = Body(CHUNKED, -1, CHUNKED, 502)
    chunked.feed(b"3\r\nabc\r\n")
    assert chunked.end() is None
