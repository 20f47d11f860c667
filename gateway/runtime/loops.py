"""Which event loop a worker runs on, decided in one place."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Literal

import uvloop


def loop_factory(
    kind: Literal["aiofastnet", "uvloop"],
) -> Callable[[], asyncio.AbstractEventLoop]:
    """For `asyncio.Runner(loop_factory=...)`: uvloop, with aiofastnet's transports or its own."""
    if kind == "uvloop":
        return uvloop.new_event_loop
    import aiofastnet

    from .poller import PolledLoop

    factory: Callable[[], asyncio.AbstractEventLoop] = aiofastnet.loop_factory(PolledLoop)
    return factory
