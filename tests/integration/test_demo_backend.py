"""The demo's own servers: real HTTP/1.1, not to be upset by anything."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest


@dataclass(frozen=True)
class Running:
    process: subprocess.Popen[bytes]
    port: int

    def get(self, path: str = "/", **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        body = response.read()
        connection.close()
        return response, body

    def send(self, data: bytes) -> bytes:
        """All that comes back until the server closes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as client:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: client.recv(65536), b""))


def start(*arguments: str) -> Iterator[Running]:
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway.demo.backend", "--tied", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin
    assert process.stdout
    assert process.stderr
    yield Running(process, int(process.stdout.readline()))
    process.stdin.close()
    assert process.wait(10) == 0
    assert process.stderr.read() == b""
    process.stdout.close()
    process.stderr.close()


@pytest.fixture(scope="module")
def page() -> Iterator[Running]:
    yield from start("--name", "page-v1")


@pytest.fixture(scope="module")
def api() -> Iterator[Running]:
    yield from start("--name", "api-v2", "--kind", "api")


def test_a_page_says_who_it_is_as_text_and_as_html(page: Running) -> None:
    _, body = page.get()
    assert body.startswith(f"page-v1 at 127.0.0.1:{page.port}, visit ".encode())
    response, body = page.get(Accept="text/html,*/*;q=0.8")
    assert response.headers["Content-Type"].startswith("text/html")
    assert b"<h1>page-v1</h1>" in body


def test_an_api_tells_what_it_was_asked(api: Running) -> None:
    _, body = api.get("/hello?x=1", **{"X-Forwarded-Host": "api.localhost"})
    answer = json.loads(body)
    assert (answer["service"], answer["method"], answer["path"]) == ("api-v2", "GET", "/hello?x=1")
    assert answer["headers"]["X-Forwarded-Host"] == "api.localhost"


def test_health_is_no_visit(page: Running) -> None:
    before = page.get()[1]
    assert page.get("/health")[1] == b"ok\n"
    after = page.get()[1]
    assert int(after.split()[-1]) == int(before.split()[-1]) + 1


def test_a_connection_is_kept_and_bodies_are_read_past(page: Running) -> None:
    answer = page.send(
        b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
        b"POST /b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3;e=1\r\nabc\r\n0\r\nT: 1\r\n\r\n"
        b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n"
        b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    assert answer.count(b"HTTP/1.1 200 ") == 4
    assert answer.endswith(b"ok\n")


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"Content-Length: x\r\n\r\n", b"400"),
        (b"Content-Length: -1\r\n\r\n", b"400"),
        (b"Content-Length: 9\r\n\r\nabc", b"400"),
        (b"Content-Length: 9999999999999\r\n\r\n", b"413"),
        (b"Transfer-Encoding: gzip\r\n\r\n", b"501"),
        (b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", b"400"),
        (b"Transfer-Encoding: chunked\r\n\r\nffffffffff\r\n", b"413"),
        (b"Transfer-Encoding: chunked\r\n\r\n3\r\na", b"400"),
    ],
)
def test_malformed_bodies_get_an_answer(page: Running, head: bytes, status: bytes) -> None:
    answer = page.send(b"POST / HTTP/1.1\r\nHost: x\r\n" + head)
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert page.get("/health")[1] == b"ok\n"


def test_a_port_in_use_is_one_line_and_exit_code_2(page: Running) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gateway.demo.backend", "--name", "x", "--port", str(page.port)],
        capture_output=True,
        timeout=30,
    )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
