"""The access log: whole JSON lines, shared targets, and never in a request's way."""

from __future__ import annotations

import fcntl
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.proxy.access_line import LINE_BYTES, Entry
from gateway.proxy.access_log import FLUSH_BYTES, KEEP_BYTES, AccessLog

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"

REQUEST: dict[str, Any] = {
    "entrypoint": "public",
    "client": "192.0.2.1",
    "method": b"GET",
    "host": b"shop.example",
    "path": b"/cart?item=1",
    "status": 200,
    "flags": "",
    "route": "shop.example",
    "service": "-/shop-v2",
    "instance": "shop-v2@127.0.0.1:1",
    "duration_s": 0.0123456,
    "upstream_s": 0.01,
    "bytes_in": 3,
    "bytes_out": 4,
    "request_id": b"abc",
    "sticky": "hit",
    "retries": 1,
}


def write(log: AccessLog, **fields: Any) -> None:
    log.write(Entry(**(REQUEST | fields)))


def lines(data: bytes) -> list[dict[str, Any]]:
    assert not data or data.endswith(b"\n")
    return [orjson.loads(line) for line in data.splitlines()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "access.log"


def test_a_line_says_all_there_is_to_say(path: Path) -> None:
    log = AccessLog(str(path), clock=lambda: 1_700_000_000.25)
    write(log)
    log.flush()
    assert lines(path.read_bytes()) == [
        {
            "time": "2023-11-14T22:13:20.250Z",
            "entrypoint": "public",
            "client": "192.0.2.1",
            "method": "GET",
            "host": "shop.example",
            "path": "/cart?item=1",
            "status": 200,
            "flags": None,
            "route": "shop.example",
            "service": "-/shop-v2",
            "instance": "shop-v2@127.0.0.1:1",
            "duration_ms": 12.346,
            "upstream_ms": 10.0,
            "bytes_in": 3,
            "bytes_out": 4,
            "request_id": "abc",
            "sticky": "hit",
            "retries": 1,
        }
    ]


def test_a_client_that_sent_no_request_is_logged_with_nulls(path: Path) -> None:
    log = AccessLog(str(path))
    log.write(Entry(entrypoint="public", client="192.0.2.1", status=400, flags="DPE"))
    log.flush()
    (line,) = lines(path.read_bytes())
    assert (line["status"], line["flags"]) == (400, "DPE")
    assert line["path"] is line["method"] is line["service"] is line["upstream_ms"] is None


def test_the_documentation_lists_every_field_in_order(path: Path) -> None:
    log = AccessLog(str(path))
    write(log)
    log.flush()
    section = PAGE.read_text().partition("# The access log")[2]
    assert re.findall(r"^\| `(\w+)` \|", section, re.M) == list(lines(path.read_bytes())[0])


def test_there_is_no_place_for_cookies_and_credentials() -> None:
    names = " ".join(name for name in dir(Entry) if not name.startswith("_"))
    assert "request_id" in names
    assert not re.search(r"cookie|auth|header|fields", names)


def test_off_writes_nothing_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    log = AccessLog("off")
    assert not log.enabled
    write(log)
    log.flush()
    log.reopen()
    log.close()
    assert list(tmp_path.iterdir()) == []
    assert log.dropped == 0


def test_lines_gather_until_64_kib(path: Path) -> None:
    log = AccessLog(str(path))
    written = 0
    while not path.stat().st_size:
        write(log)
        written += 1
    data = path.read_bytes()
    assert len(lines(data)) == written
    assert FLUSH_BYTES <= len(data) < FLUSH_BYTES + LINE_BYTES


def test_the_time_follows_the_clock_within_and_across_seconds(path: Path) -> None:
    times = iter([0.0, 0.9996, 1.0, 86399.5, 0.5])
    log = AccessLog(str(path), clock=lambda: next(times))
    for _ in range(5):
        write(log)
    log.close()
    assert [line["time"][11:] for line in lines(path.read_bytes())] == [
        "00:00:00.000Z",
        "00:00:00.999Z",
        "00:00:01.000Z",
        "23:59:59.500Z",
        "00:00:00.500Z",
    ]


@settings(deadline=None, max_examples=150)
@given(
    path=st.binary(max_size=8000) | st.binary(max_size=60).map(lambda b: b * 100),
    host=st.binary(max_size=400),
    method=st.binary(max_size=400),
    request_id=st.binary(max_size=400),
)
def test_whatever_a_client_sends_is_one_short_line(
    path: bytes, host: bytes, method: bytes, request_id: bytes
) -> None:
    target = os.memfd_create("log")
    log = AccessLog(f"/proc/self/fd/{target}")
    write(log, path=path, host=host, method=method, request_id=request_id)
    log.close()
    data = os.pread(target, 1 << 20, 0)
    os.close(target)
    assert len(data) <= LINE_BYTES
    assert data.count(b"\n") == len(lines(data)) == 1 - log.dropped


def test_a_long_path_is_cut_and_marked(path: Path) -> None:
    log = AccessLog(str(path))
    write(log, path=b"/" + b"a" * 60_000)
    write(log, path=b"/" + b"\x00" * 60_000)
    log.close()
    first, second = (line["path"] for line in lines(path.read_bytes()))
    assert first == "/" + "a" * 2047 + "..."
    assert second == "/" + "\x00" * 255 + "..."


def test_bytes_that_are_not_utf8_are_escaped(path: Path) -> None:
    log = AccessLog(str(path))
    write(log, path=b"/caf\xc3\xa9/\xff")
    log.close()
    assert lines(path.read_bytes())[0]["path"] == "/café/\\xff"


def test_after_rotation_the_old_file_is_complete_and_the_new_one_begins(path: Path) -> None:
    log = AccessLog(str(path))
    write(log, status=201)
    moved = path.rename(path.with_suffix(".1"))
    write(log, status=202)
    log.reopen()
    write(log, status=203)
    log.flush()
    assert [line["status"] for line in lines(moved.read_bytes())] == [201, 202]
    assert [line["status"] for line in lines(path.read_bytes())] == [203]


def test_the_file_is_not_for_everybody_and_is_appended_to(path: Path) -> None:
    for _ in range(2):
        log = AccessLog(str(path))
        write(log)
        log.close()
    assert len(lines(path.read_bytes())) == 2
    assert path.stat().st_mode & 0o137 == 0


WRITER = """
import sys
from gateway.proxy.access_line import Entry
from gateway.proxy.access_log import AccessLog

log = AccessLog(sys.argv[1])
for number in range(4000):
    log.write(Entry(sys.argv[2], "c", number, path=b"/" * (number * 7919 % 2000)))
log.close()
print(log.dropped, file=sys.stderr)
"""


def run_writers(target: str, count: int, **options: Any) -> list[subprocess.Popen[bytes]]:
    return [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, target, str(worker)],
            stderr=subprocess.PIPE,
            **options,
        )
        for worker in range(count)
    ]


