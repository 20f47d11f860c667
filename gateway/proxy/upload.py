# cython: language_level=3, annotation_typing=False
"""A request's body while it comes in, and what a further attempt would need of it.

Bytes are kept until they were sent, and beyond that only while a second attempt
could be made and use them: the method is idempotent and the body is small.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .body import Body
from .fields import NOTHING_LISTED
from .heads import Framing
from .retry import IDEMPOTENT, REPLAY_BYTES

if TYPE_CHECKING:
    from .heads import RequestHead

_NONE = Framing.NONE
HELD_BYTES = 64 * 1024
"""More than this should not be read before it can be sent."""


class Upload(Body):
    """The body of a request, framed for the instance as the client framed it."""

    __slots__ = ("_is_idempotent", "_kept", "_kept_bytes")

    def __init__(
        self,
        framing: Framing,
        length: int,
        is_idempotent: bool,
        listed: frozenset[bytes] = NOTHING_LISTED,
    ) -> None:
        super().__init__(framing, length, framing, 400, listed)
        self._is_idempotent = is_idempotent
        self._kept: list[bytes] | None = []
        self._kept_bytes = 0

    @property
    def is_replayable(self) -> bool:
        """Is every byte there that an attempt has to begin with?"""
        return self._kept is not None

    @property
    def is_held_back(self) -> bool:
        """Does more wait to be sent than should be read ahead?"""
        return self._kept_bytes > HELD_BYTES and not self.done

    def keep(self, piece: bytes) -> None:
        """Keep a piece for this attempt, if it is still to be sent, or for another."""
        if self._kept is not None:
            self._kept.append(piece)
            self._kept_bytes += len(piece)

    def kept(self) -> bytes:
        """What an attempt begins with."""
        return b"".join(self._kept) if self._kept else b""

    def mark_sent(self) -> None:
        """All that came so far was sent: drop it unless another attempt may want it."""
        if self._kept and (not self._is_idempotent or self._kept_bytes > REPLAY_BYTES):
            self._kept = None

    def drop(self) -> None:
        """There will be no other attempt."""
        self._kept = None


class NoUpload(Upload):
    """The body of a request that has none; shared, since nothing ever changes it."""

    __slots__ = ()

    def drop(self) -> None:
        """There is nothing to drop."""


_NO_UPLOAD = NoUpload(Framing.NONE, -1, False)


def upload_of(head: RequestHead) -> Upload:
    """The body to come behind a request's head."""
    if head.framing is _NONE:
        return _NO_UPLOAD
    return Upload(head.framing, head.length, head.method in IDEMPOTENT, head.listed)
