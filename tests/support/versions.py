"""Installations of the gateway side by side, and the symbolic link that says which one is run.

Each is a virtual environment with a copy of the packages of its own, as docs/operation.md
has operators do it; what the gateway depends on is borrowed from the tests' environment.
"""

from __future__ import annotations

import shutil
import sysconfig
import venv
from importlib.metadata import distribution
from pathlib import Path

import admin
import gateway

DISTRIBUTION = "release-gateway"
PACKAGES = (gateway, admin)
_BORROWED = "borrowed.pth"


class Installations:
    """`python` is the interpreter to start a gateway with; `make_current` what it leads to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self._link = folder / "current"
        self.python = str(self._link / "bin" / "python")

    def install(self, version: str, **changes: tuple[str, str]) -> None:
        """Install a version; each change replaces one text by another wherever it stands.

        A change that finds nothing fails: its test would prove nothing.
        """
        home = self.folder / version
        venv.create(home, symlinks=True)
        packages = Path(sysconfig.get_path("purelib", vars={"base": str(home)}))
        (packages / _BORROWED).write_text(sysconfig.get_path("purelib"))
        for package in PACKAGES:
            (source,) = package.__path__
            copy = packages / package.__name__
            shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
        for old, new in changes.values():
            found = [path for path in packages.rglob("*.py") if old in path.read_text()]
            assert found, f"no file has {old!r}"
            for path in found:
                path.write_text(path.read_text().replace(old, new))
        told = packages / f"{DISTRIBUTION.replace('-', '_')}-{version}.dist-info"
        told.mkdir()
        (told / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {DISTRIBUTION}\nVersion: {version}\n"
        )

    def make_current(self, version: str) -> None:
        """Move the link, in one step."""
        new = self.folder / "new"
        new.symlink_to(version)
        new.replace(self._link)


def installed_version() -> str:
    """The version of the gateway that is tested."""
    return distribution(DISTRIBUTION).version
