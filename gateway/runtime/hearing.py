"""What a supervisor listens to: messages of its children, looked at before they are believed.

Children are the same program, but a worker handles what strangers send, and after an
upgrade a child may be of another version. A message of a known type that has not
the form of `messages.py` is the sender's end, and it is replaced; a type that is not
known, or is not meant for a supervisor, is left to the reader to pass over.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from . import forms
from .forms import Ge
from .link import BrokenLink, Message
from .messages import T


class Nonsense(BrokenLink):
    """A message that cannot be meant."""


@dataclass(frozen=True, slots=True)
class _Beat:
    generation: Annotated[int, Ge(0)] = 0


@dataclass(frozen=True, slots=True)
class _Drained:
    cut: int


@dataclass(frozen=True, slots=True)
class _Fatal:
    message: str


@dataclass(frozen=True, slots=True)
class _Launch:
    id: str
    service: str
    note: dict[str, object]
    command: list[str]
    env: dict[str, str]
    cwd: str | None
    log: str
    grace_s: Annotated[float, Ge(0)]


@dataclass(frozen=True, slots=True)
class _Halt:
    id: str
    grace_s: Annotated[float, Ge(0)]


_FORMS: dict[str, type] = {
    T.BEAT: _Beat,
    T.DRAINED: _Drained,
    T.FATAL: _Fatal,
    T.LAUNCH: _Launch,
    T.HALT: _Halt,
}


def verify(message: Message) -> None:
    """Raises `Nonsense`."""
    form = _FORMS.get(message["t"])
    if form is None:
        return
    known = {name: message[name] for name in forms.hints_of(form) if name in message}
    problems = forms.read(form, known).problems
    if problems:
        raise Nonsense(f"a message {message['t']} that makes no sense at {forms.summary(problems)}")
