"""Wheels of what is installed here, for places without a registry: an image, another environment."""

from __future__ import annotations

import csv
import io
import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

from gateway.compiled import ROOT, SWITCH, Mode, finding

_PIN = re.compile(r"^([\w.-]+)==", re.MULTILINE)
_OF_INSTALLATION = {"INSTALLER", "REQUESTED", "direct_url.json", "RECORD"}
_SOURCES = ("gateway", "admin", "build", "pyproject.toml", "setup.py", "README.md", "LICENSE")


def wheels_of_lock(lock: Path, folder: Path) -> None:
    """A wheel of each package that a lock file names, as it is installed here, but what only builds."""
    for name in _PIN.findall(lock.read_text()):
        if name not in ("cython", "setuptools"):
            repack(name, folder)


def wheels_of_package(name: str, folder: Path) -> None:
    """A wheel of a package and of each that it needs."""
    todo, done = [name], set[str]()
    while todo:
        one = metadata.distribution(todo.pop())
        if one.name.lower() not in done:
            done.add(one.name.lower())
            repack(one.name, folder)
            # An extra, or for another system: what is not installed is not needed.
            for text in one.requires or []:
                needed = re.split(r"[^\w.-]", text, maxsplit=1)[0]
                if "extra ==" not in text and find_installed(needed):
                    todo.append(needed)


def find_installed(name: str) -> bool:
    """Is there such a package here?"""
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def repack(name: str, folder: Path) -> Path:
    """The wheel that an installed package came from, but for its bytecode and scripts."""
    found = metadata.distribution(name)
    (tag,) = re.findall(r"^Tag: (.*)$", found.read_text("WHEEL") or "", re.MULTILINE)[:1]
    file = folder / f"{re.sub(r'[-.]+', '_', found.name)}-{found.version}-{tag}.whl"
    record = io.StringIO()
    rows = csv.writer(record)
    with zipfile.ZipFile(file, "w") as wheel:
        for path in found.files or []:
            is_note = path.parts[0].endswith(".dist-info") and path.name in _OF_INSTALLATION
            if path.name == "RECORD" and len(path.parts) == 2:
                at = str(path)
            elif path.parts[0] != ".." and path.suffix != ".pyc" and not is_note:
                wheel.write(str(path.locate()), str(path))
                rows.writerow((path, "", ""))
        rows.writerow((at, "", ""))
        wheel.writestr(at, record.getvalue())
    return file


def wheel_of_gateway(folder: Path) -> None:
    """The gateway's own, compiled if it was compiled here: what is compiled is not compiled again."""
    copy = folder / "source"
    copy.mkdir()
    for name in _SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif (ROOT / name).exists():
            shutil.copyfile(ROOT / name, copy / name)
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        *options,
        "-w",
        str(folder),
        str(copy),
    ]
    # Else it would be compiled here, which takes a minute.
    switch = {} if finding().mode is Mode.COMPILED else {SWITCH: "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | switch)
    assert done.returncode == 0, done.stderr
    shutil.rmtree(copy)
