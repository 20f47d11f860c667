"""Configurations of other programs: the files of `peers/` with `@NAME@` filled in, and how each
program is started with its own: in the foreground, with one worker or one thread."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from .tools import Tool, find

FOLDER = Path(__file__).parent / "peers"
ONE_THREAD = {"GOMAXPROCS": "1"}
"""The environment of all peers; those written in Go know no other way to be told."""
_MARK = re.compile(r"@([A-Z0-9_]+)@")


def fill(text: str, values: Mapping[str, object]) -> str:
    """`text` with each `@NAME@` replaced. Raises `KeyError` for a name without value."""
    return _MARK.sub(lambda mark: str(values[mark[1]]), text)


def command(
    tool: Tool, folder: Path, values: Mapping[str, object], template: str = ""
) -> tuple[str, ...]:
    """Writes a peer's configuration into a new folder; how to start it with that.

    `template`: of its usual one's place, for another task than `contenders`.
    """
    match tool:
        case Tool.NGINX:
            return nginx_command(template or "nginx.conf", folder, values)
        case Tool.HAPROXY:
            file = _written(template or "haproxy.cfg", folder, values)
            return _path(tool), "-db", "-f", str(file)
        case Tool.CADDY:
            file = _written("Caddyfile", folder, values)
            return _path(tool), "run", "--config", str(file), "--adapter", "caddyfile"
        case Tool.TRAEFIK:
            file = _written("traefik.yml", folder, values)
            _fill_into("traefik-routes.yml", folder, values)
            return _path(tool), f"--configFile={file}"
        case Tool.ENVOY:
            file = _written("envoy.yaml", folder, values)
            options = ("--concurrency", "1", "--disable-hot-restart", "--log-level", "error")
            return _path(tool), "-c", str(file), *options
        case _:
            raise ValueError(f"{tool.value} is no proxy")


def nginx_command(template: str, folder: Path, values: Mapping[str, object]) -> tuple[str, ...]:
    """How to start nginx, as a proxy or as a backend."""
    # Workers of an nginx that root starts would be another user, who cannot enter our folder.
    user = "user root;" if os.geteuid() == 0 else ""
    file = _written(template, folder, {"USER": user, **values})
    log = folder / "error.log"
    return _path(Tool.NGINX), "-e", str(log), "-p", str(folder), "-c", str(file)


def _written(template: str, folder: Path, values: Mapping[str, object]) -> Path:
    folder.mkdir()
    return _fill_into(template, folder, values)


def _fill_into(template: str, folder: Path, values: Mapping[str, object]) -> Path:
    target = folder / template
    target.write_text(fill((FOLDER / template).read_text(), {"FOLDER": folder, **values}))
    return target


def _path(tool: Tool) -> str:
    path = find(tool)
    assert path is not None
    return path
