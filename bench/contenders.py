"""The proxies that stand side by side: the gateway and its peers. One worker each, and all with a
plain and a sticky route with the same 90/10 split of the same two services."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from . import procfs
from .backends import Backends
from .certificate import Certificate, certificate
from .gateway import Gateway, ask, gateway
from .programs import Program, free_ports, on_cpus
from .templates import ONE_THREAD, command
from .tools import Tool, find

DRAWS = 200
"""Answers looked at for their cookies; with 10 % each, one service being missed is 1 in 10^9."""
GATEWAY = "gateway"


class Row(Enum):
    """What a request is about."""

    PLAIN = "plain"
    STICKY = "sticky"
    SECURE = "secure"
    """The plain route over TLS; the gateway and nginx have it."""

    @property
    def host(self) -> str:
        """The host its requests name."""
        return f"{'plain' if self is Row.SECURE else self.value}.example"


ROUTES = (Row.PLAIN, Row.STICKY)


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

    def memory_bytes(self) -> int:
        """The memory that all its processes have now, each shared page counted once."""
        return sum(procfs.proportional_bytes(pid) for pid in procfs.family(self.pid))

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


@dataclass(frozen=True, slots=True)
class Field:
    """All that could be started, the gateway first."""

    running: tuple[Contender, ...]
    certificate: Certificate


@contextmanager
def contenders(
    folder: Path, behind: Backends, cpus: frozenset[int], peers: Collection[Tool]
) -> Iterator[Field]:
    """The gateway and those of these peers that are there, on these CPUs."""
    shown = certificate(folder, Row.SECURE.host)
    with ExitStack() as running:
        with on_cpus(cpus):
            found = [_gateway(folder, behind, shown, running)]
            found += [
                _peer(peer, folder, behind, shown, running)
                for peer in peers
                if find(peer) is not None
            ]
        yield Field(tuple(found), shown)


def _gateway(folder: Path, behind: Backends, shown: Certificate, running: ExitStack) -> Contender:
    (secure,) = free_ports(1)
    entrypoint = {"listen": f"127.0.0.1:{secure}", "tls": shown.setting}
    front = running.enter_context(routed(folder, behind, entrypoints={"secure": entrypoint}))
    return Contender(GATEWAY, front.pid, {**dict.fromkeys(ROUTES, front.port), Row.SECURE: secure})


@contextmanager
def routed(
    folder: Path, behind: Backends, workers: int = 1, **settings: object
) -> Iterator[Gateway]:
    """A gateway with both routes, and these settings."""
    with gateway(folder, workers, **settings) as front:
        for row in ROUTES:
            for number, port in enumerate(behind.ports, 1):
                front.api.register(f"{row.value}-v{number}", row.host, port)
            front.api.set_weights(row.host, {f"{row.value}-v1": 90, f"{row.value}-v2": 10})
            front.api.set_affinity(row.host, row is Row.STICKY)
            front.wait_answer(row.host)
        front.wait_calm(0.3)
        yield front


def _peer(
    tool: Tool, folder: Path, behind: Backends, shown: Certificate, running: ExitStack
) -> Contender:
    rows = tuple(Row) if tool is Tool.NGINX else ROUTES
    ports = dict(zip(rows, free_ports(len(rows)), strict=True))
    first, second = behind.ports
    values: dict[str, object] = {row.name: port for row, port in ports.items()}
    values |= {"V1": first, "V2": second, "CERTIFICATE": shown.chain, "KEY": shown.key}
    argv = command(tool, folder / tool.value, values)
    program = running.enter_context(
        Program(argv, folder / f"{tool.value}.log", variables=variables(folder / tool.value))
    )
    for port in ports.values():
        program.wait_port(port)
    return Contender(tool.value, program.pid, ports)


def variables(folder: Path) -> dict[str, str]:
    """The environment of a peer: one thread, and its own folder for what it wants to keep."""
    return {**ONE_THREAD, "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
