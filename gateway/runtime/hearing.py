"""What a supervisor listens to: messages of its children, looked at before they are believed.

Children are the same program, but a worker handles what strangers send, and after an
upgrade a child may be of another version. A message of a known type that has not
the form of `messages.py` is the sender's end, and it is replaced; a type that is not
known, or is not meant for a supervisor, is left to the reader to pass over.
"""

from __future__ import annotations

from typing import Annotated

import orjson
from msgspec import Meta, Struct

from . import forms
from .forms import FLOAT_MAX, INT_MAX, Whole
from .link import BrokenLink, Message
from .messages import T, processes


class Nonsense(BrokenLink):
    """A message that cannot be meant."""


_Grace = Annotated[float, Meta(ge=0, le=FLOAT_MAX)]


class _Beat(Struct, frozen=True):
    generation: Annotated[int, Meta(ge=0, le=INT_MAX)] = 0


class _Drained(Struct, frozen=True):
    cut: Whole


class _Fatal(Struct, frozen=True):
    message: str


class _Launch(Struct, frozen=True):
    id: str
    service: str
    note: dict[str, object]
    command: list[str]
    env: dict[str, str]
    cwd: str | None
    log: str
    grace_s: _Grace


class _Halt(Struct, frozen=True):
    id: str
    grace_s: _Grace


FORMS: dict[str, type[Struct]] = {
    T.BEAT: _Beat,
    T.DRAINED: _Drained,
    T.FATAL: _Fatal,
    T.LAUNCH: _Launch,
    T.HALT: _Halt,
}
"""What is looked at, by the type of the message."""


def verify(message: Message) -> None:
    """Raises `Nonsense`."""
    form = FORMS.get(message["t"])
    if form is None:
        return
    _, problems = forms.read(form, message)
    why = forms.summary(problems)
    if form is _Launch and not problems:
        try:
            orjson.dumps(processes([message], ()))  # as the control process will be told of it
        except TypeError:
            why = "note: nested too deeply"
    if why:
        raise Nonsense(f"a message {message['t']} that makes no sense at {why}")
