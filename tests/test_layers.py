"""The rooms of docs/architecture.md import each other only as that page says."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architecture.md"
OWN = ("gateway", "admin")

PURE_ROOMS = ("gateway.core", "gateway.routing")
PURE_MODULES = frozenset(
    """
    __future__ abc array base64 binascii bisect collections contextlib dataclasses difflib enum
    fractions functools hashlib heapq hmac ipaddress itertools json math operator re shlex string
    struct types typing
    """.split()  # noqa: SIM905 - easier to read
)
"""Nothing here can see a file, a socket, a clock or a random number."""
IMPURE_BUILTINS = frozenset({"open", "print", "input", "eval", "exec", "__import__"})

HEAVY = (
    "aiohttp",
    "sqlite3",
    "prometheus_client",
    "yaml",
    "pydantic",
    "click",
    "rich",
    "http.client",
)
"""What a worker must not carry."""
OPERATORS = ("admin", "gateway.core.model", "gateway.core.observed", "gateway.core.state")
"""What is known of the wishes of operators."""
SLOW = ("pydantic", "pydantic_core", "annotated_types", "importlib.metadata", "asyncio")
"""What no start may wait for: the supervisor imports all it needs before it starts anybody."""


@dataclass(frozen=True)
class Import:
    file: str
    line: int
    module: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.module}"


def modules_of(room: str) -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted((ROOT / room.replace(".", "/")).rglob("*.py")):
        yield path, ast.parse(path.read_bytes(), str(path))


def imports_of(room: str) -> Iterator[Import]:
    for path, tree in modules_of(room):
        file = str(path.relative_to(ROOT))
        package = ".".join(path.relative_to(ROOT).parent.parts)
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield Import(file, node.lineno, alias.name)
            elif isinstance(node, ast.ImportFrom):
                base = node.module or ""
                if node.level:
                    parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                    base = ".".join((*parents, base)).rstrip(".")
                for alias in node.names:
                    yield Import(file, node.lineno, f"{base}.{alias.name}")


def rooms() -> dict[str, tuple[str, ...]]:
    """Each room of the page's table with what it may import, itself included."""
    found: dict[str, tuple[str, ...]] = {}
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not re.fullmatch(r"`[a-z/]+/`", cells[0]):
            continue
        room = cells[0].strip("`").strip("/").replace("/", ".")
        allowed = [room]
        for word in (word.strip().strip("`") for word in cells[2].split(",")):
            if word == "all above":
                allowed.extend(found)
            elif word != "itself":
                allowed.append(word if word == "admin" else f"gateway.{word}")
        found[room] = tuple(allowed)
    return found


ROOMS = rooms()
EVERYBODYS = ("gateway.compiled",)
"""Says how modules are run; knows none of them."""


def inside(module: str, room: str) -> bool:
    return module == room or module.startswith(f"{room}.")


def test_the_page_names_every_room_and_no_other() -> None:
    packages = {
        f"gateway.{path.name}"
        for path in (ROOT / "gateway").iterdir()
        if (path / "__init__.py").exists()
    }
    assert set(ROOMS) == packages | {"admin"}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_the_page_allows(room: str) -> None:
    wrong = [
        str(found)
        for found in imports_of(room)
        if found.module.split(".")[0] in OWN
        and not any(inside(found.module, allowed) for allowed in (*ROOMS[room], *EVERYBODYS))
    ]
    assert not wrong, f"{PAGE.name} says {room} may import {', '.join(ROOMS[room])}"


@pytest.mark.parametrize("room", PURE_ROOMS)
def test_pure_rooms_have_no_io_clock_or_randomness(room: str) -> None:
    wrong = [
        str(found)
        for found in imports_of(room)
        if found.module.split(".")[0] not in (*OWN, *PURE_MODULES)
    ]
    wrong += [
        f"{path.relative_to(ROOT)}:{node.lineno} calls {node.func.id}"
        for path, tree in modules_of(room)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in IMPURE_BUILTINS
    ]
    assert not wrong


def test_the_demo_behind_the_gateway_is_plain_standard_library() -> None:
    wrong = [
        str(found)
        for found in imports_of("gateway.demo")
        if found.module.split(".")[0] not in sys.stdlib_module_names
        and not inside(found.module, "gateway.demo")
    ]
    assert not wrong


def loaded_with(*modules: str) -> list[str]:
    """All that is imported with these."""
    program = f"import {', '.join(modules)}, json, sys; print(json.dumps(list(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=True, timeout=60
    )
    loaded: list[str] = json.loads(done.stdout)
    return loaded


def test_a_worker_carries_no_heavy_library() -> None:
    loaded = loaded_with("gateway.runtime.worker")
    heavy = (*HEAVY, *OPERATORS)
    assert not [name for name in loaded for one in heavy if inside(name, one)]


def test_a_supervisor_starts_without_what_is_slow_to_import() -> None:
    modules = ("gateway.cli.main", "gateway.cli.run", "gateway.runtime.running")
    loaded = loaded_with(*modules, "gateway.runtime.configuration")
    slow = (*SLOW, *OPERATORS)
    assert not [name for name in loaded for one in slow if inside(name, one)]
