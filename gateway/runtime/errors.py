"""Why a gateway does not start."""

from __future__ import annotations


class StartRefused(Exception):  # noqa: N818 - says what happened
    """The gateway cannot start here; the text is one line: what, where, what to do."""
