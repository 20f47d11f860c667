"""The Date line: right, and made once a second."""

from __future__ import annotations

from email.utils import formatdate

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.proxy.dates import DateLine, http_date


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 4_102_444_800))
def test_a_date_is_written_as_the_rfc_says(unix: int) -> None:
    assert http_date(unix) == formatdate(unix, usegmt=True)


def test_the_line_follows_the_clock_also_backwards() -> None:
    date = DateLine(1_700_000_000.9)
    first = date.line
    assert first == b"Date: Tue, 14 Nov 2023 22:13:20 GMT\r\n"
    date.tick(1_700_000_000.1)
    assert date.line is first
    date.tick(1_700_000_001.0)
    assert date.line == b"Date: Tue, 14 Nov 2023 22:13:21 GMT\r\n"
    date.tick(1_699_999_999.0)
    assert date.line == b"Date: Tue, 14 Nov 2023 22:13:19 GMT\r\n"
