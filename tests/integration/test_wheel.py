"""Wheels are built from the project's files: compiled where a compiler is, complete in any case, never half.

Built with two of the modules, for the time it takes.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from gateway.compiled import ROOT, SUFFIX, SWITCH

MODULES = ("gateway.proxy.scan", "gateway.routing.service")
SOURCES = ("gateway", "admin", "pyproject.toml", "setup.py", "README.md", "LICENSE")
PYTHON_HEADER = Path(sysconfig.get_path("include"), "Python.h")

pytestmark = [
    pytest.mark.skipif(find_spec("Cython") is None, reason="Cython is not installed"),
    pytest.mark.skipif(find_spec("pip") is None, reason="pip is not installed"),
]
needs_compiler = pytest.mark.skipif(
    shutil.which("gcc") is None or not PYTHON_HEADER.exists(),
    reason="there is no C compiler with Python's headers",
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of what a wheel is made from."""
    copy = tmp_path / "project"
    copy.mkdir()
    compiled = shutil.ignore_patterns("*.so", "*.seal", "__pycache__")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=compiled)
        else:
            shutil.copyfile(ROOT / name, copy / name)
    listing = copy / "gateway" / "compiled.py"
    text, count = re.subn(
        r"^MODULES = \(.*?^\)$", f"MODULES = {MODULES}", listing.read_text(), flags=re.M | re.S
    )
    assert count == 1
    listing.write_text(text)
    return copy


def wheel(project: Path, **environment: str) -> zipfile.ZipFile:
    """What `pip wheel` makes of it."""
    made = project.parent / "wheels"
    shutil.rmtree(made, ignore_errors=True)
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", *options, "-w", str(made), str(project)],
        env={key: of for key, of in os.environ.items() if key != SWITCH} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (file,) = made.glob("*.whl")
    return zipfile.ZipFile(file)


def ending(found: zipfile.ZipFile, *ends: str) -> list[str]:
    return [name for name in found.namelist() if name.endswith(ends)]


def runs(found: zipfile.ZipFile, folder: Path) -> str:
    """How the modules run where that wheel is unpacked."""
    found.extractall(folder)
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from gateway import compiled; from gateway.proxy import scan; from gateway.routing import service\n"
        "assert compiled.__file__.startswith(sys.argv[1])\n"
        "print(compiled.finding().mode.value, scan.__file__[-3:], service.__file__[-3:], scan.number(b'123', 0, 3))"
    )
    environment = {key: of for key, of in os.environ.items() if key != SWITCH}
    done = subprocess.run(
        [sys.executable, "-P", "-c", program, str(folder)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def assert_interpreted(found: zipfile.ZipFile, folder: Path) -> None:
    assert not ending(found, ".so", ".c", ".seal")
    assert "gateway/proxy/scan.py" in found.namelist()
    assert runs(found, folder) == "interpreted .py .py 123"


@needs_compiler
def test_with_a_compiler_a_wheel_carries_all_compiled_beside_sources_and_types(
    project: Path, tmp_path: Path
) -> None:
    found = wheel(project)
    binaries = [f"{module.replace('.', '/')}{SUFFIX}" for module in MODULES]
    assert sorted(ending(found, ".so")) == sorted(binaries)
    assert len(ending(found, ".seal")) == 1
    assert not ending(found, ".c")
    types = {str(one.relative_to(ROOT)) for one in ROOT.glob("gateway/**/*.pxd")}
    assert {*ending(found, ".pxd")} == types
    assert all(f"{name.removesuffix('.pxd')}.py" in found.namelist() for name in types)
    assert runs(found, tmp_path / "installed") == "compiled .so .so 123"

    # What was compiled before is left in the build folder; it does not belong into the next wheel.
    source = project / "gateway/proxy/scan.py"
    source.write_text(source.read_text() + "\n# Edited.\n")
    assert_interpreted(wheel(project, CC="/bin/false"), tmp_path / "later")


def test_without_a_compiler_a_wheel_is_built_and_runs_interpreted(
    project: Path, tmp_path: Path
) -> None:
    environment = {"PATH": str(Path(sys.executable).parent), "CC": "gcc"}
    assert_interpreted(wheel(project, **environment), tmp_path / "installed")


@needs_compiler
def test_when_one_module_does_not_compile_none_is_used(project: Path, tmp_path: Path) -> None:
    types = project / "gateway/routing/service.pxd"
    types.write_text(types.read_text() + "\ncdef Unknown nothing\n")
    assert_interpreted(wheel(project), tmp_path / "installed")


def test_the_switch_builds_a_wheel_for_every_machine(project: Path, tmp_path: Path) -> None:
    found = wheel(project, **{SWITCH: "1"})
    assert Path(str(found.filename)).name.endswith("-py3-none-any.whl")
    assert_interpreted(found, tmp_path / "installed")
