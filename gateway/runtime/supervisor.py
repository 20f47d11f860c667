"""The supervisor: holds the sockets, keeps every post filled, and does little else.

One thread, one selector, no asyncio: everything that can kill a process lives
in the children, and everything here is short. Signals only enqueue. It knows
nothing of requests, routes or the store.

    pass: wait -> signals -> hear -> reap -> notice silence -> go a step down -> fill posts
          -> launch backends -> certificates -> tell

Invariants:
* after the gateway was up once, nothing but TERM or INT ends it;
* what children are told (roster, covers) is computed from the posts and sent
  when it differs from what was sent last, so that no event can be forgotten;
* the control process and the backends are stopped after the last worker is gone.

Exit codes: 0 stopped; 1 children kept failing before the gateway was ever up;
2 refused to start. Both failures print one line on stderr.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import selectors
import signal
import sys
import time
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

from . import children, logs, marks, messages, roster, snapshot_file
from .certificates import Keeper
from .children import Post
from .cpus import usable_cpus
from .crew import Crew, Death
from .errors import StartRefused
from .link import Message
from .messages import Json, T, WorkerState
from .prctl import become_subreaper
from .processes import Processes
from .reload import NotTaken, reread
from .resources import MakeBoot, Resources, open_resources
from .settings import Settings
from .signals import SignalQueue
from .watch import Patience

log = logging.getLogger("gateway.supervisor")

EXIT_STOPPED = 0
EXIT_CRASH_LOOP = 1
EXIT_REFUSED = 2

CRASH_LOOP = 5
"""Failures in a row, before the gateway was ever up, that end it."""
GRACE_S = 2.0
"""How much longer than it was given a child may take to stop."""
CONTROL_STOP_S = 5.0
LEFTOVERS_S = (1.0, 3.0)
"""How long a former gateway's backends may take to end: by TERM, then by KILL."""
_TICK_S = 0.25
_LATE_S = 0.5

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD)


@dataclass(frozen=True, slots=True)
class Programs:
    """How children are started. `-P`: a folder `admin` where we are run from is not our package."""

    worker: tuple[str, ...] = (sys.executable, "-P", "-m", "gateway.runtime.worker")
    control: tuple[str, ...] = (sys.executable, "-P", "-m", "admin.main")


PROGRAMS = Programs()
PATIENCE = Patience()


class Phase(Enum):
    """The life of the gateway. It only goes downwards in this list."""

    STARTING = auto()
    UP = auto()
    """A worker and the control process have been ready."""
    DRAINING = auto()
    """Workers finish their work, nobody is replaced."""
    STOPPING_REST = auto()
    """The control process and the backends."""
    OVER = auto()


def run(
    settings: Settings,
    config_path: Path | None,
    programs: Programs = PROGRAMS,
    patience: Patience = PATIENCE,
) -> int:
    """Be the gateway until told to stop; gives the exit code. Only in the main thread."""
    logs.set_up("supervisor")
    slots = settings.workers if isinstance(settings.workers, int) else usable_cpus()
    # First of all, so that no signal can end a half-made start.
    signals = SignalQueue(_SIGNALS)
    try:
        resources = open_resources(settings, slots)
        try:
            become_subreaper()
            os.environ.pop(marks.VARIABLE, None)  # our children are nobody's backends
            marks.end_leftovers(resources.home, *LEFTOVERS_S)
            supervisor = Supervisor(
                settings, config_path, programs, patience, resources, signals, slots
            )
            code, why = supervisor.run()
        finally:
            resources.close()
    except StartRefused as refused:
        code, why = EXIT_REFUSED, str(refused)
    finally:
        signals.close()
    if why is not None:
        print(f"gateway: {why}", file=sys.stderr, flush=True)
    return code


