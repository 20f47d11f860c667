"""Load as hard as it goes over kept connections: wrk, or our own clients where it is missing."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from .clients import Plan
from .load import Load
from .records import Outcome
from .results import Skipped
from .stats import percentile
from .tools import Tool, find

SCRIPT = Path(__file__).parent / "wrk.lua"


@dataclass(frozen=True, slots=True)
class Volley:
    """What came of it."""

    requests: int
    seconds: float
    bad: int
    """No 200, or no answer."""
    p50_ms: float
    p99_ms: float


def parse_wrk(text: str) -> Volley:
    """The line of JSON that `wrk.lua` prints behind wrk's own words. Raises `ValueError`."""
    for line in reversed(text.splitlines()):
        if line.startswith("{"):
            found = orjson.loads(line)
            return Volley(
                found["requests"],
                found["microseconds"] / 1e6,
                found["bad"],
                found["p50_us"] / 1e3,
                found["p99_us"] / 1e3,
            )
    raise ValueError(f"wrk gave no figures: {text.strip()[-200:]}")


def fire(
    port: int,
    heads: Sequence[bytes],
    connections: int,
    folder: Path,
    seconds: int,
    *,
    tls: bool = False,
    body: int = 0,
) -> Volley:
    """Send the heads in turn over that many connections for that long.

    `body`: so many bytes behind each head. Only wrk knows bodies and TLS; it takes any certificate.
    """
    wrk = find(Tool.WRK)
    if wrk is None:
        if tls or body:
            raise Skipped("wrk is missing")
        return _own(port, heads, connections, seconds)
    file = folder / "heads"
    file.write_bytes(b"".join(heads))
    command = (wrk, "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(SCRIPT))
    done = subprocess.run(
        [*command, f"{'https' if tls else 'http'}://127.0.0.1:{port}/", "--", str(file), str(body)],
        capture_output=True,
        text=True,
        check=True,
        timeout=seconds + 30,
    )
    return parse_wrk(done.stdout)


def _own(port: int, heads: Sequence[bytes], connections: int, seconds: int) -> Volley:
    with Load(Plan(port, connections, 0, heads, ())) as load:
        time.sleep(seconds)
        records = load.stop()
    waited = [1e3 * s for s in records.seconds()]
    return Volley(
        len(records),
        len(records) / max(records.per_second, 1e-9),
        sum(outcome != Outcome.ANSWERED for outcome in records.outcome),
        percentile(waited, 50),
        percentile(waited, 99),
    )
