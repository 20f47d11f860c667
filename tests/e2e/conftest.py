"""Gateways and origins for tests with real processes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.contained_shop import HOST, Shop
from tests.support.containers import in_containers, web
from tests.support.docker_engine import BUSYBOX, Engine
from tests.support.origins import Origins
from tests.support.registry import Registry


@pytest.fixture(scope="module")
def origins() -> Iterator[Origins]:
    """A place for origins; they end with the module."""
    with Origins() as found:
        yield found


@pytest.fixture
def shop(docker: Engine, tmp_path: Path) -> Iterator[Shop]:
    """The first version is deployed, in one container."""
    with in_containers(docker, tmp_path) as gateway:
        found = Shop(docker, gateway)
        found.wait(found.deploy({"web-v1": web(HOST)}), "confirmed")
        yield found


@pytest.fixture
def image(registry: Registry, docker: Engine) -> Iterator[str]:
    """An image that the module's registry has and the Engine has not."""
    noise = random.Random(1).randbytes(2_000_000)
    docker.build("noisy:1", f"FROM {BUSYBOX}\nCOPY noise /noise\n", {"noise": noise})
    registry.push(docker, "noisy:1", "shop:1")
    docker("rmi", "-f", "noisy:1")
    yield registry.name("shop:1")
    docker.try_run("rmi", "-f", registry.name("shop:1"))
