"""Says how the data plane runs, and which tests it takes part in; the Docker Engine of all tests.

Tests of the data plane are marked `data_plane`; `make test` runs them a second time, interpreted, where the first was compiled.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from gateway import compiled
from tests.support.docker_engine import Engine, NoEngineError
from tests.support.docker_engine import why_not as docker_engine_missing
from tests.support.gateway_image import build_gateway

_IMPORTS = re.compile(
    r"^ *(from|import) (gateway\.(proxy|routing|metrics\.worker)\b|tests\.(support\.(plane|worlds)|fuzz)\b)",
    re.MULTILINE,
)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Not as a report header, which `-q` leaves out."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        reporter.write_line(f"data plane: {compiled.finding()}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what concerns the data plane."""
    for item in items:
        if _concerns_data_plane(item.path):
            item.add_marker(pytest.mark.data_plane)


@cache
def _concerns_data_plane(path: Path) -> bool:
    return _IMPORTS.search(path.read_text()) is not None


@pytest.fixture(scope="session")
def docker_engine() -> Iterator[Engine]:
    """One Docker Engine for all tests that need one; skips where there can be none."""
    if (reason := docker_engine_missing()) is not None:
        pytest.skip(reason)
    try:
        engine = Engine()
    except NoEngineError as error:
        pytest.skip(f"no Docker daemon comes up here: {error}")
    yield engine
    engine.close()


@pytest.fixture
def docker(docker_engine: Engine) -> Iterator[Engine]:
    """The engine, empty but for images, and emptied after the test."""
    yield docker_engine
    docker_engine.clear()


@pytest.fixture(scope="session")
def gateway_image(docker_engine: Engine) -> str:
    """The gateway's image, in the engine."""
    return build_gateway(docker_engine)
