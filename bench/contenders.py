"""The proxies that stand side by side: the gateway, nginx, HAProxy. One worker each, and both
a plain and a sticky route with the same 90/10 split of the same two services."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from . import procfs
from .backends import Backends
from .gateway import ask, gateway
from .programs import Program, free_ports, on_cpus
from .templates import haproxy_command, nginx_command
from .tools import Tool, find

DRAWS = 200
"""Answers looked at for their cookies; with 10 % each, one service being missed is 1 in 10^9."""


class Row(Enum):
    """What a request is about."""

    PLAIN = "plain"
    STICKY = "sticky"

    @property
    def host(self) -> str:
        """The host its requests name."""
        return f"{self.value}.example"


@dataclass(frozen=True, slots=True)
class Contender:
    """A running proxy."""

    name: str
    pid: int
    """Its first process; the others descend from it."""
    ports: Mapping[Row, int]

    def cpu_s(self) -> float:
        """CPU time of all its processes so far."""
        return procfs.cpu_s(procfs.family(self.pid))

    def split(self, row: Row) -> Mapping[int, int]:
        """Service number to how many of `DRAWS` requests it answered."""
        counted: dict[int, int] = {}
        for _ in range(DRAWS):
            status, body, _ = ask(self.ports[row], row.host)
            if status != 200:
                raise RuntimeError(f"{self.name} answered {status} to {row.host}")
            number = int(body[1:2])
            counted[number] = counted.get(number, 0) + 1
        return counted

    def cookies(self) -> tuple[str, ...]:
        """The cookies that hold a client on a service, in the proportion of new clients."""
        found = []
        for _ in range(DRAWS):
            cookie = ask(self.ports[Row.STICKY], Row.STICKY.host)[2]
            if cookie is not None:
                found.append(cookie)
        if len(set(found)) != 2:
            raise RuntimeError(f"{self.name} set {len(set(found))} different cookies, not 2")
        return tuple(found)


@contextmanager
def contenders(
    folder: Path, behind: Backends, cpus: frozenset[int]
) -> Iterator[tuple[Contender, ...]]:
    """All that can be started here, the gateway first, on these CPUs."""
    with ExitStack() as running:
        with on_cpus(cpus):
            found = tuple(_start(folder, behind, running))
        yield found


def _start(folder: Path, behind: Backends, running: ExitStack) -> Iterator[Contender]:
    first, second = behind.ports
    front = running.enter_context(gateway(folder, workers=1))
    for row in Row:
        for number, port in enumerate(behind.ports, 1):
            front.api.register(f"{row.value}-v{number}", row.host, port)
        front.api.set_weights(row.host, {f"{row.value}-v1": 90, f"{row.value}-v2": 10})
        front.api.set_affinity(row.host, row is Row.STICKY)
        front.wait_answer(row.host)
    front.wait_calm(0.3)
    yield Contender("gateway", front.pid, dict.fromkeys(Row, front.port))
    for tool, template, make in (
        (Tool.NGINX, "nginx.conf", nginx_command),
        (Tool.HAPROXY, "haproxy.cfg", haproxy_command),
    ):
        if find(tool) is None:
            continue
        plain, sticky = free_ports(2)
        command = make(
            template, folder / tool.value, V1=first, V2=second, PLAIN=plain, STICKY=sticky
        )
        program = running.enter_context(Program(command, folder / f"{tool.value}.log"))
        program.wait_port(plain)
        program.wait_port(sticky)
        yield Contender(tool.value, program.pid, {Row.PLAIN: plain, Row.STICKY: sticky})
