"""The codec against h11 and llhttp: the stricter reader, with every difference in the docs.

`make fuzz` does the same with a million inputs.
"""

from __future__ import annotations

import random
import secrets

import pytest

from gateway.proxy.codec import HeadLimits, Malformed, RequestHead, parse_request
from tests.fuzz.campaign import Report, listed, run, shards_of
from tests.fuzz.differences import Difference
from tests.fuzz.grammar import Kind, Sample, samples
from tests.fuzz.readers import READERS, read_gateway

FIXED_SEED = 20240611
FIXED = 80_000
FRESH = 20_000
LIMITS = HeadLimits(65536, 128)


@pytest.mark.timeout(300)
def test_a_hundred_thousand_messages_are_read_as_h11_and_llhttp_read_them_or_as_the_docs_say() -> (
    None
):
    seed = secrets.randbits(32)
    print(f"the fresh seed is {seed}: python -m tests.fuzz --seed {seed} --inputs {FRESH}")
    fixed = run(shards_of(FIXED_SEED, FIXED))
    assert fixed.complaints(listed()) == []
    fresh = run(shards_of(seed, FRESH))
    # What is rare may be missing among few inputs.
    assert fresh.complaints(listed() & fresh.classes.keys()) == [], f"fresh seed {seed}"
    for report in (fixed, fresh):
        assert report.accepted / report.inputs > 0.3
        assert report.accepted_here / report.inputs > 0.2


def test_a_difference_that_is_not_in_the_table_is_told_with_its_example() -> None:
    report = Report()
    report.look(Sample(Kind.REQUEST, b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x01b\r\n\r\n", b"GET"))
    (difference,) = report.classes
    assert difference == Difference("request: control byte", "h11")
    (complaint,) = report.complaints([])
    assert "control byte (h11), 1 times, as in b'GET" in complaint
    assert report.complaints([difference]) == []


def test_a_row_that_nothing_hits_is_told() -> None:
    (complaint,) = Report().complaints([Difference("request: moonshine", "llhttp")])
    assert complaint.endswith("never seen: request: moonshine (llhttp)")


def test_the_same_seed_makes_the_same_inputs() -> None:
    assert list(samples(7, 50)) == list(samples(7, 50))
    assert list(samples(7, 50)) != list(samples(8, 50))


def test_the_three_readers_agree_on_plain_messages() -> None:
    request = (
        b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3;x\r\nabc\r\n0\r\nX-T: v\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\n"
    )
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 404 N\r\nX: y\r\n\r\nbody"
    for sample in (Sample(Kind.REQUEST, request, b"GET"), Sample(Kind.ANSWER, answer, b"GET")):
        ours = read_gateway(sample)
        assert len(ours.messages) == 2
        for read in READERS.values():
            theirs = read(sample)
            assert [(m.start, m.body, m.trailers, m.keep_alive) for m in theirs.messages] == [
                (m.start, m.body, m.trailers, m.keep_alive) for m in ours.messages
            ]


def verdict_byte_by_byte(data: bytes) -> RequestHead | None:
    for end in range(1, len(data) + 1):
        head = parse_request(data[:end], LIMITS, end - 1)
        if head is not None:
            return head
    return None


def test_a_head_has_one_verdict_however_it_is_cut() -> None:
    requests = [s.data for s in samples(FIXED_SEED, 2000) if s.kind is Kind.REQUEST]
    assert len(requests) > 500
    rng = random.Random(20240613)
    for data in rng.sample(requests, 500):
        try:
            whole = parse_request(data, LIMITS)
        except Malformed:
            with pytest.raises(Malformed):
                verdict_byte_by_byte(data)
        else:
            part = verdict_byte_by_byte(data)
            assert (part is None) == (whole is None), data
            if part is not None and whole is not None:
                assert (part.size, part.framing, part.fields) == (
                    whole.size,
                    whole.framing,
                    whole.fields,
                )
