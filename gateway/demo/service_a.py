"""The backend of the hello application, called by `service_b`: image `demo-service-a`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from gateway.demo.server import Answer, Reply
from gateway.demo.server import main as serve

WORDS = {"1.0": "world!", "2.0": "new world!"}


def words(version: str) -> Answer:
    """The words of a version."""
    return lambda request: Reply(WORDS[version])


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve them."""
    return serve("service_a", tuple(WORDS), words, arguments)


if __name__ == "__main__":
    sys.exit(main())
