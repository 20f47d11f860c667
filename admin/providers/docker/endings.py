"""Why a container ended, or was not started, in words. Pure."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from admin.providers.launching.failures import words_of_end

from .engine import EngineError

_FROM_SIGNAL = 128
_FRACTION = 6
"""Digits of a second that Python reads."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How it ended. `words`: `ended with exit code 3 after 0.2 s`."""

    words: str
    lived_s: float


def ending_of(inspected: Mapping[str, Any]) -> Ending:
    """The end of a container that the Engine tells everything of."""
    state = inspected.get("State") or {}
    code = state.get("ExitCode")
    code = code if type(code) is int else None
    began, over = _time(state.get("StartedAt")), _time(state.get("FinishedAt"))
    lived_s = max(0.0, over - began) if began > 0 else 0.0  # the year 1: never
    if code is not None and code > _FROM_SIGNAL and _is_signal(code - _FROM_SIGNAL):
        words = words_of_end(_FROM_SIGNAL - code, lived_s)
    else:
        words = words_of_end(code, lived_s)
    if state.get("OOMKilled"):
        words += ", as it needed more memory than mem_limit gives it"
    elif error := state.get("Error"):
        words += f": {str(error)[:500]}"
    return Ending(words, lived_s)


def advice(error: EngineError) -> str:
    """What the Engine says, with what to do where that is known."""
    text = str(error)[:1000]
    lower = text.lower()
    is_program = "exec" in lower or "container process" in lower
    if "executable file not found" in lower or (
        is_program and "no such file or directory" in lower
    ):
        return f"{text}; the image has no such program: see command and entrypoint"
    if "bind source path does not exist" in lower:
        return f"{text}; make the folder on the Docker Engine's machine"
    if "could not find an available" in lower and "address" in lower:
        return f"{text}; remove networks that nobody uses (docker network prune)"
    return text


def _is_signal(number: int) -> bool:
    try:
        signal.Signals(number)
    except ValueError:
        return False
    return True


def _time(given: object) -> float:
    """Seconds since the epoch of the Engine's `2026-01-02T03:04:05.123456789Z`."""
    if not isinstance(given, str):
        return 0.0
    head, _, fraction = given.removesuffix("Z").partition(".")
    digits = fraction[:_FRACTION].ljust(_FRACTION, "0")
    try:
        return datetime.fromisoformat(f"{head}.{digits}+00:00").timestamp()
    except ValueError:
        return 0.0
