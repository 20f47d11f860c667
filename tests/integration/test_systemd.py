"""A gateway under a service manager: what it says of itself, and sockets it did not open."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import children
from tests.support.supervised import Gateway, free_port, gateway, status


class Manager:
    """Hears what services say."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "notify"
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(str(self.path))
        self.sock.settimeout(0.02)

    def hears(self, wanted: str) -> dict[str, str]:
        """The next message with that variable in it; {} if none is there."""
        while True:
            try:
                text = self.sock.recv(4096).decode()
            except TimeoutError:
                return {}
            said = dict(line.split("=", 1) for line in text.split("\n"))
            if wanted in said:
                return said


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path)
    with made.sock:
        yield made


def test_it_says_when_it_is_up_reloads_takes_over_and_stops(
    tmp_path: Path, manager: Manager
) -> None:
    with gateway(tmp_path / "g", timeouts={"lame_duck": 0.5, "drain": 7}) as g:
        g.environment |= {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "400000"}
        g.start()
        assert g.process is not None
        up = g.wait(lambda: manager.hears("READY"))
        assert up == {"READY": "1", "STATUS": "serving", "MAINPID": str(g.process.pid)}
        assert status(g.port) == 404

        g.signal(signal.SIGHUP)
        assert g.wait(lambda: manager.hears("RELOADING"))["MONOTONIC_USEC"].isdigit()
        assert g.wait(lambda: manager.hears("READY"))["STATUS"] == "serving"
        good = dict(g.configuration)
        g.configure(domain=5)
        for number in (signal.SIGHUP, signal.SIGUSR2):
            g.signal(number)
            assert g.wait(lambda: manager.hears("RELOADING"))
            assert "the log says why" in g.wait(lambda: manager.hears("READY"))["STATUS"]
        g.configuration = good
        g.configure()
        g.signal(signal.SIGUSR2)
        assert g.wait(lambda: manager.hears("RELOADING"))
        again = g.wait(lambda: manager.hears("READY"))
        assert (again["STATUS"], again["MAINPID"]) == ("serving", str(g.process.pid))
        assert "info supervisor upgraded" in g.log()
        assert g.wait(lambda: manager.hears("WATCHDOG")) == {"WATCHDOG": "1"}
        for child in children(g.process.pid):
            assert b"NOTIFY_SOCKET" not in Path(f"/proc/{child}/environ").read_bytes()

        g.signal(signal.SIGTERM)
        stopping = g.wait(lambda: manager.hears("STOPPING"))
        assert int(stopping["EXTEND_TIMEOUT_USEC"]) > 7_500_000
        assert g.exit_code() == 0


def test_nobody_has_to_listen(tmp_path: Path) -> None:
    with gateway(tmp_path / "g") as g:
        g.environment |= {"NOTIFY_SOCKET": "@no-such-manager", "WATCHDOG_USEC": "x"}
        g.up()
        g.signal(signal.SIGTERM)
        assert g.exit_code() == 0, g.log()


def handed(g: Gateway, name: str, port: int, *, is_shared: bool = False) -> None:
    """Open a socket on a port as a service manager does."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if is_shared:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(("127.0.0.1", port))
    sock.listen(100)
    g.handed.append((name, sock))


def test_handed_sockets_find_their_places_and_outlive_the_gateway(tmp_path: Path) -> None:
    with gateway(tmp_path / "g", workers=2) as g:
        configured, actual = g.port, free_port()
        for _ in range(2):
            handed(g, "public", actual, is_shared=True)  # by its name, wherever it listens
        handed(g, "gateway.socket", g.health)  # by its address: one for both workers
        path = tmp_path / "admin.sock"
        admin = socket.socket(socket.AF_UNIX)
        admin.bind(str(path))
        admin.listen()
        g.handed.append(("admin", admin))
        try:
            g.up()
            assert status(configured) == 0
            assert [status(actual) for _ in range(8)] == [404] * 8
            assert [status(g.health, "/readyz") for _ in range(4)] == [200] * 4
            assert f"admin listens on {path}" in g.log()
            os.kill(g.roster()[0]["pid"], signal.SIGKILL)
            assert [status(actual) for _ in range(8)] == [404] * 8
            g.wait(lambda: g.states() == ["serving"] * 2)
            g.signal(signal.SIGUSR2)
            g.wait(lambda: "info supervisor upgraded" in g.log())
            assert [status(actual) for _ in range(8)] == [404] * 8
            g.signal(signal.SIGTERM)
            assert g.exit_code() == 0, g.log()
            assert path.exists()
            with socket.create_connection(("127.0.0.1", actual)):
                pass  # waits for the next gateway
        finally:
            for _, sock in g.handed:
                sock.close()


@pytest.mark.parametrize("kind", ["nameless", "twice", "datagram"])
def test_sockets_without_a_place_are_refused_in_one_line(tmp_path: Path, kind: str) -> None:
    with gateway(tmp_path / "g", admin={"listen": f"127.0.0.1:{free_port()}"}) as g:
        match kind:
            case "nameless":
                handed(g, "unknown", free_port())
                why = "handed over what has no place here: unknown (127.0.0.1:"
            case "twice":
                for _ in range(2):
                    handed(g, "admin", free_port())
                why = "admin.listen: the service manager handed over more than one socket"
            case _:
                g.handed.append(("public", socket.socket(socket.AF_INET, socket.SOCK_DGRAM)))
                why = "descriptor 3 (public), handed over by the service manager, is no listening"
        try:
            assert g.start().exit_code() == 2, g.log()
            (line,) = g.log().splitlines()
            assert line.startswith(f"gateway: {why}") or why in line
        finally:
            for _, sock in g.handed:
                sock.close()
