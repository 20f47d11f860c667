"""Which modules a wheel carries compiled, and how to do without.

Each is one Python source with a `.pxd` of C types beside it (Cython's pure mode): compiled or
interpreted it does the same, and the tests run on both. Where no compiler was at hand the
sources run as they are; `GATEWAY_INTERPRETED=1` has them run so in any case.

Compiled are the modules that every request passes, for what they cost interpreted (docs/performance.md).
Must import nothing of the gateway: the build reads it, and it runs before everything else.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

MODULES = (
    "gateway.metrics.worker",
    "gateway.routing.service",
    "gateway.routing.decision",
    "gateway.routing.schedule",
    "gateway.routing.draw",
    "gateway.routing.pool",
    "gateway.routing.table",
    "gateway.proxy.scan",
    "gateway.proxy.lines",
    "gateway.proxy.heads",
    "gateway.proxy.fields",
    "gateway.proxy.codec_request",
    "gateway.proxy.codec_response",
    "gateway.proxy.chunked",
    "gateway.proxy.body",
    "gateway.proxy.upload",
    "gateway.proxy.retry",
    "gateway.proxy.users",
    "gateway.proxy.upstream",
    "gateway.proxy.target",
    "gateway.proxy.plane",
    "gateway.proxy.stream",
    "gateway.proxy.attempt",
    "gateway.proxy.exchange",
    "gateway.proxy.client",
    "gateway.proxy.access_line",
    "gateway.proxy.access_log",
    "gateway.proxy.finish",
)
SWITCH = "GATEWAY_INTERPRETED"
"""The environment variable: not empty, and the sources run interpreted."""


class Mode(str):
    """How the modules run: `compiled`, `interpreted`, or `mixed` where only some were built."""


class _Sources:
    """Finds the sources of `MODULES`, whatever was compiled of them."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in MODULES:
            return None
        from importlib.util import spec_from_file_location

        return spec_from_file_location(name, _ROOT.joinpath(*name.split(".")).with_suffix(".py"))


_ROOT = Path(__file__).parents[1]


def heed_switch() -> None:
    """Do as the environment says. Called once, before any of the modules is imported."""
    if os.environ.get(SWITCH):
        sys.meta_path.insert(0, _Sources())
