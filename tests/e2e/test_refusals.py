"""What keeps a gateway from starting: exit code 2, one line that says so, nothing touched."""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.gateway import Gateway, free_port
from tests.support.origins import Origins

HOST = "shop.example"
PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 24, 1, 2


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, origins: Origins) -> Iterator[Gateway]:
    """A gateway that others must not disturb; afterwards it still serves."""
    with Gateway(tmp_path_factory.mktemp("running")) as found:
        found.api.register("v1", HOST, origins.start("v1").port)
        before = (found.supervisor, found.control, found.workers, found.api.routes())
        yield found
        assert (found.supervisor, found.control, found.workers, found.api.routes()) == before
        assert all(found.get("public", host=HOST) == 200 for _ in range(20))


def refusal(gateway: Gateway) -> list[str]:
    """Start it; it must end with code 2. The lines it wrote."""
    gateway.start(wait=False)
    assert gateway.process is not None
    try:
        assert gateway.process.wait(30) == 2, gateway.log
    finally:
        if gateway.process.poll() is None:
            gateway.process.kill()
            gateway.process.wait()
    assert "Traceback" not in gateway.log
    return gateway.log.splitlines()


def lines_of_a_refused_run(file: Path, preexec_fn: Callable[[], None] | None = None) -> list[str]:
    """Run it with this configuration; it must end with code 2. What it wrote to stderr."""
    ended = subprocess.run(
        [sys.executable, "-P", "-m", "gateway", "run", "-c", str(file)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        cwd=file.parent,
        preexec_fn=preexec_fn,
    )
    assert ended.returncode == 2, ended
    assert ended.stdout == ""
    return ended.stderr.splitlines()


def the_line(gateway: Gateway, *parts: str) -> None:
    """It must be refused with exactly one line that has all these parts."""
    lines = refusal(gateway)
    assert len(lines) == 1, lines
    for part in parts:
        assert part in lines[0]


def last_line(gateway: Gateway, *parts: str) -> None:
    """Likewise where the control process finds the problem: the line after its log."""
    lines = refusal(gateway)
    summaries = [line for line in lines if line.startswith("gateway: ")]
    assert summaries == lines[-1:], lines
    for part in parts:
        assert part in summaries[0]


@pytest.mark.parametrize("name", ["public", "internal", "admin", "health"])
@pytest.mark.parametrize("shares", [False, True])
def test_a_port_in_use_by_another_program(tmp_path: Path, name: str, shares: bool) -> None:
    gateway = Gateway(tmp_path)
    key = {"admin": "admin.listen", "health": "health.listen"}.get(
        name, f"entrypoints.{name}.listen"
    )
    with socket.socket() as other:
        if shares:  # as a second gateway's sockets do, which would take half of the traffic
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", gateway.ports[name]))
        other.listen()
        the_line(gateway, key, f"127.0.0.1:{gateway.ports[name]}", "in use")


@pytest.mark.parametrize("name", ["public", "admin", "health"])
def test_a_port_in_use_by_another_gateway(tmp_path: Path, running: Gateway, name: str) -> None:
    gateway = Gateway(tmp_path)
    listen = f"127.0.0.1:{running.ports[name]}"
    if name == "public":
        gateway.config["entrypoints"]["public"]["listen"] = listen
    else:
        gateway.config[name]["listen"] = listen
    the_line(gateway, listen, "in use by another gateway or program")


def test_the_state_folder_of_another_gateway(tmp_path: Path, running: Gateway) -> None:
    gateway = Gateway(tmp_path, state_dir=str(running.state))
    the_line(gateway, "another gateway", f"pid {running.supervisor}", str(running.state))


def test_a_file_in_place_of_the_state_folder(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("mine")
    the_line(Gateway(tmp_path), str(tmp_path / "state"), "cannot be written")
    assert (tmp_path / "state").read_text() == "mine"


def test_a_state_folder_that_may_not_be_written(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path)
    gateway.write_config()
    gateway.state.mkdir(mode=0o500)
    (line,) = lines_of_a_refused_run(gateway.config_file, preexec_fn=_give_up_roots_privilege)
    assert f"{gateway.state} cannot be written: Permission denied" in line
    assert not list(gateway.state.iterdir())


def _give_up_roots_privilege() -> None:
    """Let permissions bind root too, from the next program on."""
    prctl = ctypes.CDLL(None).prctl
    for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
        prctl(PR_CAPBSET_DROP, capability)


@pytest.fixture(scope="module")
def old_state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state folder of a gateway that was stopped."""
    with Gateway(tmp_path_factory.mktemp("old")) as gateway:
        gateway.api.register("v1", HOST, free_port(), wait=False)
        assert gateway.stop() == 0
    return gateway.state


def test_a_damaged_state_file_is_left_as_it_was(tmp_path: Path, old_state: Path) -> None:
    shutil.copytree(old_state, tmp_path / "state")
    file = tmp_path / "state" / "gateway.db"
    data = bytearray(file.read_bytes())
    data[4096 : 4096 + 2048] = os.urandom(2048)
    file.write_bytes(data)
    last_line(Gateway(tmp_path), str(file))
    assert file.read_bytes() == data


def test_a_state_file_that_is_no_database_is_left_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "state" / "gateway.db"
    file.parent.mkdir()
    file.write_bytes(b"something else altogether\n" * 400)
    before = file.read_bytes()
    last_line(Gateway(tmp_path), str(file))
    assert file.read_bytes() == before


def test_a_state_file_of_a_newer_version_is_left_as_it_was(tmp_path: Path, old_state: Path) -> None:
    shutil.copytree(old_state, tmp_path / "state")
    file = tmp_path / "state" / "gateway.db"
    with closing(sqlite3.connect(file)) as database:
        (version,) = database.execute("PRAGMA user_version").fetchone()
        assert version > 0
        database.execute(f"PRAGMA user_version = {version + 1}")
        database.commit()
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = file.read_bytes()
    last_line(Gateway(tmp_path), str(file), "newer")
    assert file.read_bytes() == before


def test_what_was_refused_starts_once_the_file_is_there_again(
    tmp_path: Path, old_state: Path
) -> None:
    shutil.copytree(old_state, tmp_path / "state")
    file = tmp_path / "state" / "gateway.db"
    good = file.read_bytes()
    file.write_bytes(good[:100] + b"\xff" * (len(good) - 100))
    gateway = Gateway(tmp_path)
    last_line(gateway, str(file))
    file.write_bytes(good)
    with gateway:
        assert gateway.api.weights(HOST) == {"v1": 100}


BOMB = "a: &a [x, x]\n" + "".join(
    f"{after}: &{after} [*{before}, *{before}, *{before}, *{before}]\n"
    for before, after in zip("abcdefghijklmnop", "bcdefghijklmnopq", strict=False)
)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("workers: [", ("gateway.yaml",)),
        ("workers: two", ("workers", "line 1")),
        ("workers: 2\nworkers: 3", ("workers", "line 2")),
        ("wrokers: 2", ("wrokers", "workers")),
        (BOMB, ("gateway.yaml",)),
        ("workers: !!python/object/apply:os.system ['true']", ("line 1",)),
        ("\x00", ("gateway.yaml",)),
        ("- 1", ("gateway.yaml",)),
        ("admin: {listen: '0.0.0.0:8900', auth: none}", ("admin",)),
        ("entrypoints: {public: {listen: 'nowhere'}}", ("entrypoints.public.listen",)),
        ("timeouts: {connect: .nan}", ("line 1", ".nan")),
        ("timeouts: {connect: 1e400}", ("line 1", "too large")),
        ("trusted_proxies: ['10.0.0.0/99']", ("trusted_proxies",)),
    ],
)
def test_a_configuration_that_cannot_be_used(
    tmp_path: Path, text: str, parts: tuple[str, ...]
) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(text)
    (line,) = lines_of_a_refused_run(file)
    assert line.startswith(str(file))
    for part in parts:
        assert part in line
    assert [entry.name for entry in tmp_path.iterdir()] == ["gateway.yaml"]


def test_every_problem_of_a_configuration_is_on_a_line_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text("workers: two\ntimeouts: {conect: 1}\nlimits: {head_bytes: -1}\n")
    assert len(lines_of_a_refused_run(file)) == 3


def test_a_configuration_file_that_is_not_there(tmp_path: Path) -> None:
    (line,) = lines_of_a_refused_run(tmp_path / "gateway.yaml")
    assert str(tmp_path / "gateway.yaml") in line
