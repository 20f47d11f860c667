"""The process provider: the services of templates as local processes.

The processes are the supervisor's children; this package says which there ought to
be (`reconcile.py`, pure) and what each is given (`programs.py`, `ports.py`), tells
the controller what runs.
"""

from __future__ import annotations

from admin.providers.launching.failures import Failure

from .problems import problems
from .provider import ProcessProvider

__all__ = ["Failure", "ProcessProvider", "problems"]
