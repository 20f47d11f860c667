"""kill -9 at any moment of writing leaves a store that opens, with all that was acknowledged.

A child saves one revision after the other and says so; it is killed at a random moment. What
a loss of power may leave besides, a log of which the end is missing or torn, is made by hand.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from admin.audit import AuditEntry, AuditResult
from admin.store.base import Store
from admin.store.factory import make_store
from admin.store.sqlite import SqliteStore
from gateway.core.model import Route, ServiceId
from gateway.core.snapshot import EMPTY
from gateway.core.state import State, changes
from gateway.runtime import snapshot_file

KILLS = 25
ROUTES = 40
"""Each revision writes all of them, so that a save is many writes."""


def state_of(revision: int) -> State:
    """What revision `revision` is: every route tells of it."""
    routes = [
        Route(f"host{n}.example", "/", {ServiceId("-/a"): revision, ServiceId("-/b"): n})
        for n in range(ROUTES)
    ]
    return State(revision=revision, routes={r.id: r for r in routes})


def entry(revision: int) -> AuditEntry:
    return AuditEntry(1.5, "uid:0", "set_weights", str(revision), AuditResult.DONE)


Make = Callable[[], Store]


@pytest.fixture(params=["sqlite", "held memory"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    if request.param == "sqlite":
        yield lambda: make_store(f"sqlite:{tmp_path / 'gateway.db'}", audit_rows=50)
        return
    fd = os.memfd_create("test", os.MFD_CLOEXEC)
    yield lambda: make_store("memory:", audit_rows=50, memory_fd=fd)
    os.close(fd)


def say_to(pipe: int, number: int) -> None:
    os.write(pipe, struct.pack("<q", number))


def in_child(work: Callable[[Callable[[int], None]], None], lives_s: float) -> int:
    """Run `work(say)` in a child that is killed after a while; the last number it said."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            work(lambda number: say_to(writing, number))
        finally:
            os._exit(1)
    os.close(writing)
    with open(reading, "rb") as pipe:
        first = pipe.read(8)
        time.sleep(lives_s)
        os.kill(child, signal.SIGKILL)
        said = first + pipe.read()
    assert os.waitpid(child, 0)[1] == signal.SIGKILL, "it died before it was killed"
    whole = said[: len(said) // 8 * 8]
    return int(struct.unpack("<q", whole[-8:])[0])


def test_a_store_killed_at_any_moment_opens_with_all_that_was_acknowledged(make: Make) -> None:
    drawn = random.Random(9)
    revision = 0

    def save_on(say: Callable[[int], None]) -> None:
        async def go() -> None:
            store = make()
            before, _ = await store.open()
            say(before.revision)
            while True:
                after = state_of(before.revision + 1)
                await store.save(before.revision, changes(before, after), entry(after.revision), 1)
                before = after
                say(after.revision)

        asyncio.run(go())

    for _ in range(KILLS):
        acknowledged = in_child(save_on, drawn.uniform(0, 0.02))

        async def look() -> tuple[State, list[str]]:
            store = make()
            state, _ = await store.open()
            trail = [e.target for e in await store.audit(3)]
            await store.close()
            return state, trail

        found, trail = asyncio.run(look())
        assert acknowledged <= found.revision <= acknowledged + 1
        assert found == (state_of(found.revision) if found.revision else State())
        assert trail == [str(found.revision - n) for n in range(min(3, found.revision))]
        revision = found.revision
    assert revision > KILLS, "and there were saves to be killed at"


def test_a_log_cut_off_or_torn_anywhere_leaves_a_whole_earlier_revision(tmp_path: Path) -> None:
    original, copy = tmp_path / "gateway.db", tmp_path / "copy.db"
    reading = sqlite3.connect(original)  # so that closing does not empty the log

    async def write() -> None:
        store = SqliteStore(original)
        before, _ = await store.open()
        reading.execute("PRAGMA user_version").fetchone()
        for revision in range(1, 13):
            after = state_of(revision)
            await store.save(before.revision, changes(before, after), entry(revision), 1)
            before = after
        await store.close()

    asyncio.run(write())
    base = original.read_bytes()
    log = original.with_name("gateway.db-wal").read_bytes()
    reading.close()
    assert len(log) > 100_000
    drawn = random.Random(10)
    seen = set()
    for number in range(60):
        cut = drawn.randrange(len(log))
        torn = log[:cut] + (drawn.randbytes(drawn.randrange(5000)) if number % 2 else b"")
        for name in ("copy.db", "copy.db-wal", "copy.db-shm"):
            with suppress(FileNotFoundError):
                (tmp_path / name).unlink()
        copy.write_bytes(base)
        copy.with_name("copy.db-wal").write_bytes(torn)

        async def look() -> State:
            store = SqliteStore(copy)
            state, _ = await store.open()
            after = state_of(state.revision + 1)
            await store.save(state.revision, changes(state, after), None, 1)
            await store.close()
            return state

        found = asyncio.run(look())
        assert found == (state_of(found.revision) if found.revision else State())
        with closing(sqlite3.connect(copy)) as db:
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        seen.add(found.revision)
    assert len(seen) > 5, "the cuts were in many places"


def test_a_snapshot_file_killed_at_any_moment_is_a_whole_one(tmp_path: Path) -> None:
    path, drawn = tmp_path / "snapshot.json", random.Random(11)

    def write_on(say: Callable[[int], None]) -> None:
        generation = 0
        while True:
            generation += 1
            snapshot = replace(EMPTY, generation=generation)
            body = snapshot_file.body(snapshot) + b" " * 100_000
            snapshot_file.write(path, generation, "session", body)
            say(generation)

    for _ in range(KILLS):
        acknowledged = in_child(write_on, drawn.uniform(0, 0.01))
        found = snapshot_file.read(path)
        assert found is not None
        assert acknowledged <= found[1].generation <= acknowledged + 1
        assert snapshot_file.read_header(path) is not None
