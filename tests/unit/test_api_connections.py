"""Who stays and who goes of an admin listener's connections, without sockets or time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from admin.api.connections import Bounds, Guest, Lobby


class Inner(asyncio.Protocol):
    """What aiohttp would make of a connection."""

    def __init__(self) -> None:
        self.got: list[object] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.got.append("made")

    def data_received(self, data: bytes) -> None:
        self.got.append(data)

    def eof_received(self) -> bool | None:
        self.got.append("eof")
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.got.append("lost")


class Wire(asyncio.Transport):
    def __init__(self, guest: Guest) -> None:
        super().__init__()
        self.guest = guest
        self.is_cut = False

    def abort(self) -> None:
        if not self.is_cut:
            self.is_cut = True
            self.guest.connection_lost(None)


@dataclass
class Timer:
    """A timer that goes off when it is told to."""

    after_s: float
    call: Callable[[], None]
    is_cancelled: bool = False

    def cancel(self) -> None:
        self.is_cancelled = True


@dataclass
class House:
    """A listener for two."""

    timers: list[Timer] = field(default_factory=list)
    lobby: Lobby = field(init=False)

    def __post_init__(self) -> None:
        self.lobby = Lobby(Inner, Bounds(connections=2, idle_s=7.0), self._later)

    def _later(self, after_s: float, call: Callable[[], None]) -> Any:
        self.timers.append(Timer(after_s, call))
        return self.timers[-1]

    def connect(self) -> Wire:
        guest = self.lobby()
        wire = Wire(guest)
        guest.connection_made(wire)
        return wire

    def pending(self) -> list[Timer]:
        return [t for t in self.timers if not t.is_cancelled]


def inner(wire: Wire) -> list[object]:
    protocol = wire.guest.protocol
    assert isinstance(protocol, Inner)
    return protocol.got


def test_everything_is_passed_on() -> None:
    wire = House().connect()
    wire.guest.data_received(b"x")
    assert wire.guest.eof_received() is True
    wire.guest.connection_lost(None)
    assert inner(wire) == ["made", b"x", "eof", "lost"]


def test_a_call_under_way_is_neither_idle_nor_in_anybodys_way() -> None:
    house = House()
    one, two = house.connect(), house.connect()
    with house.lobby.serving(one.guest.protocol), house.lobby.serving(two.guest.protocol):
        assert not house.pending()
        late = house.connect()
        assert late.is_cut
        assert inner(late) == []
        assert not one.is_cut
        assert not two.is_cut
    assert [t.after_s for t in house.pending()] == [7.0, 7.0]


def test_who_has_waited_longest_since_its_last_call_makes_room() -> None:
    house = House()
    one, two = house.connect(), house.connect()
    with house.lobby.serving(one.guest.protocol):
        pass
    three = house.connect()
    assert (one.is_cut, two.is_cut, three.is_cut) == (False, True, False)
    assert inner(two) == ["made", "lost"]


def test_who_asks_nothing_is_sent_away_and_leaves_no_timer() -> None:
    house = House()
    wire = house.connect()
    (timer,) = house.pending()
    timer.call()
    assert wire.is_cut
    assert not house.pending()
    assert not house.connect().is_cut


def test_a_connection_lost_during_a_call_is_forgotten() -> None:
    house = House()
    wire = house.connect()
    with house.lobby.serving(wire.guest.protocol):
        wire.guest.connection_lost(None)
    assert not house.pending()
    assert [house.connect().is_cut for _ in range(2)] == [False, False]


def test_calls_on_connections_of_another_listener_change_nothing() -> None:
    house = House()
    house.connect()
    with house.lobby.serving(Inner()):
        assert len(house.pending()) == 1
