"""Answers kept for `Idempotency-Key`: a change repeated by a nervous client happens once.

Bounded in number, bytes and age, and in memory only: a restarted control
process has forgotten them, which the documentation says. Only answers of
changes that took place are kept; a refused call changed nothing, so repeating
it may try again. Two calls with one key at the same time are one call.

Knows no HTTP server; an answer is a value.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from gateway.core.errors import FieldError

from .payload import refuse

KEY_MAX = 255
ENTRIES_MAX = 1000
BYTES_MAX = 8 << 20
AGE_MAX_S = 86400.0


@dataclass(frozen=True, slots=True)
class Answer:
    """A finished answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class _Kept:
    fingerprint: bytes
    time: float
    answer: asyncio.Future[Answer]

    @property
    def size(self) -> int:
        if not self.answer.done() or self.answer.cancelled() or self.answer.exception():
            return 0
        return len(self.answer.result().body)


def read_key(text: str) -> str:
    """The key a client sent, checked. Raises `Refused`."""
    if not 1 <= len(text) <= KEY_MAX or not (text.isascii() and text.isprintable()):
        raise refuse(
            [FieldError("header.Idempotency-Key", f"1 to {KEY_MAX} printable ASCII characters")],
            "the request",
        )
    return text


class Answers:
    """The answers kept, oldest first. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._kept: OrderedDict[tuple[str, ...], _Kept] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    async def once(
        self,
        key: tuple[str, ...],
        fingerprint: bytes,
        act: Callable[[], Awaitable[Answer]],
    ) -> tuple[Answer, bool]:
        """The answer of `act`, or the kept one of the same key; says whether it was kept.

        Raises `Refused` when the key came with another payload before, and
        whatever `act` raises (nothing is kept then).
        """
        while (kept := self._find(key)) is not None:
            if kept.fingerprint != fingerprint:
                raise refuse(
                    [FieldError("header.Idempotency-Key", "was used for another request before")],
                    "the request",
                )
            try:
                return await asyncio.shield(kept.answer), True
            except asyncio.CancelledError:
                if not kept.answer.cancelled():
                    raise  # it is this caller who was cancelled
            except Exception:  # noqa: S110 - the first caller was told; this one tries itself
                pass
        kept = _Kept(fingerprint, self._clock(), asyncio.get_running_loop().create_future())
        self._kept[key] = kept
        try:
            answer = await act()
        except BaseException as error:
            self._kept.pop(key, None)
            if isinstance(error, Exception):
                kept.answer.set_exception(error)
                kept.answer.exception()  # retrieved: nobody else may be waiting
            else:
                kept.answer.cancel()
            raise
        kept.answer.set_result(answer)
        self._bytes += kept.size
        self._shrink()
        return answer, False

    def _find(self, key: tuple[str, ...]) -> _Kept | None:
        kept = self._kept.get(key)
        if kept is not None and kept.answer.done() and self._clock() - kept.time > AGE_MAX_S:
            self._drop(key)
            return None
        return kept

    def _drop(self, key: tuple[str, ...]) -> None:
        kept = self._kept.pop(key)
        self._bytes -= kept.size

    def _shrink(self) -> None:
        while len(self._kept) > ENTRIES_MAX or self._bytes > BYTES_MAX:
            oldest = next((k for k, v in self._kept.items() if v.answer.done()), None)
            if oldest is None:
                return
            self._drop(oldest)