class Supervisor:
    """Decides what follows from what children and operators do. See the module."""

    def __init__(
        self,
        settings: Settings,
        config_path: Path | None,
        programs: Programs,
        patience: Patience,
        resources: Resources,
        signals: SignalQueue,
        slots: int,
    ) -> None:
        self._settings = settings
        self._config_path = config_path
        self._programs = programs
        self._resources = resources
        self._signals = signals
        self._selector = selectors.DefaultSelector()
        self._selector.register(signals, selectors.EVENT_READ)
        self._control = Post("control", None)
        self._workers = [Post(f"worker-{n}", n, region=n) for n in range(slots)]
        self._posts = [self._control, *self._workers]
        self._crew = Crew(self._posts, self._selector, patience)
        self._processes = Processes(resources.home)
        self._certificates = Keeper()
        self._certificates.take(settings)
        self._phase = Phase.STARTING
        self._is_cut = False
        """Told to stop twice."""
        self._exit: tuple[int, str | None] = (EXIT_STOPPED, None)
        self._told_rows: list[Json] | None = None
        self._generation = 0
        """The highest one that any worker said it serves."""

    def run(self) -> tuple[int, str | None]:
        """Until the end: the exit code, and why when it is a failure."""
        for line in self._resources.places():
            log.info("%s", line)
        try:
            while self._phase is not Phase.OVER:
                self._pass()
        finally:
            self._crew.kill_all()
            self._processes.kill_all()
            self._selector.close()
        log.info("stopped")
        return self._exit

    def _pass(self) -> None:
        now_s = time.monotonic()
        dues = [p.due_s for p in self._posts if p.due_s is not None and not self._is_stopping]
        tick_s = 0.0 if self._processes.has_waiting else _TICK_S
        wake_s = max(now_s, min([*dues, now_s + tick_s]))
        events = self._selector.select(wake_s - now_s)
        late_s = time.monotonic() - wake_s
        if late_s > _LATE_S:
            log.warning("this process was held up for %.1f s", late_s)
            self._crew.forgive(late_s)
        # Before messages: when everybody was signalled, ours says what is meant.
        for number in self._signals.read():
            self._on_signal(number)
        for key, mask in events:
            if isinstance(key.data, Post):
                for post, message in self._crew.handle(key.data, mask):
                    self._on_message(post, message)
        for death in self._crew.reap(self._processes.reaped):
            self._on_death(death)
        now_s = time.monotonic()
        self._crew.look(now_s)
        self._processes.look(now_s, self._control.pid)
        self._go_down(now_s)
        self._fill(now_s)
        self._processes.launch_waiting()
        if self._certificates.look(now_s):
            self._send_settings()
        self._tell()

    @property
    def _is_stopping(self) -> bool:
        return self._phase not in (Phase.STARTING, Phase.UP)

    # -- what children say and do

    def _on_message(self, post: Post, message: Message) -> None:
        match message["t"]:
            case T.BEAT:
                post.generation = int(message.get("generation", 0))
                self._generation = max(self._generation, post.generation)
            case T.READY:
                if post.state is WorkerState.STARTING:
                    post.state = WorkerState.SERVING
                    log.info("%s is ready", post.name)
                    self._check_up()
            case T.LEAVING if not self._is_stopping:
                log.info("%s was told to leave", post.name)
                self._drain(post, 0.0, self._settings.timeouts.drain)
            case T.DRAINED:
                log.info("%s has drained, %d connections were cut", post.name, message["cut"])
            case T.LAUNCH:
                self._processes.launch(message)
            case T.HALT:
                self._processes.halt(message)
            case T.FATAL if post.child is not None:
                post.child.fatal = str(message["message"])

    def _check_up(self) -> None:
        """Is the gateway up now?"""
        is_serving = any(p.state is WorkerState.SERVING for p in self._workers)
        if self._phase is Phase.STARTING and is_serving:
            if self._control.state is not WorkerState.SERVING:
                return
            self._phase = Phase.UP
            log.info("the gateway is up, pid %d, %d workers", os.getpid(), len(self._workers))

    def _on_death(self, death: Death) -> None:
        post, child = death.post, death.child
        fatal = child.fatal
        for message in death.last_words:
            if message["t"] == T.FATAL:
                fatal = str(message["message"])
            else:
                self._on_message(post, message)
        post.state = WorkerState.DEAD
        if post is self._control:
            self._processes.control_has_gone()
        how = children.describe_exit(death.code)
        if self._is_stopping:
            log.info("%s ended, %s", post.name, how)
            return
        post.restarts += 1
        if fatal is not None and self._phase is Phase.STARTING:
            self._fail(EXIT_REFUSED, fatal)
        elif death.was is WorkerState.DRAINING and death.code == 0:
            log.info("%s has left", post.name)
            post.due_s = time.monotonic()
        else:
            self._retry(post, time.monotonic() - child.started_s, f"ended, {how}")

    def _retry(self, post: Post, lived_s: float, what: str) -> None:
        """Fill the post after its back-off, unless that is hopeless."""
        delay_s = post.backoff.next_delay_s(lived_s)
        post.due_s = time.monotonic() + delay_s
        when = f"in {delay_s:.1f} s" if delay_s else "at once"
        log.error("%s %s; started again %s", post.name, what, when)
        if self._phase is not Phase.STARTING:
            return
        failing = [p for p in self._posts if p.backoff.failures >= CRASH_LOOP]
        if self._control in failing or all(p in failing for p in self._workers):
            self._fail(
                EXIT_CRASH_LOOP,
                f"{post.name} failed {post.backoff.failures} times before the gateway was up "
                f"({what}); the log above says why",
            )

    # -- what operators say

    def _on_signal(self, number: signal.Signals) -> None:
        match number:
            case signal.SIGTERM | signal.SIGINT if self._is_stopping:
                log.info("%s again: what is open is cut", number.name)
                self._is_cut = True
                self._stop(0.0, 0.0)
            case signal.SIGTERM | signal.SIGINT:
                timeouts = self._settings.timeouts
                is_serving = any(p.state is WorkerState.SERVING for p in self._workers)
                lame_duck_s = timeouts.lame_duck if is_serving else 0.0
                log.info("%s: stopping, %.0f s to drain", number.name, lame_duck_s + timeouts.drain)
                self._stop(lame_duck_s, timeouts.drain)
            case signal.SIGHUP if not self._is_stopping:
                self._reload()
            case signal.SIGUSR1:
                for post in self._posts:
                    self._crew.send(post, messages.reopen())

    def _reload(self) -> None:
        try:
            self._settings = reread(self._settings, self._config_path)
        except NotTaken as refused:
            for reason in refused.reasons:
                log.error("configuration not taken: %s", reason)
            return
        self._certificates.take(self._settings)
        self._send_settings()
        log.info("configuration read again from %s", self._config_path)

    def _send_settings(self) -> None:
        for post in self._posts:
            self._crew.send(post, messages.settings(self._settings_of(post)))

    def _settings_of(self, post: Post) -> Settings:
        """With the number of workers: their limits are the gateway's divided by it."""
        settings = dataclasses.replace(self._settings, workers=len(self._workers))
        if post.slot is None:
            return self._certificates.for_control(settings)
        return self._certificates.for_worker(settings)

    # -- the way down

    def _fail(self, code: int, why: str) -> None:
        self._exit = (code, why)
        self._stop(0.0, 0.0)

    def _stop(self, lame_duck_s: float, deadline_s: float) -> None:
        if not self._is_stopping:
            self._phase = Phase.DRAINING
        for post in self._workers:
            self._drain(post, lame_duck_s, deadline_s)
        if self._phase is Phase.STOPPING_REST:
            self._close_processes()
            if self._control.child is not None:
                self._control.child.kill_by_s = time.monotonic()

    def _drain(self, post: Post, lame_duck_s: float, deadline_s: float) -> None:
        if post.child is None:
            return
        post.state = WorkerState.DRAINING
        post.child.kill_by_s = time.monotonic() + lame_duck_s + deadline_s + GRACE_S
        self._crew.send(post, messages.drain(lame_duck_s, deadline_s))

    def _go_down(self, now_s: float) -> None:
        if self._phase is Phase.DRAINING and not any(p.child for p in self._workers):
            self._phase = Phase.STOPPING_REST
            self._tell()  # the last roster: no worker is left
            self._close_processes()
            self._crew.send(self._control, messages.stop())
            if self._control.child is not None:
                self._control.child.kill_by_s = now_s + CONTROL_STOP_S
        is_alone = self._control.child is None and self._processes.is_empty
        if self._phase is Phase.STOPPING_REST and is_alone:
            self._phase = Phase.OVER

    def _close_processes(self) -> None:
        self._processes.close(time.monotonic(), GRACE_S if self._is_cut else None)

    # -- posts and what they are told

    def _fill(self, now_s: float) -> None:
        for post in self._posts:
            if self._is_stopping or post.due_s is None or post.due_s > now_s:
                continue
            programs = self._programs
            try:
                self._crew.start(
                    post,
                    programs.control if post.slot is None else programs.worker,
                    self._settings_of(post),
                    self._boot_for(post),
                )
            except OSError as error:
                self._retry(post, 0.0, f"cannot be started: {error.strerror}")
                continue
            if post.slot is None:
                self._told_rows = None
            else:
                post.covers = frozenset()

    def _tell(self) -> None:
        """Tell everybody what has changed for them."""
        covers = roster.covers(self._workers, self._is_stopping)
        for post in self._workers:
            if post.slot is None or post.child is None:
                continue
            slots = covers[post]
            if slots != post.covers:
                post.covers = slots
                self._crew.send(post, messages.cover(slots))
        if self._control.child is not None and (news := self._processes.news()) is not None:
            self._crew.send(self._control, news)
        rows = roster.rows(self._workers)
        if rows != self._told_rows and self._control.child is not None:
            self._told_rows = rows
            self._crew.send(self._control, messages.roster(rows, self._generation))

    def _boot_for(self, post: Post) -> MakeBoot:
        if post.slot is None or post.region is None:
            # A beat is up to 0.25 s old; what was published meanwhile is in the file.
            header = snapshot_file.read_header(self._settings.snapshot_file)
            filed = header.generation if header is not None else 0
            return self._resources.control_boot(floor=max(self._generation, filed))
        is_control_up = self._control.state is WorkerState.SERVING
        return self._resources.worker_boot(post.slot, post.region, is_control_up)
