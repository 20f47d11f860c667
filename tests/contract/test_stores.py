"""What every store promises, and what the SQLite file promises besides."""

from __future__ import annotations

import asyncio
import os
import resource
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from admin.audit import AuditEntry, AuditResult
from admin.store.base import (
    Meta,
    SchemaTooNew,
    StaleRevision,
    Store,
    StoreDamaged,
    StoreRefused,
    StoreUnavailable,
)
from admin.store.factory import KINDS, make_store
from admin.store.memory import MemoryStore
from admin.store.sqlite import SCHEMA, SqliteStore
from gateway.core.model import (
    AffinityKey,
    AffinityPolicy,
    AtZero,
    BalancerName,
    Check,
    CheckKind,
    Claim,
    Endpoint,
    InstanceId,
    Role,
    Route,
    RouteId,
    RoutePolicy,
    Service,
    ServiceId,
    TimeoutPolicy,
    Token,
)
from gateway.core.state import State, changes

A, B = ServiceId("-/a"), ServiceId("-/b")

RICH = State(
    services={
        A: Service("-", "a", (Claim("a.b", "/x", 80),), endpoints=(Endpoint("::1", 80),)),
        B: Service(
            "-",
            "b",
            (Claim("a.b", "/x"), Claim("*.c")),
            coexist=True,
            check=Check(CheckKind.HTTP, "/health", "h", 8080, 1.5, 2, 3, 4, 5.0),
            balancer=BalancerName.LEAST_REQUESTS,
            leaving=True,
            drain_s=3.0,
        ),
    },
    routes={
        RouteId("a.b/x"): Route(
            "a.b",
            "/x",
            {B: 0, A: 1_000_000},
            RoutePolicy(
                AffinityPolicy(False, "C", 60, AtZero.EVICT),
                TimeoutPolicy(1.0, 2.0, None),
                selectors=False,
                internal=True,
                spill=False,
            ),
        ),
        RouteId("*.c"): Route("*.c", "/"),
    },
    drained=frozenset({InstanceId("a@[::1]:80"), InstanceId("ü")}),
    keys=(AffinityKey("b", "22" * 32, 2.5), AffinityKey("a", "11" * 32, 1.5)),
    tokens={"ci": Token("ci", Role.OPERATOR, "ab" * 32, 7.0)},
)


def entry(action: str = "put_service") -> AuditEntry:
    return AuditEntry(1.5, "uid:0", action, "-/a", AuditResult.DONE, reason="because")


Reopen = Callable[[Store], Awaitable[Store]]


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return make_store(f"{request.param}:{tmp_path / 'gateway.db'}", audit_rows=5)


async def reopened(store: Store, tmp_path: Path) -> tuple[State, Meta]:
    """What the next control process finds; a memory store does not outlive its own."""
    if isinstance(store, MemoryStore):
        return await store.open()
    await store.close()
    other = SqliteStore(tmp_path / "gateway.db", audit_rows=5)
    found = await other.open()
    await other.close()
    return found


def test_a_new_store_is_empty(store: Store) -> None:
    async def go() -> None:
        assert await store.open() == (State(), Meta(0))
        assert await store.audit(10) == []
        await store.close()

    asyncio.run(go())


def test_every_field_of_every_entity_comes_back(store: Store, tmp_path: Path) -> None:
    async def go() -> None:
        await store.open()
        assert await store.save(0, changes(State(), RICH), entry(), generation=7) == 1
        assert await store.load() == replace(RICH, revision=1)
        state, meta = await reopened(store, tmp_path)
        assert state == replace(RICH, revision=1)
        assert list(state.routes[RouteId("a.b/x")].weights.items()) == [(B, 0), (A, 1_000_000)]
        assert meta == Meta(7)

    asyncio.run(go())


def test_a_save_writes_only_what_changed_and_deletes_what_is_gone(
    store: Store, tmp_path: Path
) -> None:
    async def go() -> None:
        await store.open()
        await store.save(0, changes(State(), RICH), None, 1)
        route = replace(RICH.routes[RouteId("a.b/x")], weights={A: 3})
        after = replace(
            RICH,
            services={A: RICH.services[A]},
            routes={route.id: route},
            drained=frozenset(),
            tokens={},
        )
        assert await store.save(1, changes(RICH, after), None, 2) == 2
        assert (await reopened(store, tmp_path))[0] == replace(after, revision=2)

    asyncio.run(go())


def test_a_save_from_another_revision_writes_nothing(store: Store) -> None:
    async def go() -> None:
        await store.open()
        await store.save(0, changes(State(), RICH), entry(), 1)
        for stale in (0, 2):
            with pytest.raises(StaleRevision):
                await store.save(stale, changes(RICH, State()), entry("late"), 9)
        assert await store.load() == replace(RICH, revision=1)
        assert [e.action for e in await store.audit(10)] == ["put_service"]
        await store.close()

    asyncio.run(go())


def test_two_writers_never_mix(store: Store) -> None:
    async def go() -> None:
        await store.open()
        saves = (store.save(0, changes(State(), RICH), None, 1) for _ in range(5))
        results = await asyncio.gather(*saves, return_exceptions=True)
        assert sorted(map(str, map(type, results))) == sorted(map(str, [int, *[StaleRevision] * 4]))
        await store.close()

    asyncio.run(go())


def test_the_generation_floor_never_falls(store: Store, tmp_path: Path) -> None:
    async def go() -> None:
        await store.open()
        await store.save(0, changes(State(), RICH), None, 12)
        await store.save(1, changes(RICH, State()), None, 3)
        assert (await reopened(store, tmp_path))[1] == Meta(12)

    asyncio.run(go())


