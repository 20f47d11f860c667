"""The one edge to the Docker Engine: what is asked of it, and whether it is there.

A client of `aiodocker` with its errors translated into three that callers tell apart,
and the stream of events, which is opened again as often as it breaks.

Knows nothing of labels, services and releases. Invariants:

* who is told of an opening (`on_open`) before it lists misses nothing: events are
  subscribed to first, and from a moment in the past on;
* the Engine is gone from the first question it does not answer, and back from the
  first it does; `on_change` tells both.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from enum import Enum
from typing import Any

import aiodocker
import aiohttp

from admin.clock import Clock
from gateway.runtime.docker_url import docker_url

from .containers import Container, Event, container_of, event_of
from .obstacles import obstacle

log = logging.getLogger(__name__)

CONNECT_S = 5.0
ANSWER_S = 30.0
"""For answers that come at once; whoever pulls or waits asks without a limit."""
WORK_S = 300.0
"""For making, starting and removing a container: some storages copy a whole image for it."""
SILENT_S = 60.0
"""Events of which nothing is heard for so long are asked for anew: a connection through a network
may be gone without a word."""
CALM_S = 5.0
"""A stream of events that lived so long is opened again at once."""
PAUSES_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Between attempts to reach an Engine that is gone; the last one for ever."""
EVENT_BYTES_MAX = 4 << 20
"""An event holds all labels of its container; a longer one ends the connection."""
_MESSAGE_MAX = 4000
STRANGE = "what answers there is no Docker Engine"
CONTAINER_EVENTS = (
    "create",
    "start",
    "restart",
    "kill",
    "stop",
    "die",
    "oom",
    "destroy",
    "pause",
    "unpause",
    "rename",
    "update",
    "health_status",
)
NETWORK_EVENTS = ("connect", "disconnect")


class Presence(Enum):
    """Is the Engine there?"""

    UNKNOWN = "unknown"
    """It has not been asked yet."""
    UP = "up"
    GONE = "gone"


class EngineError(Exception):
    """What the Engine could or would not do; the message is for people.

    Much of it is what somebody else wrote, a registry or a program: it is made harmless.
    """

    def __init__(self, message: str) -> None:
        text = " ".join(message[:_MESSAGE_MAX].split())
        super().__init__("".join(c if c.isprintable() else ascii(c)[1:-1] for c in text))


class EngineGone(EngineError):  # noqa: N818 - says what happened
    """It cannot be reached, or did not answer."""


