"""A worker's session with the control process, against a control process made of a socket."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from gateway.core.model import RouteId, ServiceId
from gateway.core.snapshot import EMPTY, Delta, Snapshot, diff, whole
from gateway.runtime import messages
from gateway.runtime.control_session import ControlSession, shared
from gateway.runtime.link import Message
from gateway.runtime.link_async import AsyncLink

from .test_snapshot_file import RID, SNAPSHOT

OTHER = RouteId("b.test")
TWO = dataclasses.replace(
    SNAPSHOT,
    generation=8,
    routes={**SNAPSHOT.routes, OTHER: dataclasses.replace(SNAPSHOT.routes[RID], id=OTHER)},
)


class ControlSide:
    """Takes the worker's connections; `apply` is what the worker's data plane does."""

    def __init__(self, path: Path) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.bind(str(path))
        self.sock.listen()
        self.sock.setblocking(False)
        self.applied: list[Snapshot] = []
        self.deltas: list[Delta | None] = []
        self.failing = False

    def apply(self, snapshot: Snapshot, delta: Delta | None) -> None:
        if self.failing:
            self.failing = False
            raise RuntimeError("the data plane could not")
        self.applied.append(snapshot)
        self.deltas.append(delta)

    async def accept(self) -> tuple[AsyncLink, Message]:
        connection, _ = await asyncio.get_running_loop().sock_accept(self.sock)
        link = await AsyncLink.attach(connection)
        return link, await link.receive()


def play(tmp_path: Path, test: Callable[[ControlSession, ControlSide], Awaitable[None]]) -> None:
    async def main() -> None:
        control = ControlSide(tmp_path / "l")
        session = ControlSession(str(tmp_path / "l"), 3, control.apply)
        running = asyncio.create_task(session.run())
        try:
            await asyncio.wait_for(test(session, control), 20)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            control.sock.close()
            await asyncio.sleep(0.01)  # transports let go of their sockets

    asyncio.run(main())


def test_snapshots_are_applied_in_order_and_confirmed_afterwards(tmp_path: Path) -> None:
    async def test(session: ControlSession, control: ControlSide) -> None:
        link, hello = await control.accept()
        assert (hello["t"], hello["slot"], hello["generation"]) == ("hello", 3, 0)
        link.send(messages.snapshot("s1", whole(SNAPSHOT)))
        link.send(messages.snapshot("s1", diff(SNAPSHOT, TWO)))
        assert await link.receive() == messages.applied(7, "s1")
        assert await link.receive() == messages.applied(8, "s1")
        assert control.applied == [SNAPSHOT, TWO]
        assert control.applied[1].routes[RID] is control.applied[0].routes[RID]
        assert session.place == ("s1", 8)
        assert session.is_current.is_set()
        link.close()

    play(tmp_path, test)


def test_after_a_reconnect_the_worker_says_what_it_has_and_keeps_what_is_equal(
    tmp_path: Path,
) -> None:
    async def test(session: ControlSession, control: ControlSide) -> None:
        link, _ = await control.accept()
        link.send(messages.snapshot("s1", whole(SNAPSHOT)))
        await link.receive()
        link.close()
        link, hello = await control.accept()
        assert (hello["generation"], hello["session"]) == (7, "s1")
        # Another control process may count from elsewhere: arrival decides.
        earlier = dataclasses.replace(TWO, generation=2)
        link.send(messages.snapshot("s2", whole(earlier)))
        assert await link.receive() == messages.applied(2, "s2")
        assert session.snapshot == earlier
        assert session.snapshot.routes[RID] is control.applied[0].routes[RID]
        link.close()

    play(tmp_path, test)


def test_a_delta_on_top_of_what_the_file_holds_of_the_same_session_fits(tmp_path: Path) -> None:
    async def test(session: ControlSession, control: ControlSide) -> None:
        session.recall("s1", SNAPSHOT)
        link, hello = await control.accept()
        assert (hello["generation"], hello["session"]) == (7, "s1")
        link.send(messages.snapshot("s1", diff(SNAPSHOT, SNAPSHOT)))
        assert await link.receive() == messages.applied(7, "s1")
        assert session.is_current.is_set()
        link.send(messages.snapshot("s1", diff(SNAPSHOT, TWO)))
        assert await link.receive() == messages.applied(8, "s1")
        assert control.applied == [SNAPSHOT, SNAPSHOT, TWO]
        link.close()

    play(tmp_path, test)


def test_the_data_plane_is_told_what_changed_where_that_is_known(tmp_path: Path) -> None:
    async def test(session: ControlSession, control: ControlSide) -> None:
        link, _ = await control.accept()
        link.send(messages.snapshot("s1", whole(SNAPSHOT)))
        link.send(messages.snapshot("s1", diff(SNAPSHOT, TWO)))
        for _ in range(2):
            await link.receive()
        assert control.deltas == [None, diff(SNAPSHOT, TWO)]
        link.close()

    play(tmp_path, test)


@pytest.mark.parametrize("base", [SNAPSHOT, dataclasses.replace(SNAPSHOT, generation=99)])
def test_a_delta_that_does_not_fit_is_not_applied_but_asked_for_whole(
    tmp_path: Path, base: Snapshot
) -> None:
    async def test(session: ControlSession, control: ControlSide) -> None:
        session.recall("s0", SNAPSHOT)  # of the right generation, but not of this link
        link, _ = await control.accept()
        link.send(messages.snapshot("s1", diff(base, TWO)))
        link, hello = await control.accept()
        assert hello["generation"] == 7
        assert control.applied == [SNAPSHOT]
        link.close()

    play(tmp_path, test)


def test_nonsense_ends_the_link_and_the_worker_serves_on(tmp_path: Path) -> None:
    async def test(session: ControlSession, control: ControlSide) -> None:
        session.recall("s0", SNAPSHOT)
        for message in (
            {"t": "snapshot"},
            {"t": "snapshot", "session": "s", "delta": {"base": 0}},
            {"t": "snapshot", "session": "s", "delta": None},
        ):
            link, _ = await control.accept()
            link.send(message)
        link, _ = await control.accept()
        assert session.snapshot is SNAPSHOT
        link.close()

    play(tmp_path, test)


def test_a_snapshot_the_data_plane_cannot_take_is_not_confirmed(tmp_path: Path) -> None:
    async def test(session: ControlSession, control: ControlSide) -> None:
        control.failing = True
        link, _ = await control.accept()
        link.send(messages.snapshot("s1", whole(SNAPSHOT)))
        link, hello = await control.accept()
        assert hello["generation"] == 0
        link.send(messages.snapshot("s1", whole(SNAPSHOT)))
        assert await link.receive() == messages.applied(7, "s1")
        link.close()

    play(tmp_path, test)


def test_ejections_are_reported_while_somebody_listens(tmp_path: Path) -> None:
    async def test(session: ControlSession, control: ControlSide) -> None:
        session.report("i", 1.0, "nobody there: kept to itself")
        link, _ = await control.accept()
        session.report("i", 2.5, "UF")
        assert await link.receive() == messages.ejection("i", 2.5, "UF")
        link.close()

    play(tmp_path, test)


def test_shared_takes_the_old_objects_where_nothing_changed() -> None:
    service = SNAPSHOT.services[ServiceId("-/a-v1")]
    changed = dataclasses.replace(service, version="v9")
    copy = dataclasses.replace(
        SNAPSHOT,
        generation=9,
        routes={RID: dataclasses.replace(SNAPSHOT.routes[RID])},
        services={service.id: changed},
    )
    found = shared(SNAPSHOT, copy)
    assert found == copy
    assert found.routes[RID] is SNAPSHOT.routes[RID]
    assert found.services[service.id] is changed
    assert shared(EMPTY, copy) == copy
