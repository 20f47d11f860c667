"""The operational log: one line per event, whatever is in it."""

from __future__ import annotations

import logging
import re
import sys

from gateway.runtime.logs import LineFormatter


def line(message: str, *args: object, error: bool = False) -> str:
    info = sys.exc_info() if error else None
    record = logging.LogRecord("x", logging.WARNING, "f", 1, message, args, info)
    return LineFormatter("worker-3").format(record)


def test_a_line_is_time_level_component_message() -> None:
    pattern = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z warning worker-3 2 of 3 ready: é"
    assert re.fullmatch(pattern, line("%d of %d ready: %s", 2, 3, "é"))


def test_nothing_in_a_message_can_begin_another_line() -> None:
    shown = line("bad name %s", "a\nerror supervisor forged\r\x1b[31m\x85")
    assert len(shown.splitlines()) == 1
    assert "\x1b" not in shown


def test_a_traceback_stays_on_its_line() -> None:
    try:
        raise ValueError("boom\nsecond")
    except ValueError:
        shown = line("failed", error=True)
    assert len(shown.splitlines()) == 1
    assert "failed | Traceback" in shown
    assert "boom | second" in shown
