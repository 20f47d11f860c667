"""Keeps the snapshot file up to date, paying for what changed only.

What changed is put behind what is there; when that has become long, a new file is
made beside it, by another thread, and takes its place. Appending waits for neither.

Not for two threads at a time, but for `prepare`. Invariants: only a file that was
made here is appended to, and only as long as nothing is known to be wrong with it;
replaying it is bounded (`RECORDS_MAX`).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from gateway.core.snapshot import EMPTY, Snapshot
from gateway.runtime import snapshot_file

from .snapshot_bytes import SnapshotBytes, difference

LONG_RECORDS = 500
"""Of so many on it is worth making a new file."""
RECORDS_MAX = 2 * LONG_RECORDS
"""If no new one was made by then, the next change does it."""
LONG_BYTES = 1 << 18
"""As well from so many on, and more than the snapshot itself has."""


@dataclass(slots=True)
class _File:
    """One that was made here. `size` is what it must have."""

    fd: int
    first: int
    """Bytes of its first record."""
    size: int
    records: int = 1


@dataclass(frozen=True, slots=True)
class Prepared:
    """A new file that is not in its place yet, with the snapshot it holds."""

    held: Snapshot
    file: _File
    instead_of: _File


class Filing:
    """The file at `path`, written in the session of that name."""

    def __init__(self, path: Path, session: str, snapshot_bytes: SnapshotBytes) -> None:
        self._path = path
        self._session = session
        self._bytes = snapshot_bytes
        self._file: _File | None = None
        self.held: Snapshot | None = None
        """What the file holds for certain; None: the next one will be written whole."""

    def put(self, snapshot: Snapshot, changed: bytes | None) -> None:
        """Have the file hold this snapshot, durably.

        `changed` is the difference to `held`. Raises `OSError`; the file holds then what
        it held before.
        """
        file, held = self._file, self.held
        if changed is None or file is None or held is None or not self._may_grow(file):
            self._put_whole(snapshot)
        else:
            self._append(file, held, snapshot, changed)

    @property
    def is_long(self) -> bool:
        """Is it time for a new file?"""
        file = self._file
        if file is None:
            return False
        grown = file.size - file.first
        return file.records >= LONG_RECORDS or grown > max(LONG_BYTES, file.first)

    def prepare(self) -> Prepared | None:
        """Make a new file with what this one holds; others may append to this one meanwhile.

        Raises `OSError`.
        """
        file, held = self._file, self.held
        if file is None or held is None:
            return None
        return Prepared(held, self._create(held, self._beside), file)

    def replace(self, prepared: Prepared) -> None:
        """Put a prepared file in the place of the one it was made for. Raises `OSError`."""
        file, held = self._file, self.held
        if file is not prepared.instead_of or held is None:
            self.discard(prepared)
            return
        try:
            if held is not prepared.held:
                changed = difference(prepared.held, held)
                self._append(prepared.file, prepared.held, held, changed)
            snapshot_file.install(self._beside, self._path)
        except OSError:
            os.close(prepared.file.fd)
            self._beside.unlink(missing_ok=True)
            raise
        self._take(prepared.file, held)

    def discard(self, prepared: Prepared) -> None:
        """Have nothing left of it."""
        os.close(prepared.file.fd)
        self._beside.unlink(missing_ok=True)

    def close(self) -> None:
        """Give up the descriptor."""
        self._take(None, None)

    @property
    def _beside(self) -> Path:
        return self._path.with_name(self._path.name + ".new")

    def _may_grow(self, file: _File) -> bool:
        """Is it the file that others find, as long as it was left, and not too long?"""
        try:
            found, mine = os.stat(self._path, follow_symlinks=False), os.fstat(file.fd)
        except OSError:
            return False
        is_mine = (found.st_dev, found.st_ino) == (mine.st_dev, mine.st_ino)
        return is_mine and mine.st_size == file.size and file.records < RECORDS_MAX

    def _put_whole(self, snapshot: Snapshot) -> None:
        temporary = self._path.with_name(self._path.name + ".tmp")
        made = self._create(snapshot, temporary)
        try:
            snapshot_file.install(temporary, self._path)
        except OSError:
            os.close(made.fd)
            raise
        self._take(made, snapshot)

    def _create(self, snapshot: Snapshot, path: Path) -> _File:
        body = self._bytes.body(snapshot)
        first = snapshot_file.record(EMPTY.generation, snapshot.generation, self._session, body)
        return _File(snapshot_file.create(path, first), len(first), len(first))

    def _append(self, file: _File, held: Snapshot, snapshot: Snapshot, changed: bytes) -> None:
        record = snapshot_file.record(held.generation, snapshot.generation, self._session, changed)
        try:
            snapshot_file.append(file.fd, record)
        except OSError:
            if file is self._file:  # its end is anybody's guess now
                self._take(None, None)
            raise
        file.size += len(record)
        file.records += 1
        if file is self._file:
            self.held = snapshot

    def _take(self, file: _File | None, held: Snapshot | None) -> None:
        if self._file is not None:
            os.close(self._file.fd)
        self._file, self.held = file, held
