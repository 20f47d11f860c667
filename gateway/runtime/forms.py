"""Plain values (of JSON or YAML) taken as dataclasses: strictly, with every problem at its place.

A dataclass and the annotations of its fields are the form: `str`, `bool`, `int`, `float`, `object`,
`Literal`, enums of text, `X | None`, `dict[str, X]`, `list[X]`, `tuple[X, ...]`, `tuple[X, Y]`,
dataclasses again, and `Annotated` with the ranges below. Strictly: a number is no text, `true` no number, a
key that the form does not have is a problem; only a whole number is a `float` as well, and a list a tuple.

What a process of the gateway starts with is read by this: a validation library takes three times as long
to import as all of this takes to run (docs/performance.md), and its errors would have to be translated.

Must not know what the values mean, nor where they come from.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Annotated, Any, Final, Generic, Literal, Protocol, TypeVar

X = TypeVar("X")

Place = tuple[str | int, ...]
"""The way from the root to a value: keys and list positions."""

INT_MIN, INT_MAX = -(2**63), 2**63 - 1
"""What others can read again."""


class Range(Protocol):
    """What `Annotated` may say of a value beside its type."""

    def holds(self, value: Any) -> bool:
        """Is it inside?"""

    def expected(self, value: Any) -> str:
        """What it must be, in words."""


class _Bound:
    """A range with one end."""

    __slots__ = ("limit",)

    def __init__(self, limit: float) -> None:
        self.limit = limit


class Gt(_Bound):
    """Greater than the limit."""

    __slots__ = ()

    def holds(self, value: float) -> bool:
        """See `Range`."""
        return value > self.limit

    def expected(self, value: float) -> str:
        """See `Range`."""
        return f"greater than {self.limit}"


class Ge(_Bound):
    """The limit or greater."""

    __slots__ = ()

    def holds(self, value: float) -> bool:
        """See `Range`."""
        return value >= self.limit

    def expected(self, value: float) -> str:
        """See `Range`."""
        return f"at least {self.limit}"


class Le(_Bound):
    """The limit or less."""

    __slots__ = ()

    def holds(self, value: float) -> bool:
        """See `Range`."""
        return value <= self.limit

    def expected(self, value: float) -> str:
        """See `Range`."""
        return f"at most {self.limit}"


class MinLen(_Bound):
    """That many characters or entries, or more."""

    __slots__ = ()

    def holds(self, value: str | tuple[object, ...]) -> bool:
        """See `Range`."""
        return len(value) >= self.limit

    def expected(self, value: str | tuple[object, ...]) -> str:
        """See `Range`."""
        if isinstance(value, str):
            return f"text of at least {self.limit} character(s)"
        return f"a list of at least {self.limit}"


_NOTHING: Final = object()
"""In the place of a value that is wrong."""


@dataclasses.dataclass(frozen=True, slots=True)
class Wrong:
    """What is wrong somewhere: as text with the value that stands there."""

    words: str
    """Without it: it may be a secret."""
    value: object = _NOTHING

    def __str__(self) -> str:
        if self.value is _NOTHING:
            return self.words
        text = json.dumps(self.value, ensure_ascii=False)
        return f"{self.words}, not {text if len(text) <= 60 else text[:57] + '...'}"


@dataclasses.dataclass(frozen=True, slots=True)
class Reading(Generic[X]):
    """What came of it.

    `value` has its defaults where something was wrong, so that all else can be looked at too;
    None: there is none without what is wrong.
    """

    value: X | None
    problems: Mapping[Place, Wrong]
    """Empty: all is right."""


def read(form: type[X], value: object) -> Reading[X]:
    """Take a value as a dataclass."""
    problems: dict[Place, Wrong] = {}
    found = _taken(form, value, (), problems)
    return Reading(None if found is _NOTHING else found, problems)


def in_words(place: Place) -> str:
    """`("providers", "ports", 0)` -> `providers.ports[0]`."""
    text = ""
    for step in place:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def summary(problems: Mapping[Place, Wrong]) -> str:
    """The first problem and its place, without the value that stands there."""
    return next((f"{in_words(place)}: {wrong.words}" for place, wrong in problems.items()), "")


@cache
def hints_of(form: object) -> Mapping[str, Any]:
    """The type of each field of a dataclass, with its ranges."""
    return typing.get_type_hints(form, include_extras=True)


class _Unfit(Exception):  # noqa: N818 - never leaves this module
    """Not of this form; `expected` is what would be, in words."""

    def __init__(self, expected: str) -> None:
        super().__init__(expected)
        self.expected = expected


def _taken(form: Any, value: object, place: Place, problems: dict[Place, Wrong]) -> Any:
    """The value, or `_NOTHING` and a problem."""
    try:
        return _as(form, value, place, problems)
    except _Unfit as unfit:
        problems[place] = Wrong(f"must be {unfit.expected}", value)
        return _NOTHING


def _as(form: Any, value: object, place: Place, problems: dict[Place, Wrong]) -> Any:
    """The value; `_NOTHING` when a part of it is wrong and it cannot be without. Raises `_Unfit`."""
    origin = typing.get_origin(form)
    arguments = typing.get_args(form)
    if origin is None:
        if dataclasses.is_dataclass(form):
            return _section(form, value, place, problems)
        return _SCALARS[form](value) if form in _SCALARS else _choice(list(form), value)
    if origin is Annotated:
        return _in_ranges(form.__metadata__, _as(arguments[0], value, place, problems))
    if origin is Literal:
        return _choice(arguments, value)
    if origin in (typing.Union, types.UnionType):
        return _one_of(arguments, value, place, problems)
    if origin is dict:
        return _named(arguments[1], value, place, problems)
    if arguments[1:] in ((), (...,)):
        entries = _list(arguments[0], value, place, problems)
    else:
        entries = _row(arguments, value, place, problems)
    return entries if entries is _NOTHING else origin(entries)


# -- what has no parts


def _object(value: object) -> object:
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise _Unfit("text (put it in quotes)")
    return value


def _truth(value: object) -> bool:
    if not isinstance(value, bool):
        raise _Unfit("true or false")
    return value


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _Unfit("a whole number")
    if not INT_MIN <= value <= INT_MAX:
        raise _Unfit("a whole number of at most 64 bits")
    return value


def _number(value: object) -> float:
    if isinstance(value, float):
        if not math.isfinite(value):
            raise _Unfit("a finite number")
        return value
    if not isinstance(value, int) or isinstance(value, bool):
        raise _Unfit("a number")
    return float(_whole(value))


_SCALARS: Mapping[Any, Callable[[object], Any]] = {
    object: _object,
    str: _text,
    bool: _truth,
    int: _whole,
    float: _number,
}


def _choice(known: Iterable[Any], value: object) -> Any:
    """One of some texts, or of the members of an enum of texts."""
    for one in known:
        if isinstance(value, str) and one == value:
            return one
    *others, last = [f'"{one}"' for one in known]
    raise _Unfit(f"{', '.join(others)} or {last}" if others else last)


def _in_ranges(ranges: Iterable[Range], value: Any) -> Any:
    if value is not _NOTHING:
        for one in ranges:
            if not one.holds(value):
                raise _Unfit(one.expected(value))
    return value


def _one_of(forms: Iterable[Any], value: object, place: Place, problems: dict[Place, Wrong]) -> Any:
    """In the first form that fits. Of several beside None, none has parts."""
    if value is None and types.NoneType in forms:
        return None
    expected = []
    for form in forms:
        if form is not types.NoneType:
            try:
                return _as(form, value, place, problems)
            except _Unfit as unfit:
                expected.append(unfit.expected)
    raise _Unfit(" or ".join(expected))


# -- what has parts


def _named(form: Any, value: object, place: Place, problems: dict[Place, Wrong]) -> dict[str, Any]:
    """Entries by names of the writer's own; those that are wrong are left out."""
    if not isinstance(value, dict):
        raise _Unfit("a section with keys")
    found = {}
    for name, part in value.items():
        if (taken := _taken(form, part, (*place, name), problems)) is not _NOTHING:
            found[name] = taken
    return found


