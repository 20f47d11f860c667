"""Fetching images: one pull for all instances that wait for it, with its progress.

A pull outlives nobody: whoever waits may be cancelled, the pull goes on as long as
somebody does. A registry that does not answer is no Engine that is gone.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiodocker
import aiohttp

from .engine import CONNECT_S, Engine, EngineRefused, NoSuchThing

STALLED_S = 120.0
"""A pull of which nothing is heard for so long has failed."""
_LINE_MAX = 1 << 20
_DONE = frozenset({"Pull complete", "Already exists"})

Credentials = Callable[[str], Awaitable[str | None]]
"""The value of `X-Registry-Auth` for an image, or None."""


@dataclass(slots=True)
class Pull:
    """A pull under way, as far as it is known."""

    image: str
    current: dict[str, int] = field(default_factory=dict)
    """Bytes there, by layer."""
    total: dict[str, int] = field(default_factory=dict)

    def note(self, message: Mapping[str, Any]) -> None:
        """Take in what the Engine says. Raises `EngineRefused` if that is an error."""
        if (error := message.get("error")) is not None:
            raise EngineRefused(0, str(error))
        layer, detail = message.get("id"), message.get("progressDetail")
        if not isinstance(layer, str):
            return
        if message.get("status") in _DONE and layer in self.total:
            self.current[layer] = self.total[layer]
        elif message.get("status") == "Downloading" and isinstance(detail, dict):
            current, total = detail.get("current"), detail.get("total")
            if type(current) is int and type(total) is int:
                self.current[layer], self.total[layer] = current, max(total, current)

    @property
    def words(self) -> str:
        """`35 % of 120 MB`; empty while nothing is known."""
        total = sum(self.total.values())
        if not total:
            return ""
        return f"{100 * sum(self.current.values()) // total} % of {max(1, round(total / 1e6))} MB"


class Pulls:
    """See the module."""

    def __init__(self, engine: Engine, credentials: Credentials) -> None:
        self._engine = engine
        self._credentials = credentials
        self._running: dict[tuple[str, str], tuple[Pull, asyncio.Task[None]]] = {}
        self._waiting: Counter[tuple[str, str]] = Counter()

    def words(self, image: str, platform: str | None) -> str | None:
        """How far the pull of an image is; None: it is not pulled."""
        found = self._running.get((image, platform or ""))
        return None if found is None else found[0].words

    async def is_there(self, image: str) -> bool:
        """Has the Engine this image?"""
        try:
            with self._engine.asking() as docker:
                await docker.images.inspect(image)
        except NoSuchThing:
            return False
        return True

    async def pull(self, image: str, platform: str | None) -> None:
        """Fetch it. Raises `EngineError`."""
        key = (image, platform or "")
        if key not in self._running or self._running[key][1].cancelling():
            pull = Pull(image)
            task = asyncio.create_task(self._pull(pull, platform), name=f"pull {image}")
            self._running[key] = pull, task
            task.add_done_callback(lambda ended: self._forget(key, ended))
        task = self._running[key][1]
        self._waiting[key] += 1
        try:
            await asyncio.shield(task)
        finally:
            self._waiting[key] -= 1
            if not self._waiting[key]:
                del self._waiting[key]
                task.cancel()

    def _forget(self, key: tuple[str, str], ended: asyncio.Task[None]) -> None:
        if (known := self._running.get(key)) is not None and known[1] is ended:
            del self._running[key]
        if not ended.cancelled():
            ended.exception()  # who waited knows; perhaps nobody did any more

    async def close(self) -> None:
        """Give all of them up."""
        tasks = [task for _, task in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _pull(self, pull: Pull, platform: str | None) -> None:
        params = {"fromImage": _with_tag(pull.image)}
        if platform is not None:
            params["platform"] = platform
        auth = await self._credentials(pull.image)
        headers = {} if auth is None else {"X-Registry-Auth": auth}
        limits = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=STALLED_S)
        with self._engine.asking() as docker:
            url = f"{docker.docker_host}/images/create"
            async with docker.session.post(
                url, params=params, headers=headers, timeout=limits
            ) as answer:
                if answer.status != 200:
                    raise aiodocker.DockerError(answer.status, _words(await answer.text()))
                await _take(pull, answer.content)


async def _take(pull: Pull, content: aiohttp.StreamReader) -> None:
    """All that the Engine says of it, to the end."""
    rest = b""
    try:
        async for chunk in content.iter_any():
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                if line.strip() and isinstance(message := json.loads(line), dict):
                    pull.note(message)
            if len(rest) > _LINE_MAX:
                raise aiohttp.ClientPayloadError("a message without end")
    except TimeoutError:
        raise EngineRefused(0, f"nothing was heard of it for {STALLED_S:g} s") from None


def _words(body: str) -> str:
    """What an answer with an error says."""
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return body[:500]


def _with_tag(image: str) -> str:
    """Without a tag the Engine would fetch all there are."""
    if "@" in image or ":" in image.rpartition("/")[2]:
        return image
    return f"{image}:latest"
