"""Strikes the values of environments out of texts: they may be secrets, and programs print them.

What programs wrote, and what is told of their failures, goes through a mask before it
is stored, and before somebody sees it who may not see the values. Values of fewer
than `SECRET_MIN` characters are not looked for: `1` or `true` is no secret, and a text
without them could not be read. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from gateway.core.model import Service

STRUCK = "***"
SECRET_MIN = 6


@dataclass(frozen=True, slots=True)
class Mask:
    """Strikes secrets out of texts."""

    pattern: re.Pattern[str] | None = None
    """None: there are none."""

    def __call__(self, text: str) -> str:
        """The text without them."""
        return text if self.pattern is None else self.pattern.sub(STRUCK, text)


SEE_ALL = Mask()
"""For those who may see everything."""


def mask_of(services: Iterable[Service]) -> Mask:
    """The mask for the environments of these services."""
    values = {
        line
        for service in services
        if service.launch is not None
        for _, value in service.launch.environment
        for line in value.splitlines()  # a key of many lines comes out line by line
        if len(line) >= SECRET_MIN
    }
    if not values:
        return SEE_ALL
    # The longest first: one value may be the beginning of another.
    longest_first = sorted(values, key=len, reverse=True)
    return Mask(re.compile("|".join(map(re.escape, longest_first))))
