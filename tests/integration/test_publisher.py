"""The publisher over real sockets: who gets what, and when a generation counts as applied."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from admin.filing import LONG_RECORDS
from admin.publisher import Applied, Publisher
from gateway.runtime import messages, snapshot_file
from gateway.runtime.link_async import AsyncLink
from tests.support.clocks import FakeClock
from tests.support.control import FakeWorker, a_snapshot, roster, run, soon


class Scene:
    """A publisher with its file task, and what workers reported."""

    def __init__(self, folder: Path, apply_timeout_s: float) -> None:
        self.clock = FakeClock()
        self.path = folder / "snapshot.json"
        self.ejections: list[tuple[str, float, str]] = []
        self.publisher = Publisher(
            "s1",
            self.path,
            self.clock,
            lambda *report: self.ejections.append(report),
            apply_timeout_s=apply_timeout_s,
        )


@asynccontextmanager
async def scene(folder: Path, apply_timeout_s: float = 5.0) -> AsyncIterator[Scene]:
    made = Scene(folder, apply_timeout_s)
    file_task = asyncio.create_task(made.publisher.file.run())
    try:
        yield made
    finally:
        file_task.cancel()
        await asyncio.gather(file_task, return_exceptions=True)
        await made.publisher.close()


def test_a_worker_gets_the_whole_when_it_connects_and_differences_from_then_on(
    tmp_path: Path,
) -> None:
    async def go() -> None:
        async with scene(tmp_path) as s:
            s.publisher.publish(a_snapshot(5, v1=100, v2=0))
            worker = await FakeWorker(0, 100).connect(s.publisher)
            assert await worker.wait_for(5) == a_snapshot(5, v1=100, v2=0)
            s.publisher.publish(a_snapshot(6, v1=0, v2=100))
            assert await worker.wait_for(6) == a_snapshot(6, v1=0, v2=100)
            assert worker.sizes == [3, 1]
            await worker.close()

    run(go())


def test_applied_means_every_serving_worker_and_the_file(tmp_path: Path) -> None:
    async def go() -> None:
        async with scene(tmp_path) as s:
            workers = [await FakeWorker(n, 100 + n).connect(s.publisher) for n in (0, 1)]
            roster(s.publisher, w0="serving", w1="serving")
            s.publisher.publish(a_snapshot(7, v1=1))
            assert await s.publisher.wait_applied(7) == Applied(2, 2)
            assert [w.snapshot.generation for w in workers] == [7, 7]
            stored = snapshot_file.read(s.path)
            assert stored == ("s1", a_snapshot(7, v1=1))
            assert s.path.stat().st_mode & 0o777 == 0o600
            for worker in workers:
                await worker.close()

    run(go())


def test_late_workers_are_named(tmp_path: Path) -> None:
    async def go() -> None:
        async with scene(tmp_path, apply_timeout_s=0.1) as s:
            good = await FakeWorker(0, 100).connect(s.publisher)
            hung = FakeWorker(1, 101)
            hung.may_apply.clear()
            await hung.connect(s.publisher)
            roster(s.publisher, w0="serving", w1="serving", w2="serving")
            s.publisher.publish(a_snapshot(3, v1=1))
            late = await s.publisher.wait_applied(3)
            assert late == Applied(1, 3, ("worker 1 (pid 101)", "worker 2 (pid 102)"))
            waiting = asyncio.create_task(s.publisher.wait_applied(3))
            roster(s.publisher, w0="serving", w1="serving", w2="dead")
            hung.may_apply.set()
            assert await waiting == Applied(2, 2)
            await good.close()
            await hung.close()

    run(go())


def test_a_worker_that_dies_while_waited_for_is_waited_for_no_longer(tmp_path: Path) -> None:
    async def go() -> None:
        async with scene(tmp_path) as s:
            hung = FakeWorker(0, 100)
            hung.may_apply.clear()
            await hung.connect(s.publisher)
            roster(s.publisher, w0="serving")
            s.publisher.publish(a_snapshot(3, v1=1))
            waiting = asyncio.create_task(s.publisher.wait_applied(3))
            hung.may_apply.set()
            assert hung.link is not None
            hung.link.close()
            roster(s.publisher, w0="dead")
            assert (await waiting).late == ()
            await hung.close()

    run(go())


def test_a_starting_worker_that_is_connected_is_waited_for(tmp_path: Path) -> None:
    async def go() -> None:
        async with scene(tmp_path, apply_timeout_s=0.1) as s:
            s.publisher.publish(a_snapshot(3, v1=1))
            starting = await FakeWorker(0, 100).connect(s.publisher)
            await starting.wait_for(3)
            roster(s.publisher, w0="starting", w1="starting", w2="draining")
            starting.may_apply.clear()
            s.publisher.publish(a_snapshot(4, v1=2))
            assert (await s.publisher.wait_applied(4)).late == ("worker 0 (pid 100)",)
            starting.may_apply.set()
            assert await s.publisher.wait_applied(4) == Applied(1, 1)
            await starting.close()

    run(go())


def test_a_slow_worker_gets_only_the_latest(tmp_path: Path) -> None:
    async def go() -> None:
        async with scene(tmp_path) as s:
            worker = FakeWorker(0, 100)
            await worker.connect(s.publisher)
            s.publisher.publish(a_snapshot(1, v1=1))
            await worker.wait_for(1)
            worker.may_apply.clear()
            await s.publisher.wait_applied(1)
            for generation in range(2, 50):
                s.publisher.publish(a_snapshot(generation, v1=generation))
            worker.may_apply.set()
            assert await worker.wait_for(49) == a_snapshot(49, v1=49)
            assert worker.received == [1, 2, 49]
            await worker.close()

    run(go())


def test_a_worker_that_reconnects_gets_the_whole_again(tmp_path: Path) -> None:
    async def go() -> None:
        async with scene(tmp_path) as s:
            s.publisher.publish(a_snapshot(1, v1=1))
            worker = await FakeWorker(0, 100).connect(s.publisher)
            await worker.wait_for(1)
            await worker.close()
            again = await FakeWorker(0, 100).connect(s.publisher)
            assert await again.wait_for(1) == a_snapshot(1, v1=1)
            roster(s.publisher, w0="serving")
            await s.publisher.wait_applied(1)
            assert [w.generation for w in s.publisher.workers] == [1]
            await again.close()

    run(go())


def test_a_confirmation_of_another_session_counts_for_nothing(tmp_path: Path) -> None:
    async def go() -> None:
        async with scene(tmp_path, apply_timeout_s=0.1) as s:
            s.publisher.publish(a_snapshot(1, v1=1))
            worker = FakeWorker(0, 100)
            worker.may_apply.clear()
            await worker.connect(s.publisher)
            assert worker.link is not None
            worker.link.send(messages.applied(1, "another"))
            worker.link.send(messages.applied(2, "s1"))
            assert (await s.publisher.wait_applied(1)).late == ("worker 0 (pid 100)",)
            worker.may_apply.set()
            assert await s.publisher.wait_applied(1) == Applied(1, 1)
            await worker.close()

    run(go())


@pytest.mark.parametrize(
    "nonsense",
    [
        {"t": "applied"},
        {"t": "snapshot"},
        {"t": "ejection", "instance": "i", "seconds": "x", "reason": ""},
    ],
)
def test_a_worker_that_talks_nonsense_is_cut_off_alone(
    tmp_path: Path, nonsense: dict[str, object]
) -> None:
    async def go() -> None:
        async with scene(tmp_path) as s:
            good = await FakeWorker(0, 100).connect(s.publisher)
            bad = await FakeWorker(1, 101).connect(s.publisher)
            s.publisher.publish(a_snapshot(1, v1=1))
            await bad.wait_for(1)
            assert bad.link is not None
            bad.link.send(nonsense)
            await bad.close()
            s.publisher.publish(a_snapshot(2, v1=2))
            assert await s.publisher.wait_applied(2) == Applied(1, 1)
            await good.close()

    run(go())


def test_ejections_are_passed_on(tmp_path: Path) -> None:
    async def go() -> None:
        async with scene(tmp_path) as s:
            worker = await FakeWorker(0, 100).connect(s.publisher)
            assert worker.link is not None
            worker.link.send(messages.ejection("v1@10.0.0.1:80", 10.0, "5 failures"))
            await soon(lambda: s.ejections)
            assert s.ejections == [("v1@10.0.0.1:80", 10.0, "5 failures")]
            await worker.close()

    run(go())


def test_a_file_that_cannot_be_written_is_told_and_tried_again(tmp_path: Path) -> None:
    async def go() -> None:
        folder = tmp_path / "later"
        async with scene(folder) as s:
            s.publisher.publish(a_snapshot(1, v1=1))
            assert await s.publisher.wait_applied(1) == Applied(0, 0)
            assert s.publisher.file.problem is not None
            assert "snapshot.json" in s.publisher.file.problem
            folder.mkdir()
            await s.clock.advance(1.0)
            await soon(lambda: s.publisher.file.problem is None)
            assert snapshot_file.read(s.path) == ("s1", a_snapshot(1, v1=1))

    run(go())


def test_the_lag_grows_until_all_have_it(tmp_path: Path) -> None:
    async def go() -> None:
        async with scene(tmp_path) as s:
            worker = FakeWorker(0, 100)
            worker.may_apply.clear()
            await worker.connect(s.publisher)
            assert s.publisher.lag_s == 0
            s.publisher.publish(a_snapshot(1, v1=1))
            await soon(lambda: worker.received)
            await s.clock.advance(3)
            assert s.publisher.lag_s == 3
            worker.may_apply.set()
            await s.publisher.wait_applied(1)
            await s.clock.advance(100)
            assert s.publisher.lag_s == 3
            await worker.close()

    run(go())


def test_workers_are_accepted_on_the_inherited_socket(tmp_path: Path) -> None:
    async def go() -> None:
        async with scene(tmp_path) as s:
            path = tmp_path / "link.sock"
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(str(path))
                listener.listen()
                serving = asyncio.create_task(s.publisher.serve(listener))
                s.publisher.publish(a_snapshot(1, v1=1))
                worker = FakeWorker(0, 100)
                await worker.attach(await AsyncLink.connect(path))
                await worker.wait_for(1)
                serving.cancel()
                await asyncio.gather(serving, return_exceptions=True)
                await worker.close()

    run(go())


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to act as another user")
def test_another_user_is_sent_away(tmp_path: Path) -> None:
    async def go() -> None:
        async with scene(tmp_path) as s:
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(f"\0gateway-test-{os.getpid()}")
                listener.listen()
                name = listener.getsockname()
                s.publisher.publish(a_snapshot(1, v1=1))
                child = os.fork()
                if child == 0:  # connects as nobody and says whether anything came back
                    os.setresuid(65534, 65534, 65534)
                    sock = socket.socket(socket.AF_UNIX)
                    sock.connect(name)
                    with suppress(OSError):
                        os._exit(1 if sock.recv(1) else 0)
                    os._exit(0)
                serving = asyncio.create_task(s.publisher.serve(listener))
                status = await asyncio.to_thread(os.waitpid, child, 0)
                assert status[1] == 0
                serving.cancel()
                await asyncio.gather(serving, return_exceptions=True)

    run(go())


def test_closing_leaves_workers_with_what_they_have(tmp_path: Path) -> None:
    async def go() -> None:
        async with scene(tmp_path) as s:
            s.publisher.publish(a_snapshot(1, v1=1))
            worker = await FakeWorker(0, 100).connect(s.publisher)
            await worker.wait_for(1)
        await soon(lambda: worker.link is not None and not worker.link.is_open)
        assert worker.snapshot == a_snapshot(1, v1=1)
        await worker.close()

    run(go())


@pytest.mark.parametrize(
    ("session", "generation", "size"), [("s1", 5, 0), ("s1", 4, 3), ("s0", 5, 3)]
)
def test_who_has_the_latest_from_the_file_is_sent_nothing_more_of_it(
    tmp_path: Path, session: str, generation: int, size: int
) -> None:
    """And a number says nothing about another control process's snapshots."""

    async def go() -> None:
        async with scene(tmp_path) as s:
            latest = a_snapshot(5, v1=100, v2=0)
            s.publisher.publish(latest)
            worker = FakeWorker(0, 100)
            worker.recall(session, replace(latest, generation=generation))
            await worker.connect(s.publisher)
            assert (await s.publisher.wait_applied(5)) == Applied(1, 1)
            assert (worker.received, worker.sizes, worker.snapshot) == ([5], [size], latest)
            s.publisher.publish(a_snapshot(6, v1=0, v2=100))
            assert await worker.wait_for(6) == a_snapshot(6, v1=0, v2=100)
            await worker.close()

    run(go())


def test_the_file_holds_what_was_answered_while_it_grows_and_is_made_anew(tmp_path: Path) -> None:
    async def go() -> None:
        async with scene(tmp_path) as s:
            files = set()
            for generation in range(1, 3 * LONG_RECORDS):
                published = a_snapshot(generation, v1=generation)
                s.publisher.publish(published)
                assert await s.publisher.wait_applied(generation) == Applied(0, 0)
                if generation % 50 == 0:
                    assert snapshot_file.read(s.path) == ("s1", published)
                    files.add(s.path.stat().st_ino)
            assert snapshot_file.read(s.path) == ("s1", published)
            assert len(files) > 1

    run(go())
