"""The configuration file: YAML in, checked `Settings` or every problem with its place out.

`settings.py` says which keys there are and what they may hold, `forms.py` reads them, and
`configuration_checks.py` adds what types cannot say. Workers do not import it.

Invariant: a `Settings` returned from here has passed all checks that need no
look at the machine, one from `load` also those of the certificates it names
(whether a port is free is found out at start).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec import structs

from . import certificates, yaml_loader
from .configuration_checks import check
from .forms import Place, Wrong, in_words, is_form, read
from .settings import HUP_IN_ENTRYPOINTS, RESTART_IN_DOCKER, RESTART_ONLY, Settings
from .yaml_loader import Document, YamlProblem


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
    settings, problems = read(Settings, _without_empty_sections(content))
    found = _half_characters(document) | {place: str(wrong) for place, wrong in problems.items()}
    if settings is not None:
        # What the default in the place of a wrong part made wrong above it is no problem of the file's.
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
    return structs.replace(
        settings,
        entrypoints={
            name: structs.replace(one, **nothing) for name, one in settings.entrypoints.items()
        },
    )


def _problems(document: Document, found: Mapping[Place, str]) -> list[Problem]:
    lines = document.lines
    problems = [
        Problem(_shown(in_words(p)), _shown(m), document.line_of(p) if p[:1] in lines else None)
        for p, m in found.items()
    ]
    return sorted(problems, key=lambda p: (p.line or 0, p.place))


def _half_characters(document: Document) -> dict[Place, str]:
    """Where there is text, as key or value, that nobody could be told."""
    found: dict[Place, str] = {}
    for place in document.lines:
        value: Any = document.value
        for step in place:
            value = value[step]
        for text in (*place[-1:], value):
            if isinstance(text, str) and _shown(text) != text:
                words = "must be whole characters (half of a surrogate pair is none)"
                found[place] = str(Wrong(words, text))
    return found


def _shown(text: str) -> str:
    """Text that can be encoded: half of a pair of surrogates, which an escape can make, cannot."""
    return text.encode("utf-8", "backslashreplace").decode()


def _without_empty_sections(content: dict[str, Any]) -> dict[str, Any]:
    """A section whose keys are all commented out reads as null: it means its defaults."""
    sections = {field.name for field in structs.fields(Settings) if is_form(field.type)}
    return {k: v for k, v in content.items() if v is not None or k not in sections}
