"""Text that programs wrote, made fit for a terminal.

A backend's log line may hold anything; escape sequences in it could repaint the
operator's screen or rename the window. Colours are let through, everything else
that is no visible character is shown as an escape.
"""

from __future__ import annotations

import re

_COLOUR = r"\x1b\[[0-9;]*m"
_HIDDEN = re.compile(
    rf"({_COLOUR})|[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]"
)


def harmless(text: str, colours: bool = False) -> str:
    """`text` on one line without control characters; `colours` may stay."""

    def shown(match: re.Match[str]) -> str:
        if match[1] is not None:
            return match[1] if colours else ""
        return match[0].encode("unicode_escape").decode()

    return _HIDDEN.sub(shown, text)


def harmless_lines(text: str) -> str:
    """The same for a text of several lines."""
    return "\n".join(map(harmless, text.split("\n")))
