"""A welcome page in two versions: what runs for the image names `nginx:1.0` and `nginx:2.0`.

Text for curl, a page in the version's colour for browsers.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from gateway.demo.server import Answer, Reply, Request
from gateway.demo.server import main as serve

COLOURS = {"1.0": "#3867d6", "2.0": "#20bf6b"}
"""Blue is the old version, green the new one."""

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Welcome to nginx! (version {version})</title>
<meta name="viewport" content="width=device-width">
<style>
body {{ margin: 0; min-height: 100vh; display: grid; place-content: center; text-align: center;
       font: 1.2rem system-ui, sans-serif; color: white; background: {colour} }}
h1 {{ font-size: 3.5rem; margin: 0 }}
</style></head>
<body><h1>Welcome to nginx!</h1>
<p>This page stands for it: version {version}, answered by {instance}.</p></body></html>
"""


def page(version: str) -> Answer:
    """The page of a version."""

    def answer(request: Request) -> Reply:
        if not request.wants_html:
            return Reply(f"Welcome to nginx! version {version} at {request.instance}\n")
        text = PAGE.format(version=version, instance=request.instance, colour=COLOURS[version])
        return Reply(text, "text/html; charset=utf-8")

    return answer


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve it."""
    return serve("nginx", tuple(COLOURS), page, arguments)


if __name__ == "__main__":
    sys.exit(main())
