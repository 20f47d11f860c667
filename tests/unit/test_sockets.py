"""Listening sockets, socket files and the lock: taken when free, refused with words when not."""

from __future__ import annotations

import os
import socket
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from gateway.runtime.errors import StartRefused
from gateway.runtime.lock import LOCK_FILE, acquire
from gateway.runtime.sockets import Listener, Wanted, bound_address, open_listeners, open_single
from gateway.runtime.unix_sockets import open_unix


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as held:
        yield held


def listeners(
    stack: ExitStack, *listen: str, slots: int = 2, patience_s: float = 0.0
) -> list[Listener]:
    wanted = [Wanted(f"e{n}", f"entrypoints.e{n}.listen", text) for n, text in enumerate(listen)]
    made = open_listeners(wanted, slots, patience_s)
    for one in made:
        stack.callback(one.sock.close)
    return made


def occupied(stack: ExitStack, *, shared: bool) -> int:
    """A port somebody else listens on, perhaps with SO_REUSEPORT."""
    sock = stack.enter_context(socket.socket())
    if shared:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(("127.0.0.1", 0))
    sock.listen()
    port: int = sock.getsockname()[1]
    return port


def test_each_slot_gets_a_listening_socket_of_its_own_on_one_port(stack: ExitStack) -> None:
    made = listeners(stack, "127.0.0.1:0", "127.0.0.1:0", slots=3)
    assert [(one.entrypoint, one.slot) for one in made] == [
        (name, slot) for name in ("e0", "e1") for slot in range(3)
    ]
    assert len({bound_address(one.sock) for one in made}) == 2
    assert len({one.sock.fileno() for one in made}) == 6
    assert not any(one.sock.getblocking() for one in made)
    assert not any(os.get_inheritable(one.sock.fileno()) for one in made)


def test_connections_wait_from_the_first_moment(stack: ExitStack) -> None:
    (one,) = listeners(stack, "127.0.0.1:0", slots=1)
    with socket.create_connection(one.sock.getsockname(), timeout=5):
        connection, _ = one.sock.accept()
        connection.close()


def test_an_address_for_both_families_takes_both(stack: ExitStack) -> None:
    (one,) = listeners(stack, ":0", slots=1)
    with socket.create_connection(("127.0.0.1", bound_address(one.sock).port), timeout=5):
        pass


@pytest.mark.parametrize("shared", [False, True])
def test_a_port_in_use_is_refused_even_when_it_could_be_shared(
    stack: ExitStack, shared: bool
) -> None:
    port = occupied(stack, shared=shared)
    with pytest.raises(StartRefused) as caught:
        listeners(stack, "127.0.0.1:0", f"127.0.0.1:{port}")
    assert str(caught.value).startswith(f"entrypoints.e1.listen: 127.0.0.1:{port} is in use")
    with pytest.raises(StartRefused, match="in use"):
        open_single(Wanted("admin", "admin.listen", f"127.0.0.1:{port}"))


def test_a_port_that_becomes_free_in_time_is_taken(stack: ExitStack) -> None:
    blocker = socket.socket()
    blocker.bind(("127.0.0.1", 0))
    blocker.listen()
    port = blocker.getsockname()[1]
    timer = threading.Timer(0.15, blocker.close)
    timer.start()
    try:
        listeners(stack, f"127.0.0.1:{port}", patience_s=10)
    finally:
        timer.join()


def test_connections_left_by_a_former_gateway_are_no_obstacle(stack: ExitStack) -> None:
    (one,) = listeners(stack, "127.0.0.1:0", slots=1)
    address = one.sock.getsockname()
    client = stack.enter_context(socket.create_connection(address, timeout=5))
    connection, _ = one.sock.accept()
    stack.enter_context(connection)  # still being finished
    one.sock.close()
    listeners(stack, f"127.0.0.1:{address[1]}")
    assert client.fileno() > 0


