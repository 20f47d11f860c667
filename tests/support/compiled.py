"""What can only be seen where the data plane runs interpreted."""

from __future__ import annotations

import pytest

from gateway import compiled

interpreted_only = pytest.mark.skipif(
    compiled.finding().mode is compiled.Mode.COMPILED,
    reason="counts what compiled code does without asking; `make test` runs it interpreted",
)
