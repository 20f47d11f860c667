"""Strict reading of what clients send: JSON bodies and query strings.

JSON parsers forgive what an operator's tool must not: a key given twice (the
last one silently wins), NaN, numbers that become infinity, text that is no
Unicode. Everything of that kind is found here, with its place, before a model
sees the payload. All problems of a payload are reported at once.

Knows pydantic and the words of `errors.py`; no HTTP, no model of its own.
"""

from __future__ import annotations

import json
import math
import types
import typing
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, RootModel, ValidationError

from gateway.core.errors import Code, FieldError, Refused
from gateway.core.names import did_you_mean

MAX_BYTES = 1 << 20
MAX_DEPTH = 32
MAX_DIGITS = 40
"""Longer whole numbers are refused unread: converting digits costs their square."""
MAX_ERRORS = 100

Model = TypeVar("Model", bound=BaseModel)


class _Twice(dict[str, Any]):
    """An object with keys that were given more than once."""

    __slots__ = ("keys_given_twice",)
    keys_given_twice: list[str]


class _BadNumber:
    """A number that JSON or the gateway has no value for."""

    __slots__ = ("message",)

    def __init__(self, message: str) -> None:
        self.message = message


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    plain = dict(pairs)
    if len(plain) == len(pairs):
        return plain
    seen: set[str] = set()
    marked = _Twice(plain)
    marked.keys_given_twice = sorted(
        {key for key, _ in pairs if key in seen or seen.add(key)}  # type: ignore[func-returns-value]
    )
    return marked


def _constant(name: str) -> _BadNumber:
    return _BadNumber(f"{name} is no number; JSON has none such")


def _whole(digits: str) -> int | _BadNumber:
    if len(digits) > MAX_DIGITS:
        return _BadNumber(f"a number of {len(digits)} digits is too large")
    return int(digits)


def _fraction(text: str) -> float | _BadNumber:
    value = float(text)
    return value if math.isfinite(value) else _BadNumber("the number is too large")


_decoder = json.JSONDecoder(
    object_pairs_hook=_object,
    parse_constant=_constant,
    parse_int=_whole,
    parse_float=_fraction,
)


def place(parts: Iterable[str | int]) -> str:
    """`("routes", 0, "host")` -> `routes[0].host`."""
    text = ""
    for part in parts:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return shorten(text)


def shorten(text: str, limit: int = 200) -> str:
    """`text` fit to be shown: bounded, and without half characters."""
    clean = text.encode("utf-8", "replace").decode()
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


def refuse(errors: Sequence[FieldError], what: str = "the payload") -> Refused:
    """A 422 with all of `errors`, bounded."""
    shown = tuple(errors[:MAX_ERRORS])
    more = len(errors) - len(shown)
    detail = f"{what} has {len(errors)} problem{'s' if len(errors) != 1 else ''}; mend "
    detail += "it" if len(errors) == 1 else "them"
    detail += " and send it again, nothing was changed"
    if more:
        detail += f" ({more} more not shown)"
    return Refused(Code.INVALID, detail, shown)


def invalid_path(name: str, error: ValueError) -> Refused:
    """A 422 for a part of the address."""
    return refuse([FieldError(f"path.{name}", str(error))], "the address")


