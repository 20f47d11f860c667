"""The gateway's image, built by its Dockerfile without registry and network: `gateway_image`.

Once a session, of the Python that runs the tests and wheels of what is installed here.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.compiled import ROOT, finding

from .docker_engine import Engine
from .wheels import wheel_of_gateway, wheels_of_lock

GATEWAY = "gateway-test/gateway:1"

_CONTEXT = (
    *("Dockerfile", ".dockerignore", "pyproject.toml", "setup.py", "requirements.lock"),
    *("README.md", "LICENSE", "config", "gateway", "admin"),
)


@contextmanager
def build_context() -> Iterator[Path]:
    """A folder with what the Dockerfile wants, wheels included."""
    with tempfile.TemporaryDirectory(prefix="gwi") as folder:
        context = Path(folder)
        for name in _CONTEXT:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, context / name)
            else:
                shutil.copyfile(ROOT / name, context / name)
        (context / "wheels").mkdir()
        wheels_of_lock(ROOT / "requirements.lock", context / "wheels")
        wheel_of_gateway(context / "wheels")
        yield context


def build_gateway(engine: Engine) -> str:
    """Build it; gives its name."""
    with build_context() as context:
        return engine.build_folder(
            GATEWAY, context, BASE=engine.python, DATA_PLANE=finding().mode.value
        )
