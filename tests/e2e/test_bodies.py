"""Large bodies pass through a worker without staying in it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from tests.support import processes
from tests.support.gateway import Gateway
from tests.support.origins import Origins

HOST = "files.example"
SIZE = 1 << 30
GROWTH_KIB = 8 * 1024


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, origins: Origins) -> Iterator[Gateway]:
    """One worker, so that it is known whose memory to watch."""
    with Gateway(tmp_path_factory.mktemp("bodies"), workers=1) as found:
        found.api.register("files", HOST, origins.start("files").port)
        for _ in range(20):
            assert found.get("public", host=HOST) == 200
        yield found


class Watch(threading.Thread):
    """The largest resident memory of a process while the context is open."""

    def __init__(self, pid: int) -> None:
        super().__init__()
        self._pid = pid
        self._is_over = threading.Event()
        self.first_kib = self.most_kib = processes.rss_kib(pid)

    def __enter__(self) -> Watch:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self.join()

    def run(self) -> None:
        while not self._is_over.wait(0.02):
            self.most_kib = max(self.most_kib, processes.rss_kib(self._pid))

    @property
    def growth_kib(self) -> int:
        return self.most_kib - self.first_kib


def connect(gateway: Gateway) -> socket.socket:
    return socket.create_connection(("127.0.0.1", gateway.ports["public"]), timeout=20)


def test_a_download_of_a_gigabyte_does_not_grow_the_worker(gateway: Gateway) -> None:
    with connect(gateway) as client, Watch(gateway.workers[0]) as watch:
        client.sendall(b"GET /bytes/%d HTTP/1.1\r\nHost: %s\r\n\r\n" % (SIZE, HOST.encode()))
        buffer = bytearray(1 << 20)
        got = client.recv(65536)
        head, _, rest = got.partition(b"\r\n\r\n")
        assert b"Content-Length: %d" % SIZE in head
        received = len(rest)
        while received < SIZE:
            size = client.recv_into(buffer)
            assert size
            received += size
        assert received == SIZE
    assert watch.growth_kib < GROWTH_KIB


@pytest.mark.parametrize("is_chunked", [False, True])
def test_an_upload_of_a_gigabyte_does_not_grow_the_worker(
    gateway: Gateway, is_chunked: bool
) -> None:
    block = bytes(1 << 20)
    size = SIZE // 4 if is_chunked else SIZE
    framing = b"Transfer-Encoding: chunked" if is_chunked else b"Content-Length: %d" % size
    if is_chunked:
        block = b"%x\r\n%s\r\n" % (len(block), block)
    with connect(gateway) as client, Watch(gateway.workers[0]) as watch:
        client.sendall(b"PUT / HTTP/1.1\r\nHost: %s\r\n%s\r\n\r\n" % (HOST.encode(), framing))
        for _ in range(size >> 20):
            client.sendall(block)
        if is_chunked:
            client.sendall(b"0\r\n\r\n")
        answer = client.recv(65536)
        assert answer.startswith(b"HTTP/1.1 200")
        received = int(answer.partition(b"X-Received: ")[2].partition(b"\r\n")[0])
        assert received >= size if is_chunked else received == size
    assert watch.growth_kib < GROWTH_KIB


def test_a_reader_that_stalls_holds_back_its_download_and_nobody_else(gateway: Gateway) -> None:
    with connect(gateway) as client, Watch(gateway.workers[0]) as watch:
        client.sendall(b"GET /bytes/%d HTTP/1.1\r\nHost: %s\r\n\r\n" % (SIZE, HOST.encode()))
        assert client.recv(100).startswith(b"HTTP/1.1 200")
        for _ in range(200):
            assert gateway.get("public", host=HOST) == 200
    assert watch.growth_kib < GROWTH_KIB
