"""Small files that somebody else may have put there: read without ever waiting.

A pipe or a device in the place of a file would keep its reader waiting for ever, and
who reads here has processes to look after.
"""

from __future__ import annotations

import os
import stat


class NoFile(OSError):  # noqa: N818 - says what was found
    """Something else than a file is there; `strerror` says so."""


def read(path: str | os.PathLike[str], limit: int) -> bytes:
    """At most `limit` + 1 bytes, so that the caller sees what is too long. Raises `OSError`."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    with open(fd, "rb") as file:
        mode = os.fstat(fd).st_mode
        if not stat.S_ISREG(mode):
            raise NoFile(0, "Is a directory" if stat.S_ISDIR(mode) else "it is no file")
        return file.read(limit + 1)
