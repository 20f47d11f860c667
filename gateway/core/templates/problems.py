"""What is wrong with a template, and where: collected, never raised one by one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher

from gateway.core.errors import Code, FieldError, Refused
from gateway.core.names import did_you_mean, visible

SHOWN_MAX = 100
"""How many problems, and how many warnings, are told."""
KEPT_MAX = 1000
"""How many are kept: a hostile text must not become a mountain of them."""

Place = tuple[str | int, ...]
"""The way from the top of the document to a value: keys and list positions."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong. `code` is what a template with only such problems is refused as."""

    place: Place
    message: str
    code: Code = Code.INVALID


@dataclass(slots=True)
class Findings:
    """Problems and warnings in the order in which they were found, printable all of them."""

    problems: list[Problem] = field(default_factory=list)
    """The first `KEPT_MAX`, of `count`."""
    warnings: dict[str, None] = field(default_factory=dict)
    """Each once, in order; the first `KEPT_MAX`."""
    count: int = 0

    def add(self, place: Place, message: str, code: Code = Code.INVALID) -> None:
        """Something is wrong."""
        self.count += 1
        if self.count <= KEPT_MAX:
            self.problems.append(Problem(place, visible(message), code))

    def warn(self, place: Place, message: str) -> None:
        """Something is accepted, but perhaps not what was meant."""
        if len(self.warnings) < KEPT_MAX:
            self.warnings[f"{dotted(place)}: {visible(message)}"] = None

    def hint(self, wrong: str, known: Iterable[str]) -> str:
        """`; did you mean ...?`, or nothing; nothing also once nobody would see it."""
        return did_you_mean(wrong, known) if len(self.problems) < SHOWN_MAX else ""


def dotted(place: Place) -> str:
    """`("web", "environment", 0)` -> `web.environment[0]`; bounded and printable."""
    text = ""
    for step in place:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            shown = step if len(step) <= 120 else step[:117] + "..."
            shown = shown if shown.isprintable() else ascii(shown)
            text += f".{shown}" if text else shown
    return text


def is_nearly(word: str, wanted: str) -> bool:
    """Is `word` a slip of the pen for `wanted`?"""
    if abs(len(word) - len(wanted)) > 3:
        return False
    return SequenceMatcher(None, word.lower(), wanted).ratio() >= 0.8


def refusal(problems: Sequence[Problem]) -> Refused:
    """All of `problems` (at least one) as one refusal."""
    codes = {p.code for p in problems}
    code = codes.pop() if len(codes) == 1 else Code.INVALID
    shown = tuple(FieldError(dotted(p.place) or "template", p.message) for p in problems)
    count, more = len(shown), len(shown) - SHOWN_MAX
    least = "at least " if count >= KEPT_MAX else ""
    detail = f"the template has {least}{count} problem{'s' if count != 1 else ''}; mend "
    detail += "it" if count == 1 else "them"
    detail += " and send it again, nothing was changed"
    if more > 0:
        detail += f" ({more} more not shown)"
    return Refused(code, detail, shown[:SHOWN_MAX])


def bounded(warnings: Sequence[str]) -> tuple[str, ...]:
    """Not more of them than anybody would read."""
    if len(warnings) <= SHOWN_MAX:
        return tuple(warnings)
    more = f"{len(warnings) - SHOWN_MAX} more warnings are not shown"
    return (*warnings[:SHOWN_MAX], more)
