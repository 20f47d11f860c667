"""Gateways and origins for tests with real processes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.origins import Origins


@pytest.fixture(scope="module")
def origins() -> Iterator[Origins]:
    """A place for origins; they end with the module."""
    with Origins() as found:
        yield found
