"""WebSockets through a whole gateway: told to go by whatever takes their place away, and by nothing else."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.client import ClientConnection, connect
from websockets.sync.server import Server, ServerConnection, serve

from tests.support.gateway import Gateway
from tests.support.processes import children, wait_until

HOST = "chat.example"


def _answer_check(connection: ServerConnection, request: Request) -> Response | None:
    return connection.respond(200, "fine") if request.path == "/health" else None


class Chat:
    """A service that answers with its name and what it got, and notes how connections end."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.ends: list[int | None] = []
        self._server: Server = serve(self._talk, "127.0.0.1", 0, process_request=_answer_check)
        self.port: int = self._server.socket.getsockname()[1]
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def _talk(self, connection: ServerConnection) -> None:
        try:
            while True:
                connection.send(f"{self.name}: {connection.recv()!r}")
        except ConnectionClosed as end:
            self.ends.append(end.rcvd.code if end.rcvd else None)

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()


@pytest.fixture
def chats() -> Iterator[tuple[Chat, Chat]]:
    both = Chat("v1"), Chat("v2")
    yield both
    for chat in both:
        chat.stop()


@pytest.fixture
def gateway(tmp_path: Path, chats: tuple[Chat, Chat]) -> Iterator[Gateway]:
    with Gateway(tmp_path, timeouts={"lame_duck": 0, "drain": 20}) as found:
        for chat in chats:
            found.api.register(chat.name, HOST, chat.port)
        yield found


@pytest.fixture
def stack() -> Iterator[contextlib.ExitStack]:
    """What is opened in it is closed before the gateway ends."""
    with contextlib.ExitStack() as found:
        yield found


def opened(gateway: Gateway, stack: contextlib.ExitStack) -> ClientConnection:
    sock = socket.create_connection(("127.0.0.1", gateway.ports["public"]), timeout=10)
    return stack.enter_context(connect(f"ws://{HOST}/", sock=sock, proxy=None))


def talk(client: ClientConnection, word: str) -> str:
    """Who answers."""
    client.send(word)
    name, _, said = str(client.recv(5)).partition(": ")
    assert said == repr(word)
    return name


def end_of(client: ClientConnection) -> int | None:
    """The code by which it is told to go."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            client.recv(10)
    return client.protocol.close_code


def test_clients_move_to_the_new_service_when_the_old_one_is_removed(
    gateway: Gateway, chats: tuple[Chat, Chat], stack: contextlib.ExitStack
) -> None:
    gateway.api.set_weights(HOST, v1=1, v2=0)
    sockets = [opened(gateway, stack) for _ in range(8)]
    assert {talk(s, "hello") for s in sockets} == {"v1"}
    # Nothing of this concerns them.
    gateway.api.register("other", "other.example", chats[1].port)
    gateway.api.set_weights(HOST, v1=0, v2=1)
    gateway.write_config()
    gateway.kill(gateway.supervisor, signal.SIGHUP)
    gateway.kill_control()
    assert {talk(s, "still here") for s in sockets} == {"v1"}
    wait_until(lambda: gateway.api("GET", "/readyz").status == 200, what="control to be back")

    removed = gateway.api.ok("DELETE", "services/v1")
    assert removed["removed"]
    assert [end_of(s) for s in sockets] == [1001] * 8
    wait_until(lambda: chats[0].ends == [1001] * 8, what="the instance to be told")
    assert talk(opened(gateway, stack), "hello") == "v2"


def test_a_worker_and_a_gateway_that_leave_tell_their_clients(
    gateway: Gateway, chats: tuple[Chat, Chat], stack: contextlib.ExitStack
) -> None:
    gateway.api.set_weights(HOST, v1=1, v2=0)
    sockets = [opened(gateway, stack) for _ in range(8)]
    mine: list[ClientConnection] = []
    others: list[ClientConnection] = []
    leaving = gateway.workers[0]
    for client in sockets:
        port = client.local_address[1]
        (mine if gateway.worker_of(port) == leaving else others).append(client)
    os.kill(leaving, signal.SIGTERM)
    assert [end_of(s) for s in mine] == [1001] * len(mine)
    assert {talk(s, "still here") for s in others} <= {"v1"}
    others += [opened(gateway, stack) for _ in mine]
    assert gateway.process is not None
    gateway.process.terminate()
    assert [end_of(s) for s in others] == [1001] * len(others)
    assert gateway.process.wait(15) == 0
    assert gateway.said("connections were cut") == gateway.said(", 0 connections were cut") > 0


def test_what_a_hangup_changes_elsewhere_leaves_every_socket_open(
    gateway: Gateway, chats: tuple[Chat, Chat], stack: contextlib.ExitStack
) -> None:
    gateway.api.set_weights(HOST, v1=1, v2=0)
    sockets = [opened(gateway, stack) for _ in range(8)]
    for changes, says in (
        ({"limits": {"connections": 500}, "ejection": {"failures": 9}}, "read again"),
        ({"affinity": {"enabled": False}, "timeouts": {"lame_duck": 1, "drain": 9}}, "read again"),
        ({"limits": {"no_such": 1}}, "configuration not taken"),
    ):
        gateway.config |= changes
        gateway.write_config()
        before = gateway.said(says)
        gateway.kill(gateway.supervisor, signal.SIGHUP)
        gateway.wait_said(says, before)
        assert {talk(s, "still here") for s in sockets} == {"v1"}
    assert chats[0].ends == []


def test_an_upgrade_tells_the_sockets_it_found_after_the_lame_duck_and_no_others(
    tmp_path: Path, chats: tuple[Chat, Chat]
) -> None:
    lame_duck_s = 4.0
    timeouts = {"lame_duck": lame_duck_s, "drain": 20}
    with Gateway(tmp_path / "g", timeouts=timeouts) as gateway, contextlib.ExitStack() as inner:
        gateway.api.register("v1", HOST, chats[0].port)
        former = set(gateway.workers.values())
        found = [opened(gateway, inner) for _ in range(8)]
        assert {talk(s, "hello") for s in found} == {"v1"}
        told_s = time.monotonic()
        gateway.kill(gateway.supervisor, signal.SIGUSR2)
        during = 0
        # Not before, however slow this machine is: who drains was told so after the signal.
        while time.monotonic() < told_s + lame_duck_s - 0.5:
            assert {talk(s, "still here") for s in found} == {"v1"}
            assert talk(opened(gateway, inner), "new here") == "v1"
            during += 1
        assert during > 1
        gateway.wait_said("info supervisor upgraded", timeout_s=40)
        later = [opened(gateway, inner) for _ in range(8)]
        assert [end_of(s) for s in found] == [1001] * 8
        wait_until(lambda: not former & set(children(gateway.supervisor)), 40, "the former to go")
        assert {talk(s, "still here") for s in later} == {"v1"}
        assert talk(opened(gateway, inner), "new here") == "v1"
        assert (
            gateway.said("has drained") == gateway.said("has drained, 0 connections were cut") == 2
        )
