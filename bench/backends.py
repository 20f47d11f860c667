"""What stands behind the proxies: two services, each with an answer of `BODY_BYTES` that says who it is.

nginx, where it is there, has longer answers too, and reads uploads; `responder` has not.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .programs import Program, free_ports
from .templates import nginx_command
from .tools import Tool, find

BODY_BYTES = 115
SIZES = {"10k": 10_000, "1m": 1_000_000}
"""Below these paths answers have that many bytes."""
UPLOAD = "upload"
"""What is sent below this path is read to its end first."""


@dataclass(frozen=True, slots=True)
class Backends:
    """Where the services listen, and what serves them."""

    ports: tuple[int, int]
    by: str


@contextmanager
def backends(folder: Path) -> Iterator[Backends]:
    """Two services while the context lasts: nginx, or `responder` where it is missing."""
    ports = free_ports(2)
    first, second = (body(number) for number in (1, 2))
    if find(Tool.NGINX) is not None:
        home = folder / "backend"
        values = {"V1": ports[0], "V2": ports[1], "BODY1": first, "BODY2": second}
        command = nginx_command("backend.conf", home, values)
        for prefix, size in SIZES.items():
            (home / f"{prefix}.bin").write_bytes(bytes(size))
        by = Tool.NGINX.value
    else:
        pairs = (f"{ports[0]}={first}", f"{ports[1]}={second}")
        command = (sys.executable, "-m", "bench.responder", *pairs)
        by = "own responder"
    with Program(command, folder / "backend.log", cwd=Path(__file__).parents[1]) as program:
        for port in ports:
            program.wait_port(port)
        yield Backends((ports[0], ports[1]), by)


def body(number: int) -> str:
    """The answer of service `number`."""
    start = f"v{number} says hello. "
    return (start * (BODY_BYTES // len(start) + 1))[:BODY_BYTES]
