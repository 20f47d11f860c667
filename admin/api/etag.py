"""Entity tags: which version of a resource a writer has seen (RFC 9110, 8.8.3 and 13.1).

A tag names the *desired* part of a resource. What is measured (traffic, health)
moves by itself and is no reason to refuse a change made with the last state in
mind. Pure.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

import orjson

from gateway.core.errors import Code, FieldError, Refused
from gateway.core.state import State

from .payload import refuse

_TAG = re.compile(r'\s*(?:(W/)?"([\x21\x23-\x7e\x80-\xff]*)"|(\*))\s*(?:,|\Z)')
_TAGS_MAX = 64

TagOf = Callable[[State], "str | None"]
"""The tag of a resource in a state; None: there is no such resource."""


def etag(value: object) -> str:
    """The tag of a JSON value or frozen dataclass, quotes included."""
    text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)
    return f'"{hashlib.blake2b(text, digest_size=12).hexdigest()}"'


def read_tags(field: str, text: str) -> frozenset[str]:
    """The strong tags (or `*`) of an If-Match or If-None-Match field.

    A weak tag is read and matches nothing (strong comparison). Raises `Refused`.
    """
    found: set[str] = set()
    position = 0
    for _ in range(_TAGS_MAX):
        match = _TAG.match(text, position)
        if match is None:
            break
        weak, tag, star = match.groups()
        if star:
            found.add("*")
        elif not weak:
            found.add(f'"{tag}"')
        position = match.end()
        if position == len(text):
            return frozenset(found)
    raise refuse(
        [FieldError(f"header.{field}", 'must be * or quoted tags: "abc", "def"')], "the request"
    )


def precondition(
    if_match: frozenset[str] | None, if_none_match: frozenset[str] | None, tag_of: TagOf
) -> Callable[[State], None] | None:
    """What a change must find; None when the caller asked for nothing."""
    if if_match is None and if_none_match is None:
        return None

    def check(state: State) -> None:
        tag = tag_of(state)
        if if_match is not None and not (tag in if_match or ("*" in if_match and tag)):
            raise Refused(
                Code.STALE_REVISION,
                "the resource is not as it was when you read it; read it again, decide anew and "
                "send the new ETag"
                if tag
                else "the resource does not exist (any more); send no If-Match to make it",
                extra={"etag": tag},
            )
        if if_none_match is not None and tag and (tag in if_none_match or "*" in if_none_match):
            raise Refused(
                Code.STALE_REVISION,
                "the resource exists already; send no If-None-Match to replace it",
                extra={"etag": tag},
            )

    return check
