"""Reading what others write: the kernel, load generators, programs that tell their version, servers."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from bench import (
    machine,
    procfs,
)
from bench.clients import Answer, parse_answer
from bench.generators import Volley, parse_wrk
from bench.responder import answer


def test_a_stat_line_is_read_whatever_the_process_is_called() -> None:
    line = "42 (a) b (c)) S 7 42 42 0 -1 4194560 1 2 3 4 150 50 9 9 20 0 1 0 12345"
    assert procfs.parse_stat(line) == procfs.Stat(42, "a) b (c)", 7, 200)


def test_the_share_of_memory_is_read_in_bytes() -> None:
    assert procfs.parse_pss("55d0-7ffe ---p 00 00:00 0 [rollup]\nRss: 9 kB\nPss: 3 kB\n") == 3072
    with pytest.raises(ValueError, match="no line"):
        procfs.parse_pss("Rss: 9 kB\n")
    assert procfs.proportional_bytes(os.getpid()) > 1_000_000


def test_own_process_is_found_with_its_children() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert child.pid in procfs.family(os.getpid())
        assert "input()" in procfs.command_line(child.pid)
        assert procfs.cpu_s([os.getpid(), child.pid]) > 0
    assert procfs.command_line(child.pid) == ""


def test_the_clients_of_a_port_are_those_of_its_connections() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            accepted, _ = listener.accept()
            with accepted:
                found = procfs.client_ports(os.getpid(), port)
                assert found == {client.getsockname()[1]}


def test_wrks_figures_are_read_from_behind_its_own_words() -> None:
    line = '{"requests":10,"bytes":99,"microseconds":2000000,"bad":1,"p50_us":1500,"p99_us":9000}'
    text = f"Running 2s test @ http://127.0.0.1:1/\n  1 threads\n{line}\n"
    assert parse_wrk(text) == Volley(10, 2.0, 1, 1.5, 9.0)
    with pytest.raises(ValueError, match="no figures"):
        parse_wrk("unable to connect")


@pytest.mark.parametrize(
    ("banner", "version"),
    [
        ("nginx version: nginx/1.22.1", "1.22.1"),
        ("HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/", "2.6.12"),
        ("wrk debian/4.1.0-3+b2 [epoll] Copyright (C) 2012 Will Glozer", "4.1.0"),
        ("v2.11.7 h1:yj0Y4fYZGPkSvibBJ1sTWE33xC0fxztVyXEW5iIdUT4=", "2.11.7"),
        ("Version:      3.7.15\nCodename:     langres", "3.7.15"),
        ("envoy  version: 9e55809337/1.40.0/Clean/RELEASE/BoringSSL", "1.40.0"),
        ("valgrind-3.19.0", "3.19.0"),
        ("nothing here", "unknown"),
    ],
)
def test_versions_are_found_in_banners(banner: str, version: str) -> None:
    assert machine.version_of(banner) == version


def test_the_machine_is_described() -> None:
    facts = machine.facts()
    assert {"cpu", "cpus", "memory", "system", "kernel", "python"} <= facts.keys()
    assert all(facts.values())


def test_answers_are_read_once_their_head_is_complete() -> None:
    data = answer(b"v1 hello", close=True)
    end = len(data) - len(b"v1 hello")
    assert parse_answer(data) == Answer(200, len(data), True, end)
    assert parse_answer(data[: end - 1]) is None
    assert parse_answer(answer(b"", close=False)) == Answer(200, 64, False, 64)
    for bad in (b"HTTP/1.1 200 OK\r\n\r\n", b"nonsense\r\nContent-Length: 1\r\n\r\n"):
        with pytest.raises(ValueError, match="status or length"):
            parse_answer(bad)
