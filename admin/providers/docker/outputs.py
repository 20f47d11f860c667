"""What the containers of this gateway write: a file each, followed while they run, kept short.

Knows nothing of why a container runs or ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from pathlib import Path

from admin.clock import Clock
from admin.providers.launching import logs

from .engine import Engine
from .following import Followers
from .ownership import Owned

LOOK_S = 5.0
"""How often it is looked whether files are too long."""
LINES = 20
"""Lines remembered with a failure."""
LAST_WORDS_S = 2.0
"""How long the output of a container that ended may take to come."""


class Outputs:
    """See the module. The files are in `folder`."""

    def __init__(self, engine: Engine, clock: Clock, folder: Path) -> None:
        self.folder = folder
        self._clock = clock
        self._followers = Followers(engine)

    def follow(self, one: Owned) -> None:
        """Keep what it writes from now on, and what it wrote since that was done last."""
        self._followers.follow(one.id, self._file(one))

    async def finish(self, one: Owned) -> None:
        """It has ended: wait for its last words, a while."""
        await self._followers.finish(one.id, self._file(one), LAST_WORDS_S)

    def forget(self, one: Owned) -> None:
        """It is gone; its file stays."""
        self._followers.forget(one.id)

    def tail(self, one: Owned) -> tuple[str, ...]:
        """The last lines that it wrote."""
        return logs.tail(self._file(one), LINES)

    async def keep_small(
        self, owned: Callable[[], Iterable[Owned]], longest: Callable[[], int]
    ) -> None:
        """Keep files short and folders few, for ever. `longest`: bytes of a file."""
        while True:
            await self._clock.sleep(LOOK_S)
            live = {self._file(one) for one in owned()}
            with suppress(OSError):
                await asyncio.to_thread(_keep_small, self.folder, live, longest())

    async def close(self) -> None:
        """Follow nothing any more."""
        await self._followers.close()

    def _file(self, one: Owned) -> Path:
        application, _, service = one.service.partition("/")
        return logs.new_file(
            self.folder, application, service, one.container.short_id, one.container.created
        ).absolute()


def _keep_small(folder: Path, live: Collection[Path], longest: int) -> None:
    for of_service in {file.parent for file in live}:
        application, service = logs.names_of(of_service)
        logs.prune_files(folder, application, service, live)
    logs.keep_small(folder, live, longest)
