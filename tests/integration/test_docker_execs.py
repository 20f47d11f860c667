"""Commands that check an instance, run in real containers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from admin.clock import SystemClock
from admin.probes import Inside, NotAsked, Question, probe
from admin.providers.docker.containers import Event
from admin.providers.docker.engine import Engine
from admin.providers.docker.execs import Execs
from gateway.core.model import CheckKind
from tests.support.docker_engine import BUSYBOX
from tests.support.docker_engine import Engine as RealEngine


def with_execs(docker: RealEngine, work: Callable[[Execs], Awaitable[None]]) -> None:
    async def main() -> None:
        engine = Engine(docker.url, SystemClock())
        try:
            await work(Execs(engine))
        finally:
            await engine.close()

    asyncio.run(main())


def question(execs: Execs, container: str, *command: str, timeout_s: float = 20.0) -> Question:
    return Question(
        CheckKind.COMMAND,
        *("", 0, "/", "", timeout_s),
        command=command,
        surroundings=Inside(lambda words: execs.run(container, words)),
    )


def test_a_command_passes_when_it_ends_with_0_in_the_container(docker: RealEngine) -> None:
    container = docker.run(BUSYBOX, "sh", "-c", "echo here > /tmp/mark; exec sleep 1000")

    async def work(execs: Execs) -> None:
        async def ask(*command: str) -> str | None:
            return await probe(question(execs, container, *command))

        while await ask("test", "-f", "/tmp/mark") is not None:  # the shell has not come so far
            await asyncio.sleep(0.05)
        assert await ask("grep", "-q", "here", "/tmp/mark") is None
        failed = await ask("sh", "-c", "echo first; echo no room >&2; exit 3")
        assert failed == "the command ended with 3: no room"
        missing = await ask("/no/such/program")
        assert missing is not None
        assert "no such file" in missing

    with_execs(docker, work)


def test_a_command_that_hangs_is_not_begun_again_while_it_runs(docker: RealEngine) -> None:
    container = docker.run(BUSYBOX, "sleep", "1000")

    async def work(execs: Execs) -> None:
        hanging = "while [ ! -e /tmp/go ]; do sleep 0.1; done"
        told = await probe(question(execs, container, "sh", "-c", hanging, timeout_s=0.5))
        assert told == "no answer within 0.5 s"
        told = await probe(question(execs, container, "true"))
        assert told == "the command of the check before has not ended yet"
        await asyncio.to_thread(docker, "exec", container, "touch", "/tmp/go")
        while (told := await probe(question(execs, container, "true"))) is not None:
            assert "not ended yet" in told
            await asyncio.sleep(0.05)

    with_execs(docker, work)


def test_nothing_is_kept_of_a_container_that_ended_while_its_command_hung(
    docker: RealEngine,
) -> None:
    container = docker.run(BUSYBOX, "sleep", "1000")

    async def main() -> None:
        engine = Engine(docker.url, SystemClock())
        execs, ended = Execs(engine), asyncio.Event()

        def note(event: Event) -> None:
            if (event.id, event.action) == (container, "die"):
                ended.set()

        engine.on_event(note)
        following = asyncio.create_task(engine.run(60.0))
        try:
            slow = question(execs, container, "sleep", "1000", timeout_s=0.5)
            assert await probe(slow) is not None
            assert list(execs._open) == [container]
            docker("rm", "-f", container)
            async with asyncio.timeout(20):
                await ended.wait()
            assert not execs._open
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            await engine.close()

    asyncio.run(main())


def test_a_container_that_is_gone_does_not_pass(docker: RealEngine) -> None:
    container = docker.run(BUSYBOX, "sleep", "1000")
    docker("rm", "-f", container)

    async def work(execs: Execs) -> None:
        assert await probe(question(execs, container, "true")) == "its container is gone"

    with_execs(docker, work)


def test_an_engine_that_is_gone_has_not_asked(docker: RealEngine) -> None:
    container = docker.run(BUSYBOX, "sleep", "1000")
    docker.stop()

    async def work(execs: Execs) -> None:
        with pytest.raises(NotAsked):
            await probe(question(execs, container, "true"))

    with_execs(docker, work)
