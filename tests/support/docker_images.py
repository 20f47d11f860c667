"""Base images made on the spot of what the machine has; no registry is needed.

`root` of each is a tar archive for `docker import`. The Python is the one that runs the tests, at the
same place in the image, with its standard library, pip and the shared libraries all of it needs.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pip

BUSYBOX = "gateway-test/busybox:1"
PYTHON = "gateway-test/python:1"

_FOLDERS = ("bin", "dev", "etc", "proc", "root", "sys", "tmp", "usr/bin", "usr/local/bin", "var")
_LEFT_OUT = re.compile(
    r"(^|/)(__pycache__|tests?|idlelib|tkinter|turtledemo|lib2to3|pydoc_data|ensurepip"
    r"|site-packages|dist-packages|config-\d[^/]*|_tkinter\.[^/]*\.so"
    # A distribution's word to its users not to use pip, which images are there for.
    r"|EXTERNALLY-MANAGED)(/|$)"
)
# Loaded by name when it first looks up a host or a user; what binary wheels may count on.
_BY_NAME = (
    *("libnss_files.so.2", "libnss_dns.so.2", "libresolv.so.2", "libgcc_s.so.1", "libstdc++.so.6"),
    *("libm.so.6", "librt.so.1", "libpthread.so.0", "libdl.so.2", "libutil.so.1"),
)


def busybox_root() -> bytes:
    """/bin/sh, httpd, wget, nc and some 300 more; 2 MB."""
    return _archive(_busybox())


def python_root() -> bytes:
    """The above and this Python as `python` and `python3`, with pip."""
    return _archive([*_busybox(), *_python()])


def program_root(binary: Path) -> bytes:
    """The first and a program of this machine, with its shared libraries."""
    libraries = sorted(_libraries(binary))
    return _archive([*_busybox(), *((_inside(p), p) for p in (binary, *libraries))])


@cache
def busybox() -> Path | None:
    """A busybox that needs no shared libraries."""
    for path in (Path("/bin/busybox"), Path("/usr/bin/busybox")):
        if path.exists() and not _libraries(path):
            return path
    return None


_Entry = tuple[str, Path | str | None]
"""A name in the archive, and a file or folder of the machine, the target of a link, or nothing: a
folder is made."""


def _busybox() -> Iterator[_Entry]:
    binary = busybox()
    assert binary is not None
    yield from ((folder, None) for folder in _FOLDERS)
    yield "bin/busybox", binary
    for name in subprocess.check_output([binary, "--list"], text=True).split():
        if name != "busybox":
            yield f"bin/{name}", "busybox"


def _python() -> Iterator[_Entry]:
    binary = Path(sys._base_executable).resolve()  # type: ignore[attr-defined]
    yield _inside(binary), binary
    for name in ("python", "python3"):
        yield f"usr/local/bin/{name}", str(binary)
    folders = {Path(sysconfig.get_path(n, vars=_base())) for n in ("stdlib", "platstdlib")}
    needed = [binary]
    for folder in folders:
        yield _inside(folder), folder
        needed += (folder / "lib-dynload").glob("*.so")
    pip_at = Path(pip.__file__).parent
    yield _inside(_site_packages() / "pip"), pip_at
    libraries = _libraries(*needed)
    libc = next(p for p in libraries if p.name.startswith("libc.so"))
    libraries |= {p for n in _BY_NAME if (p := libc.parent / n).exists()}
    for library in sorted(libraries):
        yield _inside(library), library


def _base() -> dict[str, str]:
    """The variables of the Python that a virtual environment was made of."""
    return {"base": sys.base_prefix, "installed_base": sys.base_prefix} | {
        "platbase": sys.base_exec_prefix,
        "installed_platbase": sys.base_exec_prefix,
    }


def _site_packages() -> Path:
    """Where that Python finds packages."""
    code = "import site; print(site.getsitepackages()[0])"
    command = [str(Path(sys._base_executable)), "-I", "-c", code]  # type: ignore[attr-defined]
    return Path(subprocess.check_output(command, text=True).strip())


def _libraries(*binaries: Path) -> set[Path]:
    done = subprocess.run(["ldd", *binaries], capture_output=True, text=True)
    return {Path(found) for found in re.findall(r"(/\S+) \(0x", done.stdout)}


def _inside(path: Path) -> str:
    return str(path).lstrip("/")


def _archive(entries: Iterable[_Entry]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, what in entries:
            if isinstance(what, Path):
                tar.add(what.resolve(), name, filter=_wanted)
                continue
            info = tarfile.TarInfo(name)
            info.mode = 0o1777 if name == "tmp" else 0o755
            info.type, info.linkname = (
                (tarfile.DIRTYPE, "") if what is None else (tarfile.SYMTYPE, what)
            )
            tar.addfile(info)
        for name, text in _FILES.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


_FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
    "etc/group": "root:x:0:\n",
    "etc/nsswitch.conf": "hosts: files dns\n",
}


def _wanted(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
    info.uid = info.gid = 0
    info.uname = info.gname = "root"
    return None if _LEFT_OUT.search(_below(info.name)) else info


def _below(name: str) -> str:
    """The name below the library's folder: where that is, no name is unwanted."""
    return re.sub(r"^.*?lib/python3\.\d+(/(site|dist)-packages/pip)?", "", name)
