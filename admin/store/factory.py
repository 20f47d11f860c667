"""From the configuration's `store` to a store. A new kind of store is one entry here."""

from __future__ import annotations

from pathlib import Path

from .base import Store, StoreRefused
from .memory import MemoryStore
from .sqlite import SqliteStore

KINDS = ("memory", "sqlite")


def make_store(url: str, audit_rows: int, memory_fd: int | None = None) -> Store:
    """The store that `memory:` or `sqlite:PATH` names, not opened. Raises `StoreRefused`.

    `memory_fd` is where `memory:` keeps what shall outlive this process.
    """
    kind, _, rest = url.partition(":")
    if kind == "memory":
        return MemoryStore(audit_rows, memory_fd)
    if kind == "sqlite" and rest:
        return SqliteStore(Path(rest), audit_rows)
    raise StoreRefused(f"store: {url!r} is unknown: use `memory:` or `sqlite:PATH`")
