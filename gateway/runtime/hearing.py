"""What a supervisor listens to: messages of its children, looked at before they are believed.

Children are the same program, but a worker handles what strangers send, and after an
upgrade a child may be of another version. A message of a known type that has not
the form of `messages.py` is the sender's end, and it is replaced; a type that is not
known, or is not meant for a supervisor, is left to the reader to pass over.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any

from annotated_types import Ge
from pydantic import StrictFloat, StrictInt, StrictStr, TypeAdapter, ValidationError

from .link import BrokenLink, Message
from .messages import T


class Nonsense(BrokenLink):
    """A message that cannot be meant."""


@dataclass(frozen=True, slots=True)
class _Beat:
    generation: Annotated[StrictInt, Ge(0)] = 0


@dataclass(frozen=True, slots=True)
class _Drained:
    cut: StrictInt


@dataclass(frozen=True, slots=True)
class _Fatal:
    message: StrictStr


@dataclass(frozen=True, slots=True)
class _Launch:
    id: StrictStr
    service: StrictStr
    note: dict[StrictStr, object]
    command: list[StrictStr]
    env: dict[StrictStr, StrictStr]
    cwd: StrictStr | None
    log: StrictStr
    grace_s: Annotated[StrictFloat, Ge(0)]


@dataclass(frozen=True, slots=True)
class _Halt:
    id: StrictStr
    grace_s: Annotated[StrictFloat, Ge(0)]


_FORMS: dict[str, type] = {
    T.BEAT: _Beat,
    T.DRAINED: _Drained,
    T.FATAL: _Fatal,
    T.LAUNCH: _Launch,
    T.HALT: _Halt,
}


@cache
def _adapter(form: type) -> TypeAdapter[Any]:
    """Made when the first such message comes: no start waits for it."""
    return TypeAdapter(form)


def verify(message: Message) -> None:
    """Raises `Nonsense`."""
    form = _FORMS.get(message["t"])
    if form is None:
        return
    try:
        _adapter(form).validate_python(message)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise Nonsense(
            f"a message {message['t']} that makes no sense at {place}: {first['msg']}"
        ) from None
