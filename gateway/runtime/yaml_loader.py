"""A strict reader of YAML written by people: one document, plain values, known places.

Plain YAML loaders accept what hides mistakes (duplicate keys: the last one
wins) and what is dangerous (tags that make objects, anchors that expand a
kilobyte into gigabytes). This one builds from parser events and refuses those,
naming line and column. It knows nothing of what the values mean.

Scalars follow the YAML 1.2 core schema, so that `off`, `yes` and `12:30` are
text; numbers with leading zeros (`0600`) are text too, because the two versions
of YAML read them differently. Infinite and not-a-number floats are refused.

Bounds: size in bytes, nesting depth, and number of values after aliases are
expanded; whoever walks the result walks at most that many.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from .forms import Place

SIZE_MAX = 1 << 20
VALUES_MAX = 100_000
DEPTH_MAX = 50

_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_RADIX = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_WORDS = {"": None, "~": None} | {
    spelling: value
    for word, value in (("null", None), ("true", True), ("false", False))
    for spelling in (word, word.capitalize(), word.upper())
}
_QUOTES = '; text that holds ": " or "#", ends in ":" or begins with one of [{*&!|> needs quotes'
_HINTS = {
    "mapping values are not allowed here": _QUOTES,
    "expected the node content, but found '<stream end>'": _QUOTES,
    "found character '\\t' that cannot start any token": "; YAML is indented by spaces, not by tabs",
}
_TAG = "tag:yaml.org,2002:"
_KNOWN_TAGS = {_TAG + kind for kind in ("str", "int", "float", "bool", "null", "map", "seq")}


@dataclass(eq=False)
class YamlProblem(Exception):  # noqa: N818 - becomes a problem in a list
    """Why a document was refused. `line` and `column` count from 1; None where unknown."""

    message: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        where = "" if self.line is None else f"line {self.line}, column {self.column}: "
        return where + self.message


@dataclass(frozen=True, slots=True)
class Document:
    """A document's value (dicts, lists, str, int, float, bool, None) and where its parts stand."""

    value: object
    lines: Mapping[Place, int]

    def line_of(self, place: Place) -> int | None:
        """The line of the value at `place`, or of the nearest value around it."""
        for end in range(len(place), -1, -1):
            line = self.lines.get(place[:end])
            if line is not None:
                return line
        return None


def load(data: bytes | str) -> Document:
    """Read one document; an empty one is None. Raises `YamlProblem`."""
    text = _decode(data)
    try:
        loader = yaml.SafeLoader(text)
        try:
            return _Builder(loader).document()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        message = error.problem or error.context or "not YAML"
        raise _problem(mark, message + _HINTS.get(message, "")) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        column = error.position - (text.rfind("\n", 0, error.position) + 1) + 1
        message = f"the character U+{ord(text[error.position]):04X} is not allowed"
        raise YamlProblem(message, line, column) from None


def _decode(data: bytes | str) -> str:
    size = len(data)
    if size > SIZE_MAX:
        raise YamlProblem(f"{size} bytes, at most {SIZE_MAX} are read")
    if isinstance(data, str):
        return data
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - (data.rfind(b"\n", 0, error.start) + 1) + 1
        raise YamlProblem("not UTF-8 text; save the file as UTF-8", line, column) from None


class _Mark(Protocol):
    """A place in the text, of whichever parser; counts from 0."""

    @property
    def line(self) -> int: ...
    @property
    def column(self) -> int: ...


def _problem(mark: _Mark | None, message: str) -> YamlProblem:
    if mark is None:
        return YamlProblem(message)
    return YamlProblem(message, mark.line + 1, mark.column + 1)


def _line(event: Event) -> int:
    return event.start_mark.line + 1 if event.start_mark is not None else 0


@dataclass(slots=True)
class _Anchor:
    """A named value: `size` is how many values it expands to; not `is_done`: still being read."""

    value: object = None
    size: int = 0
    is_done: bool = False