def test_workers_that_share_a_file_do_not_mix_their_lines(path: Path) -> None:
    for writer in run_writers(str(path), 3):
        assert writer.communicate()[1] == b"0\n"
    found = lines(path.read_bytes())
    for worker in "012":
        mine = [line["status"] for line in found if line["entrypoint"] == worker]
        assert mine == list(range(4000))


def test_workers_that_share_a_pipe_on_stdout_do_not_mix_their_lines() -> None:
    reader, writer = os.pipe()
    children = run_writers("stdout", 3, stdout=writer)
    os.close(writer)
    with open(reader, "rb") as stream:
        found = lines(stream.read())
    dropped = 0
    for child in children:
        dropped += int(child.communicate()[1])
    assert len(found) + dropped == 12_000
    for worker in "012":
        mine = [line["status"] for line in found if line["entrypoint"] == worker]
        assert mine == sorted(set(mine))


@contextmanager
def as_stdout(fd: int) -> Iterator[None]:
    """`fd` in the place of standard output."""
    saved = os.dup(1)
    os.dup2(fd, 1)
    try:
        yield
    finally:
        os.dup2(saved, 1)
        os.close(saved)


def test_a_stalled_reader_of_stdout_neither_blocks_nor_costs_more_than_the_excess() -> None:
    reader, writer = os.pipe()
    with as_stdout(writer):
        log = AccessLog("stdout")
        flags = fcntl.fcntl(1, fcntl.F_GETFL)
        written = 0
        while not log.dropped:
            write(log, bytes_in=written)
            written += 1
        assert not flags & os.O_NONBLOCK  # others share it
        assert "stdout" in (log.problem or "")
        os.set_blocking(reader, False)
        data = b""
        while len(log._lines) or not data.endswith(b"\n"):
            data += os.read(reader, 1 << 20)
            log.flush()
        data += os.read(reader, 1 << 20) if log._fd is not None else b""
        assert log.problem is None
        log.close()
    os.close(writer)
    found = lines(data)
    assert [line["bytes_in"] for line in found] == list(range(written - log.dropped))
    assert KEEP_BYTES < len(data) < KEEP_BYTES + (1 << 17)
    os.close(reader)


def test_a_socket_as_stdout_is_written_politely() -> None:
    ours, theirs = socket.socketpair()
    with as_stdout(theirs.fileno()):
        log = AccessLog("stdout")
        while not log.dropped:
            write(log)
        data = bytearray()
        ours.setblocking(False)
        while log._lines:
            data += ours.recv(1 << 20)
            log.flush()
        log.close()
    theirs.close()
    ours.setblocking(True)
    while piece := ours.recv(1 << 20):
        data += piece
    ours.close()
    assert len(data) > KEEP_BYTES
    assert len(lines(bytes(data))) > 1000


