"""Operational log: one line per event on stderr, `time level component message`.

Every process of the gateway writes to the stderr it inherited; the component
says which one. A line is one `write`, so lines of several processes do not mix.
Control characters are escaped, so that nothing a peer sent can forge a line.
"""

from __future__ import annotations

import logging
import sys
import time


class LineFormatter(logging.Formatter):
    """`2026-01-31T12:00:00.123Z info supervisor message`."""

    def __init__(self, component: str) -> None:
        super().__init__()
        self._component = component

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever is in the message."""
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        text = record.getMessage()
        if record.exc_info:
            text += " | " + self.formatException(record.exc_info)
        shown = "".join(c if c.isprintable() else _escape(c) for c in text)
        level = record.levelname.lower()
        return f"{seconds}.{int(record.msecs):03d}Z {level} {self._component} {shown}"


def _escape(character: str) -> str:
    return " | " if character == "\n" else f"\\x{ord(character):02x}"


def set_up(component: str, level: int = logging.INFO) -> None:
    """Send this process's log to stderr as `component`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter(component))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.captureWarnings(True)
