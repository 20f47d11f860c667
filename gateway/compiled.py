"""Which modules run compiled, and whether they do.

Each is one Python source with a `.pxd` of C types beside it (Cython's pure mode): compiled or
interpreted it does the same, and the tests run on both. Compiled are the modules that every request
passes, for what they cost interpreted (docs/performance.md). Where no C compiler was at hand the
sources run as they are; `GATEWAY_INTERPRETED=1` has them run so in any case, and keeps setup.py
from compiling.

Must import nothing of the gateway: setup.py reads it, and it runs before everything else.

Invariants:
* all of them run compiled or none: a compiled class of one module is laid out as the others were
  told when they were compiled, and a mixture would crash;
* what was compiled from other sources than are here never runs. The build writes a *seal* last, a
  digest of all sources and types; it is compared before the first of the modules is imported.

One hazard is new in a compiled class: **a call through an attribute does not hold the object**.
Interpreted, `self.user.take(data)` keeps `user` alive until the call is over. Compiled, it is a C
call on what the attribute points to; if `take` leads to `self.user = None`, and that was the last
reference, the object is freed under the feet of its own method. Where an attribute of a compiled
class can be assigned anew, take a local first: `user = self.user; user.take(data)`.
tests/unit/test_compiled_calls.py finds what does not.
"""

from __future__ import annotations

import os
import sys
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec
from pathlib import Path
from types import ModuleType

MODULES = (
    "gateway.metrics.worker",
    "gateway.routing.affinity",
    "gateway.routing.service",
    "gateway.routing.decision",
    "gateway.routing.schedule",
    "gateway.routing.draw",
    "gateway.routing.pool",
    "gateway.routing.table",
    "gateway.proxy.scan",
    "gateway.proxy.lines",
    "gateway.proxy.heads",
    "gateway.proxy.field_names",
    "gateway.proxy.fields",
    "gateway.proxy.codec_request",
    "gateway.proxy.codec_response",
    "gateway.proxy.chunked",
    "gateway.proxy.body",
    "gateway.proxy.upload",
    "gateway.proxy.retry",
    "gateway.proxy.entrypoint",
    "gateway.proxy.users",
    "gateway.proxy.upstream",
    "gateway.proxy.target",
    "gateway.proxy.plane",
    "gateway.proxy.stream",
    "gateway.proxy.frames",
    "gateway.proxy.tunnel",
    "gateway.proxy.attempt",
    "gateway.proxy.routed",
    "gateway.proxy.exchange",
    "gateway.proxy.client",
    "gateway.proxy.client_hello",
    "gateway.proxy.opening",
    "gateway.proxy.greeting",
    "gateway.proxy.admission",
    "gateway.proxy.acceptor",
    "gateway.proxy.doors",
    "gateway.proxy.access_line",
    "gateway.proxy.access_log",
    "gateway.proxy.finish",
    "gateway.runtime.poller",
)
SWITCH = "GATEWAY_INTERPRETED"
"""The environment variable: not empty, and the sources run interpreted."""
SUFFIX = EXTENSION_SUFFIXES[0]
"""How a compiled module's file ends; names this Python and this machine."""
ROOT = Path(__file__).parents[1]


class Mode(Enum):
    """How the modules run."""

    COMPILED = "compiled"
    INTERPRETED = "interpreted"


@dataclass(frozen=True, slots=True)
class Finding:
    """How they run, and if interpreted, why."""

    mode: Mode
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.mode.value} ({self.reason})" if self.reason else self.mode.value


def source_of(module: str) -> str:
    """Its file below the folder of all packages."""
    return module.replace(".", "/") + ".py"


def types_of(module: str) -> str:
    """The file that has its C types."""
    return module.replace(".", "/") + ".pxd"


def binary_of(module: str) -> str:
    """The file that is compiled from both, for this Python."""
    return module.replace(".", "/") + SUFFIX


def seal_of(root: Path = ROOT) -> Path:
    """The file that says what the compiled modules below that folder were compiled from."""
    return root / "gateway" / ("compiled" + SUFFIX.removesuffix(".so") + ".seal")


def digest(root: Path, modules: Sequence[str] = MODULES) -> str:
    """Of all sources and types, read anew. Raises `OSError` when one can't be read.

    A checksum, for it guards against forgetting and not against malice ([measured] 0.8 ms for
    50 files, where importing a hash would take longer).
    """
    total = zlib.crc32(" ".join(modules).encode())
    for module in modules:
        for name in (source_of(module), types_of(module)):
            total = zlib.crc32((root / name).read_bytes(), total)
    return f"{len(modules)} modules, {total:08x}\n"


def examine(root: Path, environ: Mapping[str, str], modules: Sequence[str] = MODULES) -> Finding:
    """Could they run compiled, all of them, from what is below that folder?"""
    if environ.get(SWITCH):
        return Finding(Mode.INTERPRETED, f"{SWITCH} is set")
    try:
        sealed = seal_of(root).read_text()
        now = digest(root, modules)
    except FileNotFoundError as missing:
        if missing.filename == str(seal_of(root)):
            python = f"Python {sys.version_info.major}.{sys.version_info.minor}"
            return Finding(Mode.INTERPRETED, f"it was not compiled for this {python}")
        return Finding(Mode.INTERPRETED, f"{missing.filename} is missing")
    except OSError as error:
        return Finding(Mode.INTERPRETED, f"{error.filename}: {error.strerror}")
    except ValueError:
        return Finding(Mode.INTERPRETED, f"{seal_of(root)} is damaged")
    if sealed != now:
        return Finding(Mode.INTERPRETED, "its sources have changed since they were compiled")
    for module in modules:
        if not (root / binary_of(module)).is_file():
            return Finding(Mode.INTERPRETED, f"{root / binary_of(module)} is missing")
    return Finding(Mode.COMPILED)


@cache
def finding() -> Finding:
    """How the modules of this process run. Decided once, before the first is imported."""
    return examine(ROOT, os.environ)


class _Chosen:
    """Has each of the modules imported as was decided for all."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in _NAMES:
            return None
        from importlib.util import spec_from_file_location

        file_of = binary_of if finding().mode is Mode.COMPILED else source_of
        return spec_from_file_location(name, ROOT / file_of(name))


_NAMES = frozenset(MODULES)


def set_up() -> None:
    """From now on the modules are imported as decided. Called once, by the package itself."""
    sys.meta_path.insert(0, _Chosen())
