# cython: language_level=3, annotation_typing=False
"""What kind of field a line is, read off its name in one loop: no object, no hash, no look-up.

Kinds are small numbers that the codec gives their meaning (`fields.py`). Here they are PLAIN (to be
passed on as it is), UNKNOWN (ask `fields.classify_*`), or anything else.

A name's letters, in either case and without what stands between them, make a *fingerprint*. Where no
name of another kind has the same one, the field is PLAIN: that is certain, as every disguise of such a
name has its letters. Where just one has, the names are compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Set

from gateway.proxy import scan

UNKNOWN = -1
PLAIN = 0
_UNKNOWN = UNKNOWN
_PLAIN = PLAIN

_NOT_LETTERS = bytes(set(range(256)) - set(range(97, 123)))
_MASK = 0xFFFFFFFF
_SLOTS = 4096
_LOOK_UP = 255


def flat(name: bytes) -> bytes:
    """Letters only, lower case: what is left of a name however it is decorated."""
    return name.lower().translate(None, _NOT_LETTERS)


def fingerprint(letters: bytes) -> int:
    """A number for a name of which only these letters are left (`flat`)."""
    found = 5381
    for letter in letters:
        found = (found * 33 ^ letter) & _MASK
    return found


class FieldNames:
    """See the module.

    kinds: by name. reserved: letters of which no name is certain to be PLAIN. prefix: as much for
    all that begin with these letters (b"": none).
    """

    __slots__ = ("_kinds", "_names", "_of_prefix", "_prefix_length", "_slots")

    def __init__(self, kinds: Mapping[bytes, int], reserved: Set[bytes], prefix: bytes) -> None:
        self._prefix_length = len(prefix)
        self._of_prefix = fingerprint(prefix)
        special = {name.lower(): kind for name, kind in kinds.items() if kind != PLAIN}
        self._names = tuple(special)
        self._kinds = bytes(special.values())
        # 0: PLAIN; n: perhaps the name n - 1; _LOOK_UP: it takes more than that to know.
        slots = bytearray(_SLOTS)
        for place, name in enumerate(self._names):
            slot = fingerprint(flat(name)) % _SLOTS
            slots[slot] = _LOOK_UP if slots[slot] else place + 1
        for letters in reserved - {flat(name) for name in self._names}:
            slots[fingerprint(letters) % _SLOTS] = _LOOK_UP
        self._slots = bytes(slots)

    def kind(self, data: bytes, at: int, end: int) -> int:
        """The kind of the field whose line is data[at:end]; UNKNOWN says nothing of it, PLAIN and others are certain."""
        p = data
        is_token = scan.IS_TOKEN
        slots = self._slots
        prefix = self._prefix_length
        begin = at
        letters = 0
        found = 5381
        while at < end:
            byte = p[at]
            if not is_token[byte]:
                break
            byte |= 32
            if 97 <= byte <= 122:
                found = (found * 33 ^ byte) & _MASK
                letters += 1
                if letters == prefix and found == self._of_prefix:
                    return _UNKNOWN
            at += 1
        if at in (begin, end) or p[at] != 58:
            return _UNKNOWN
        slot = slots[found % _SLOTS]
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
            byte = p[begin]
            if 65 <= byte <= 90:
                byte |= 32
            if byte != own[place]:
                return _UNKNOWN
            begin += 1
            place += 1
        kinds = self._kinds
        return kinds[slot - 1]
