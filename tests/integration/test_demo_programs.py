"""The demo's programs: what their image names promise, real HTTP/1.1, an end that loses nothing."""

from __future__ import annotations

import http.client
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from gateway.runtime import configuration

CONFIG = Path(__file__).parents[2] / "config" / "demo.yaml"
TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Running:
    process: subprocess.Popen[bytes]
    port: int

    def get(self, path: str = "/", **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_S)
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        body = response.read()
        connection.close()
        return response, body

    def send(self, data: bytes) -> bytes:
        """All that comes back until the server closes."""
        with self.connect() as client:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: client.recv(65536), b""))

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT_S)

    def line(self) -> str:
        """The next line it prints."""
        assert self.process.stdout
        return self.process.stdout.readline().decode().rstrip()


def popen(program: str, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
    clean = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    return subprocess.Popen(
        [sys.executable, "-m", f"gateway.demo.{program}", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=clean | environment,
    )


@contextmanager
def running(program: str, *arguments: str, **environment: str) -> Iterator[Running]:
    with popen(program, *arguments, **environment) as process:
        assert process.stdout
        assert process.stderr
        try:
            first = process.stdout.readline().decode()
            assert "listens on 127.0.0.1:" in first, process.stderr.read()
            yield Running(process, int(first.rpartition(":")[2]))
            process.terminate()
            assert process.wait(TIMEOUT_S) == 0
            assert process.stderr.read() == b""
        finally:
            process.kill()


@pytest.fixture(scope="module")
def page() -> Iterator[Running]:
    with running("nginx") as found:
        yield found


class Dependency(ThreadingHTTPServer):
    """Stands for the gateway: a proxy that notes what it is asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Asked)
        self.asked: queue.Queue[tuple[str, str]] = queue.Queue()
        self.status = 200


class _Asked(BaseHTTPRequestHandler):
    server: Dependency

    def do_GET(self) -> None:
        self.server.asked.put((self.path, self.headers["Host"]))
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(b"world!" if self.server.status == 200 else b"no such host here")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def dependency() -> Iterator[Dependency]:
    with Dependency() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_every_image_of_the_templates_has_a_program_that_is_there() -> None:
    images = configuration.load(CONFIG).providers.process.images
    templates = (CONFIG.parent / "templates").glob("*.yaml")
    named = {
        line.partition("'")[2].rstrip("'")
        for template in templates
        for line in template.read_text().splitlines()
        if line.strip().startswith("image:")
    }
    assert named == set(images)
    assert len(named) == 6
    for image in images.values():
        assert image.command[:2] == ("${PYTHON}", "-m")
        with suppress(SystemExit):
            __import__(image.command[2], fromlist=["main"]).main([*image.command[3:], "--help"])


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_the_page_welcomes_and_tells_its_version_as_text_and_as_html(version: str) -> None:
    with running("nginx", "--version", version) as found:
        _, text = found.get()
        assert text == f"Welcome to nginx! version {version} at 127.0.0.1:{found.port}\n".encode()
        response, page = found.get(Accept="text/html,*/*;q=0.8")
        assert response.headers["Content-Type"].startswith("text/html")
        assert b"<h1>Welcome to nginx!</h1>" in page
        assert f"version {version}".encode() in page


@pytest.mark.parametrize(("version", "words"), [("1.0", b"world!"), ("2.0", b"new world!")])
def test_service_a_answers_its_words_on_the_port_of_the_environment(
    version: str, words: bytes
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with running("service_a", "--version", version, PORT=str(port)) as found:
        assert found.port == port
        assert found.get()[1] == words


@pytest.mark.parametrize(
    ("version", "greeting"), [("1.0", b"Hello world!"), ("2.0", b"Welcome to the world!")]
)
def test_service_b_greets_what_its_dependency_says_and_asks_through_the_proxy(
    dependency: Dependency, version: str, greeting: bytes
) -> None:
    proxy = f"http://127.0.0.1:{dependency.server_port}"
    environment = {"dep_endpoint": "http://servicea.local", "http_proxy": proxy}
    with running("service_b", "--version", version, **environment) as found:
        assert found.get()[1] == greeting
        assert dependency.asked.get_nowait() == ("http://servicea.local", "servicea.local")


def test_service_b_says_what_its_dependency_did_wrong(dependency: Dependency) -> None:
    proxy = f"http://127.0.0.1:{dependency.server_port}"
    environment = {"dep_endpoint": "http://servicea.local", "http_proxy": proxy}
    with running("service_b", **environment) as found:
        dependency.status = 503
        response, body = found.get()
        assert response.status == 502
        assert body == b"http://servicea.local answered 503: no such host here\n"
    with socket.create_server(("127.0.0.1", 0)) as probe:
        nobody = f"http://127.0.0.1:{probe.getsockname()[1]}"
    with running("service_b", dep_endpoint=nobody) as found:
        response, body = found.get()
        assert response.status == 502
        assert body.startswith(f"{nobody} did not answer: ".encode())


def test_on_term_open_requests_are_answered_and_idle_connections_are_closed() -> None:
    with running("nginx") as found:
        idle = found.connect()
        idle.sendall(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert idle.recv(65536).startswith(b"HTTP/1.1 200")
        assert found.line().startswith("HEAD / 200 ")
        busy = found.connect()
        busy.sendall(b"GET /?slow=0.3 HTTP/1.1\r\nHost: x\r\n\r\n")
        sent_late = found.connect()
        sent_late.sendall(b"GET /late HTTP/1.1\r\nHost: x\r\n\r\n")
        assert found.line().startswith("GET /late 200 ")  # so the other one has been read too
        os.kill(found.process.pid, signal.SIGTERM)
        assert idle.recv(65536) == b""
        answer = b"".join(iter(lambda: busy.recv(65536), b""))
        assert b"Connection: close" in answer
        assert b"Welcome to nginx!" in answer
        assert found.line().startswith("GET /?slow=0.3 200 ")
        assert found.line() == "stopped"
        assert found.process.wait(TIMEOUT_S) == 0
        for client in (idle, busy, sent_late):
            client.close()


def test_a_connection_is_kept_and_bodies_are_read_past(page: Running) -> None:
    answer = page.send(
        b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
        b"POST /b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3;e=1\r\nabc\r\n0\r\nT: 1\r\n\r\n"
        b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n"
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    assert answer.count(b"HTTP/1.1 200 ") == 4
    assert answer.count(b"Welcome to nginx!") == 3


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
    assert page.get()[0].status == 200


def refusal(program: str, *arguments: str, **environment: str) -> str:
    """The one line it ends with, at once."""
    process = popen(program, *arguments, **environment)
    _, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 2, err
    (line,) = err.decode().splitlines()
    return line


def test_what_is_missing_is_one_line_and_exit_code_2(page: Running) -> None:
    assert str(page.port) in refusal("nginx", "--port", str(page.port))
    assert "dep_endpoint" in refusal("service_b", dep_endpoint="")
