"""Handshakes as the benchmark makes them: full ones, and only what was served counts."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from bench.certificate import Certificate, certificate
from bench.handshakes import served, served_plain
from bench.heads import browser_heads
from bench.responder import answer

HOST = "a.example"
HEAD = browser_heads(HOST, 1, close=True)[0]
GOOD = answer(b"v1", close=True)


@contextmanager
def server(shown: Certificate | None, said: bytes) -> Iterator[int]:
    """Serves until the context ends; shows its certificate, or serves without TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if shown is not None:
        context.load_cert_chain(shown.chain, shown.key)

    def serve() -> None:
        while True:
            try:
                plain, _ = listener.accept()
            except OSError:
                return
            if shown is None:
                with suppress(OSError), plain:
                    plain.recv(65536)
                    plain.sendall(said)
                continue
            with suppress(OSError), plain, context.wrap_socket(plain, server_side=True) as sock:
                sock.recv(65536)
                sock.sendall(said)
                with suppress(OSError):
                    sock.unwrap()

    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


@pytest.fixture
def shown(tmp_path: Path) -> Certificate:
    return certificate(tmp_path, HOST)


def test_each_request_has_a_full_handshake(shown: Certificate) -> None:
    context = shown.client()
    with server(shown, GOOD) as port:
        assert [served(context, port, HOST, HEAD) for _ in range(3)] == [True] * 3


def test_what_is_no_200_was_not_served(shown: Certificate) -> None:
    with server(shown, GOOD.replace(b"200 OK", b"503 Sorry")) as port:
        assert not served(shown.client(), port, HOST, HEAD)


def test_a_certificate_of_another_host_was_not_served(shown: Certificate) -> None:
    with server(shown, GOOD) as port:
        assert not served(shown.client(), port, "b.example", HEAD)


@pytest.mark.parametrize(
    ("said", "is_served"),
    [(GOOD, True), (GOOD.replace(b"200 OK", b"503 Sorry"), False), (b"", False)],
)
def test_a_plain_connection_was_served_by_a_200_only(said: bytes, is_served: bool) -> None:
    with server(None, said) as port:
        assert served_plain(port, HEAD) is is_served


def test_the_gateway_is_told_where_the_files_are(shown: Certificate) -> None:
    assert shown.setting == {"certificates": [{"cert": str(shown.chain), "key": str(shown.key)}]}
