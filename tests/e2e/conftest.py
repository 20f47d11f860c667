"""Gateways and origins for tests with real processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.contained_shop import HOST, Shop
from tests.support.containers import in_containers, web
from tests.support.docker_engine import Engine
from tests.support.origins import Origins


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
