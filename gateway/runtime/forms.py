"""Plain values (of JSON or YAML) taken as a form, strictly; of wrong ones every problem at its place.

A form is a frozen `msgspec.Struct`, and msgspec judges every value. It stops at the first problem
and does not say under which key of a dict: here all are looked for, and told in words for people.

Must not know what the values mean, nor where they come from.
"""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Collection, Mapping
from enum import EnumType
from typing import Annotated, Any, Final, Literal, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import Meta, Struct

X = TypeVar("X", bound=Struct)

Place = tuple[str | int, ...]
"""The way from the root to a value: keys and list positions."""

INT_MAX, FLOAT_MAX = 2**63 - 1, sys.float_info.max
_WHOLE = "a whole number of at most 64 bits"
Whole = Annotated[int, Meta(ge=-INT_MAX - 1, le=INT_MAX, description=_WHOLE)]
Finite = Annotated[float, Meta(ge=-FLOAT_MAX, le=FLOAT_MAX, description="a finite number")]
"""What others can read again, as have to be all numbers of forms."""

_NOTHING: Final = object()
"""In the place of a value that is wrong."""
_KINDS = {str: "text (put it in quotes)", bool: "true or false", int: "a whole number"}
_KINDS |= {float: "a number", dict: "a section with keys", list: "a list", tuple: "a list"}
_BOUNDS = {"gt": "greater than", "ge": "at least", "le": "at most"}


class Wrong(Struct, frozen=True):
    """What is wrong somewhere: as text with the value that stands there."""

    words: str
    """Without it: it may be a secret."""
    value: object = _NOTHING

    def __str__(self) -> str:
        if self.value is _NOTHING:
            return self.words
        text = json.dumps(self.value, ensure_ascii=False)
        return f"{self.words}, not {text if len(text) <= 60 else text[:57] + '...'}"


Problems = dict[Place, Wrong]


def read(form: type[X], value: object) -> tuple[X | None, Problems]:
    """Take a value as a form; no problems: it is one.

    Else it has its defaults where something is wrong, so that all else can be looked at too;
    None: it cannot be without what is wrong.
    """
    problems: Problems = {}
    if not _fits(form, value):
        value = _sound(form, value, (), problems)
    return None if value is _NOTHING else msgspec.convert(value, form), problems


def in_words(place: Place) -> str:
    """`("providers", "ports", 0)` -> `providers.ports[0]`."""
    text = ""
    for step in place:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def summary(problems: Mapping[Place, Wrong]) -> str:
    """The first problem and its place, without the value that stands there."""
    return next((f"{in_words(place)}: {wrong.words}" for place, wrong in problems.items()), "")


def is_form(kind: object) -> bool:
    """Is it one?"""
    return isinstance(kind, type) and issubclass(kind, Struct)


def _fits(kind: Any, value: object) -> bool:
    try:
        msgspec.convert(value, kind)
    except (msgspec.ValidationError, UnicodeEncodeError):  # it compares no half of a surrogate pair
        return False
    return True


def _sound(kind: Any, value: Any, place: Place, problems: Problems) -> Any:
    """The value without its wrong parts, which are told; `_NOTHING` when it cannot be without."""
    sound = value
    if (inside := _inside(kind, value)) is not None:
        kinds, needed = inside
        parts = value if isinstance(value, dict) else dict(enumerate(value))
        found: dict[Any, Any] = {}
        for step, inner in kinds.items():
            part = _NOTHING
            if step in parts:
                part = _sound(inner, parts[step], (*place, step), problems)
            elif step in needed:
                noun = "a value" if isinstance(step, int) else "this key"
                problems[*place, step] = Wrong(f"{noun} is needed here")
            if part is not _NOTHING:
                found[step] = part
            elif inner is str and isinstance(step, int):
                found[step] = ""  # so that the others keep their places
        for step in parts:
            if step not in kinds:
                problems[*place, step] = Wrong(_unknown(str(step), list(kinds)))
        if not all(step in found for step in needed):
            return _NOTHING
        sound = found if isinstance(value, dict) else list(found.values())
    if _fits(kind, sound):
        return sound
    problems[place] = Wrong(f"must be {_expected(kind, value)}", value)
    return _NOTHING


def _inside(kind: Any, value: object) -> tuple[dict[Any, Any], Collection[Any]] | None:
    """The kinds of what the value is made of, and what it cannot be without; None: has no parts."""
    for bare in _bare(kind):
        inner = get_args(bare)
        if isinstance(value, dict) and is_form(bare):
            fields = msgspec.structs.fields(bare)
            is_open = not bare.__struct_config__.forbid_unknown_fields
            kinds = dict.fromkeys(value if is_open else (), object)
            kinds |= {field.name: field.type for field in fields}
            return kinds, {field.name for field in fields if field.required}
        if isinstance(value, dict) and get_origin(bare) is dict:
            return dict.fromkeys(value, inner[1]), ()
        if isinstance(value, list) and get_origin(bare) in (list, tuple):
            inner = inner[:1] * len(value) if inner[1:] in ((), (...,)) else inner
            if len(value) <= len(inner):
                return dict(enumerate(inner)), range(len(inner))
    return None


def _bare(kind: Any) -> list[Any]:
    """All that it may be, without bounds."""
    if get_origin(kind) is Annotated:
        return _bare(kind.__origin__)
    if get_origin(kind) in (Union, types.UnionType):
        return [bare for one in get_args(kind) for bare in _bare(one)]
    return [kind]


def _expected(kind: Any, value: object) -> str:
    """What the value would have to be."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        base, bounds = inner
        return _bound(base, bounds, value) if _fits(base, value) else _expected(base, value)
    if origin in (Union, types.UnionType):
        return " or ".join(_expected(one, value) for one in inner if one is not types.NoneType)
    if origin is Literal or isinstance(kind, EnumType):
        *others, last = [f'"{word}"' for word in inner or kind]
        return f"{', '.join(others)} or {last}" if others else last
    if origin is tuple and isinstance(value, list):
        return f"a list of at most {len(inner)}"
    return _KINDS[dict if is_form(kind) else origin or kind]


def _bound(base: Any, bounds: Meta, value: object) -> str:
    """The first one that does not hold."""
    if bounds.description is not None:
        return bounds.description
    for name, words in _BOUNDS.items():
        limit = getattr(bounds, name)
        if limit is not None and not _fits(Annotated[base, Meta(**{name: limit})], value):
            return f"{words} {limit}"
    what = "text of at least {} character(s)" if isinstance(value, str) else "a list of at least {}"
    return what.format(bounds.min_length)


def _unknown(name: str, known: list[str]) -> str:
    from difflib import get_close_matches  # only who has mistyped waits for it

    close = get_close_matches(name, known, n=1)
    hint = f'did you mean "{close[0]}"?' if close else f"known here: {', '.join(known)}"
    return f"unknown key; {hint}"
