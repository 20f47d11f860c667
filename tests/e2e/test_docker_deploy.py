"""`gateway deploy --wait` beside a real Docker Engine: how far each instance is, and why one does not come up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from admin.providers.launching.progress import Stage
from tests.support.containers import in_containers, web
from tests.support.docker_engine import Engine
from tests.support.gateway import Gateway
from tests.support.registry import Registry

HOST = "shop.example"
ON_THE_WAY = list(Stage)[1:]


@pytest.fixture
def gateway(docker: Engine, tmp_path: Path) -> Iterator[Gateway]:
    with in_containers(docker, tmp_path / "gateway") as found:
        yield found


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registry() as found:
        yield found


@contextmanager
def deploying(
    gateway: Gateway, template: dict[str, Any], *options: str
) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    """The command, and what it prints, line by line as it comes."""
    command = [sys.executable, "-m", "gateway", "deploy", "shop", "-f", "-", "--wait", *options]
    environment = os.environ | {"GATEWAY_ADMIN": str(gateway.state / "admin.sock")}
    with subprocess.Popen(
        command,
        env=environment,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps({"services": template}))
        process.stdin.close()
        yield process, process.stdout


def stages(lines: list[str], instance: str) -> list[Stage]:
    """What was printed of an instance (`web-v1 1/2`), one after the other."""
    mine = [line.split(f"{instance}: ", 1)[1] for line in lines if f"{instance}: " in line]
    return [stage for text in mine for stage in Stage if text.startswith(stage)]


def test_how_far_each_instance_is_is_printed_while_it_gets_there(
    gateway: Gateway, registry: Registry, image: str
) -> None:
    registry.gate.clear()
    template = {"web-v1": web(HOST, scale=2, image=image, pull_policy="missing")}
    with deploying(gateway, template) as (process, printed):
        lines: list[str] = []
        for line in printed:
            lines.append(line)
            if " % of 2 MB" in line:
                registry.gate.set()
    text = "".join(lines)
    assert process.returncode == 0, text
    for instance in ("web-v1 1/2", "web-v1 2/2"):
        found = stages(lines, instance)
        assert found[0] is Stage.PULLING, text
        assert found == sorted(found, key=ON_THE_WAY.index), text
    assert text.count(" healthy, up\n") == 2, text


def test_the_last_words_of_what_does_not_come_up_are_printed(gateway: Gateway) -> None:
    with deploying(gateway, {"web-v1": web(HOST)}) as (first, printed):
        text = printed.read()
    assert first.returncode == 0, text
    bad = {"web-v2": web(HOST, says="echo the disk is on fire; exit 3")}
    with deploying(gateway, bad, "--deadline", "2") as (process, printed):
        text = printed.read()
    assert process.returncode == 1, text
    assert "ended with exit code 3" in text
    assert "the disk is on fire" in text
    assert "rolled back" in text
