"""An application to be released again and again, and an operator who does not give up.

Its services are `shop-v1` to `shop-v9`, in turn; each starts one small program that says
its version. So nine releases lie between two uses of a number.
"""

from __future__ import annotations

import http.client
import os
import re
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.core.errors import Code
from gateway.core.release import Phase

from . import procfs
from .backends import body
from .gateway import API, Api, Refused

APPLICATION = "shop"
HOST = "shop.example"
VERSIONS = 9
PORTS = 1_000
BLOCKS = range(20_000, 30_000, PORTS)
"""Below the range that outgoing connections are given: eight busy clients leave thousands behind."""
CHECKED_EVERY_S = 0.1
PATIENCE_S = 30.0
POLL_S = 0.02
ANSWERED = (200, 201)
LATE = 202
"""The change stands, and a worker has not followed it yet."""
_AWAY = (OSError, http.client.HTTPException)
_FOLDER = Path(__file__).parents[1]
_PROGRAM = re.compile(r"-m bench\.responder (\d+)=v(\d)")


class Stuck(Exception):  # noqa: N818 - says what happened
    """Nobody answered, or a release did not go on, within `PATIENCE_S`."""


@dataclass(frozen=True, slots=True)
class Shop:
    """What runs for the application, on ports from `first_port` on."""

    first_port: int

    @property
    def settings(self) -> dict[str, object]:
        """What the gateway has to know. Checks are frequent: figures are not of waiting for one."""
        images = {
            f"shop:{version}": {
                "command": ["${PYTHON}", "-m", "bench.responder", f"${{PORT}}={body(version)}"],
                "working_dir": str(_FOLDER),
            }
            for version in range(1, VERSIONS + 1)
        }
        ports = [self.first_port, self.first_port + PORTS - 1]
        return {
            "providers": {"process": {"images": images, "ports": ports}},
            "checks": {"interval": CHECKED_EVERY_S},
        }

    def running(self) -> Counter[int]:
        """How many processes of each version there are, whoever their parent is."""
        lines = (procfs.command_line(stat.pid) for stat in procfs.stats())
        return Counter(v for line in lines if (v := self.version_of(line)) is not None)

    def version_of(self, command_line: str) -> int | None:
        """Which version a process of this shop is; None: it is none."""
        found = _PROGRAM.search(command_line)
        if found is None or not 0 <= int(found[1]) - self.first_port < PORTS:
            return None
        return int(found[2])


def a_shop() -> Shop:
    """One on ports that another run is not likely to use."""
    return Shop(BLOCKS[os.getpid() % len(BLOCKS)])


def template(version: int) -> dict[str, object]:
    """The template of a version."""
    labels = {"gateway.routing.port_80": HOST, "gateway.routing.coexist": True}
    return {f"shop-v{version}": {"image": f"shop:{version}", "labels": labels}}


def after(version: int) -> int:
    """The number of the next version."""
    return version % VERSIONS + 1


@dataclass(frozen=True, slots=True)
class Operator:
    """Releases the application over the API; asks again while nobody answers.

    Without `accepts_late` it raises `Refused` when a worker has not followed a change yet.
    """

    api: Api
    accepts_late: bool = False

    def deploy(self, version: int, strategy: str, key: str) -> str:
        """Begin a release, once, however often it has to be asked for; its id."""
        path = f"{API}/applications/{APPLICATION}/releases?strategy={strategy}"
        answer = self._insist("POST", path, template(version), {"Idempotency-Key": key})
        return str(answer["id"])

    def shift(self, release: str, percent: int) -> None:
        """Move traffic; the workers follow when it is done."""
        self._insist("POST", f"{API}/releases/{release}/shift", {"new": percent})

    def decide(self, release: str, verb: str) -> None:
        """Confirm or roll back.

        If an answer was lost, the phase says that it was done, by a refusal.
        """
        try:
            self._insist("POST", f"{API}/releases/{release}/{verb}")
        except Refused as refused:
            if refused.code != Code.ILLEGAL_TRANSITION:
                raise

    def wait(self, release: str, *phases: Phase) -> Phase:
        """Wait until it is in one of these phases. Raises `Stuck`."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            phase = Phase(self._insist("GET", f"{API}/releases/{release}")["phase"])
            if phase in phases:
                return phase
            time.sleep(POLL_S)
        raise Stuck(release)

    def _insist(
        self,
        method: str,
        path: str,
        content: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """The answer, once there is one. Raises `Refused`, `Stuck`."""
        accept = (*ANSWERED, LATE) if self.accepts_late else ANSWERED
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                return self.api.call(method, path, content, headers, accept)
            except _AWAY as error:
                if time.monotonic() > end:
                    raise Stuck(f"{method} {path}: {error}") from error
                time.sleep(POLL_S)
