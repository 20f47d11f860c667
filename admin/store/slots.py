"""Two slots behind a descriptor: a write that is cut off loses nothing but itself.

Bodies are written to the slots in turn, so the newest whole one is untouched while
the next is written. A slot is a head (magic, sequence number, length and CRC-32 of
the body, CRC-32 of the head) and the body. The head follows its body: until then
the slot holds what fits no head, and the other one counts.

Knows nothing of what the bodies mean. One process at a time writes. The slots are
far apart in a sparse file; only what is written takes memory.
"""

from __future__ import annotations

import os
import struct
import zlib

SLOT_BYTES = 1 << 30
"""From one slot's beginning to the other's: a head and the longest body."""
_MAGIC = b"GWSLOT1\0"
_HEAD = struct.Struct("<8sQQI")
_CRC = struct.Struct("<I")
HEAD_BYTES = _HEAD.size + _CRC.size
BODY_MAX = SLOT_BYTES - HEAD_BYTES


class SlotsDamaged(Exception):  # noqa: N818 - says what happened
    """Something was written, and no slot is whole."""


class Slots:
    """The two slots behind `fd`, which stays the caller's. Read them before writing."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._sequence = 0
        self._newest = 1

    def read(self) -> bytes | None:
        """The newest whole body; None: none was ever written.

        Raises `SlotsDamaged`, `OSError`.
        """
        heads = [os.pread(self._fd, HEAD_BYTES, slot * SLOT_BYTES) for slot in (0, 1)]
        found = [
            (sequence, slot, body)
            for slot, head in enumerate(heads)
            if (sequence := _sequence_of(head)) and (body := self._body(slot, head)) is not None
        ]
        if not found:
            if any(map(any, heads)):
                raise SlotsDamaged
            return None
        self._sequence, self._newest, body = max(found)
        return body

    def write(self, body: bytes) -> None:
        """Make this the newest body. Raises `OSError`; the one before then still is."""
        if len(body) > BODY_MAX:
            raise OSError(f"{len(body)} bytes are more than a slot holds")
        slot, sequence = 1 - self._newest, self._sequence + 1
        head = _HEAD.pack(_MAGIC, sequence, len(body), zlib.crc32(body))
        at = slot * SLOT_BYTES
        self._put(body, at + HEAD_BYTES)
        self._put(head + _CRC.pack(zlib.crc32(head)), at)
        self._sequence, self._newest = sequence, slot

    def _body(self, slot: int, head: bytes) -> bytes | None:
        _, _, length, crc32 = _HEAD.unpack_from(head)
        body = os.pread(self._fd, length, slot * SLOT_BYTES + HEAD_BYTES)
        return body if len(body) == length and zlib.crc32(body) == crc32 else None

    def _put(self, data: bytes, at: int) -> None:
        rest = memoryview(data)
        while rest:
            written = os.pwrite(self._fd, rest, at)
            rest, at = rest[written:], at + written


def _sequence_of(head: bytes) -> int:
    """0 when this is no whole head."""
    if len(head) < HEAD_BYTES or zlib.crc32(head[: _HEAD.size]) != _CRC.unpack(head[-4:])[0]:
        return 0
    magic, sequence, length, _ = _HEAD.unpack_from(head)
    return int(sequence) if magic == _MAGIC and length <= BODY_MAX else 0
