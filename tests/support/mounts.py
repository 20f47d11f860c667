"""File systems that only one process and its children see: small, full, read-only. Linux, root.

    disk = Disk(folder)
    gateway.before_exec = disk.mount
    with gateway:
        disk.fill(gateway.supervisor)

They are made in a mount namespace of the process's own, so nothing has to be taken down.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_CLONE_NEWNS = 0x0002_0000
_MS_BIND = 4096
_MS_REC = 16384
_MS_PRIVATE = 1 << 18
FILLER = "filler"


@functools.cache
def why_not() -> str | None:
    """Why there can be no such file systems here."""
    if os.geteuid() != 0:
        return "only root may mount"
    with suppress(FileNotFoundError):
        done = subprocess.run(
            ["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True
        )
        return None if done.returncode == 0 else done.stderr.decode()
    return "there is no unshare"


@dataclass(frozen=True)
class Disk:
    """A tmpfs over a folder that exists."""

    folder: Path
    size_kib: int = 1024

    def mount(self) -> None:
        """In the process that shall see it, before it starts others."""
        be_private()
        _mount("none", self.folder, "tmpfs", 0, f"size={self.size_kib}k,mode=700")

    def fill(self, pid: int) -> None:
        """Take all that is left, to the last page."""
        with (_seen_by(pid, self.folder) / FILLER).open("ab", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise

    def free(self, pid: int) -> None:
        """Give it back."""
        (_seen_by(pid, self.folder) / FILLER).unlink()

    def remount(self, pid: int, how: str) -> bool:
        """Make it read-only (`ro`) or not (`rw`). False: somebody has a file open for writing."""
        command = ["nsenter", "-t", str(pid), "-m"]
        command += ["mount", "-o", f"remount,{how}", str(self.folder)]
        return subprocess.run(command, capture_output=True).returncode == 0


def be_private() -> None:
    """What this process mounts from now on, only it and its children see."""
    if _libc().unshare(_CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "unshare")
    _mount("none", Path("/"), "", _MS_REC | _MS_PRIVATE)


def bind(file: Path, over: Path) -> None:
    """`file` is seen where `over` was."""
    _mount(str(file), over, "", _MS_BIND)


def _mount(source: str, target: Path, kind: str, flags: int, options: str = "") -> None:
    words = (source.encode(), os.fsencode(target), kind.encode(), flags, options.encode())
    if _libc().mount(*words):
        raise OSError(ctypes.get_errno(), f"mount {target}")


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _seen_by(pid: int, path: Path) -> Path:
    return Path(f"/proc/{pid}/root{path}")
