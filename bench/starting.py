"""How long does it take from the start of the gateway to the first answer of a registered service, and
from the death of the only worker to the next?

The gateway has been told of its service before: it starts with what its store holds. Each start is
followed by one SIGKILL of the worker, as more would be followed by pauses between restarts; connections
that come meanwhile wait in the socket that the supervisor holds.

Python keeps what it compiled, as it does wherever the gateway is installed, also when this machine's
environment forbids it: the first start, which does not count, leaves it.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from .backends import Backends, backends
from .contenders import Row, routed
from .gateway import Gateway, Prepared, ask, prepare
from .programs import Program
from .results import Figure, Findings, Scope
from .stats import estimate

STARTS = 12
QUICK_STARTS = 3
LOOK_S = 0.002
VARIABLES = {"PYTHONDONTWRITEBYTECODE": ""}
"""Empty is as good as absent."""
HOST = Row.PLAIN.host


def run(scope: Scope) -> Findings:
    """See the module."""
    starts: list[float] = []
    deaths: list[float] = []
    with backends(scope.folder) as behind:
        prepared = _registered(scope.folder, behind)
        log = scope.folder / "again.log"
        for number in range(1 + (QUICK_STARTS if scope.quick else STARTS)):
            scope.say(f"start {number}")
            began = time.monotonic()
            with Program(prepared.command, log, cwd=scope.folder, variables=VARIABLES) as program:
                _answered(program, prepared.port)
                started_s = time.monotonic() - began
                front = Gateway(program, prepared.port, prepared.admin_port, 1)
                front.wait_serving()
                died_s = _respawn(front, program)
            if number:
                starts.append(started_s)
                deaths.append(died_s)
    return Findings(
        (_figure("start to the first answer", starts), _figure("death to the next answer", deaths)),
        {"starts_s": starts, "deaths_s": deaths},
    )


def _registered(folder: Path, behind: Backends) -> Prepared:
    """A folder with the state of a gateway that has both routes."""
    with routed(folder, behind):
        pass
    return prepare(folder, workers=1)


def _answered(program: Program, port: int) -> None:
    for _ in program.attempts(LOOK_S):
        if ask(port, HOST)[0] == 200:
            return


def _respawn(front: Gateway, program: Program) -> float:
    worker = front.api.serving()[0]
    killed = time.monotonic()
    os.kill(worker, signal.SIGKILL)
    _answered(program, front.port)
    return time.monotonic() - killed


def _figure(name: str, seconds: list[float]) -> Figure:
    found = estimate(seconds)
    return Figure(
        name,
        found.median,
        "s",
        found.low,
        found.high,
        note=f"median of {len(seconds)}, longest {max(seconds):.2f} s",
    )
