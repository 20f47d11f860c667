"""How many machine instructions does each operation of a request's way take?

Counted by valgrind (callgrind) for two numbers of repetitions in processes that are equal otherwise; the
difference, over the difference of the numbers, is what one takes. Instructions do not depend on what else
the machine does, and the seed of hashes is fixed: the same code gives the same count every time.

They do depend on the interpreter and on what is compiled, which `build` names.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from .operations import INTERPRETED, OPERATIONS, ROOT, is_compiled
from .results import Figure, Findings, Scope, Skipped
from .tools import Tool, find

FEW, MANY = 500, 2500
LONGEST_S = 600
LOOKUPS = "route look-ups, most / least"
_COLLECTED = re.compile(r"Collected : ([0-9]+)")
_OPTIONS = ("--enable-optimizations", "--with-lto", "--enable-shared")


def run(scope: Scope) -> Findings:
    """See the module."""
    if find(Tool.VALGRIND) is None:
        raise Skipped("valgrind is missing")
    scope.say("about a minute and a half")
    counts = count_all(tuple(OPERATIONS), interpreted=False)
    lookups = [count for name, count in counts.items() if name.startswith("route-match-")]
    note = build(interpreted=not is_compiled())
    return Findings(
        (
            *(Figure(name, round(count), note=_about(name)) for name, count in counts.items()),
            Figure(LOOKUPS, max(lookups) / min(lookups), note="with 10, 1,000 and 10,000 routes"),
        ),
        {"build": note},
    )


def _about(name: str) -> str:
    doc = (OPERATIONS[name].__doc__ or "").partition("\n")[0].rstrip(".")
    return doc[:1].lower() + doc[1:]


def build(*, interpreted: bool) -> str:
    """What counts depend on apart from our code, for people to read."""
    given = sysconfig.get_config_var("CONFIG_ARGS") or ""
    options = [option.lstrip("-") for option in _OPTIONS if option in given]
    parts = [
        f"{platform.python_implementation()} {platform.python_version()}",
        platform.python_compiler(),
        platform.machine(),
        *options,
        "interpreted" if interpreted else "compiled",
    ]
    return ", ".join(parts)


def count_all(names: Sequence[str], *, interpreted: bool) -> dict[str, float]:
    """Instructions per operation. Raises `RuntimeError` when one cannot be run."""
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        counts = pool.map(lambda name: count(name, interpreted=interpreted), names)
        return dict(zip(names, counts, strict=True))


def count(name: str, *, interpreted: bool) -> float:
    """Instructions of one operation."""
    options = [INTERPRETED] if interpreted else []
    python = [sys.executable, "-m", "bench.operations"]
    _said(
        [*python, name, "1", *options]
    )  # so that both of the others find everything compiled to bytecode
    valgrind = find(Tool.VALGRIND)
    assert valgrind is not None
    counting = [valgrind, "--tool=callgrind", "--callgrind-out-file=/dev/null", *python]
    few, many = (parse(_said([*counting, name, str(times), *options])) for times in (FEW, MANY))
    return (many - few) / (MANY - FEW)


def parse(said: str) -> int:
    """The instructions of a whole run, from what callgrind says. Raises `ValueError`."""
    found = _COLLECTED.search(said)
    if found is None:
        raise ValueError(f"callgrind gave no count: {said[-300:]}")
    return int(found[1])


def _said(command: Sequence[str]) -> str:
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={"PATH": os.defpath, "PYTHONHASHSEED": "0"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=LONGEST_S,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr[-2000:]}")
    return done.stderr
