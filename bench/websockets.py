"""What does a WebSocket message cost to pass on and back, beside HAProxy?

64 connections, each with one message at a time: sent by a client, sent back by the backend. Client and
backend are processes of their own.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from .apart import processes
from .contenders import GATEWAY, Contender, Row
from .gateway import gateway
from .messages import fire
from .programs import Program, free_ports, on_cpus, split_cpus
from .results import Findings, Scope
from .templates import command
from .tools import Tool, find
from .turns import Lane, Rounds, costs, details, take_turns

ROUNDS = Rounds(5, 2)
QUICK_ROUNDS = Rounds(2, 1)
CONNECTIONS = 64
SIZES = {"125-byte messages": 125, "64 kB messages": 65_536}
HOST = Row.PLAIN.host


def run(scope: Scope) -> Findings:
    """See the module."""
    for_proxies, for_load = split_cpus()
    (port,) = free_ports(1)
    echo = (sys.executable, "-m", "bench.echo", str(port))
    with (
        on_cpus(for_load),
        Program(echo, scope.folder / "echo.log", cwd=Path(__file__).parents[1]) as behind,
        processes(1) as pool,
        ExitStack() as running,
    ):
        behind.wait_port(port)
        with on_cpus(for_proxies):
            field = list(_field(scope.folder, port, running))
        lanes = [
            Lane(
                work,
                one.name,
                one.cpu_s,
                partial(fire, pool, one.ports[Row.PLAIN], HOST, size, CONNECTIONS),
            )
            for work, size in SIZES.items()
            for one in field
        ]
        samples = take_turns(scope, lanes, QUICK_ROUNDS if scope.quick else ROUNDS)
    names = [one.name for one in field]
    return Findings(
        tuple(figure for work in SIZES for figure in costs(samples, work, names, "messages")),
        {"samples": details(samples)},
    )


def _field(folder: Path, echo: int, running: ExitStack) -> Iterator[Contender]:
    front = running.enter_context(gateway(folder, workers=1))
    front.api.register("talk-v1", HOST, echo)
    front.wait_answer(HOST)
    front.wait_calm(0.3)
    yield Contender(GATEWAY, front.pid, {Row.PLAIN: front.port})
    if find(Tool.HAPROXY) is not None:
        (port,) = free_ports(1)
        values = {"PLAIN": port, "ECHO": echo}
        argv = command(Tool.HAPROXY, folder / "haproxy", values, "haproxy-websockets.cfg")
        program = running.enter_context(Program(argv, folder / "haproxy.log"))
        program.wait_port(port)
        yield Contender(Tool.HAPROXY.value, program.pid, {Row.PLAIN: port})