class _Builder:
    """Builds one document from a loader's events."""

    def __init__(self, loader: yaml.SafeLoader) -> None:
        self._loader = loader
        self._anchors: dict[str, _Anchor] = {}
        self._lines: dict[Place, int] = {}
        self._values = 0

    def document(self) -> Document:
        self._next()  # the stream's start
        if isinstance(self._peek(), StreamEndEvent):
            return Document(None, {})
        start = self._next()
        assert isinstance(start, DocumentStartEvent)
        value = self._value(self._next(), ())
        self._next()  # the document's end
        behind = self._peek()
        if not isinstance(behind, StreamEndEvent):
            raise _problem(behind.start_mark, "a second document; one is expected")
        return Document(value, self._lines)

    def _peek(self) -> Event:
        event: Event = self._loader.peek_event()  # type: ignore[no-untyped-call]
        return event

    def _next(self) -> Event:
        event: Event = self._loader.get_event()  # type: ignore[no-untyped-call]
        return event

    def _value(self, event: Event, place: Place) -> object:
        self._lines.setdefault(place, _line(event))
        if isinstance(event, AliasEvent):
            return self._alias(event)
        self._count(event, 1)
        if len(place) > DEPTH_MAX:
            raise _problem(event.start_mark, f"nested deeper than {DEPTH_MAX} levels")
        assert isinstance(event, ScalarEvent | MappingStartEvent | SequenceStartEvent)
        if event.tag is not None and event.tag not in _KNOWN_TAGS and event.tag != "!":
            shown = event.tag.replace(_TAG, "!!")
            raise _problem(event.start_mark, f"the tag {shown} is not allowed; write a plain value")
        anchor = None
        if event.anchor is not None:
            anchor = self._anchors[event.anchor] = _Anchor()
        before = self._values
        value: object
        if isinstance(event, ScalarEvent):
            value = _scalar(event)
        elif isinstance(event, MappingStartEvent):
            value = self._mapping(place)
        else:
            value = self._sequence(place)
        if anchor is not None:
            anchor.value, anchor.size, anchor.is_done = value, self._values - before + 1, True
        return value

    def _alias(self, event: AliasEvent) -> object:
        anchor = self._anchors.get(str(event.anchor))
        if anchor is None:
            raise _problem(event.start_mark, f"*{event.anchor} names no anchor before it")
        if not anchor.is_done:
            raise _problem(event.start_mark, f"*{event.anchor} contains itself")
        self._count(event, anchor.size)
        return anchor.value

    def _count(self, event: Event, values: int) -> None:
        self._values += values
        if self._values > VALUES_MAX:
            raise _problem(
                event.start_mark, f"more than {VALUES_MAX} values once aliases are expanded"
            )

    def _mapping(self, place: Place) -> dict[str, object]:
        result: dict[str, object] = {}
        while not isinstance(event := self._next(), MappingEndEvent):
            key = self._key(event)
            inner = (*place, key)
            if key in result:
                first = self._lines[inner]
                raise _problem(
                    event.start_mark, f'the key "{key}" is there twice, first in line {first}'
                )
            self._lines[inner] = _line(event)
            result[key] = self._value(self._next(), inner)
        return result

    def _key(self, event: Event) -> str:
        self._count(event, 1)
        if isinstance(event, AliasEvent):
            value = self._alias(event)
            if not isinstance(value, str):
                raise _problem(event.start_mark, "a key must be text")
            return value
        if not isinstance(event, ScalarEvent):
            raise _problem(event.start_mark, "a key must be text, not a list or mapping")
        if event.tag is not None and event.tag not in (_TAG + "str", "!"):
            raise _problem(event.start_mark, "a key must be text")
        if event.value == "<<" and event.implicit[0]:
            raise _problem(
                event.start_mark, "merge keys (<<) are not supported; write the keys out"
            )
        if event.anchor is not None:
            self._anchors[event.anchor] = _Anchor(event.value, 1, True)
        return event.value

    def _sequence(self, place: Place) -> list[object]:
        result: list[object] = []
        while not isinstance(event := self._next(), SequenceEndEvent):
            result.append(self._value(event, (*place, len(result))))
        return result


def _scalar(event: ScalarEvent) -> object:
    text = event.value
    if event.tag in (_TAG + "str", "!") or (event.tag is None and not event.implicit[0]):
        return text
    value = _plain(event, text)
    expected = None if event.tag is None else event.tag.removeprefix(_TAG)
    is_right = {
        None: True,
        "null": value is None,
        "bool": isinstance(value, bool),
        "int": isinstance(value, int) and not isinstance(value, bool),
        "float": isinstance(value, int | float) and not isinstance(value, bool),
    }
    if not is_right.get(expected, False):
        raise _problem(event.start_mark, f'"{text}" is not of the tagged type !!{expected}')
    return value


def _plain(event: ScalarEvent, text: str) -> object:
    if text in _WORDS:
        return _WORDS[text]
    if _LEADING_ZERO.fullmatch(text):
        return text
    if _NOT_FINITE.fullmatch(text):
        raise _problem(event.start_mark, f"{text} is no usable number")
    if _INT.fullmatch(text) or _RADIX.fullmatch(text):
        if len(text) > 100:
            raise _problem(event.start_mark, f"a number of {len(text)} digits")
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        number = float(text)
        if number in (float("inf"), float("-inf")):
            raise _problem(event.start_mark, "the number is too large")
        return number
    return text
