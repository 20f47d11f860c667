"""What viewers do not see: the values of templates' environments.

Templates keep their form and lose the values; in what programs wrote and what
is told of their failures the values are struck out wherever they stand. Values of
fewer than `SECRET_MIN` characters are not looked for in texts: `1` or `true` is
no secret, and a text without them could not be read. Pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import yaml

from gateway.core.model import Service
from gateway.runtime.yaml_loader import YamlProblem, load

MASK = "***"
SECRET_MIN = 6
WITHHELD = "# withheld: this text cannot be read any more, and may hold secrets\n"

_UNDERSTOOD_EXTENSION = "x-gateway"


@dataclass(frozen=True, slots=True)
class Mask:
    """Strikes secrets out of texts."""

    pattern: re.Pattern[str] | None = None
    """None: there are none."""

    def __call__(self, text: str) -> str:
        """The text without them."""
        return text if self.pattern is None else self.pattern.sub(MASK, text)


SEE_ALL = Mask()
"""For those who may see everything."""


def mask_of(services: Iterable[Service]) -> Mask:
    """The mask for the environment of these services."""
    values = {
        value
        for service in services
        if service.launch is not None
        for _, value in service.launch.environment
        if len(value) >= SECRET_MIN
    }
    if not values:
        return SEE_ALL
    # The longest first: one value may be the beginning of another.
    longest_first = sorted(values, key=len, reverse=True)
    return Mask(re.compile("|".join(map(re.escape, longest_first))))


@lru_cache(maxsize=16)
def redacted_template(source: str) -> str:
    """A template's text without the values of its environments, comments and `x-` keys.

    Reading YAML takes long (seconds for a megabyte): call it in a thread.
    """
    if source.lstrip().startswith("{"):
        try:
            return json.dumps(_redacted(json.loads(source)), ensure_ascii=False, indent=2) + "\n"
        except (ValueError, RecursionError):
            pass  # YAML may begin like that too
    try:
        document = load(source).value
    except YamlProblem:
        return WITHHELD
    text: str = yaml.safe_dump(_redacted(document), sort_keys=False, allow_unicode=True, width=100)
    return text


def _redacted(value: object) -> object:
    """A copy without secrets. Wherever a key is called `environment`, its values are."""
    if isinstance(value, dict):
        return {key: _member(str(key), item) for key, item in value.items()}
    if isinstance(value, list):
        return [_redacted(item) for item in value]
    return value


def _member(key: str, value: object) -> object:
    if key == "environment":
        return _environment(value)
    # Other extensions are nobody's: an anchored environment may stand there.
    if key.startswith("x-") and key != _UNDERSTOOD_EXTENSION:
        return MASK
    return _redacted(value)


def _environment(value: object) -> object:
    if isinstance(value, dict):
        return {name: None if item is None else MASK for name, item in value.items()}
    if isinstance(value, list):
        return [_variable(item) for item in value]
    return MASK


def _variable(item: object) -> object:
    if not isinstance(item, str):
        return MASK
    name, equals, _ = item.partition("=")
    return f"{name}={MASK}" if equals else item
