"""Functions of ours in processes of their own, so that they neither slow nor hide what is measured."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor


def processes(count: int) -> ProcessPoolExecutor:
    """A context: so many processes, which start when they get their first work.

    They run on the CPUs of whoever gives it.
    """
    return ProcessPoolExecutor(count, multiprocessing.get_context("spawn"))
