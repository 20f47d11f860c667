"""Commands that check an instance, run inside of its container.

A command that takes too long goes on in there, as the Engine cannot end it. So the next
one begins only when it has ended; until then the instance has not passed. When the Engine
cannot be asked, nothing is known: that is no verdict.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from admin.probes import OUTPUT_MAX, NotAsked, last_words

from .containers import Event
from .engine import Engine, EngineGone, EngineRefused, NoSuchThing

STDOUT, STDERR = 1, 2
"""The numbers of the streams in what the Engine sends."""


class Running(Protocol):
    """A command that was begun."""

    async def inspect(self) -> dict[str, object]:
        """Whether it runs, and with what it ended."""


class Execs:
    """See the module."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._open: dict[str, Running] = {}
        """By container: what has not been seen to end."""
        engine.on_event(self._note)

    async def run(self, container: str, command: Sequence[str]) -> str | None:
        """None: it ended with 0; else why that is no pass. Raises `NotAsked`."""
        try:
            if await self._still_runs(container):
                return "the command of the check before has not ended yet"
            return await self._run(container, command)
        except NoSuchThing:
            self._open.pop(container, None)
            return "its container is gone"
        except EngineRefused as refused:
            return f"the command cannot be run: {refused}"
        except EngineGone as gone:
            raise NotAsked(str(gone)) from None

    def _note(self, event: Event) -> None:
        """With its container a command ends too, and perhaps nobody asks again."""
        if event.kind == "container" and event.action in ("die", "destroy"):
            self._open.pop(event.id, None)

    async def _still_runs(self, container: str) -> bool:
        begun = self._open.get(container)
        if begun is None:
            return False
        try:
            with self._engine.reading():
                runs = bool((await begun.inspect()).get("Running"))
        except NoSuchThing:
            runs = False  # with its container it is forgotten too
        if not runs:
            self._open.pop(container, None)
        return runs

    async def _run(self, container: str, command: Sequence[str]) -> str | None:
        # Which of the two came first is not told: what it said of errors says more.
        kept = {STDOUT: b"", STDERR: b""}
        with self._engine.reading() as docker:
            begun = await docker.containers.container(container).exec(command)
            self._open[container] = begun
            async with begun.start(detach=False) as output:
                while (message := await output.read_out()) is not None:
                    stream = STDERR if message.stream == STDERR else STDOUT
                    kept[stream] = (kept[stream] + message.data)[-OUTPUT_MAX:]
            ended = await begun.inspect()
        self._open.pop(container, None)
        code = ended.get("ExitCode")
        words = last_words(kept[STDERR] or kept[STDOUT])
        return None if code == 0 else f"the command ended with {code}{words}"
