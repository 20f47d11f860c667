"""The process provider: the services of templates as local processes.

The processes are the supervisor's children; this package says which there ought to
be (`reconcile.py`, pure) and what each is given (`programs.py`, `ports.py`), tells
the controller what runs, and reads what they wrote (`logs.py`).
"""

from __future__ import annotations

from admin.providers.launching.failures import Failure

from .logs import BadCursor, LogPage, read_logs
from .problems import problems
from .provider import ProcessProvider

__all__ = ["BadCursor", "Failure", "LogPage", "ProcessProvider", "problems", "read_logs"]
