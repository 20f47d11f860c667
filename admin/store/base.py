"""Where desired state lives between runs: the interface every store keeps.

A store knows entities, a revision and an audit trail; it knows nothing of
commands, snapshots or workers. Observed state never gets here.

Invariants, held by every implementation (`tests/contract/test_stores.py`):

* a save is one transaction: entities, revision, generation floor and audit entry
  together, or nothing at all;
* a save names the revision it starts from; if that is not the store's, nothing is
  written (`StaleRevision`), so that two writers can never mix;
* what `save` returned for survives a kill of the process and a loss of power;
* a file that cannot be read whole and for certain is refused (`StoreRefused`) and
  left as it is, byte for byte.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from admin.audit import AuditEntry
from gateway.core.state import Changes, State


class StaleRevision(Exception):  # noqa: N818 - says what happened
    """The store is not at the revision the save started from."""


class StoreUnavailable(Exception):  # noqa: N818 - says what happened
    """The store cannot be read or written now (disk full, read-only, locked); try again later."""


class StoreRefused(Exception):  # noqa: N818 - says what happened
    """The store must not be opened. The message names the file and says what to do."""


class StoreDamaged(StoreRefused):
    """It cannot be read whole."""


class SchemaTooNew(StoreRefused):
    """A newer version of the gateway wrote it."""


@dataclass(frozen=True, slots=True)
class Meta:
    """What a store keeps besides entities."""

    generation: int = 0
    """No lower generation may be published any more."""


class Store(ABC):
    """Desired state, durably. One task uses it at a time for writing."""

    @abstractmethod
    async def open(self) -> tuple[State, Meta]:
        """Everything that was saved. Raises `StoreRefused`, `StoreUnavailable`."""

    @abstractmethod
    async def load(self) -> State:
        """What is in the store now. Raises `StoreUnavailable`, `StoreDamaged`."""

    @abstractmethod
    async def save(
        self, expected: int, changes: Changes, entry: AuditEntry | None, generation: int
    ) -> int:
        """Write a change on top of revision `expected`; gives the new revision.

        `generation` raises the floor of `Meta.generation`. The entry's revision is
        set to the new one. Raises `StaleRevision`, `StoreUnavailable`.
        """

    @abstractmethod
    async def record(self, entry: AuditEntry) -> None:
        """Write an audit entry alone. Raises `StoreUnavailable`."""

    @abstractmethod
    async def audit(self, limit: int, after: int | None = None) -> Sequence[AuditEntry]:
        """Audit entries, newest first, older than the entry `after`. Raises `StoreUnavailable`."""

    @abstractmethod
    async def close(self) -> None:
        """Give up all resources; saves under way are finished."""