class EngineRefused(EngineError):  # noqa: N818 - says what happened
    """It answered with an error. `status` is HTTP's; 0: in the middle of an answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class NoSuchThing(EngineRefused):
    """The container, image or network that was asked for is not there."""


class Engine:
    """See the module. `url` is that of the configuration (`docker_url`)."""

    def __init__(self, url: str, clock: Clock) -> None:
        self.url = docker_url(url)
        self._clock = clock
        self._client: aiodocker.Docker | None = None
        self._patient: aiodocker.Docker | None = None
        """Its answers may take `WORK_S`."""
        self._connector: aiohttp.BaseConnector | None = None
        self._presence = Presence.UNKNOWN
        self._problem: str | None = None
        self._deaf: str | None = None
        """Why it does not tell events, though it is there."""
        self._seen = 0.0
        self._told: list[Event] = []
        """The events of that moment."""
        self._on_change: list[Callable[[], None]] = []
        self._on_open: list[Callable[[], None]] = []
        self._on_event: list[Callable[[Event], None]] = []

    # --- is it there? -----------------------------------------------------------------------

    @property
    def presence(self) -> Presence:
        """Did it answer when it was last asked?"""
        return self._presence

    @property
    def problem(self) -> str | None:
        """Why it is gone; None: it is not."""
        return self._problem

    def on_change(self, watcher: Callable[[], None]) -> None:
        """Call `watcher` when the Engine has gone or has come back."""
        self._on_change.append(watcher)

    def on_open(self, watcher: Callable[[], None]) -> None:
        """Call `watcher` whenever events are subscribed to (anew): the time to look at all."""
        self._on_open.append(watcher)

    def on_event(self, watcher: Callable[[Event], None]) -> None:
        """Call `watcher` with every event of a container or of a network's members."""
        self._on_event.append(watcher)

    @contextmanager
    def asking(self, *, for_work: bool = False) -> Iterator[aiodocker.Docker]:
        """The client, for one question; `for_work`: the answer may take `WORK_S`.

        What goes wrong is raised as `EngineGone`, `EngineRefused` or `NoSuchThing`.
        """
        try:
            yield self.patient if for_work else self.client
        except aiodocker.DockerError as error:
            if error.status >= 900:  # aiodocker's own: it could not connect
                raise self._gone(_without_address(error.message)) from None
            self._note(None)
            kind = NoSuchThing if error.status == 404 else EngineRefused
            raise kind(error.status, error.message) from None
        except TimeoutError as error:
            if for_work and not isinstance(error, aiohttp.ServerTimeoutError):
                # This it does not get done; what else it does will be seen.
                raise EngineRefused(0, f"it has not got done within {WORK_S:g} s") from None
            raise self._gone("it does not answer in time") from None
        except (aiohttp.ClientError, OSError) as error:
            raise self._gone(_without_address(str(error)) or type(error).__name__) from None
        except (json.JSONDecodeError, UnicodeDecodeError):
            raise self._gone(STRANGE) from None
        else:
            self._note(None)

    @contextmanager
    def reading(self, *, for_work: bool = False) -> Iterator[aiodocker.Docker]:
        """`asking`, where an answer is taken for what it ought to be."""
        with self.asking(for_work=for_work) as docker:
            try:
                yield docker
            except (ValueError, LookupError, TypeError, AttributeError):
                raise self._gone(STRANGE) from None

    @property
    def client(self) -> aiodocker.Docker:
        """The client itself, made when first asked for; errors as `asking` raises them."""
        if self._client is None:
            self._client = self._made(ANSWER_S)
        return self._client

    @property
    def patient(self) -> aiodocker.Docker:
        """The same for what takes long."""
        if self._patient is None:
            self._patient = self._made(WORK_S)
        return self._patient

    def _made(self, total_s: float) -> aiodocker.Docker:
        path = self.url.path
        if self._connector is None:
            # Whoever follows the output of many containers holds as many connections.
            self._connector = (
                aiohttp.TCPConnector(limit=0)
                if path is None
                else aiohttp.UnixConnector(path, limit=0)
            )
        return aiodocker.Docker(
            f"http{str(self.url).removeprefix('tcp')}" if path is None else "unix://localhost",
            connector=self._connector,
            timeout=aiohttp.ClientTimeout(total=total_s, sock_connect=CONNECT_S),
        )

    async def close(self) -> None:
        """Give up all connections."""
        clients = self._client, self._patient
        self._client = self._patient = None
        for client in clients:
            if client is not None:
                await client.close()
        connector, self._connector = self._connector, None
        if connector is not None:
            await connector.close()

    # --- questions --------------------------------------------------------------------------

    async def ping(self) -> str:
        """The Engine's version."""
        with self.reading() as docker:
            return str((await docker.version()).get("Version", "?"))

    async def containers(
        self, *, include_stopped: bool = False, labels: Sequence[str] = ()
    ) -> tuple[Container, ...]:
        """The containers that run (or all), with these labels: `name`, or `name=value`."""
        with self.reading() as docker:
            listed = await docker.containers.list(
                all=include_stopped, filters=json.dumps({"label": list(labels)})
            )
            # The list is all that is asked for: no further question about each of them.
            found = [container_of(one._container) for one in listed]
        return tuple(one for one in found if one is not None)

    async def inspect(self, container: str) -> Mapping[str, Any]:
        """All that the Engine knows of a container. Raises `NoSuchThing`."""
        with self.reading() as docker:
            return (await docker.containers.get(container))._container

    # --- events -----------------------------------------------------------------------------

    async def run(self, since_s: float = 0.0) -> None:
        """Follow the events for ever, beginning with those of the last `since_s` seconds.

        While the Engine is gone it is tried again and again.
        """
        self._seen = self._clock.time() - since_s
        failures = 0
        while True:
            begun = self._clock.monotonic()
            try:
                async with aclosing(self._events(self._seen)) as events:
                    async for event in events:
                        self._tell(event)
                self._note_deaf(None)
            except EngineGone:
                pass
            except EngineRefused as error:
                self._note_deaf(str(error))
            lived_s = self._clock.monotonic() - begun
            failures = 0 if lived_s > CALM_S else failures + 1
            await self._clock.sleep(PAUSES_S[min(failures, len(PAUSES_S) - 1)])

    def _tell(self, event: Event | None) -> None:
        if event is None:
            for opened in self._on_open:
                opened()
            return
        # Whoever asks for what came since an event is told of that one again.
        if event.time == self._seen and event in self._told:
            return
        if event.time > self._seen:
            self._seen, self._told = event.time, []
        if event.time == self._seen:
            self._told.append(event)
        for watcher in self._on_event:
            watcher(event)

    async def _events(self, since: float) -> AsyncGenerator[Event | None, None]:
        """None once subscribed, then events, until the stream ends. Raises as `asking`."""
        filters = {
            "type": ["container", "network"],
            "event": [*CONTAINER_EVENTS, *NETWORK_EVENTS],
        }
        params = {"since": f"{since:.9f}", "filters": json.dumps(filters)}
        limits = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=SILENT_S)
        with self.asking() as docker:
            # aiodocker's own subscription does not tell when it begins.
            async with docker.session.get(
                f"{docker.docker_host}/events", params=params, timeout=limits
            ) as answer:
                if answer.status != 200:
                    raise aiodocker.DockerError(answer.status, (await answer.text())[:500])
                self._note(None)
                yield None
                async for line in _lines(answer.content):
                    if isinstance(given := json.loads(line), dict):
                        yield event_of(given)

    # --- gone and back ----------------------------------------------------------------------

    def _gone(self, why: str) -> EngineGone:
        if self.url.path is not None:
            why = obstacle(self.url.path) or why
        self._note(why)
        return EngineGone(f"the Docker Engine at {self.url} is not there: {why}")

    def _note_deaf(self, why: str | None) -> None:
        """A proxy before the Engine may forbid to listen: it is asked from time to time then."""
        if why is not None and why != self._deaf:
            log.warning("the Docker Engine at %s tells no events: %s", self.url, why)
        self._deaf = why

    def _note(self, problem: str | None) -> None:
        was = self._presence
        self._problem = problem
        self._presence = Presence.UP if problem is None else Presence.GONE
        if self._presence is was:
            return
        if problem is None:
            log.info("the Docker Engine at %s is there", self.url)
        else:
            known = "gone" if was is Presence.UP else "not there"
            log.error("the Docker Engine at %s is %s: %s", self.url, known, problem)
        for watcher in self._on_change:
            watcher()


async def _lines(stream: aiohttp.StreamReader) -> AsyncGenerator[bytes, None]:
    """Lines that are not empty, until the stream ends or breaks: whoever opens it anew finds out why."""
    rest = b""
    try:
        async for chunk in stream.iter_any():
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                if line.strip():
                    yield line
            if len(rest) > EVENT_BYTES_MAX:
                log.error("the Docker Engine sends an event of more than %d bytes", EVENT_BYTES_MAX)
                return
    except (aiohttp.ClientError, OSError) as error:
        log.debug("the stream of events broke: %s", error)


def _without_address(message: str) -> str:
    """`Cannot connect to ADDRESS [why]` -> `why`: the address is told anyway."""
    _, bracket, why = message.partition(" [")
    return why.removesuffix("]") if bracket else message
