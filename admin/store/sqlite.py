"""The default store: one SQLite file, one JSON document per entity.

Tables: `entities(kind, id, body)`, `meta(key, value)`, `audit(id, revision, body)`.
`PRAGMA application_id` marks the file as ours, `user_version` is the schema.

All access is on one thread of its own. WAL with `synchronous=FULL`: a commit that
returned survives a loss of power (0.26 ms measured). The file is first opened
read-only and checked; only a sound file of a known schema is ever written to.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from admin.audit import AuditEntry
from gateway.core.state import Changes, State

from .base import (
    Meta,
    SchemaTooNew,
    StaleRevision,
    Store,
    StoreDamaged,
    StoreRefused,
    StoreUnavailable,
)
from .documents import DocumentDamaged, documents, entry_body, entry_of, state_of

T = TypeVar("T")

_APPLICATION_ID = 0x47415445  # "GATE"
_BUSY_S = 5.0


def _create(db: sqlite3.Connection) -> None:
    for statement in (
        "CREATE TABLE entities (kind TEXT NOT NULL, id TEXT NOT NULL, body BLOB NOT NULL,"
        " PRIMARY KEY (kind, id)) WITHOUT ROWID",
        "CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
        "CREATE TABLE audit (id INTEGER PRIMARY KEY AUTOINCREMENT, revision INTEGER NOT NULL,"
        " body BLOB NOT NULL)",
        "INSERT INTO meta VALUES ('revision', 0), ('generation', 0)",
        f"PRAGMA application_id = {_APPLICATION_ID}",
    ):
        db.execute(statement)


def _with_releases(db: sqlite3.Connection) -> None:
    """Applications and releases are documents too: an older program must not open it any more."""


MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...] = (_create, _with_releases)
"""Entry n leads from schema n to n + 1; all that are needed run in one transaction."""

SCHEMA = len(MIGRATIONS)


class SqliteStore(Store):
    """Desired state in a SQLite file at `path`."""

    def __init__(self, path: Path, audit_rows: int = 10_000) -> None:
        self._path = path
        self._audit_rows = audit_rows
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._db: sqlite3.Connection | None = None

    async def open(self) -> tuple[State, Meta]:  # noqa: D102 - see `Store`
        return await self._run(self._open)

    async def load(self) -> State:  # noqa: D102
        return await self._run(self._load)

    async def save(  # noqa: D102
        self, expected: int, changes: Changes, entry: AuditEntry | None, generation: int
    ) -> int:
        return await self._run(lambda: self._save(expected, changes, entry, generation))

    async def record(self, entry: AuditEntry) -> None:  # noqa: D102
        def write() -> None:
            db = self._connection()
            with _transaction(db):
                self._append(db, entry, entry.revision)

        await self._run(write)

    async def audit(self, limit: int, after: int | None = None) -> Sequence[AuditEntry]:  # noqa: D102
        def read() -> Sequence[AuditEntry]:
            rows = self._connection().execute(
                "SELECT body, id, revision FROM audit WHERE id < ? ORDER BY id DESC LIMIT ?",
                (after if after is not None else 1 << 62, limit),
            )
            return [entry_of(*row) for row in rows]

        return await self._run(read)

    async def close(self) -> None:  # noqa: D102
        def close() -> None:
            if self._db is not None:
                self._db.close()
                self._db = None

        await self._run(close)
        self._thread.shutdown()

    async def _run(self, work: Callable[[], T]) -> T:
        """Do `work` on the store's thread. A cancelled caller does not stop it."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._do, work)
        except DocumentDamaged as damage:
            raise StoreDamaged(_damaged(self._path, str(damage))) from None

    def _do(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except (sqlite3.Error, OSError) as error:
            if self._db is not None:  # its state is anybody's guess now: begin anew
                self._db.close()
                self._db = None
            raise StoreUnavailable(f"{self._path}: {error}") from None

    def _open(self) -> tuple[State, Meta]:
        _check(self._path)
        db = self._connection()
        row = db.execute("SELECT value FROM meta WHERE key = 'generation'").fetchone()
        return self._load(), Meta(generation=row[0])

    def _connection(self) -> sqlite3.Connection:
        if self._db is None:
            # It holds affinity keys; SQLite gives its side files the mode of this one.
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            db = sqlite3.connect(
                self._path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
            )
            try:
                db.execute("PRAGMA journal_mode = WAL")
                db.execute("PRAGMA synchronous = FULL")
                version = db.execute("PRAGMA user_version").fetchone()[0]
                if version < SCHEMA:
                    with _transaction(db):
                        for migrate in MIGRATIONS[version:]:
                            migrate(db)
                        db.execute(f"PRAGMA user_version = {SCHEMA}")
            except BaseException:
                db.close()
                raise
            self._db = db
        return self._db

    def _load(self) -> State:
        db = self._connection()
        with _transaction(db):  # one moment for all of it
            revision = db.execute("SELECT value FROM meta WHERE key = 'revision'").fetchone()[0]
            rows = db.execute("SELECT kind, id, body FROM entities").fetchall()
        return state_of(revision, rows)

    def _save(
        self, expected: int, changes: Changes, entry: AuditEntry | None, generation: int
    ) -> int:
        db = self._connection()
        with _transaction(db):
            moved = db.execute(
                "UPDATE meta SET value = value + 1 WHERE key = 'revision' AND value = ?",
                (expected,),
            )
            if moved.rowcount != 1:
                raise StaleRevision(f"the store is not at revision {expected}")
            db.execute(
                "UPDATE meta SET value = max(value, ?) WHERE key = 'generation'", (generation,)
            )
            for kind, key, body in documents(changes):
                if body is None:
                    db.execute("DELETE FROM entities WHERE kind = ? AND id = ?", (kind, key))
                else:
                    db.execute("REPLACE INTO entities VALUES (?, ?, ?)", (kind, key, body))
            if entry is not None:
                self._append(db, entry, expected + 1)
        return expected + 1

    def _append(self, db: sqlite3.Connection, entry: AuditEntry, revision: int) -> None:
        added = db.execute(
            "INSERT INTO audit (revision, body) VALUES (?, ?)", (revision, entry_body(entry))
        )
        db.execute("DELETE FROM audit WHERE id <= ?", ((added.lastrowid or 0) - self._audit_rows,))


class _transaction:  # noqa: N801 - reads as a verb
    """BEGIN IMMEDIATE ... COMMIT, or ROLLBACK when the block or the commit fails."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            try:
                self._db.execute("COMMIT")
                return
            except sqlite3.Error:
                self._roll_back()
                raise
        self._roll_back()

    def _roll_back(self) -> None:
        if self._db.in_transaction:  # some failures have ended it already
            self._db.execute("ROLLBACK")


def _check(path: Path) -> None:
    """Refuse a file that is not a sound store of a known schema, without writing to it."""
    try:
        if not path.exists() or path.stat().st_size == 0:
            return  # a new one, or a start that was cut off before its first byte
    except OSError as error:
        raise StoreRefused(
            f"{path} cannot be looked at ({error.strerror}): give the gateway access to it"
        ) from None
    if not path.is_file():
        raise StoreRefused(f"{path} is no file: name a file as `store: sqlite:PATH`")
    try:
        with closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_BUSY_S)
        ) as db:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            mark = db.execute("PRAGMA application_id").fetchone()[0]
            tables = {row[0] for row in db.execute("SELECT name FROM sqlite_schema")}
            problem = db.execute("PRAGMA quick_check(1)").fetchone()[0]
            if mark == _APPLICATION_ID and problem == "ok":
                problem = _missing(db, tables)
    except sqlite3.OperationalError as error:
        raise StoreUnavailable(f"{path}: {error}") from None
    except sqlite3.DatabaseError as error:
        raise StoreDamaged(_damaged(path, str(error))) from None
    if problem != "ok":
        raise StoreDamaged(_damaged(path, problem.splitlines()[-1]))
    if mark == 0 and version == 0 and not tables:
        return  # a start that was cut off before the schema was written
    if mark != _APPLICATION_ID or version < 1:
        raise StoreRefused(
            f"{path} is a database of another program: name another file as `store: sqlite:PATH`"
        )
    if version > SCHEMA:
        raise SchemaTooNew(
            f"{path} was written by a newer gateway (schema {version}, this one knows {SCHEMA}): "
            "start that version, or restore a backup made before the upgrade"
        )


def _missing(db: sqlite3.Connection, tables: set[str]) -> str:
    """What every schema has and this file has not; `ok` when all is there."""
    if not {"entities", "meta", "audit"} <= tables:
        return "a table is missing"
    keys = db.execute("SELECT count(*) FROM meta WHERE key IN ('revision', 'generation')")
    return "ok" if keys.fetchone()[0] == 2 else "the revision is missing"


def _damaged(path: Path, why: str) -> str:
    return (
        f"{path} is damaged ({why}): it was left as it is; restore a backup, "
        "or move it away to start empty"
    )
