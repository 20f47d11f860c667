"""The clients of the benchmarks, on real connections."""

from __future__ import annotations

import asyncio
import socket
from typing import cast

import uvloop

from bench.clients import Clients, Plan
from bench.heads import browser_heads
from bench.load import Load
from bench.records import (
    Outcome,
    Records,
    Request,
)
from bench.responder import answer


class Backend(asyncio.Protocol):
    """Answers the first request of a connection; `answers` says what each one gets."""

    def __init__(self, answers: list[bytes | None]) -> None:
        self._answers = answers

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        said = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if said is None:
            self.transport.abort()
        else:
            self.transport.write(said)


def outcomes_of(answers: list[bytes | None], count: int, *, kept: bool) -> list[Request]:
    """The first requests of one client that meets these answers; the last one repeats."""

    async def run() -> list[Request]:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Backend(answers), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        heads = browser_heads("a.example", 3)
        clients = Clients(Plan(port, int(kept), int(not kept), heads, heads))
        stop = asyncio.Event()
        running = asyncio.ensure_future(clients.run(stop))
        while clients.answers < count:
            await asyncio.sleep(0)
        stop.set()
        records = await running
        server.close()
        await server.wait_closed()
        return list(records)[:count]

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run())


WHOLE = answer(b"v2 hello", close=False)


def test_a_kept_connection_is_used_again() -> None:
    found = outcomes_of([WHOLE], 3, kept=True)
    assert [r.outcome for r in found] == [Outcome.ANSWERED] * 3
    assert [r.service for r in found] == [2, 2, 2]
    assert len({r.port for r in found}) == 1
    assert found[0].began <= found[0].opened <= found[0].sent <= found[0].ended


def test_the_others_open_one_for_each_request() -> None:
    assert len({r.port for r in outcomes_of([WHOLE], 3, kept=False)}) == 3


def test_nothing_is_tried_again_and_every_failure_is_written_down() -> None:
    no_name = answer(b"who am I", close=False)
    sorry = WHOLE.replace(b"200 OK", b"503 Sorry")
    found = outcomes_of([None, sorry, no_name, WHOLE], 4, kept=True)
    expected = [Outcome.CUT, Outcome.STATUS, Outcome.STATUS, Outcome.ANSWERED]
    assert [r.outcome for r in found] == expected
    assert len({r.port for r in found}) == 4


def test_half_an_answer_is_a_cut() -> None:
    async def run() -> Outcome:
        loop = asyncio.get_running_loop()

        class Half(Backend):
            def data_received(self, data: bytes) -> None:
                self.transport.write(WHOLE[:-1])
                self.transport.close()

        server = await loop.create_server(lambda: Half([]), "127.0.0.1", 0)
        heads = browser_heads("a.example", 1)
        port = server.sockets[0].getsockname()[1]
        clients = Clients(Plan(port, 1, 0, heads, heads))
        stop = asyncio.Event()
        running = asyncio.ensure_future(clients.run(stop))
        while not clients.answers:
            await asyncio.sleep(0)
        stop.set()
        records = await running
        server.close()
        await server.wait_closed()
        return next(iter(records)).outcome

    assert asyncio.run(run()) is Outcome.CUT


def test_who_cannot_connect_says_so() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))

        async def run() -> set[Outcome]:
            heads = browser_heads("a.example", 1)
            clients = Clients(Plan(unused.getsockname()[1], 1, 1, heads, heads))
            stop = asyncio.Event()
            running = asyncio.ensure_future(clients.run(stop))
            while clients.answers < 4:
                await asyncio.sleep(0)
            stop.set()
            return {request.outcome for request in await running}

        assert asyncio.run(run()) == {Outcome.NOT_CONNECTED}


def test_load_in_another_process_comes_back_whole() -> None:
    async def run() -> Records:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Backend([WHOLE]), "127.0.0.1", 0)
        heads = browser_heads("a.example", 2)
        plan = Plan(server.sockets[0].getsockname()[1], 2, 1, heads, heads)

        def from_another_thread() -> Records:
            with Load(plan) as load:
                return load.stop()

        records = await loop.run_in_executor(None, from_another_thread)
        server.close()
        return records

    records = asyncio.run(run())
    assert len(records) >= 3
    assert {request.outcome for request in records} == {Outcome.ANSWERED}
