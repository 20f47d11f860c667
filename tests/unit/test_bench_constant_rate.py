"""The open loop: what is due is sent, and what waits is charged for from when it was due."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bench.constant_rate import run, ticking
from bench.heads import browser_heads
from bench.responder import answer

HEADS = browser_heads("a.example", 3)
STALL_S = 0.1
GOOD = answer(b"v1", close=False)


@contextmanager
def server(said: bytes, stalls_s: float = 0.0) -> Iterator[int]:
    """Answers what comes on each connection; the first request of each waits."""

    def serve(sock: socket.socket) -> None:
        with sock:
            is_first = True
            while data := sock.recv(65536):
                if is_first:
                    time.sleep(stalls_s)
                    is_first = False
                sock.sendall(said * data.count(b"\r\n\r\n"))

    def accept() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(sock,), daemon=True).start()

    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def test_as_many_requests_are_sent_as_are_due() -> None:
    with server(GOOD) as port:
        waits = run(port, HEADS, 4, 500, 0.1)
    assert len(waits.seconds) == len(waits.late_s) == 50
    assert waits.bad == 0


def test_a_server_that_stalls_is_charged_for_all_that_had_to_wait() -> None:
    with server(GOOD, STALL_S) as port:
        waits = run(port, HEADS, 1, 200, 0.1)
    assert len(waits.seconds) == 20
    # all were due within 100 ms, and none was answered before 100 ms were over
    assert waits.seconds[0] >= STALL_S
    assert waits.seconds[10] >= STALL_S - 10 / 200 - 0.001
    assert waits.late_s[10] >= STALL_S - 10 / 200 - 0.001


def test_an_answer_that_is_no_200_is_counted() -> None:
    with server(GOOD.replace(b"200 OK", b"503 Sorry")) as port:
        assert run(port, HEADS, 2, 500, 0.02).bad == 10


def test_a_timer_ticks_until_it_is_closed() -> None:
    timer = ticking(0.001)
    os.set_blocking(timer, True)
    began = time.monotonic()
    for _ in range(5):
        assert int.from_bytes(os.read(timer, 8), "little") >= 1
    assert time.monotonic() - began >= 0.001
    os.close(timer)


def test_no_timer_without_an_interval() -> None:
    with pytest.raises(OSError, match="no timer"):
        ticking(-1.0)
