"""The settings in force: the file as it was last taken, and the certificates it names.

A file that is read again is taken whole, or not at all. Children are given the settings
from here, each with what it may know of the certificates.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from msgspec import structs

from .certificates import Keeper
from .configuration import BadConfiguration, load, refused_changes
from .settings import Settings


class NotTaken(Exception):  # noqa: N818 - says what happened
    """The file was not taken; `reasons` has a line for each problem."""

    def __init__(self, reasons: Sequence[str]) -> None:
        self.reasons = tuple(reasons)
        super().__init__("; ".join(reasons))


class InForce:
    """See the module. `path` is the configuration file's, if there is one."""

    def __init__(self, settings: Settings, path: Path | None) -> None:
        self.settings = settings
        self.path = path
        self._certificates = Keeper()
        self._certificates.take(settings)

    def take_again(self) -> bool:
        """Read the file and all certificates again; is a setting different?

        Raises `NotTaken`; what was in force then stays so.
        """
        before = self.settings
        self.settings = reread(before, self.path)
        self._certificates.take(self.settings)
        return self.settings != before

    def look(self, now_s: float) -> bool:
        """Read certificates that have changed, if it is time to; is anything different?"""
        return self._certificates.look(now_s)

    def for_worker(self, workers: int) -> Settings:
        """What a worker is given: their limits are the gateway's divided by their number."""
        return self._certificates.for_worker(self._among(workers))

    def for_control(self, workers: int) -> Settings:
        """What the control process is given: no keys."""
        return self._certificates.for_control(self._among(workers))

    def _among(self, workers: int) -> Settings:
        return structs.replace(self.settings, workers=workers)


def reread(current: Settings, path: Path | None) -> Settings:
    """The settings in the file now. Raises `NotTaken`; `current` then stays in force."""
    if path is None:
        raise NotTaken(["the gateway was started without a configuration file"])
    if path.exists() and not path.is_file():
        # The end of a pipe may never come, and who waits here has children to look after.
        raise NotTaken([f"{path}: it is no file any more; a pipe can be read at the start only"])
    try:
        new = load(path)
    except BadConfiguration as bad:
        raise NotTaken([f"{bad.source}: {problem}" for problem in bad.problems]) from None
    if keys := refused_changes(current, new):
        raise NotTaken([needs_restart(str(path), keys)])
    return new


def needs_restart(source: str, keys: Sequence[str]) -> str:
    """Why a file that changes these keys is not taken."""
    return f"{source}: a change of {', '.join(keys)} needs a restart of the gateway"
