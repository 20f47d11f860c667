"""The edge to the Docker Engine, against servers that are none, or are about to go."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from aiohttp import web

from admin.providers.docker import engine as edge
from admin.providers.docker import pulling
from admin.providers.docker.actions import Actions
from admin.providers.docker.containers import Event
from admin.providers.docker.create import Joining
from admin.providers.docker.engine import (
    Engine,
    EngineGone,
    EngineRefused,
    NoSuchThing,
    Presence,
)
from admin.providers.docker.following import Followers
from admin.providers.docker.making import Maker
from admin.providers.docker.pulling import Pulls
from gateway.runtime.settings import DockerSettings
from tests.support.clocks import FakeClock

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
VERSION = {"Version": "20.10", "ApiVersion": "1.41"}


@asynccontextmanager
async def engine_with(
    handler: Handler, clock: FakeClock | None = None, *, by_tcp: bool = False
) -> AsyncIterator[Engine]:
    """An engine at a socket where `handler` answers everything but the question for the version."""

    async def handle(request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/version"):
            return web.json_response(VERSION)
        return await handler(request)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "d.sock"
        site = web.TCPSite(runner, "127.0.0.1", 0) if by_tcp else web.UnixSite(runner, str(path))
        await site.start()
        url = f"tcp://127.0.0.1:{runner.addresses[0][1]}" if by_tcp else f"unix://{path}"
        engine = Engine(url, clock or FakeClock())
        try:
            yield engine
        finally:
            await engine.close()
            await runner.cleanup()


def answering(text: str, status: int = 200, kind: str = "application/json") -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        return web.Response(text=text, status=status, content_type=kind)

    return handle


@pytest.mark.parametrize("text", ["", '{"a": 1}', "[1]", '["x"]', "null", "<html>", "[null]"])
def test_what_is_no_engine_is_one_that_is_not_there(text: str) -> None:
    async def go() -> None:
        async with engine_with(answering(text)) as engine:
            with pytest.raises(EngineGone) as caught:
                await engine.containers()
            assert "no Docker Engine" in str(caught.value)
            assert engine.presence is Presence.GONE

    asyncio.run(go())


def test_a_socket_that_nobody_listens_on_is_said_in_words() -> None:
    async def go() -> None:
        engine = Engine("unix:///no/such.sock", FakeClock())
        told: list[Presence] = []
        engine.on_change(lambda: told.append(engine.presence))
        for _ in range(2):
            with pytest.raises(EngineGone) as caught:
                await engine.ping()
        assert str(caught.value).startswith(
            "the Docker Engine at unix:///no/such.sock is not there"
        )
        assert "there is no such socket" in str(caught.value)
        assert told == [Presence.GONE]  # once
        await engine.close()

    asyncio.run(go())


def test_refusals_are_told_apart_from_absence() -> None:
    async def go() -> None:
        async with engine_with(answering('{"message": "no"}', 404)) as engine:
            with pytest.raises(NoSuchThing):
                await engine.inspect("x")
            assert engine.presence is Presence.UP
        async with engine_with(answering("forbidden", 403, "text/plain")) as engine:
            with pytest.raises(EngineRefused) as caught:
                await engine.containers()
            assert caught.value.status == 403

    asyncio.run(go())


def line(number: int) -> bytes:
    actor = {"ID": str(number), "Attributes": {}}
    given = {"Type": "container", "Action": "die", "Actor": actor, "time": number}
    return json.dumps(given).encode() + b"\n"


class Stream:
    """Serves one script of chunks for each time events are asked for; the last one hangs."""

    def __init__(self, *scripts: tuple[bytes, ...]) -> None:
        self.scripts = list(scripts)
        self.since: list[str] = []
        self.are_all_asked = asyncio.Event()

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        assert request.path == "/events"
        self.since.append(request.query["since"])
        answer = web.StreamResponse()
        await answer.prepare(request)
        for chunk in self.scripts.pop(0):
            await answer.write(chunk)
        if not self.scripts:
            self.are_all_asked.set()
            await asyncio.Event().wait()
        assert request.transport is not None
        request.transport.abort()
        return answer


async def followed(clock: FakeClock, engine: Engine, stream: Stream) -> tuple[list[str], int]:
    """The ids of the events, and how often the stream was opened."""
    seen: list[str] = []
    opened = 0

    def note_open() -> None:
        nonlocal opened
        opened += 1

    def note(event: Event) -> None:
        seen.append(event.id)

    engine.on_open(note_open)
    engine.on_event(note)
    following = asyncio.create_task(engine.run(60.0))
    while not stream.are_all_asked.is_set():
        await clock.advance(0.5)
        await asyncio.sleep(0.001)
    while len(seen) < 3:
        await asyncio.sleep(0.001)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    return seen, opened


@pytest.mark.parametrize("by_tcp", [False, True])
def test_lists_and_events_come_by_a_unix_socket_and_by_tcp(by_tcp: bool) -> None:
    async def go() -> None:
        clock, stream = FakeClock(1000.0), Stream((line(1), line(2), line(3)))

        async def handle(request: web.Request) -> web.StreamResponse:
            if request.path == "/events":
                return await stream(request)
            assert request.path == "/v1.41/containers/json"
            return web.json_response([{"Id": "abc", "State": "running"}])

        async with engine_with(handle, clock, by_tcp=by_tcp) as engine:
            assert await engine.ping() == "20.10"
            assert [c.id for c in await engine.containers()] == ["abc"]
            assert (await followed(clock, engine, stream))[0] == ["1", "2", "3"]

    asyncio.run(go())


def test_a_stream_that_breaks_is_opened_again_where_it_was() -> None:
    async def go() -> None:
        clock = FakeClock(1000.0)
        whole = line(2001)
        stream = Stream(
            (whole[:10], whole[10:], line(2002)[:20]),  # cut in the middle of an event
            (b"\n\n", b"no json\n"),
            (line(2002), line(2003)),
        )
        async with engine_with(stream, clock) as engine:
            seen, opened = await followed(clock, engine, stream)
        assert seen == ["2001", "2002", "2003"]
        assert opened == 3
        assert [float(s) for s in stream.since] == [940.0, 2001.0, 2001.0]

    asyncio.run(go())


def test_no_event_is_told_twice_though_the_stream_is_opened_again() -> None:
    """A container that was told to stop, and runs on, would be stopping for ever."""

    async def go() -> None:
        clock = FakeClock(1000.0)
        both = line(2001) + line(2001).replace(b'"die"', b'"start"')
        stream = Stream((both,), (both, line(2002)), (line(2002), line(2003)))
        async with engine_with(stream, clock) as engine:
            actions: list[str] = []
            engine.on_event(lambda event: actions.append(event.action))
            seen, _ = await followed(clock, engine, stream)
        while len(actions) < 4:
            await asyncio.sleep(0.001)
        assert seen[:4] == ["2001", "2001", "2002", "2003"]
        assert actions == ["die", "start", "die", "die"]

    asyncio.run(go())


def test_an_event_without_end_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    async def go() -> None:
        monkeypatch.setattr(edge, "EVENT_BYTES_MAX", 1000)
        clock = FakeClock(1000.0)
        stream = Stream((b"x" * 2000,), (line(1), line(2), line(3)))
        async with engine_with(stream, clock) as engine:
            seen, _ = await followed(clock, engine, stream)
        assert seen == ["1", "2", "3"]

    asyncio.run(go())


def test_who_may_not_listen_is_told_once_and_the_engine_is_there(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def go() -> None:
        clock = FakeClock()
        asked = 0

        async def forbid(request: web.Request) -> web.StreamResponse:
            nonlocal asked
            asked += 1
            return web.Response(status=403, text="Forbidden")

        async with engine_with(forbid, clock) as engine:
            following = asyncio.create_task(engine.run())
            while asked < 5:
                await clock.advance(10.0)
                await asyncio.sleep(0.001)
            assert engine.presence is Presence.UP
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
        assert sum("tells no events" in r.getMessage() for r in caplog.records) == 1

    asyncio.run(go())


GARBAGE = [
    "",
    "[1]",
    "null",
    "<html>",
    '{"NetworkSettings": 7, "Config": [], "IPAM": 3}',
    '{"Id": {}}',
]


@pytest.mark.parametrize("text", GARBAGE)
def test_whatever_answers_a_launcher_it_is_an_error_of_the_engine_or_harmless(text: str) -> None:
    async def go() -> None:
        async with engine_with(answering(text)) as engine:
            actions = Actions(engine, "me")
            maker = Maker(engine, "me", DockerSettings, {})
            for ask in (
                lambda: actions.create("x", {}),
                lambda: actions.networks_of("x"),
                lambda: actions.ensure_network(Joining("n")),
                lambda: actions.join("x", Joining("n")),
                lambda: maker.id_of_ours("x"),
            ):
                with suppress(EngineGone):
                    await ask()

    asyncio.run(go())


async def hang(request: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


def test_a_container_that_takes_too_long_to_make_is_no_engine_that_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def go() -> None:
        monkeypatch.setattr(edge, "WORK_S", 0.2)
        monkeypatch.setattr("admin.providers.docker.actions.WORK_S", 0.2)
        async with engine_with(hang) as engine:
            actions = Actions(engine, "me")
            for ask in (
                lambda: actions.create("x", {}),
                lambda: actions.start("x"),
                lambda: actions.remove("x"),
            ):
                with pytest.raises(EngineRefused, match="not got done within"):
                    await ask()
                assert engine.presence is not Presence.GONE
        monkeypatch.setattr(edge, "ANSWER_S", 0.2)
        async with engine_with(hang) as engine:
            with pytest.raises(EngineGone):
                await engine.containers()
            assert engine.presence is Presence.GONE

    asyncio.run(go())


def test_a_stream_that_has_gone_silent_is_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def go() -> None:
        monkeypatch.setattr(edge, "SILENT_S", 0.2)
        clock, opened = FakeClock(1000.0), 0

        async def be_silent(request: web.Request) -> web.StreamResponse:
            answer = web.StreamResponse()
            await answer.prepare(request)
            return await hang(request)

        async with engine_with(be_silent, clock) as engine:

            def note() -> None:
                nonlocal opened
                opened += 1

            engine.on_open(note)
            following = asyncio.create_task(engine.run())
            async with asyncio.timeout(20):
                while opened < 3:
                    await clock.advance(1.0)
                    await asyncio.sleep(0.01)
            assert engine.presence is Presence.UP
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    asyncio.run(go())


def test_what_an_engine_or_a_registry_says_is_harmless_to_show() -> None:
    async def go() -> None:
        text = json.dumps({"message": "\x1b[2Jgone\nerror fake line " + "x" * 100_000})
        async with engine_with(answering(text, 500)) as engine:
            with pytest.raises(EngineRefused) as caught:
                await engine.containers()
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 10_000

    asyncio.run(go())


async def nobody(image: str) -> str | None:
    return None


def test_a_registry_that_does_not_answer_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    async def go() -> None:
        monkeypatch.setattr(pulling, "STALLED_S", 0.2)

        async def begin(request: web.Request) -> web.StreamResponse:
            answer = web.StreamResponse()
            await answer.prepare(request)
            await answer.write(b'{"status": "Pulling"}\n')
            return await hang(request)

        async with engine_with(begin) as engine:
            with pytest.raises(EngineRefused, match=r"nothing was heard of it for 0\.2 s"):
                await Pulls(engine, nobody).pull("box:1", None)
            assert engine.presence is not Presence.GONE

    asyncio.run(go())


def test_a_pull_goes_on_as_long_as_somebody_waits_for_it_and_no_longer() -> None:
    async def go() -> None:
        asked, ended = asyncio.Event(), asyncio.Event()

        async def begin(request: web.Request) -> web.StreamResponse:
            asked.set()
            answer = web.StreamResponse()
            await answer.prepare(request)
            with suppress(ConnectionError):
                while True:
                    await answer.write(b"{}\n")
                    await asyncio.sleep(0.01)
            ended.set()
            return answer

        async with engine_with(begin) as engine:
            pulls = Pulls(engine, nobody)
            first, second = (asyncio.create_task(pulls.pull("box:1", None)) for _ in range(2))
            await asked.wait()
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
            assert pulls.words("box:1", None) is not None
            second.cancel()
            async with asyncio.timeout(20):
                await ended.wait()
            await asyncio.gather(second, return_exceptions=True)
            assert pulls.words("box:1", None) is None

    asyncio.run(go())


def test_a_disk_without_room_for_output_is_no_engine_that_is_gone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    frame = b"2026-01-02T03:04:05.5Z a line\n"
    output = b"\1\0\0\0" + len(frame).to_bytes(4, "big") + frame

    async def go() -> None:
        seen: list[Presence] = []

        async def handle(request: web.Request) -> web.StreamResponse:
            if request.path.endswith("/logs"):
                return web.Response(body=output)
            return web.json_response(
                {"Id": "abc", "State": {"Running": True}, "Config": {"Tty": False}}
            )

        async with engine_with(handle) as engine:
            engine.on_change(lambda: seen.append(engine.presence))
            followers = Followers(engine)
            followers.follow("abc", Path("/dev/full"))
            async with asyncio.timeout(20):
                while not caplog.records:
                    await asyncio.sleep(0.01)
            await followers.close()
        assert seen == [Presence.UP]

    caplog.set_level("WARNING", "admin.providers.docker.following")
    asyncio.run(go())
    (record,) = caplog.records
    assert record.getMessage() == "the output of abc is not kept: No space left on device"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path.mkdir(), "is a folder and no socket"),
        (lambda path: path.write_text(""), "is a file and no socket"),
        (lambda path: None, "there is no such socket"),
    ],
)
def test_what_stands_between_the_gateway_and_a_socket_is_told(
    make: Callable[[Path], object], words: str, tmp_path: Path
) -> None:
    async def go() -> None:
        path = tmp_path / "docker.sock"
        make(path)
        engine = Engine(f"unix://{path}", FakeClock())
        with pytest.raises(EngineGone, match=words):
            await engine.ping()
        assert words in str(engine.problem)
        await engine.close()

    asyncio.run(go())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_who_is_not_in_the_group_of_the_socket_is_told_which_one() -> None:
    code = (
        "import os, sys; from admin.providers.docker.obstacles import obstacle\n"
        "os.setgroups([]); os.setegid(10001); os.seteuid(10001); print(obstacle(sys.argv[1]))"
    )
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as server:
        path = Path(folder) / "docker.sock"
        server.bind(str(path))
        os.chown(path, 0, 4242)
        path.chmod(0o660)
        os.chmod(folder, 0o755)
        words = [sys.executable, "-c", code, str(path)]
        said = subprocess.check_output(words, text=True, cwd=Path(__file__).parents[2])
        assert said.startswith("user 10001 may not use it") and "--group-add 4242" in said
        os.chmod(folder, 0o700)
        said = subprocess.check_output(words, text=True, cwd=Path(__file__).parents[2])
        assert said.startswith("user 10001 may not look into the folder")
