"""A template as it goes to the gateway: bytes, and whether they are YAML or JSON.

Nothing is parsed for its meaning here; the gateway does that, and knows the places.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from gateway.cli.client import Payload

SIZE_MAX = 1 << 20
"""What the admin API takes."""

JSON = "application/json"
YAML = "application/yaml"
_BY_SUFFIX = {".json": JSON, ".yaml": YAML, ".yml": YAML}


def read(file: Path) -> Payload:
    """The bytes of a file, `-`: of standard input. Raises usage errors."""
    try:
        if str(file) == "-":
            content = sys.stdin.buffer.read(SIZE_MAX + 1)
        else:
            with file.open("rb") as opened:
                content = opened.read(SIZE_MAX + 1)
    except OSError as error:
        raise click.UsageError(f"{file}: {error.strerror or error}") from error
    if len(content) > SIZE_MAX:
        raise click.UsageError(f"{file}: longer than {SIZE_MAX} bytes, which is no template")
    if not content.strip():
        raise click.UsageError(f"{file}: is empty")
    return Payload(content, _BY_SUFFIX.get(file.suffix.lower()) or kind_of(content))


def kind_of(content: bytes) -> str:
    """JSON where it is JSON, YAML for everything else."""
    if not content.lstrip().startswith((b"{", b"[")):
        return YAML
    try:
        json.loads(content)
    except (ValueError, RecursionError):
        return YAML
    return JSON
