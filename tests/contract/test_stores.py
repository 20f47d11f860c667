"""What every store promises, and what the SQLite file promises besides."""

from __future__ import annotations

import asyncio
import os
import resource
import sqlite3
from collections.abc import Callable, Iterator
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
from admin.store.memory import AUDIT_KEPT, MemoryStore
from admin.store.slots import HEAD_BYTES, SLOT_BYTES, Slots, SlotsDamaged
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
    Launch,
    Role,
    Route,
    RouteId,
    RoutePolicy,
    Service,
    ServiceId,
    TimeoutPolicy,
    Token,
)
from gateway.core.release import (
    Application,
    Colour,
    Entry,
    OnDeadline,
    Phase,
    Release,
    SmoothConfirm,
    Strategy,
    Template,
)
from gateway.core.state import State, changes

A, B = ServiceId("-/a"), ServiceId("-/b")

SHOP = Service(
    "shop",
    "web-v2",
    (Claim("shop.example", "/", 80, sticky=False),),
    check=Check(CheckKind.COMMAND, command=("/check", "--fast")),
    launch=Launch(
        "web:2", ("run",), ("/entry",), (("A", "1"), ("B", "")), ("db.local",), "/srv", 3.5
    ),
    scale=3,
    depends=("db",),
)
TEMPLATE = Template((SHOP,), "web-v2: {image: 'web:2'}\n")
RELEASE = Release(
    "shop-2",
    "shop",
    Strategy.CANARY,
    Phase.PENDING_CONFIRMATION,
    10.5,
    310.5,
    OnDeadline.HOLD,
    TEMPLATE,
    Template(()),
    {"web-v2": Colour.GREEN, "web-v1": Colour.BLUE},
    {RouteId("shop.example"): {ServiceId("shop/web-v1"): 100}},
    ("mind the gap",),
    (Entry(10.5, Phase.RELEASING, "uid:0"), Entry(11.5, Phase.PENDING_CONFIRMATION, "x", "why")),
    SmoothConfirm(12.5, "token:ci", {RouteId("shop.example"): {SHOP.id: 0}}),
    "a key",
)

