"""The Date field of answers that have none (RFC 9110, 6.6.1). Made once a second, not per answer."""

from __future__ import annotations

import time

# Neither of the locale nor of `email.utils`, which costs a worker 2 MB.
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def http_date(unix: float) -> str:
    """IMF-fixdate (RFC 9110, 5.6.7)."""
    t = time.gmtime(unix)
    return (
        f"{_DAYS[t.tm_wday]}, {t.tm_mday:02} {_MONTHS[t.tm_mon - 1]} {t.tm_year} "
        f"{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02} GMT"
    )


class DateLine:
    """`line`: a ready `Date: ...` with CRLF, as of the last `tick`."""

    __slots__ = ("_second", "line")

    line: bytes

    def __init__(self, unix: float) -> None:
        self._second = -1
        self.tick(unix)

    def tick(self, unix: float) -> None:
        """It is `unix` (wall clock) now."""
        second = int(unix)
        if second != self._second:
            self._second = second
            self.line = b"Date: %b\r\n" % http_date(second).encode()
