"""The configuration file: YAML in, checked `Settings` or every problem with its place out.

`settings.py` says which keys there are and what they may hold; this module turns
violations into sentences for the person who wrote the file, and
`configuration_checks.py` adds what types cannot say. Workers do not import it.

Invariant: a `Settings` returned from here has passed all checks that need no
look at the machine, one from `load` also those of the certificates it names
(whether a port is free is found out at start).
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import time
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from . import certificates, yaml_loader
from .configuration_checks import check
from .settings import HUP_IN_ENTRYPOINTS, RESTART_IN_DOCKER, RESTART_ONLY, Settings
from .yaml_loader import Document, Place, YamlProblem

_ADAPTER = TypeAdapter(Settings)
_PRUNE_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a configuration.

    `place` is the key's way from the top (`timeouts.conect`, `trusted_proxies[0]`),
    "" for the document itself; `line` counts from 1, None where there is none.
    """

    place: str
    message: str
    line: int | None = None

    def __str__(self) -> str:
        parts = (
            "" if self.line is None else f"line {self.line}: ",
            f"{self.place}: " if self.place else "",
            self.message,
        )
        return "".join(parts)


class BadConfiguration(Exception):  # noqa: N818 - says what was found
    """A configuration that cannot be used: all its problems, at least one."""

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        self.source = source
        self.problems = tuple(problems)
        super().__init__("; ".join(f"{source}: {p}" for p in self.problems))


def load(path: Path) -> Settings:
    """Read and check the file and the files it names. Raises `BadConfiguration`."""
    try:
        with open(path, "rb") as file:
            data = file.read(yaml_loader.SIZE_MAX + 1)
    except FileNotFoundError:
        raise BadConfiguration(str(path), [Problem("", "there is no such file")]) from None
    except OSError as error:
        message = f"the file cannot be read: {error.strerror}"
        raise BadConfiguration(str(path), [Problem("", message)]) from None
    return parse(data, str(path), certificates.problems)


def untimely(path: Path) -> list[Problem]:
    """Certificates named in a good configuration file that are not valid now.

    They keep no gateway from starting or from taking a configuration: all else it
    serves is worth more.
    """
    try:
        parse(path.read_bytes(), str(path), lambda named: certificates.untimely(named, time.time()))
    except BadConfiguration as bad:
        return list(bad.problems)
    return []


def parse(
    data: bytes | str,
    source: str = "configuration",
    look: Callable[[Settings], Mapping[Place, str]] = lambda _: {},
) -> Settings:
    """Check the text of a configuration; an empty one means all defaults.

    Raises `BadConfiguration`; `source` is how it names the text, `look` says what is wrong
    with what it names.
    """
    try:
        document = yaml_loader.load(data)
    except YamlProblem as problem:
        raise BadConfiguration(source, [Problem("", problem.message, problem.line)]) from None
    content = {} if document.value is None else document.value
    if not isinstance(content, dict):
        message = "keys with values are expected, for example `domain: example.org`"
        raise BadConfiguration(source, [Problem("", message, document.line_of(()))])
    settings, found = _validate(_without_empty_sections(content))
    if settings is not None:
        # What the pruning of a wrong part made wrong above it is no problem of the file's.
        around = {place[:end] for place in found for end in range(len(place) + 1)}
        wrong = {**look(settings), **check(settings)}
        found.update({p: m for p, m in wrong.items() if p not in around})
    if found or settings is None:
        raise BadConfiguration(source, _problems(document, found))
    return settings


def refused_changes(old: Settings, new: Settings) -> tuple[str, ...]:
    """The keys that differ and that only a restart can change, sorted."""
    was, will = _without_what_hup_changes(old), _without_what_hup_changes(new)
    fixed = [k for k in RESTART_ONLY if getattr(was, k) != getattr(will, k)]
    return tuple(sorted((*fixed, *_docker_changes(was, will))))


def _docker_changes(old: Settings, new: Settings) -> list[str]:
    was, will = old.providers.docker, new.providers.docker
    if was is None or will is None:
        return [] if was is will else ["providers.docker"]
    keys = [k for k in RESTART_IN_DOCKER if getattr(was, k) != getattr(will, k)]
    return [f"providers.docker.{key}" for key in keys]


def _without_what_hup_changes(settings: Settings) -> Settings:
    nothing: dict[str, Any] = dict.fromkeys(HUP_IN_ENTRYPOINTS)
    return dataclasses.replace(
        settings,
        entrypoints={
            name: dataclasses.replace(one, **nothing) for name, one in settings.entrypoints.items()
        },
    )


def _problems(document: Document, found: Mapping[Place, str]) -> list[Problem]:
    lines = document.lines
    problems = [
        Problem(_dotted(p), m, document.line_of(p) if p[:1] in lines else None)
        for p, m in found.items()
    ]
    return sorted(problems, key=lambda p: (p.line or 0, p.place))