def test_the_audit_trail_is_read_newest_first_in_pages_and_has_an_end(store: Store) -> None:
    async def go() -> None:
        await store.open()
        await store.save(0, changes(State(), RICH), entry("first"), 1)
        for n in range(6):
            await store.record(replace(entry(f"a{n}"), result=AuditResult.REFUSED, code="in_use"))
        newest = await store.audit(2)
        assert [e.action for e in newest] == ["a5", "a4"]
        assert newest[0].code == "in_use"
        assert newest[0].reason == "because"
        rest = await store.audit(10, after=newest[-1].id)
        assert [e.action for e in rest] == ["a3", "a2", "a1"]
        await store.save(1, changes(RICH, State()), entry("last"), 1)
        assert [(e.action, e.revision) for e in await store.audit(1)] == [("last", 2)]
        await store.close()

    asyncio.run(go())


# --- the file ----------------------------------------------------------------------------


def saved_file(path: Path) -> bytes:
    async def go() -> None:
        store = SqliteStore(path)
        await store.open()
        await store.save(0, changes(State(), RICH), entry(), 1)
        await store.close()

    asyncio.run(go())
    return path.read_bytes()


def refusal(path: Path) -> StoreRefused:
    """Opens, expects a refusal naming the file and the file as it was."""
    before = path.read_bytes()

    async def go() -> None:
        store = SqliteStore(path)
        try:
            await store.open()
        finally:
            await store.close()

    with pytest.raises(StoreRefused) as refused:
        asyncio.run(go())
    assert path.read_bytes() == before
    assert str(path) in str(refused.value)
    return refused.value


def overwritten(data: bytes, at: int, by: bytes) -> bytes:
    return data[:at] + by + data[at + len(by) :]


def test_a_damaged_file_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "gateway.db"
    good = saved_file(path)
    for bad in (
        b"not a database at all",
        os.urandom(8192),
        good[: len(good) // 2],
        good[:100],
        overwritten(good, 4096, b"\xff" * 4096),
        overwritten(good, 100, b"\x00" * 200),
    ):
        path.write_bytes(bad)
        assert isinstance(refusal(path), StoreDamaged | StoreRefused)


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "gateway.db"
    saved_file(path)
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    assert isinstance(refusal(path), SchemaTooNew)


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE contacts (name)")
    assert "another program" in str(refusal(path))


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE entities",
        "DELETE FROM meta",
        "UPDATE entities SET body = '{' WHERE kind = 'route'",
        "UPDATE entities SET body = replace(body, '1000000', '\"x\"') WHERE kind = 'route'",
        "UPDATE entities SET kind = 'rout' WHERE kind = 'route'",
        "UPDATE entities SET id = 'x' WHERE id = '-/a'",
    ],
)
def test_a_document_that_cannot_be_right_is_refused(tmp_path: Path, statement: str) -> None:
    path = tmp_path / "gateway.db"
    saved_file(path)
    with closing(sqlite3.connect(path)) as db:
        db.execute(statement)
        db.commit()
    before = path.read_bytes()
    assert isinstance(refusal(path), StoreDamaged)
    assert path.read_bytes() == before


def test_a_folder_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(StoreRefused, match="is no file"):
        asyncio.run(SqliteStore(tmp_path).open())


def test_a_missing_folder_is_reported_as_unavailable(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="nowhere"):
        asyncio.run(SqliteStore(tmp_path / "nowhere" / "x.db").open())


def test_a_start_that_was_cut_off_before_the_schema_is_made_good(tmp_path: Path) -> None:
    for name, script in (("empty.db", ""), ("wal.db", "PRAGMA journal_mode = WAL")):
        path = tmp_path / name
        path.touch()
        if script:
            with closing(sqlite3.connect(path)) as db:
                db.execute(script)
        saved_file(path)


def test_what_a_killed_process_left_in_the_log_is_read(tmp_path: Path) -> None:
    path = tmp_path / "gateway.db"
    child = os.fork()
    if child == 0:  # dies without closing anything, as by kill -9
        store = SqliteStore(path)

        async def go() -> None:
            await store.open()
            await store.save(0, changes(State(), RICH), entry(), 5)
            os._exit(0)

        asyncio.run(go())
    os.waitpid(child, 0)
    assert (tmp_path / "gateway.db-wal").stat().st_size > 0
    assert asyncio.run(SqliteStore(path).open()) == (replace(RICH, revision=1), Meta(5))


def test_a_full_disk_refuses_the_save_and_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "gateway.db"

    async def go() -> None:
        store = SqliteStore(path)
        await store.open()
        await store.save(0, changes(State(), RICH), None, 1)
        big = replace(RICH, tokens={"big": Token("x" * 200_000, Role.VIEWER, "00" * 32, 1.0)})
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (64 << 10, limits[1]))
        try:
            with pytest.raises(StoreUnavailable, match=r"gateway\.db"):
                await store.save(1, changes(RICH, big), entry(), 2)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert await store.load() == replace(RICH, revision=1)
        assert await store.save(1, changes(RICH, big), entry(), 2) == 2
        await store.close()

    asyncio.run(go())


def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    saved_file(tmp_path / "gateway.db")
    assert (tmp_path / "gateway.db").stat().st_mode & 0o777 == 0o600


def test_an_unknown_kind_of_store_is_refused() -> None:
    with pytest.raises(StoreRefused, match="etcd"):
        make_store("etcd:somewhere", 1)
