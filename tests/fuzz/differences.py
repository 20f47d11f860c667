"""Two readings of one input side by side: where they part, and why, as a class.

A class is one cause, so that the table of docs/protocol.md can list all of them. What is in no
class begins with `unexplained`, and is in no table.
"""

from __future__ import annotations

from typing import NamedTuple

from tests.fuzz.grammar import Kind, Sample
from tests.fuzz.readers import End, Message, Reading

UPGRADE = "upgrade that was not granted"
INTERIM_CLOSE = "interim answer with close"
NO_METHOD = ("Invalid method encountered", "Expected space after method")
"""llhttp's words for a method that is not on its list."""


class Difference(NamedTuple):
    """One class of difference to one reader."""

    what: str
    """`request: invalid Host`: the gateway refuses, for this reason, what the reader reads.
    Otherwise the name of a cause for which both read, differently, or only the gateway does."""
    reader: str


def differences(sample: Sample, ours: Reading, readings: dict[str, Reading]) -> list[Difference]:
    """Where the gateway's reading parts from those of the others; the first place of each."""
    found = []
    for reader, theirs in readings.items():
        what = _compare(sample, reader, ours, theirs)
        if what is not None:
            found.append(Difference(what, reader))
    return found


def _compare(sample: Sample, reader: str, ours: Reading, theirs: Reading) -> str | None:
    what = _part(sample, ours, theirs)
    if what is not None and reader == "llhttp" and sample.method == b"HEAD":
        # It takes what follows the head for a body.
        return what if ours.end is End.REFUSED and not ours.messages else "answer to HEAD"
    return what


def _part(sample: Sample, ours: Reading, theirs: Reading) -> str | None:
    was_last = False
    for our, their in zip(ours.messages, theirs.messages, strict=False):
        what = _part_in_message(our, their, theirs.end, was_last)
        if what is not None:
            return what
        was_last = not our.keep_alive
    ahead = len(ours.messages) - len(theirs.messages)
    if ahead < 0:
        return _only_they_read(sample, ours, theirs)
    if ahead > 0:
        if theirs.end is End.SWITCHED:
            return UPGRADE
        if theirs.end is End.CLOSED and was_last:
            return INTERIM_CLOSE
        if theirs.why.startswith("Content-Length can't be present") and sample.kind is Kind.ANSWER:
            return "length in an answer's trailers"
        if theirs.why in NO_METHOD:
            return "method of an extension"
        return f"unexplained: they are {theirs.end.value} where the gateway reads ({theirs.why})"
    return None


def _only_they_read(sample: Sample, ours: Reading, theirs: Reading) -> str:
    their = theirs.messages[len(ours.messages)]
    about_body = ours.in_body or "Content-Length" in ours.why
    if (
        theirs.end is End.SWITCHED
        and _asks_for_upgrade(their)
        and (about_body or ours.end is End.DRY)
    ):
        return UPGRADE  # they do not read its body
    if ours.end is not End.REFUSED:
        return f"unexplained: the gateway is {ours.end.value} where they read"
    subject = "chunked" if ours.in_body else "request"
    if sample.kind is Kind.ANSWER and not ours.in_body:
        subject = "answer"
    return f"{subject}: {ours.why.partition(': ')[0]}"


def _asks_for_upgrade(message: Message) -> bool:
    return any(name == b"upgrade" for name, _ in message.fields)


def _part_in_message(our: Message, their: Message, end: End, was_last: bool) -> str | None:
    if our.start != their.start:
        is_absolute = their.start[1].lower().startswith((b"http://", b"https://"))
        if not is_absolute or our.start[0] != their.start[0]:
            return "unexplained: method, target or status"
        return "absolute target"
    if our.minor != their.minor:
        return "unexplained: version"
    if our.body != their.body:
        return UPGRADE if _asks_for_upgrade(their) else "unexplained: body"
    fields = our.fields
    if fields and fields[-1][0] == b"host":
        host = fields[-1][1]
        fields = fields[:-1]
        hosts = [value for name, value in their.fields if name == b"host"]
        if hosts != [host]:
            return "empty port in Host" if hosts == [host + b":"] else "unexplained: Host"
    for mine, others in ((fields, their.fields), (our.trailers, their.trailers)):
        names = {name for name, _ in mine}
        if mine and [f for f in others if f[0] in names] != mine:
            return UPGRADE if _asks_for_upgrade(their) else "unexplained: fields"
    is_interim = our.start[0][:1] == b"1"
    if our.keep_alive == their.keep_alive or is_interim or end is End.SWITCHED:
        return None
    if our.minor == 0:
        return "HTTP/1.0 kept alive" if our.keep_alive else "HTTP/1.0 not kept alive"
    if our.keep_alive:
        return "unexplained: kept alive"
    if was_last:
        return INTERIM_CLOSE
    if our.start[0] == b"204":
        return "204 that announces a body"
    return "unexplained: not kept alive"


def passed_on(sample: Sample, ours: Reading, reader: str, theirs: Reading) -> str | None:
    """What is wrong with how a reader understands what the gateway sends on; None: nothing.

    `theirs` is its reading of `ours.sent`.
    """
    if reader == "llhttp" and (sample.method == b"HEAD" or theirs.why in NO_METHOD):
        return None
    if theirs.end is End.REFUSED:
        return f"it refuses what was passed on: {theirs.why}"
    if theirs.end is End.SWITCHED and len(theirs.messages) <= len(ours.messages):
        return None  # a WebSocket that was asked for; the gateway waits for 101
    if len(theirs.messages) != len(ours.messages):
        return "it reads another number of messages"
    for our, their in zip(ours.messages, theirs.messages, strict=True):
        if (our.start, our.body, our.trailers) != (their.start, their.body, their.trailers):
            return "it reads another message"
    return None
