"""`${NAME}` in the commands of images: which there are, and putting values in. Pure.

Known are `PORT`, `PORT_<container port>` and `PYTHON`. `$$` stands for one `$`; a
`$` before anything else stays as it is, so that a shell in the command finds its own.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable

PORT = "PORT"
PYTHON = "PYTHON"

_FOUND = re.compile(r"\$(?:\$|\{([^}]*)(\})?)")
_PORT_OF = re.compile(r"PORT_([1-9]\d{0,4})")


def problem_of(text: str) -> str | None:
    """What is wrong with the placeholders in a word of a command."""
    for found in _FOUND.finditer(text):
        name = found[1]
        if name is None:
            continue
        if found[2] is None:
            return "${ without its }; write $${ for the characters themselves"
        if name in (PORT, PYTHON):
            continue
        if (port := _PORT_OF.fullmatch(name)) and int(port[1]) <= 65535:
            continue
        shown = ascii(name[:60])[1:-1]
        close = difflib.get_close_matches(name[:60], [PORT, PYTHON, "PORT_80"], n=1)
        hint = (
            f'did you mean "${{{close[0]}}}"?' if close else "known are PORT, PORT_80 and PYTHON."
        )
        return f"unknown name in ${{{shown}}}; {hint} For a shell's variable write $${{{shown}}}"
    return None


def fill(text: str, value_of: Callable[[str], str]) -> str:
    """The word with its values in place. `value_of` is asked for known names only."""

    def value(found: re.Match[str]) -> str:
        name: str | None = found[1]
        if name is None:
            return "$"
        return found[0] if found[2] is None or problem_of(found[0]) else value_of(name)

    return _FOUND.sub(value, text)