def _dotted(place: Place) -> str:
    text = ""
    for step in place:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def _without_empty_sections(content: dict[str, Any]) -> dict[str, Any]:
    """A section whose keys are all commented out reads as null: it means its defaults."""
    hints = typing.get_type_hints(Settings)
    return {
        k: v
        for k, v in content.items()
        if v is not None or not dataclasses.is_dataclass(hints.get(k))
    }


def _validate(content: dict[str, Any]) -> tuple[Settings | None, dict[Place, str]]:
    """The settings (of the sound parts, when there are problems) and the problems."""
    found: dict[Place, str] = {}
    for _ in range(_PRUNE_ROUNDS):
        try:
            # JSON mode: strict about types, yet a list is a tuple and a text an enum.
            return _ADAPTER.validate_json(json.dumps(content), strict=True), found
        except ValidationError as error:
            details: dict[Place, list[ErrorDetails]] = {}
            for detail in error.errors(include_url=False):
                details.setdefault(_place(detail, content), []).append(detail)
            for place, several in details.items():
                if not _follows_from_others(place, several, details):
                    found.setdefault(place, _message(place, several))
            content = _pruned(content, details)
    return None, found


def _follows_from_others(
    place: Place, details: Sequence[ErrorDetails], all_places: Iterable[Place]
) -> bool:
    """Is a list too short only because entries of it are wrong?"""
    return details[0]["type"] == "too_short" and any(
        len(other) > len(place) and other[: len(place)] == place for other in all_places
    )


def _place(detail: ErrorDetails, content: object) -> Place:
    """The error's place without the steps that name a branch of a union."""
    place: list[str | int] = []
    value = content
    for step in detail["loc"]:
        if isinstance(value, dict):
            place.append(step)
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int):
            place.append(step)
            value = value[step] if step < len(value) else None
        else:
            break
    return tuple(place)


def _pruned(content: dict[str, Any], places: Iterable[Place]) -> dict[str, Any]:
    """A copy without the values at `places`; without the entry where a needed key is missing."""
    copy: dict[str, Any] = json.loads(json.dumps(content))
    for place in places:
        target = place if _found(copy, place) else place[:-1]
        if not target or not _found(copy, target):
            continue
        holder: Any = copy
        for step in target[:-1]:
            holder = holder[step]
        last: Any = target[-1]
        if isinstance(holder, list):
            holder[last] = ""  # keeps its length, so that other places stay right
        else:
            del holder[last]
    return copy


def _found(content: Any, place: Place) -> bool:
    value = content
    for step in place:
        if not _has(value, step):
            return False
        value = value[step]
    return True


def _has(holder: Any, step: str | int) -> bool:
    if isinstance(holder, dict):
        return step in holder
    return isinstance(holder, list) and isinstance(step, int) and step < len(holder)


def _message(place: Place, details: Sequence[ErrorDetails]) -> str:
    """One sentence; several details are the branches of a union, all of which failed."""
    kind = details[0]["type"]
    if kind in ("unexpected_keyword_argument", "extra_forbidden"):
        return _unknown_key(place)
    if kind == "missing":
        return "a value is needed here" if isinstance(place[-1], int) else "this key is needed here"
    words = [_expected(d) for d in details]
    return f"must be {' or '.join(words)}, not {_quoted(details[0]['input'])}"


def _expected(detail: ErrorDetails) -> str:
    context = detail.get("ctx", {})
    if detail["type"] in ("enum", "literal_error"):
        return str(context["expected"]).replace("'", '"')
    words = _EXPECTED.get(detail["type"])
    return words.format(**context) if words is not None else f"right ({detail['msg']})"


_EXPECTED = {
    "dataclass_type": "a section with keys",
    "dict_type": "a section with keys",
    "tuple_type": "a list",
    "string_type": "text (put it in quotes)",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "greater_than": "greater than {gt:g}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt:g}",
    "less_than_equal": "at most {le}",
    "too_short": "a list of at least {min_length}",
    "too_long": "a list of at most {max_length}",
    "string_too_short": "text of at least {min_length} character(s)",
}


def _quoted(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


def _unknown_key(place: Place) -> str:
    known = [f.name for f in dataclasses.fields(_section(place[:-1]))]
    close = difflib.get_close_matches(str(place[-1]), known, n=1)
    hint = f'did you mean "{close[0]}"?' if close else f"known here: {', '.join(known)}"
    return f"unknown key; {hint}"


def _section(place: Place) -> type[Any]:
    """The settings class whose keys stand at `place`."""
    kind: Any = Settings
    for step in place:
        if dataclasses.is_dataclass(kind):
            kind = _bare(typing.get_type_hints(kind)[str(step)])
        else:  # an entry of a list, or of a section with names of the user's own
            arguments = typing.get_args(kind)
            kind = _bare(arguments[1] if typing.get_origin(kind) is dict else arguments[0])
    return typing.cast(type[Any], kind)


def _bare(kind: Any) -> Any:
    """The type without `| None`."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return next(k for k in typing.get_args(kind) if k is not type(None))
    return kind
