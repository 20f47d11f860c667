"""Single values of a template: text, words, pairs, numbers, durations.

Each reader takes a value and its place and gives what it means, or None after
telling `Findings` what is wrong with it and how it is written.

Text follows the compose specification where it holds a dollar sign: `$$` is one,
`$NAME` and `${NAME}` would be variables of the reader's environment. The gateway
has none to give, so these are refused.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gateway.core.names import quote

from .plain import Map, Value
from .problems import Findings, Place

DURATION_MAX_S = 86400.0
LINE_MAX = 16384
"""How long a command line may be: cutting takes the square of it."""

_VARIABLE = re.compile(r"\$(?:(\$)|([A-Za-z_][A-Za-z0-9_]*|\{[^}]*\}?))")
_WHOLE = re.compile(r"-?[0-9]{1,40}\Z")
_NUMBER = re.compile(r"[0-9]{1,40}(?:\.[0-9]{1,40})?\Z")
_PART = re.compile(r"([0-9]{1,40}(?:\.[0-9]{1,40})?)(us|ms|s|m|h)")
_UNITS_S = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_BOOLEANS = {"true": True, "false": False}
_RESTART_WORDS = ("always", "unless-stopped", "on-failure", "no")


@dataclass(frozen=True, slots=True)
class Given:
    """A value as text, and where it stands. `is_float`: it was a fraction without quotes."""

    text: str
    place: Place
    is_float: bool = False


def as_map(value: Value, place: Place, findings: Findings, example: str) -> Map | None:
    """A map."""
    if isinstance(value, dict):
        return value
    findings.add(place, f"must be a map, for example {example}, not {kind_of(value)}")
    return None


def text(value: Value, place: Place, findings: Findings) -> str | None:
    """Text that is not empty."""
    if not isinstance(value, str):
        findings.add(place, f"must be text, not {kind_of(value)}{_quotes(value)}")
        return None
    if not value.strip():
        findings.add(place, "is empty")
        return None
    return resolved(value, place, findings)


def resolved(value: str, place: Place, findings: Findings) -> str:
    """Text with `$$` as one dollar sign; variables are problems."""
    if "$" not in value:
        return value

    def replace(found: re.Match[str]) -> str:
        if found[1]:
            return "$"
        findings.add(
            place,
            f"variables are not filled in, as in {quote(found[0])}: write the value itself, "
            "or $$ for a dollar sign",
        )
        return found[0]

    return _VARIABLE.sub(replace, value)


def scalar(value: Value, place: Place, findings: Findings) -> Given | None:
    """Text, or the text form of a number, true or false."""
    if isinstance(value, bool):
        return Given("true" if value else "false", place)
    if isinstance(value, int):
        return Given(str(value), place)
    if isinstance(value, float):
        return Given(repr(value), place, is_float=True)
    if isinstance(value, str):
        return Given(resolved(value, place, findings), place)
    findings.add(place, f"must be text, a number, true or false, not {kind_of(value)}")
    return None


def as_text(value: str | int | float | bool | None) -> str:
    """The text form of a single value as it is, dollar signs included; nothing is empty."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def pairs(value: Value, place: Place, findings: Findings) -> Iterator[tuple[str, Value, Place]]:
    """Names with their values, of a map or of a list of `name=value`.

    A name that stands alone has the value None. Names given twice are problems.
    """
    if isinstance(value, dict):
        for name, item in value.items():
            yield name, item, (*place, name)
        return
    if not isinstance(value, list):
        findings.add(
            place, f"must be a map or a list of texts like 'name=value', not {kind_of(value)}"
        )
        return
    seen: dict[str, int] = {}
    for index, item in enumerate(value):
        where = (*place, index)
        if not isinstance(item, str):
            findings.add(
                where,
                f"must be text like 'name=value', not {kind_of(item)}"
                + ("; or write all of them as a map, without dashes" * isinstance(item, dict)),
            )
            continue
        name, equals, rest = item.partition("=")
        if name in seen:
            findings.add(where, f"{quote(name)} stands in [{seen[name]}] already; keep one")
            continue
        seen[name] = index
        yield name, rest if equals else None, where


def texts(value: Value, place: Place, findings: Findings, example: str) -> list[Given]:
    """A list of texts that are not empty; those that are right."""
    if not isinstance(value, list):
        findings.add(place, f"must be a list, for example {example}, not {kind_of(value)}")
        return []
    found = []
    for index, item in enumerate(value):
        one = text(item, (*place, index), findings)
        if one is not None:
            found.append(Given(one, (*place, index)))
    return found


