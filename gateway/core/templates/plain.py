"""Whatever came in, as plain values within bounds: the only door into this package.

Behind it every mapping has text as keys, every number is finite and short, every
text is Unicode without NUL, and nothing is nested so deeply or shared so often that
walking it could hurt. All code behind this door relies on that.
"""

from __future__ import annotations

import math
from typing import TypeAlias

from .problems import Findings, Place

DEPTH_MAX = 50
VALUES_MAX = 100_000
INTEGER_MAX = 10**40

Value: TypeAlias = "Map | list[Value] | str | int | float | bool | None"
Map: TypeAlias = "dict[str, Value]"


class _TooMany(Exception):  # noqa: N818 - says what was found
    """More values than anybody writes."""


def plain(document: object, findings: Findings) -> Value:
    """A copy of `document` in plain values; what is none becomes None and a problem."""
    walk = _Walk(findings)
    try:
        return walk.copy(document, ())
    except _TooMany:
        findings.add((), f"more than {VALUES_MAX} values once aliases are expanded")
        return None


class _Walk:
    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._values = 0

    def copy(self, value: object, place: Place) -> Value:
        self._values += 1
        if self._values > VALUES_MAX:
            raise _TooMany
        if len(place) > DEPTH_MAX:
            self._findings.add(place[:3], f"nested deeper than {DEPTH_MAX} levels")
            return None
        if isinstance(value, dict):
            return self._map(value, place)
        if isinstance(value, list):
            return [self.copy(item, (*place, index)) for index, item in enumerate(value)]
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return self._text(value, place)
        if isinstance(value, int | float):
            return self._number(value, place)
        self._findings.add(place, "text, a number, true, false, a list or a map is expected")
        return None

    def _map(self, value: dict[object, object], place: Place) -> Map:
        found: Map = {}
        for key, item in value.items():
            if not isinstance(key, str):
                self._findings.add(place, "a key must be text (put it in quotes)")
            else:
                found[self._text(key, place)] = self.copy(item, (*place, key))
        return found

    def _text(self, text: str, place: Place) -> str:
        if not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text):
            self._findings.add(place, "half of a surrogate pair is no character")
        elif "\0" in text:
            self._findings.add(place, "no text may hold the character NUL")
        return text

    def _number(self, number: int | float, place: Place) -> Value:
        if not (math.isfinite(number) if isinstance(number, float) else abs(number) < INTEGER_MAX):
            self._findings.add(place, "the number is too large, or is none")
            return None
        return number