def _list(form: Any, value: object, place: Place, problems: dict[Place, Wrong]) -> Any:
    """Entries of one form. Texts that are wrong are empty, so that the others keep their places."""
    if not isinstance(value, list):
        raise _Unfit("a list")
    found = [_taken(form, part, (*place, at), problems) for at, part in enumerate(value)]
    if form is str:
        return ["" if one is _NOTHING else one for one in found]
    return _NOTHING if any(one is _NOTHING for one in found) else found


def _row(forms: tuple[Any, ...], value: object, place: Place, problems: dict[Place, Wrong]) -> Any:
    """As many entries as there are forms."""
    if not isinstance(value, list):
        raise _Unfit("a list")
    if len(value) > len(forms):
        raise _Unfit(f"a list of at most {len(forms)}")
    for missing in range(len(value), len(forms)):
        problems[*place, missing] = Wrong("a value is needed here")
    found = [
        _taken(form, part, (*place, at), problems)
        for at, (form, part) in enumerate(zip(forms, value, strict=False))
    ]
    whole = len(found) == len(forms) and not any(one is _NOTHING for one in found)
    return found if whole else _NOTHING


def _section(form: Any, value: object, place: Place, problems: dict[Place, Wrong]) -> Any:
    """A dataclass; a field that is wrong has its default."""
    if not isinstance(value, dict):
        raise _Unfit("a section with keys")
    hints, fields = hints_of(form), dataclasses.fields(form)
    found: dict[str, Any] = {}
    is_whole = True
    for field in fields:
        at = (*place, field.name)
        taken = _NOTHING
        if field.name in value:
            taken = _taken(hints[field.name], value[field.name], at, problems)
        elif _is_needed(field):
            problems[at] = Wrong("this key is needed here")
        if taken is not _NOTHING:
            found[field.name] = taken
        elif _is_needed(field):
            is_whole = False
    known = [field.name for field in fields]
    for name in value:
        if name not in known:
            problems[*place, name] = Wrong(_unknown(str(name), known))
    return form(**found) if is_whole else _NOTHING


def _is_needed(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _unknown(name: str, known: list[str]) -> str:
    from difflib import get_close_matches  # only who has mistyped waits for it

    close = get_close_matches(name, known, n=1)
    hint = f'did you mean "{close[0]}"?' if close else f"known here: {', '.join(known)}"
    return f"unknown key; {hint}"