RICH = State(
    services={
        SHOP.id: SHOP,
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
    applications={"shop": Application("shop", Template(()), TEMPLATE, "shop-2", leaving=True)},
    # In order of their making, not of their names.
    releases={
        "shop-1": replace(RELEASE, id="shop-1", created=1.5, previous=None, smooth=None, key=None),
        "b-9": replace(RELEASE, id="b-9", application="b", created=4.5),
        "b-10": replace(RELEASE, id="b-10", application="b", created=5.5),
        "shop-2": RELEASE,
    },
)


def entry(action: str = "put_service") -> AuditEntry:
    return AuditEntry(1.5, "uid:0", action, "-/a", AuditResult.DONE, reason="because")


Reopen = Callable[[], Store]
"""Makes the store of the next control process."""


@pytest.fixture
def memory() -> Iterator[int]:
    """What the supervisor holds for a store without a file."""
    fd = os.memfd_create("test", os.MFD_CLOEXEC)
    yield fd
    os.close(fd)


@pytest.fixture(params=[*KINDS, "held memory"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path, memory: int) -> Reopen:
    if request.param == "memory":  # does not outlive its process
        the_one = make_store("memory:", audit_rows=5)
        return lambda: the_one
    if request.param == "held memory":
        return lambda: make_store("memory:", audit_rows=5, memory_fd=memory)
    return lambda: make_store(f"{request.param}:{tmp_path / 'gateway.db'}", audit_rows=5)


@pytest.fixture
def store(reopen: Reopen) -> Store:
    return reopen()


async def reopened(store: Store, reopen: Reopen) -> tuple[State, Meta]:
    """What the next control process finds."""
    await store.close()
    other = reopen()
    found = await other.open()
    await other.close()
    return found


def test_a_new_store_is_empty(store: Store) -> None:
    async def go() -> None:
        assert await store.open() == (State(), Meta(0))
        assert await store.audit(10) == []
        await store.close()

    asyncio.run(go())


def test_every_field_of_every_entity_comes_back(store: Store, reopen: Reopen) -> None:
    async def go() -> None:
        await store.open()
        assert await store.save(0, changes(State(), RICH), entry(), generation=7) == 1
        assert await store.load() == replace(RICH, revision=1)
        state, meta = await reopened(store, reopen)
        assert state == replace(RICH, revision=1)
        assert list(state.routes[RouteId("a.b/x")].weights.items()) == [(B, 0), (A, 1_000_000)]
        assert list(state.releases) == ["shop-1", "b-9", "b-10", "shop-2"], "oldest first"
        assert meta == Meta(7)

    asyncio.run(go())


def test_a_save_writes_only_what_changed_and_deletes_what_is_gone(
    store: Store, reopen: Reopen
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
        assert (await reopened(store, reopen))[0] == replace(after, revision=2)

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


def test_the_generation_floor_never_falls(store: Store, reopen: Reopen) -> None:
    async def go() -> None:
        await store.open()
        await store.save(0, changes(State(), RICH), None, 12)
        await store.save(1, changes(RICH, State()), None, 3)
        assert (await reopened(store, reopen))[1] == Meta(12)

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


def test_the_next_process_goes_on_where_the_last_one_was(store: Store, reopen: Reopen) -> None:
    async def go() -> None:
        await store.open()
        await store.save(0, changes(State(), RICH), entry("first"), 1)
        await store.record(replace(entry("second"), result=AuditResult.REFUSED, code="in_use"))
        trail = await store.audit(10)
        assert [e.action for e in trail] == ["second", "first"]
        await store.close()
        other = reopen()
        await other.open()
        assert await other.audit(10) == trail
        assert await other.save(1, changes(RICH, State()), entry("third"), 2) == 2
        found = await other.audit(10)
        assert found[1:] == trail
        assert found[0].id > trail[0].id
        assert await reopened(other, reopen) == (State(revision=2), Meta(2))

    asyncio.run(go())


# --- memory that outlives the process -----------------------------------------------------


def damage(fd: int, at: int) -> None:
    byte = os.pread(fd, 1, at)[0]
    os.pwrite(fd, bytes([byte ^ 0xFF]), at)


@pytest.mark.parametrize("place", [0, HEAD_BYTES - 1, HEAD_BYTES, HEAD_BYTES + 40])
def test_a_torn_write_leaves_what_was_before_it(memory: int, place: int) -> None:
    async def go() -> None:
        store = MemoryStore(fd=memory)
        await store.open()
        await store.save(0, changes(State(), RICH), entry("one"), 1)
        await store.save(1, changes(RICH, State()), entry("two"), 2)
        damage(memory, SLOT_BYTES + place)
        after = MemoryStore(fd=memory)
        assert await after.open() == (replace(RICH, revision=1), Meta(1))
        assert [e.action for e in await after.audit(10)] == ["one"]
        assert await after.save(1, changes(RICH, State()), entry("again"), 3) == 2
        assert await MemoryStore(fd=memory).open() == (State(revision=2), Meta(3))

    asyncio.run(go())


def test_a_write_cut_off_anywhere_leaves_the_one_before_or_itself(memory: int) -> None:
    bodies = [b"a" * 50, b"b" * 90, b"c" * 20, b"d" * 70]
    for number, new in enumerate(bodies):
        old = Slots(memory).read()
        slots = Slots(memory)
        slots.read()
        before = [os.pread(memory, 200, at) for at in (0, SLOT_BYTES)]
        slots.write(new)
        assert Slots(memory).read() == new
        at = SLOT_BYTES * (number % 2)
        after = os.pread(memory, 200, at)
        for cut in range(len(new) + 1):  # the body comes first ...
            torn = before[number % 2].ljust(200, b"\0")
            torn = overwritten(torn, HEAD_BYTES, new[:cut])
            os.pwrite(memory, torn, at)
            assert Slots(memory).read() == old
        os.pwrite(memory, after, at)  # ... then the head


def test_what_a_killed_process_saved_in_memory_is_read(memory: int) -> None:
    child = os.fork()
    if child == 0:
        store = MemoryStore(fd=memory)

        async def go() -> None:
            await store.open()
            await store.save(0, changes(State(), RICH), entry(), 5)
            os._exit(0)

        asyncio.run(go())
    os.waitpid(child, 0)
    assert asyncio.run(MemoryStore(fd=memory).open()) == (replace(RICH, revision=1), Meta(5))


def test_memory_without_a_whole_body_is_refused_and_left_as_it_is(memory: int) -> None:
    Slots(memory).write(b"{}")
    with pytest.raises(StoreDamaged, match="restart the gateway"):
        asyncio.run(MemoryStore(fd=memory).open())
    damage(memory, 0)
    before = os.pread(memory, 4096, 0)
    with pytest.raises(SlotsDamaged):
        Slots(memory).read()
    with pytest.raises(StoreDamaged, match="restart the gateway"):
        asyncio.run(MemoryStore(fd=memory).open())
    assert os.pread(memory, 4096, 0) == before


def test_memory_that_cannot_be_written_refuses_the_save_and_loses_nothing(memory: int) -> None:
    async def go() -> None:
        store = MemoryStore(fd=memory)
        await store.open()
        await store.save(0, changes(State(), RICH), entry("first"), 1)
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (64 << 10, limits[1]))
        try:
            with pytest.raises(StoreUnavailable, match="memory"):
                await store.save(1, changes(RICH, State()), entry("second"), 2)
            with pytest.raises(StoreUnavailable, match="memory"):
                await store.record(entry("refused"))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert await store.load() == replace(RICH, revision=1)
        assert [e.action for e in await store.audit(10)] == ["first"]
        assert await MemoryStore(fd=memory).open() == (replace(RICH, revision=1), Meta(1))
        assert await store.save(1, changes(RICH, State()), entry("third"), 2) == 2

    asyncio.run(go())


def test_only_the_newest_audit_entries_are_written_at_each_save(memory: int) -> None:
    async def go() -> None:
        store = MemoryStore(audit_rows=2 * AUDIT_KEPT, fd=memory)
        await store.open()
        for number in range(AUDIT_KEPT + 1):
            await store.record(entry(str(number)))
        assert len(await store.audit(2 * AUDIT_KEPT)) == AUDIT_KEPT + 1
        other = MemoryStore(fd=memory)
        await other.open()
        found = await other.audit(2 * AUDIT_KEPT)
        assert [e.action for e in found] == [str(n) for n in range(AUDIT_KEPT, 0, -1)]

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
