"""A store that lives and dies with the control process: for trying things out and for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from admin.audit import AuditEntry
from gateway.core.state import Changes, State

from .base import Meta, StaleRevision, Store

K = TypeVar("K")
V = TypeVar("V")


class MemoryStore(Store):
    """Keeps immutable values; a save replaces them all at once."""

    def __init__(self, audit_rows: int = 10_000) -> None:
        self._state = State()
        self._meta = Meta()
        self._audit: list[AuditEntry] = []
        self._audit_rows = audit_rows
        self._last_id = 0

    async def open(self) -> tuple[State, Meta]:  # noqa: D102 - see `Store`
        return self._state, self._meta

    async def load(self) -> State:  # noqa: D102
        return self._state

    async def save(  # noqa: D102
        self, expected: int, changes: Changes, entry: AuditEntry | None, generation: int
    ) -> int:
        old = self._state
        if expected != old.revision:
            raise StaleRevision(f"at revision {old.revision}, not {expected}")
        revision = expected + 1
        self._state = State(
            revision=revision,
            services=_merged(old.services, changes.services),
            routes=_merged(old.routes, changes.routes),
            drained=old.drained if changes.drained is None else changes.drained,
            keys=old.keys if changes.keys is None else changes.keys,
            tokens=_merged(old.tokens, changes.tokens),
        )
        self._meta = Meta(max(self._meta.generation, generation))
        if entry is not None:
            await self.record(replace(entry, revision=revision))
        return revision

    async def record(self, entry: AuditEntry) -> None:  # noqa: D102
        self._last_id += 1
        self._audit.append(replace(entry, id=self._last_id))
        del self._audit[: -self._audit_rows]

    async def audit(self, limit: int, after: int | None = None) -> Sequence[AuditEntry]:  # noqa: D102
        found = (e for e in reversed(self._audit) if after is None or e.id < after)
        return [e for _, e in zip(range(limit), found, strict=False)]

    async def close(self) -> None:  # noqa: D102
        return


def _merged(old: Mapping[K, V], changed: Mapping[K, V | None]) -> Mapping[K, V]:
    if not changed:
        return old
    merged = {k: v for k, v in old.items() if k not in changed or changed[k] is not None}
    merged.update((k, v) for k, v in changed.items() if v is not None)
    return merged