def command(value: Value, place: Place, findings: Findings) -> tuple[str, ...] | None:
    """A program with its arguments: a list, or text cut into words as a shell would."""
    if isinstance(value, list):
        found = []
        for index, item in enumerate(value):
            where = (*place, index)
            if isinstance(item, str):
                found.append(resolved(item, where, findings))
            else:
                findings.add(where, f"must be text, not {kind_of(item)}{_quotes(item)}")
        words = tuple(found)
    elif isinstance(value, str):
        cut = split(resolved(value, place, findings), place, findings)
        if cut is None:
            return None
        words = cut
    else:
        findings.add(place, f"must be a list of texts or one text, not {kind_of(value)}")
        return None
    if not words or not words[0]:
        findings.add(place, "names no program; leave the key out for the image's own")
        return None
    return words


def split(line: str, place: Place, findings: Findings) -> tuple[str, ...] | None:
    """The words of a command line, as a shell would cut them."""
    if len(line) > LINE_MAX:
        findings.add(place, f"{len(line)} characters, at most {LINE_MAX} are cut; write a list")
        return None
    try:
        return tuple(shlex.split(line))
    except ValueError as error:
        findings.add(place, f"cannot be cut into words ({str(error).lower()}); write it as a list")
        return None


def boolean(given: Given, findings: Findings) -> bool | None:
    """`true` or `false`."""
    found = _BOOLEANS.get(given.text.strip().lower())
    if found is None:
        findings.add(given.place, f"must be true or false, not {quote(given.text)}")
    return found


def whole(given: Given, low: int, high: int, findings: Findings) -> int | None:
    """A whole number of a range."""
    digits = given.text.strip()
    if _WHOLE.match(digits) and low <= int(digits) <= high:
        return int(digits)
    findings.add(given.place, f"must be a whole number from {low} to {high}, not {quote(digits)}")
    return None


def seconds(given: Given, findings: Findings, *, or_zero: bool = False) -> float | None:
    """A number of seconds, without a unit."""
    digits = given.text.strip()
    if _NUMBER.match(digits) and _is_duration(float(digits), or_zero):
        return float(digits)
    least = "from 0" if or_zero else "above 0 and"
    findings.add(
        given.place,
        f"must be a number of seconds {least} to {DURATION_MAX_S:.0f}, not {quote(digits)}",
    )
    return None


def duration(
    value: Value, place: Place, findings: Findings, *, or_zero: bool = False
) -> float | None:
    """A duration as compose files have it, `1m30s`, in seconds."""
    if isinstance(value, str):
        line = resolved(value, place, findings).strip()
        parts = _PART.findall(line[:200])
        if parts and "".join(map("".join, parts)) == line:
            total = sum(float(number) * _UNITS_S[unit] for number, unit in parts)
            if _is_duration(total, or_zero):
                return total
        shown = quote(line)
    else:
        shown = kind_of(value)
    least = "from 0s" if or_zero else "above 0s,"
    findings.add(
        place,
        f"must be a duration {least} to {DURATION_MAX_S / 3600:.0f}h with its unit, "
        f"for example 1m30s or 500ms, not {shown}",
    )
    return None


def _is_duration(value_s: float, or_zero: bool) -> bool:
    return value_s <= DURATION_MAX_S and (value_s > 0 or (or_zero and value_s == 0))


def restart(value: Value, place: Place, findings: Findings) -> None:
    """When to restart: always, whatever the template says."""
    # YAML 1.1 reads `no` as false, and so do those who write JSON
    word = "no" if value is False else value
    base = word.partition(":")[0] if isinstance(word, str) else ""
    if base not in _RESTART_WORDS or (base != word and base != "on-failure"):
        findings.add(
            place,
            f"must be {', '.join(_RESTART_WORDS[:-1])} or {_RESTART_WORDS[-1]}"
            f"{findings.hint(base, _RESTART_WORDS)}",
        )
    elif base in ("no", "on-failure"):
        findings.warn(place, "instances are kept running, also after they ended with success")


def unknown_keys(value: Map, known: Mapping[str, object], place: Place, findings: Findings) -> None:
    """Every key that is neither known nor an extension (`x-...`) is a problem."""
    for key in value:
        if key not in known and not key.startswith("x-"):
            hint = findings.hint(key, known) or f"; known here: {', '.join(known)}"
            findings.add((*place, key), f"unknown key{hint}")


def kind_of(value: Value) -> str:
    """What a value is, for people."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a map"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, str):
        return quote(value)
    return f"{'the number ' if not isinstance(value, bool) else ''}{str(value).lower()}"


def _quotes(value: Value) -> str:
    return "; put it in quotes" if isinstance(value, int | float) else ""
