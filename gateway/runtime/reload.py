"""A configuration read again while the gateway runs: taken whole, or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .configuration import BadConfiguration, load, refused_changes
from .settings import Settings


class NotTaken(Exception):  # noqa: N818 - says what happened
    """The file was not taken; `reasons` has a line for each problem."""

    def __init__(self, reasons: Sequence[str]) -> None:
        self.reasons = tuple(reasons)
        super().__init__("; ".join(reasons))


def reread(current: Settings, path: Path | None) -> Settings:
    """The settings in the file now. Raises `NotTaken`; `current` then stays in force."""
    if path is None:
        raise NotTaken(["the gateway was started without a configuration file"])
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