def read_json(raw: bytes, prefix: tuple[str, ...] = ()) -> Any:
    """The value of a JSON text; `Refused` with every place that is not strict JSON.

    Places begin with `prefix`.
    """
    if len(raw) > MAX_BYTES:
        raise refuse([FieldError("body", f"longer than {MAX_BYTES} bytes")])
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise refuse([FieldError("body", f"not UTF-8 at byte {error.start}")]) from None
    try:
        value = _decoder.decode(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise refuse([FieldError("body", f"not JSON at {where}: {error.msg}")]) from None
    except RecursionError:
        raise refuse([FieldError("body", _TOO_DEEP)]) from None
    errors: list[FieldError] = []
    _inspect(value, prefix, errors)
    if errors:
        raise refuse(errors)
    return value


_TOO_DEEP = f"nested deeper than {MAX_DEPTH} levels"


def _inspect(value: Any, path: tuple[str | int, ...], errors: list[FieldError]) -> None:
    where = path or ("body",)
    if len(path) > MAX_DEPTH:
        errors.append(FieldError(place(path), _TOO_DEEP))
        return
    if isinstance(value, _BadNumber):
        errors.append(FieldError(place(where), value.message))
    elif isinstance(value, str):
        if not _is_unicode(value):
            errors.append(FieldError(place(where), "half of a surrogate pair is no character"))
    elif isinstance(value, dict):
        if isinstance(value, _Twice):
            errors.extend(
                FieldError(place((*path, key)), "given twice; which one is meant?")
                for key in value.keys_given_twice
            )
        for key, item in value.items():
            if not _is_unicode(key):
                errors.append(FieldError(place((*path, key)), "the key is no Unicode text"))
            _inspect(item, (*path, key), errors)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _inspect(item, (*path, index), errors)


def _is_unicode(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= c <= "\udfff" for c in text)


def _hint(word: str, known: list[str]) -> str:
    """What an unknown key could have meant."""
    near = did_you_mean(word, known)
    return near or (f"; known: {', '.join(known)}" if known else "")


def parse(model: type[Model], value: Any, prefix: tuple[str, ...] = ()) -> Model:
    """`value` (as `read_json` gave it) as a model; `Refused` with all problems."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise refuse(problems_of(model, error, prefix)) from None


def problems_of(
    model: type[BaseModel], error: ValidationError, prefix: tuple[str, ...] = ()
) -> list[FieldError]:
    """Every problem pydantic found, in the operator's words.

    Those that `refuse` only counts get no words: finding some for 50,000 keys takes a second.
    """
    found: list[FieldError] = []
    for e in error.errors(include_url=False, include_input=False):
        if len(found) >= MAX_ERRORS:
            found.append(FieldError("", e["type"]))
            continue
        location = tuple(p for p in e["loc"] if p != "[key]")
        where = place((*prefix, *location)) or "body"
        if e["type"] == "extra_forbidden":
            known = _fields_at(model, location[:-1])
            message = "unknown key" + _hint(str(location[-1]), known)
        else:
            words = _WORDS.get(e["type"]) or e["msg"].removeprefix("Value error, ")
            message = words.format_map(e.get("ctx", {})) if e["type"] in _WORDS else words
        found.append(FieldError(where, shorten(message)))
    return found


_WORDS = {
    "missing": "required",
    "int_type": "must be a whole number, without quotes or decimal point",
    "int_from_float": "must be a whole number, without quotes or decimal point",
    "int_parsing": "must be a whole number",
    "float_type": "must be a number, without quotes",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false, without quotes",
    "bool_parsing": "must be true or false",
    "string_type": "must be a text in quotes",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "string_too_long": "at most {max_length} characters are possible",
    "too_short": "at least {min_length} is needed",
    "too_long": "at most {max_length} are possible",
    "literal_error": "must be {expected}",
}


def _fields_at(model: type[BaseModel], location: Sequence[str | int]) -> list[str]:
    """The keys a payload may have at `location`."""
    kind: Any = model
    for part in location:
        kind = _item(kind, part)
    kind = _bare(kind)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [f.alias or name for name, f in kind.model_fields.items()]
    return []


def _item(kind: Any, part: str | int) -> Any:
    kind = _bare(kind)
    if isinstance(kind, type) and issubclass(kind, RootModel):
        return _item(kind.model_fields["root"].annotation, part)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        for name, spec in kind.model_fields.items():
            if part in (name, spec.alias):
                return spec.annotation
        return None
    arguments = typing.get_args(kind)
    return arguments[-1] if arguments else None


def _bare(kind: Any) -> Any:
    """`kind` without Annotated and without None."""
    origin = typing.get_origin(kind)
    if origin is typing.Annotated:
        return _bare(typing.get_args(kind)[0])
    if origin in (typing.Union, types.UnionType):
        rest = [k for k in typing.get_args(kind) if k is not type(None)]
        return _bare(rest[0]) if len(rest) == 1 else kind
    return kind


def read_query(model: type[Model], pairs: Iterable[tuple[str, str]]) -> Model:
    """The query parameters as a model: none unknown, none given twice (but lists)."""
    values: dict[str, Any] = {}
    errors: list[FieldError] = []
    for key, value in pairs:
        spec = model.model_fields.get(key)
        if spec is not None and typing.get_origin(_bare(spec.annotation)) is list:
            values.setdefault(key, []).append(value)
        elif key in values:
            errors.append(FieldError(shorten(key), "given twice; which one is meant?"))
        else:
            values[key] = value
    try:
        result = model.model_validate(values)
    except ValidationError as error:
        errors.extend(problems_of(model, error))
    if errors:
        raise refuse([FieldError(f"query.{e.field}", e.message) for e in errors], "the query")
    return result


def merged(refusals: Sequence[Refused]) -> Refused:
    """One refusal with the problems of several places (query, headers, body)."""
    if len(refusals) == 1:
        return refusals[0]
    return refuse([e for r in refusals for e in r.errors], "the request")
