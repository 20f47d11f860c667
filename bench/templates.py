"""Configurations of other programs: the files of `peers/` with `@NAME@` filled in."""

from __future__ import annotations

import os
import re
from pathlib import Path

from .tools import Tool, find

FOLDER = Path(__file__).parent / "peers"
_MARK = re.compile(r"@([A-Z0-9_]+)@")


def fill(text: str, values: dict[str, object]) -> str:
    """`text` with each `@NAME@` replaced. Raises `KeyError` for a name without value."""
    return _MARK.sub(lambda mark: str(values[mark[1]]), text)


def nginx_command(template: str, folder: Path, **values: object) -> tuple[str, ...]:
    """Writes the configuration; how to start nginx with it."""
    path = find(Tool.NGINX)
    assert path is not None
    folder.mkdir()
    # Workers of an nginx that root starts would be another user, who cannot enter our folder.
    user = "user root;" if os.geteuid() == 0 else ""
    target = folder / "nginx.conf"
    text = (FOLDER / template).read_text()
    target.write_text(fill(text, {"FOLDER": folder, "USER": user, **values}))
    return path, "-e", str(folder / "error.log"), "-p", str(folder), "-c", str(target)


def haproxy_command(template: str, folder: Path, **values: object) -> tuple[str, ...]:
    """Writes the configuration; how to start HAProxy with it, in the foreground."""
    path = find(Tool.HAPROXY)
    assert path is not None
    folder.mkdir()
    target = folder / "haproxy.cfg"
    target.write_text(fill((FOLDER / template).read_text(), {"FOLDER": folder, **values}))
    return path, "-db", "-f", str(target)
