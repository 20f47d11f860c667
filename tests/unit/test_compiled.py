"""All modules run compiled or none; what was compiled from other sources never runs; one switch."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from gateway import compiled
from gateway.compiled import MODULES, SWITCH, Finding, Mode, binary_of, examine, seal_of

SOME = ("gateway.proxy.scan", "gateway.proxy.lines", "gateway.routing.draw")
HAS_COMPILER = (
    shutil.which("cc") is not None and Path(sysconfig.get_path("include"), "Python.h").exists()
)


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """A folder as a build leaves it; what it says is compiled is empty."""
    for module in SOME:
        for name in (compiled.source_of(module), compiled.types_of(module)):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(compiled.ROOT / name, tmp_path / name)
        (tmp_path / binary_of(module)).touch()
    seal_of(tmp_path).write_text(compiled.digest(tmp_path, SOME))
    return tmp_path


def reason(root: Path, modules: tuple[str, ...] = SOME) -> str:
    found = examine(root, {}, modules)
    assert found.mode is Mode.INTERPRETED
    assert str(found) == f"interpreted ({found.reason})"
    return found.reason


def test_what_is_complete_and_fresh_runs_compiled(built: Path) -> None:
    assert examine(built, {}, SOME) == Finding(Mode.COMPILED)
    assert examine(built, {SWITCH: ""}, SOME) == Finding(Mode.COMPILED)


def test_the_switch_has_the_sources_run(built: Path) -> None:
    found = examine(built, {SWITCH: "1"}, SOME)
    assert found == Finding(Mode.INTERPRETED, "GATEWAY_INTERPRETED is set")


@pytest.mark.parametrize("module", SOME)
def test_when_one_is_missing_none_runs_compiled(built: Path, module: str) -> None:
    (built / binary_of(module)).unlink()
    assert reason(built) == f"{built / binary_of(module)} is missing"


@pytest.mark.parametrize("module", SOME)
@pytest.mark.parametrize("file_of", [compiled.source_of, compiled.types_of])
def test_an_edit_of_a_source_or_of_its_types_makes_all_stale(
    built: Path, module: str, file_of: object
) -> None:
    assert callable(file_of)
    edited = built / file_of(module)
    before = edited.stat()
    edited.write_bytes(edited.read_bytes().replace(b" ", b"\t", 1))  # neither size nor time tells
    os.utime(edited, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert reason(built) == "its sources have changed since they were compiled"


def test_a_file_that_was_only_touched_is_not_stale(built: Path) -> None:
    (built / compiled.source_of(SOME[0])).touch()
    assert examine(built, {}, SOME) == Finding(Mode.COMPILED)


def test_another_list_of_modules_is_another_build(built: Path) -> None:
    assert "have changed" in reason(built, SOME[:2])


def test_no_seal_no_source_and_a_damaged_seal_are_told_apart(built: Path) -> None:
    source = built / compiled.source_of(SOME[0])
    source.rename(built / "elsewhere")
    assert reason(built) == f"{source} is missing"
    seal_of(built).write_bytes(b"\xff\xfe")
    assert reason(built) == f"{seal_of(built)} is damaged"
    seal_of(built).unlink()
    assert "was not compiled for this Python" in reason(built)
    seal_of(built).mkdir()
    assert "Is a directory" in reason(built)


@pytest.mark.parametrize("module", MODULES)
def test_each_module_has_its_types_beside_it(module: str) -> None:
    assert (compiled.ROOT / compiled.source_of(module)).is_file()
    assert (compiled.ROOT / compiled.types_of(module)).is_file()


def test_types_lie_beside_what_is_compiled_only() -> None:
    found = {str(one.relative_to(compiled.ROOT)) for one in compiled.ROOT.glob("gateway/**/*.pxd")}
    assert found == {compiled.types_of(module) for module in MODULES}


@pytest.mark.parametrize("module", MODULES)
def test_types_refer_to_what_is_compiled_only(module: str) -> None:
    text = (compiled.ROOT / compiled.types_of(module)).read_text()
    named = set()
    for package, names in re.findall(r"^from (gateway[\w.]*) cimport (.+)$", text, re.MULTILINE):
        words = [f"{package}.{name.split()[0]}" for name in names.split(",")]
        named |= {package} if package in MODULES else set(words)
    assert named <= set(MODULES)


def test_this_process_runs_all_of_them_as_it_says() -> None:
    ends = compiled.SUFFIX if compiled.finding().mode is Mode.COMPILED else ".py"
    for module in MODULES:
        __import__(module)
        file = sys.modules[module].__file__
        assert file is not None
        assert file.endswith(ends), module


@pytest.mark.skipif(not HAS_COMPILER, reason="there is no C compiler with Python's headers")
@pytest.mark.skipif(bool(os.environ.get(SWITCH)), reason=f"{SWITCH} is set")
def test_where_a_compiler_is_the_suite_runs_compiled() -> None:
    assert compiled.finding() == Finding(Mode.COMPILED), "make compile"


def loaded(switch: str) -> str:
    """Which kinds of files a process takes the modules from, and what the command says."""
    program = (
        "import importlib, os, sys; from gateway.compiled import MODULES, finding\n"
        "files = {importlib.import_module(name).__file__ for name in MODULES}\n"
        "print(finding().mode.value, {os.path.splitext(name)[1] for name in files})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, SWITCH: switch},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_a_process_with_the_switch_takes_sources_only() -> None:
    assert loaded("1") == "interpreted {'.py'}"
    assert loaded("") in ("compiled {'.so'}", "interpreted {'.py'}")


def test_the_command_says_how_the_data_plane_runs() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "--version"],
        env={**os.environ, SWITCH: "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("gateway, version ")
    assert done.stdout.endswith(", data plane interpreted (GATEWAY_INTERPRETED is set)\n")
