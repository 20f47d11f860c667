"""A store that lives and dies with the gateway: for trying things out and for tests.

With a descriptor (memory that the supervisor holds) everything is written there as
one JSON body at each save, and read from it at the next start: the store then
outlives the control process, as the gateway's traffic does. Without one it ends
with its process.

The body: `{"format", "revision", "generation", "last_id", "documents": [[kind, id,
document]...], "audit": [entry...]}`, documents as in `documents.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import orjson
from pydantic import TypeAdapter, ValidationError

from admin.audit import AuditEntry
from gateway.core.state import Changes, State

from .base import Meta, StaleRevision, Store, StoreDamaged, StoreUnavailable
from .documents import DocumentDamaged, Kind, documents, state_of
from .slots import Slots, SlotsDamaged

K = TypeVar("K")
V = TypeVar("V")

AUDIT_KEPT = 1000
"""Audit entries, the newest, that outlive the control process: each save writes them all."""


@dataclass(frozen=True, slots=True)
class _Body:
    """What is written at each save, as it is read again."""

    format: Literal[1]
    revision: int
    generation: int
    last_id: int
    documents: list[tuple[str, str, object]]
    audit: list[AuditEntry]


_BODY = TypeAdapter(_Body)

_Documents = dict[tuple[Kind, str], bytes]


class MemoryStore(Store):
    """Keeps immutable values; a save replaces them all at once. `fd` stays the caller's."""

    def __init__(self, audit_rows: int = 10_000, fd: int | None = None) -> None:
        self._state = State()
        self._meta = Meta()
        self._audit: list[AuditEntry] = []
        self._audit_rows = audit_rows
        self._last_id = 0
        self._slots = Slots(fd) if fd is not None else None
        self._documents: _Documents = {}
        """The state as documents, when it is written at all."""

    async def open(self) -> tuple[State, Meta]:  # noqa: D102 - see `Store`
        if self._slots is not None:
            self._recall(self._slots)
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
        state = State(
            revision=revision,
            services=_merged(old.services, changes.services),
            routes=_merged(old.routes, changes.routes),
            drained=old.drained if changes.drained is None else changes.drained,
            keys=old.keys if changes.keys is None else changes.keys,
            tokens=_merged(old.tokens, changes.tokens),
            applications=_merged(old.applications, changes.applications),
            releases=_merged(old.releases, changes.releases),
        )
        meta = Meta(max(self._meta.generation, generation))
        audit = self._audit
        if entry is not None:
            audit = self._audit_with(replace(entry, revision=revision))
        if self._slots is not None:
            changed = {(kind, key): body for kind, key, body in documents(changes)}
            written = dict(_merged(self._documents, changed))
            self._write(self._slots, state, meta, audit, written)
            self._documents = written
        self._state, self._meta = state, meta
        self._take_audit(audit)
        return revision

    async def record(self, entry: AuditEntry) -> None:  # noqa: D102
        audit = self._audit_with(entry)
        if self._slots is not None:
            self._write(self._slots, self._state, self._meta, audit, self._documents)
        self._take_audit(audit)

    async def audit(self, limit: int, after: int | None = None) -> Sequence[AuditEntry]:  # noqa: D102
        found = (e for e in reversed(self._audit) if after is None or e.id < after)
        return [e for _, e in zip(range(limit), found, strict=False)]

    async def close(self) -> None:  # noqa: D102
        return

    def _audit_with(self, entry: AuditEntry) -> list[AuditEntry]:
        return [*self._audit, replace(entry, id=self._last_id + 1)][-self._audit_rows :]

    def _take_audit(self, audit: list[AuditEntry]) -> None:
        self._audit = audit
        self._last_id = max(self._last_id, audit[-1].id if audit else 0)

    # --- what outlives the process -------------------------------------------------------

    def _write(
        self,
        slots: Slots,
        state: State,
        meta: Meta,
        audit: list[AuditEntry],
        written: _Documents,
    ) -> None:
        body = {
            "format": 1,
            "revision": state.revision,
            "generation": meta.generation,
            "last_id": audit[-1].id if audit else self._last_id,
            "documents": [(*name, orjson.Fragment(body)) for name, body in written.items()],
            "audit": audit[-AUDIT_KEPT:],
        }
        try:
            slots.write(orjson.dumps(body))
        except OSError as error:
            raise StoreUnavailable(f"memory: {error.strerror or error}") from None

    def _recall(self, slots: Slots) -> None:
        try:
            raw = slots.read()
            if raw is None:
                return
            body = _BODY.validate_json(raw)
            rows = [(kind, key, orjson.dumps(value)) for kind, key, value in body.documents]
            self._state = state_of(body.revision, rows)
        except OSError as error:
            raise StoreUnavailable(f"memory: {error.strerror or error}") from None
        except (SlotsDamaged, ValidationError, DocumentDamaged):
            raise StoreDamaged(
                "store: what `memory:` held cannot be read. Traffic goes on as it was; "
                "restart the gateway, which begins empty"
            ) from None
        self._meta = Meta(body.generation)
        self._audit, self._last_id = body.audit, body.last_id
        self._documents = {(Kind(kind), key): data for kind, key, data in rows}


def _merged(old: Mapping[K, V], changed: Mapping[K, V | None]) -> Mapping[K, V]:
    if not changed:
        return old
    merged = {k: v for k, v in old.items() if k not in changed or changed[k] is not None}
    merged.update((k, v) for k, v in changed.items() if v is not None)
    return merged