@pytest.mark.parametrize(
    ("listen", "words"),
    [
        ("192.0.2.1:0", "is no address of this machine"),
        ("no-such-host.invalid:0", "cannot be resolved"),
    ],
)
def test_an_address_that_cannot_be_ours_is_refused(
    stack: ExitStack, listen: str, words: str
) -> None:
    with pytest.raises(StartRefused, match=words):
        listeners(stack, listen)


def test_a_socket_file_has_its_mode_and_goes_with_its_socket(tmp_path: Path) -> None:
    path = tmp_path / "made" / "a.sock"
    listener = open_unix(path, "admin.socket", 0o660, str(os.getgid()))
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    listener.close()
    assert not path.exists()


def test_a_stale_socket_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    open_unix(path, "admin.socket").close()


def test_a_socket_file_somebody_answers_on_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    first = open_unix(path, "admin.socket")
    with pytest.raises(StartRefused, match="another program listens"):
        open_unix(path, "admin.socket")
    assert path.exists()
    first.close()


def test_a_successor_s_socket_file_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    first = open_unix(path, "admin.socket")
    path.rename(tmp_path / "moved")
    second = open_unix(path, "admin.socket")
    first.close()
    assert path.exists()
    second.close()


def test_what_is_no_socket_is_never_removed(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    path.write_text("precious")
    with pytest.raises(StartRefused, match="is no socket"):
        open_unix(path, "admin.socket")
    assert path.read_text() == "precious"


def test_a_path_too_long_or_a_group_unknown_is_refused_naming_the_key(tmp_path: Path) -> None:
    with pytest.raises(StartRefused, match=r"^admin.socket: .* at most 107"):
        open_unix(tmp_path / ("x" * 108), "admin.socket")
    with pytest.raises(StartRefused, match=r"^admin.socket_group: .*no-such-group"):
        open_unix(tmp_path / "a.sock", "admin.socket", group="no-such-group")
    assert not list(tmp_path.iterdir())


def test_a_state_folder_is_made_and_held_by_one(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    lock = acquire(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    with pytest.raises(StartRefused, match=rf"another gateway \(pid {os.getpid()}\)"):
        acquire(folder)
    lock.release()
    second = acquire(folder)
    assert not second.follows_unclean_end
    second.release()


def test_an_unclean_end_is_noticed_once(tmp_path: Path) -> None:
    (tmp_path / LOCK_FILE).write_text("12345\n")
    lock = acquire(tmp_path)
    assert lock.follows_unclean_end
    lock.release()
    lock = acquire(tmp_path)
    assert not lock.follows_unclean_end
    lock.release()


@pytest.mark.parametrize(("mode", "is_told"), [(0o700, False), (0o755, False), (0o770, True)])
def test_a_state_folder_that_others_may_write_to_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: int, is_told: bool
) -> None:
    tmp_path.chmod(mode)
    acquire(tmp_path).release()
    assert (f"other users may write to the state folder {tmp_path}" in caplog.text) is is_told


def test_a_lock_file_that_is_none_is_refused_and_what_it_leads_to_is_left_alone(
    tmp_path: Path,
) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    path = tmp_path / LOCK_FILE
    path.symlink_to(precious)
    with pytest.raises(StartRefused, match=r"gateway.lock is a symbolic link; remove it"):
        acquire(tmp_path)
    assert precious.read_text() == "precious"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(StartRefused, match=r"gateway.lock is no file; remove it"):
        acquire(tmp_path)


def test_a_folder_that_cannot_be_is_refused_with_its_name(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(StartRefused, match=f"state folder {file}/x cannot be written"):
        acquire(file / "x")


def test_patience_ends(stack: ExitStack) -> None:
    port = occupied(stack, shared=False)
    begun = time.monotonic()
    with pytest.raises(StartRefused):
        listeners(stack, f"127.0.0.1:{port}", patience_s=0.15)
    assert time.monotonic() - begun >= 0.15
