"""No interval is measured with the wall clock: an operator, or NTP, may set it at any time."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

READERS = {
    "admin/api/context.py": "dates in answers, ends of tokens",
    "admin/clock.py": "dates of what is stored",
    "admin/providers/launching/logs.py": "the age of a file, whose date is of the same clock",
    "gateway/cli/clock.py": "ages of dates that the API gave",
    "gateway/proxy/access_log.py": "the date of each line",
    "gateway/proxy/dataplane.py": "the Date field",
    "gateway/runtime/certificates.py": "certificates are valid between two dates",
    "gateway/runtime/configuration.py": "likewise",
    "gateway/runtime/crew.py": "since when a process runs, as shown",
    "gateway/runtime/processes.py": "likewise",
}
"""Who may, and what for."""
WALL = {
    "time": {"time", "time_ns", "localtime", "gmtime", "ctime"},
    "datetime": {"now", "utcnow", "today"},
    "date": {"today"},
}


def reads(tree: ast.AST) -> list[int]:
    """Lines that name a function which tells the time of day (given a time, they only convert it)."""
    converting = {
        id(node.func)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("localtime", "gmtime", "ctime")
        and node.args
    }
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.attr in WALL.get(node.value.id, ())
        and id(node) not in converting
    ] + [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        and node.module == "time"
        and {alias.name for alias in node.names} & WALL["time"]
    ]


def test_the_wall_clock_is_read_for_dates_only() -> None:
    found = {}
    for room in ("gateway", "admin"):
        for path in sorted((ROOT / room).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            lines = reads(ast.parse(path.read_bytes()))
            if lines and not name.startswith("gateway/demo/"):
                found[name] = lines
    assert found.keys() == READERS.keys(), found


@pytest.mark.parametrize(
    "text",
    [
        "time.time()",
        "datetime.now(UTC)",
        "clock = time.time",
        "from time import time",
        "time.gmtime()",
    ],
)
def test_reading_it_is_seen(text: str) -> None:
    assert reads(ast.parse(text))


@pytest.mark.parametrize("text", ["time.monotonic()", "time.gmtime(then)", "loop.time()"])
def test_what_is_no_wall_clock_is_let_through(text: str) -> None:
    assert not reads(ast.parse(text))