def test_a_reader_that_went_away_costs_lines_and_nothing_else() -> None:
    reader, writer = os.pipe()
    drops: list[int] = []
    with as_stdout(writer):
        log = AccessLog("stdout", on_drop=drops.append)
        os.close(reader)
        for _ in range(3):
            write(log)
        log.flush()
        assert log.dropped == 3
        assert log.problem == "cannot write the access log stdout: Broken pipe"
        log.close()
    os.close(writer)
    assert sum(drops) == 3


def test_a_closed_stdout_is_not_taken_for_whatever_has_its_number() -> None:
    code = """
import os, sys
from gateway.proxy.access_line import Entry
from gateway.proxy.access_log import AccessLog
victim = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
assert victim == 1, victim
log = AccessLog("stdout")
log.write(Entry(entrypoint="e", client="c", status=200))
log.close()
print(log.dropped, log.problem, file=sys.stderr)
"""
    victim = os.memfd_create("victim")
    done = subprocess.run(
        ["/bin/sh", "-c", '"$0" -c "$1" "$2" >&-', sys.executable, code, f"/proc/self/fd/{victim}"],
        pass_fds=[victim],
        stderr=subprocess.PIPE,
        check=True,
    )
    assert os.fstat(victim).st_size == 0
    os.close(victim)
    assert done.stderr.startswith(b"1 cannot open the access log stdout: standard output is closed")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_keeps_a_megabyte_and_counts_the_rest() -> None:
    drops: list[int] = []
    log = AccessLog("/dev/full", on_drop=drops.append)
    attempts = 0
    for _ in range(6000):
        before = log._flush_at
        write(log)
        attempts += log._flush_at != before
    assert log.problem == "cannot write the access log /dev/full: No space left on device"
    assert KEEP_BYTES <= log._size < KEEP_BYTES + LINE_BYTES
    assert attempts <= KEEP_BYTES // FLUSH_BYTES + 1  # not a system call a request
    kept = len(log._lines)
    assert log.dropped == sum(drops) == 6000 - kept
    log.close()
    assert log.dropped == sum(drops) == 6000


def test_a_file_with_room_for_half_a_line_goes_on_with_a_new_line(path: Path) -> None:
    code = """
import resource, signal, sys
from gateway.proxy.access_line import Entry
from gateway.proxy.access_log import AccessLog
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
log = AccessLog(sys.argv[1])
def write(number):
    log.write(Entry(entrypoint="e", client="c", status=number))
for number in range(10):
    write(number)
size = len(log._lines[0])
limits = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (3 * size + size // 2, limits[1]))
log.flush()
resource.setrlimit(resource.RLIMIT_FSIZE, limits)
write(10)
log.close()
print(log.dropped)
"""
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, check=True)
    assert done.stdout == b"1\n"
    whole = [line for line in path.read_bytes().splitlines() if line.endswith(b"}")]
    torn = [line for line in path.read_bytes().splitlines() if not line.endswith(b"}")]
    assert [orjson.loads(line)["status"] for line in whole] == [0, 1, 2, 4, 5, 6, 7, 8, 9, 10]
    assert len(torn) == 1


def problem_of(log: AccessLog) -> str | None:
    return log.problem


def test_a_folder_that_comes_back_is_written_to(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "access.log"
    log = AccessLog(str(path))
    assert problem_of(log) == f"cannot open the access log {path}: No such file or directory"
    write(log, status=1)
    log.flush()
    assert log.dropped == 0
    path.parent.mkdir()
    log.flush()
    assert problem_of(log) is None
    assert [line["status"] for line in lines(path.read_bytes())] == [1]
    path.unlink()
    path.parent.rmdir()
    log.reopen()
    write(log, status=2)
    log.close()
    assert log.dropped == 1


@pytest.mark.parametrize("target", ["/", "/dev/null/x", "a\0b", "\ud800", "x" * 5000])
def test_a_target_that_is_no_file_is_a_problem_and_not_an_exception(target: str) -> None:
    log = AccessLog(target)
    write(log)
    log.flush()
    assert (log.problem or "").startswith("cannot open the access log ")
    log.reopen()
    log.close()
    assert log.dropped == 1


def test_a_name_that_is_not_unicode_costs_its_line_only(path: Path) -> None:
    log = AccessLog(str(path))
    write(log, service="\ud800")
    write(log)
    log.close()
    assert log.dropped == 1
    assert len(lines(path.read_bytes())) == 1
