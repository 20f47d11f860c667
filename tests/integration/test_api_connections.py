"""Who connects to an admin listener cannot keep others out, whatever it does or leaves undone."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from pathlib import Path

from admin.api.connections import Bounds
from gateway.core.model import Role
from tests.support.api import Api, serving

PATIENT = Bounds(connections=3, idle_s=30.0, body_s=30.0)
HASTY = dataclasses.replace(PATIENT, idle_s=0.05, body_s=0.05)

writers: list[asyncio.StreamWriter] = []


def with_api(tmp_path: Path, bounds: Bounds, test: Callable[[Api], Awaitable[None]]) -> None:
    async def main() -> None:
        async with serving(tmp_path, bounds=bounds) as api, asyncio.timeout(30):
            try:
                await test(api)
            finally:
                for writer in writers:
                    writer.close()
                writers.clear()

    asyncio.run(main())


async def connect(api: Api) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    writers.append(writer)
    return reader, writer


async def is_ended(reader: asyncio.StreamReader) -> bool:
    try:
        return await reader.read() == b""
    except ConnectionError:
        return True


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """Ask for something; the connection stays."""
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    (length,) = (int(line[15:]) for line in head.split(b"\r\n") if line[:15] == b"Content-Length:")
    await reader.readexactly(length)
    return head.partition(b"\r\n")[0]


def test_a_head_that_never_ends_is_not_waited_for(tmp_path: Path) -> None:
    async def test(api: Api) -> None:
        silent, _ = await connect(api)
        slow, writer = await connect(api)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: loc")
        assert await is_ended(silent)
        assert await is_ended(slow)

    with_api(tmp_path, HASTY, test)


def test_a_kept_connection_is_ended_when_nothing_is_asked_any_more(tmp_path: Path) -> None:
    async def test(api: Api) -> None:
        reader, writer = await connect(api)
        assert b" 200 " in await ask(reader, writer)
        assert await is_ended(reader)

    with_api(tmp_path, HASTY, test)


def test_a_body_that_never_ends_is_refused(tmp_path: Path) -> None:
    async def test(api: Api) -> None:
        reader, writer = await connect(api)
        token = await api.token(Role.ADMIN)
        writer.write(
            b"POST /api/v1/validate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n"
            b"Authorization: Bearer " + token.encode() + b"\r\n"
            b"Content-Type: application/json\r\n\r\n{"
        )
        assert b" 408 " in await reader.readline()
        assert b'"request_timeout"' in await reader.readuntil(b'"request_timeout"')

    with_api(tmp_path, dataclasses.replace(PATIENT, body_s=0.05), test)


def test_who_has_waited_longest_makes_room_for_who_comes(tmp_path: Path) -> None:
    async def test(api: Api) -> None:
        guests = [await connect(api) for _ in range(3)]
        for reader, writer in guests:
            assert b" 200 " in await ask(reader, writer)
        assert b" 200 " in await ask(*guests[0])  # so the second has waited longest
        assert b" 200 " in await ask(*await connect(api))
        assert await is_ended(guests[1][0])
        for guest in (guests[0], guests[2]):
            assert b" 200 " in await ask(*guest)

    with_api(tmp_path, PATIENT, test)
