"""Templates as viewers see them: without the values of their environments. Pure."""

from __future__ import annotations

import json
from functools import lru_cache

import yaml

from admin.masks import STRUCK
from gateway.runtime.yaml_loader import YamlProblem, load

WITHHELD = "# withheld: this text cannot be read any more, and may hold secrets\n"

_UNDERSTOOD_EXTENSION = "x-gateway"


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
        return STRUCK
    return _redacted(value)


def _environment(value: object) -> object:
    if isinstance(value, dict):
        return {name: None if item is None else STRUCK for name, item in value.items()}
    if isinstance(value, list):
        return [_variable(item) for item in value]
    return STRUCK


def _variable(item: object) -> object:
    if not isinstance(item, str):
        return STRUCK
    name, equals, _ = item.partition("=")
    return f"{name}={STRUCK}" if equals else item
