"""The programs that figures beside other proxies need: found, or installed where that is possible.

Debian's packages start their services when they are installed; a policy file
forbids that for the time of the installation, as containers do it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from enum import Enum
from pathlib import Path

INSTALL_S = 180
_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin"
_POLICY = Path("/usr/sbin/policy-rc.d")


class Tool(Enum):
    """A program by its name."""

    NGINX = "nginx"
    HAPROXY = "haproxy"
    WRK = "wrk"

    @property
    def package(self) -> str:
        """Its package in Debian and Ubuntu."""
        return "nginx-light" if self is Tool.NGINX else self.value


def find(tool: Tool) -> str | None:
    """Its path, or None."""
    return shutil.which(tool.value, path=_PATH)


def missing() -> tuple[Tool, ...]:
    """What is not there."""
    return tuple(tool for tool in Tool if find(tool) is None)


def advice(tools: tuple[Tool, ...]) -> str:
    """What to do about missing programs."""
    packages = " ".join(tool.package for tool in tools)
    return f"apt-get install -y --no-install-recommends {packages}"


def install(tools: tuple[Tool, ...]) -> str | None:
    """Install with apt; None, or why that was not possible."""
    apt = shutil.which("apt-get")
    if apt is None:
        return "there is no apt-get"
    if os.geteuid() != 0:
        return "only root may install packages"
    has_policy = _POLICY.exists()
    if not has_policy:
        _POLICY.write_text("#!/bin/sh\nexit 101\n")
        _POLICY.chmod(0o755)
    try:
        for arguments in (
            ["update", "-qq"],
            ["install", "-qq", "--no-install-recommends", *(tool.package for tool in tools)],
        ):
            subprocess.run(
                [apt, "-y", *arguments],
                env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=True,
                timeout=INSTALL_S,
            )
    except subprocess.CalledProcessError as error:
        lines = error.stderr.decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"apt-get ended with code {error.returncode}"
    except subprocess.TimeoutExpired:
        return f"apt-get took longer than {INSTALL_S} s"
    finally:
        if not has_policy:
            _POLICY.unlink(missing_ok=True)
    return None
