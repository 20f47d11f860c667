"""How a shell calls this program for the same gateway: what commands to paste begin with."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

NAME = "gateway"


def program(admin: str | None = None) -> str:
    """`gateway`, or its path where the shell would find another or none.

    `admin`: the address the user gave; it is repeated unless the environment has it.
    """
    called = Path(sys.argv[0])
    name = NAME
    if called.name == NAME and not _is_on_path(called):
        name = shlex.quote(_short(called.absolute()))
    if admin is None or admin == os.environ.get("GATEWAY_ADMIN"):
        return name
    return f"{name} --admin {shlex.quote(admin)}"


def _is_on_path(called: Path) -> bool:
    found = shutil.which(NAME)
    return found is not None and Path(found).resolve() == called.resolve()


def _short(called: Path) -> str:
    try:
        return str(called.relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(called)
