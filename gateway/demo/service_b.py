"""The frontend of the hello application: image `demo-service-b`.

Asks the service at `dep_endpoint` (environment) for each answer and puts its own
words in front. The client is the standard library's, which goes through
`http_proxy`: so a call to `http://servicea.local` goes through the gateway.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.request import urlopen

from gateway.demo.server import Answer, Reply
from gateway.demo.server import main as serve

GREETINGS = {"1.0": "Hello ", "2.0": "Welcome to the "}
TIMEOUT_S = 10.0
WORDS_MAX = 1 << 16


def greeting(version: str) -> Answer:
    """The greeting of a version. Raises `ValueError` without a usable `dep_endpoint`."""
    endpoint = os.environ.get("dep_endpoint", "")  # noqa: SIM112 - the templates' spelling
    if not endpoint.startswith(("http://", "https://")):
        raise ValueError(
            f"dep_endpoint must say where service A is, like http://servicea.local; it is {endpoint!r}"
        )

    def answer(request: object) -> Reply:
        try:
            with urlopen(endpoint, timeout=TIMEOUT_S) as response:  # noqa: S310 - http, see above
                words = response.read(WORDS_MAX).decode(errors="replace")
        except HTTPError as error:
            with error:
                reason = error.read(WORDS_MAX).decode(errors="replace").strip()
            return Reply(f"{endpoint} answered {error.code}: {reason}\n", status=502)
        except (OSError, HTTPException) as error:
            return Reply(f"{endpoint} did not answer: {error}\n", status=502)
        return Reply(GREETINGS[version] + words)

    return answer


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve it."""
    return serve("service_b", tuple(GREETINGS), greeting, arguments)


if __name__ == "__main__":
    sys.exit(main())
