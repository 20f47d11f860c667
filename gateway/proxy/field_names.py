# cython: language_level=3, annotation_typing=False
"""What kind of field a line is, read off its name in one loop: no object, no hash, no look-up.

Kinds are small numbers that the codec gives their meaning (`fields.py`). Here they are PLAIN (to be
passed on as it is), UNKNOWN (ask `fields.classify_*`), or anything else.

A name's letters, in either case and without what stands between them, make a *fingerprint*. Where no
name of another kind has the same one, the field is PLAIN: that is certain, as every disguise of such a
name has its letters. Where just one has, the names are compared.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Set

from gateway.proxy.scan import TCHAR

UNKNOWN = -1
PLAIN = 0
_UNKNOWN = UNKNOWN
_PLAIN = PLAIN

_NOT_LETTERS = bytes(set(range(256)) - set(range(97, 123)))
_SEED = 5381
_MASK = 0xFFFFFFFF
_SLOTS = 4096
_LAST_SLOT = _SLOTS - 1
_LOOK_UP = 255


_TCHAR = re.compile(rb"[" + TCHAR + rb"]")


def _folded(byte: int) -> int:
    if _TCHAR.fullmatch(bytes([byte])) is None:
        return 0
    lower = byte | 32
    return lower if 97 <= lower <= 122 else 1


_FOLDED = bytes(_folded(byte) for byte in range(256))
"""By byte: its small letter; 1 for what else may be in a name, 0 for what may not."""


def flat(name: bytes) -> bytes:
    """Letters only, lower case: what is left of a name however it is decorated."""
    return name.lower().translate(None, _NOT_LETTERS)


def fingerprint(letters: bytes) -> int:
    """A number for a name of which only these letters are left (`flat`)."""
    found = _SEED
    for letter in letters:
        found = (found * 33 ^ letter) & _MASK
    return found


class FieldNames:
    """See the module.

    kinds: by name. reserved: letters of which no name is certain to be PLAIN. prefix: as much for
    all that begin with these letters (b"": none).
    """

    __slots__ = ("_first", "_kinds", "_names", "_prefix", "_slots")

    def __init__(self, kinds: Mapping[bytes, int], reserved: Set[bytes], prefix: bytes) -> None:
        self._prefix = prefix
        self._first = prefix[0] if prefix else 0
        special = {name.lower(): kind for name, kind in kinds.items() if kind != PLAIN}
        self._names = tuple(special)
        self._kinds = bytes(special.values())
        # 0: PLAIN; n: perhaps the name n - 1; _LOOK_UP: it takes more than that to know.
        slots = bytearray(_SLOTS)
        for place, name in enumerate(self._names):
            slot = fingerprint(flat(name)) & _LAST_SLOT
            slots[slot] = _LOOK_UP if slots[slot] else place + 1
        for letters in reserved - {flat(name) for name in self._names}:
            slots[fingerprint(letters) & _LAST_SLOT] = _LOOK_UP
        self._slots = bytes(slots)

    def kind(self, data: bytes, at: int, end: int) -> int:
        """The kind of the field whose line is data[at:end].

        UNKNOWN says nothing of it; PLAIN and all others are certain.
        """
        p = data
        folded = _FOLDED
        mask = _MASK
        begin = at
        found = _SEED
        while at < end:
            letter = folded[p[at]]
            if letter == 0:
                break
            if letter != 1:
                found = (found * 33 ^ letter) & mask
            at += 1
        if at in (begin, end) or p[at] != 58:
            return _UNKNOWN
        slots = self._slots
        slot = slots[found & _LAST_SLOT]
        if folded[p[begin]] == self._first and self._has_prefix(data, begin, at):
            return _UNKNOWN
        if slot == 0:
            return _PLAIN
        if slot == _LOOK_UP:
            return _UNKNOWN
        name = self._names[slot - 1]
        if len(name) != at - begin:
            return _UNKNOWN
        own = name
        place = 0
        while begin < at:
            letter = folded[p[begin]]
            if (letter if letter > 1 else p[begin]) != own[place]:
                return _UNKNOWN
            begin += 1
            place += 1
        kinds = self._kinds
        return kinds[slot - 1]

    def _has_prefix(self, data: bytes, at: int, end: int) -> bool:
        """Do the letters of the name data[at:end] begin with the reserved ones?"""
        p = data
        folded = _FOLDED
        prefix = self._prefix
        place = 0
        size = len(self._prefix)
        while at < end and place < size:
            letter = folded[p[at]]
            if letter != 1:
                if letter != prefix[place]:
                    return False
                place += 1
            at += 1
        return place == size
