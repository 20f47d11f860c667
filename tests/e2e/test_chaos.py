"""Whole release cycles under load while any process is killed or stopped: nobody notices.

20 strikes here; `make chaos` makes it 200 (`GATEWAY_CHAOS_STRIKES`), on a new gateway for each
20, as restarts back off. `GATEWAY_CHAOS_SEED` begins another series. With
`GATEWAY_CHAOS_REPORT=FILE` what was counted is appended there, a JSON object a line.
"""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import pytest

from tests.support.applications import backends
from tests.support.chaos import Chaos, Epoch, allowed
from tests.support.gateway import Gateway

STRIKES = int(os.environ.get("GATEWAY_CHAOS_STRIKES", "20"))
SEED = int(os.environ.get("GATEWAY_CHAOS_SEED", "1"))
EACH = 20
REPORT = os.environ.get("GATEWAY_CHAOS_REPORT")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("number", range(-(-STRIKES // EACH)))
def test_whatever_is_killed_or_stopped_during_releases_no_state_and_no_request_is_lost(
    tmp_path: Path, number: int
) -> None:
    with Gateway(tmp_path, **backends()) as gateway:
        with Chaos(gateway, "shop", SEED + number) as chaos:
            for _ in range(min(EACH, STRIKES - number * EACH)):
                chaos.strike()
        if REPORT:
            report(Path(REPORT), chaos)
        chaos.assert_nobody_noticed()
        assert sum(chaos.releasing.releases.values()) > 0


def report(file: Path, chaos: Chaos) -> None:
    found = chaos.sort()
    numbers = dataclasses.asdict(found) | {"failed": len(found.failed), "astray": len(found.astray)}
    line = {
        **numbers,
        "struck": chaos.struck,
        "releases": chaos.releasing.releases,
        "examples": [repr(r) for r in (*found.failed, *found.astray)[:10]],
    }
    with file.open("a") as lines:
        lines.write(json.dumps(line) + "\n")


def test_who_may_serve_follows_from_what_the_operator_was_told() -> None:
    old, both, new = frozenset({"v1"}), frozenset({"v1", "v2"}), frozenset({"v2"})
    epochs = [Epoch(0.0, old), Epoch(10.0, both), Epoch(20.0, new)]
    assert allowed(epochs, 1.0, 2.0) == old
    assert allowed(epochs, 9.0, 11.0) == both
    assert allowed(epochs, 19.0, 21.0) == both
    assert allowed(epochs, 21.0, 22.0) == new
