"""The supervisor: holds the sockets, keeps every post filled, and does little else.

One thread, one selector, no asyncio: everything that can kill a process lives
in the children, and everything here is short. Signals only enqueue. It knows
nothing of requests, routes or the store.

    pass: wait -> signals -> hear -> reap -> notice silence -> go a step down -> fill posts
          -> launch backends -> certificates -> tell -> hand over

Invariants:
* after the gateway was up once, nothing but TERM or INT ends it;
* a worker of a former program (`upgrade.py`) is told to go when all new ones serve.
"""

from __future__ import annotations

import logging
import os
import selectors
import signal
import time
from enum import Enum, auto
from pathlib import Path

from gateway import compiled

from . import children, messages
from .children import Post
from .crew import Death
from .fleet import Fleet
from .handover import Handover
from .link import Message
from .messages import T, WorkerState
from .processes import Processes
from .programs import Programs, installed_version
from .reload import InForce, NotTaken
from .resources import Resources
from .settings import Settings
from .signals import SignalQueue
from .stopping import Stopping
from .succession import Arrival, Departure
from .systemd import Notifier
from .watch import Patience

log = logging.getLogger("gateway.supervisor")

EXIT_STOPPED = 0
EXIT_CRASH_LOOP = 1
EXIT_REFUSED = 2

CRASH_LOOP = 5
"""Failures in a row, before the gateway was ever up, that end it."""
SERVING = "serving"
"""What the service manager is told in normal times."""
_TICK_S = 0.25
_LATE_S = 0.5

SIGNALS = (
    *(signal.SIGTERM, signal.SIGINT, signal.SIGHUP),
    *(signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD),
)
"""What it is to be given a queue of."""


class Phase(Enum):
    """Was the gateway up once? Then only its operators end it."""

    STARTING = auto()
    UP = auto()
    """A worker and the control process have been ready."""


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
        manager: Notifier,
        handed: Handover | None,
    ) -> None:
        self._in_force = InForce(settings, config_path)
        self._programs = programs
        self._resources = resources
        self._signals = signals
        self._selector = selectors.DefaultSelector()
        self._selector.register(signals, selectors.EVENT_READ)
        self._manager = manager
        slots = len({one.slot for one in resources.listeners})
        children = handed.children if handed is not None else ()
        self._fleet = Fleet(resources, self._selector, patience, slots, children)
        self._crew = self._fleet.crew
        self._processes = Processes(resources.home, handed.processes if handed else None)
        self._phase = Phase.STARTING if handed is None else Phase.UP
        self._departure = Departure(
            programs.check, programs.itself, resources, self._fleet, self._processes
        )
        self._arrival: Arrival | None = None
        if handed is not None:
            self._fleet.generation = handed.generation
            self._arrival = Arrival(self._fleet, self._dismiss, self._release_control)
        self._stopping = Stopping(self._fleet, self._processes)
        self._exit: tuple[int, str | None] = (EXIT_STOPPED, None)

    def run(self) -> tuple[int, str | None]:
        """Until the end: the exit code, and why when it is a failure."""
        log.info("data plane: %s", compiled.finding())
        if self._arrival is None:
            for line in self._resources.places():
                log.info("%s", line)
        else:
            formers = len(self._fleet.formers)
            number = installed_version()
            log.info(
                "version %s took over, pid %d, %d former workers", number, os.getpid(), formers
            )
        try:
            while not self._stopping.is_over:
                self._pass()
        finally:
            self._departure.give_up()
            self._crew.kill_all()
            self._processes.kill_all()
            self._selector.close()
        log.info("stopped")
        return self._exit

    def _pass(self) -> None:
        now_s = time.monotonic()
        self._manager.beat(now_s)
        posts = self._fleet.posts
        dues = [p.due_s for p in posts if p.due_s is not None and not self._is_stopping]
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
        for death in self._crew.reap(self._on_other_death):
            self._on_death(death)
        now_s = time.monotonic()
        self._crew.look(now_s)
        self._departure.look(now_s)
        self._processes.look(now_s, self._fleet.control.pid)
        self._stopping.step()
        self._fill(now_s)
        self._processes.launch_waiting()
        if self._in_force.look(now_s):
            self._send_settings()
        self._arrive()
        self._fleet.tell(self._is_stopping, self._processes)
        self._depart()

    @property
    def _settings(self) -> Settings:
        return self._in_force.settings

    @property
    def _is_stopping(self) -> bool:
        return self._stopping.has_begun

    # -- what children say and do

    def _on_message(self, post: Post, message: Message) -> None:
        match message["t"]:
            case T.BEAT:
                post.generation = int(message.get("generation", 0))
                self._fleet.generation = max(self._fleet.generation, post.generation)
            case T.READY:
                if post.state is WorkerState.STARTING:
                    post.state = WorkerState.SERVING
                    log.info("%s is ready", post.name)
                    self._check_up()
            case T.LEAVING if not self._is_stopping:
                log.info("%s was told to leave", post.name)
                self._stopping.drain(post, 0.0, self._settings.timeouts.drain)
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
        fleet = self._fleet
        is_control_up = fleet.control.state is WorkerState.SERVING
        is_starting = self._phase is Phase.STARTING and not self._is_stopping
        if is_starting and is_control_up and fleet.is_serving:
            self._phase = Phase.UP
            log.info("the gateway is up, pid %d, %d workers", os.getpid(), len(fleet.workers))
            self._manager.ready(SERVING)

    def _on_other_death(self, pid: int, code: int) -> None:
        if not self._departure.has_ended(pid, code):
            self._processes.reaped(pid, code)
        elif not self._departure.is_due:
            self._manager.ready(f"{SERVING}; not upgraded, the log says why")

    def _on_death(self, death: Death) -> None:
        post, child = death.post, death.child
        fatal = child.fatal
        for message in death.last_words:
            if message["t"] == T.FATAL:
                fatal = str(message["message"])
            else:
                self._on_message(post, message)
        post.state = WorkerState.DEAD
        if post is self._fleet.control:
            self._processes.control_has_gone()
        if is_former := post in self._fleet.formers:
            self._fleet.has_left(post)
        how = children.describe_exit(death.code)
        if self._is_stopping or is_former:
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
        fleet = self._fleet
        failing = [p for p in fleet.posts if p.backoff.failures >= CRASH_LOOP]
        if fleet.control in failing or all(p in failing for p in fleet.workers):
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
                self._stopping.cut()
            case signal.SIGTERM | signal.SIGINT:
                timeouts = self._settings.timeouts
                lame_duck_s = timeouts.lame_duck if self._fleet.is_serving else 0.0
                log.info("%s: stopping, %.0f s to drain", number.name, lame_duck_s + timeouts.drain)
                self._stop(lame_duck_s, timeouts.drain)
            case signal.SIGHUP if not self._is_stopping:
                self._reload()
            case signal.SIGUSR2 if self._phase is Phase.UP and not self._is_stopping:
                self._manager.reloading("checking the program that is to take over")
                if not self._departure.ask(self._settings):
                    self._manager.ready(f"{SERVING}; not upgraded, the log says why")
            case signal.SIGUSR2:
                log.error("not upgraded: the gateway is not up")
            case signal.SIGUSR1:
                for post in self._fleet.posts:
                    self._crew.send(post, messages.reopen())

    def _reload(self) -> None:
        self._manager.reloading("reading the configuration")
        try:
            is_different = self._in_force.take_again()
        except NotTaken as refused:
            for reason in refused.reasons:
                log.error("configuration not taken: %s", reason)
            self._manager.ready(f"{SERVING}; configuration not taken, the log says why")
            return
        self._manager.ready(SERVING)
        if is_different:
            self._departure.ask_again(self._settings)
        self._send_settings()
        log.info("configuration read again from %s", self._in_force.path)

    def _send_settings(self) -> None:
        for post in self._fleet.posts:
            # A child of another version may not know each key.
            if not self._fleet.is_former(post):
                self._crew.send(post, messages.settings(self._settings_of(post)))

    def _settings_of(self, post: Post) -> Settings:
        workers = len(self._fleet.workers)
        if post.slot is None:
            return self._in_force.for_control(workers)
        return self._in_force.for_worker(workers)

    # -- the way down

    def _fail(self, code: int, why: str) -> None:
        self._exit = (code, why)
        self._stop(0.0, 0.0)

    def _stop(self, lame_duck_s: float, deadline_s: float) -> None:
        if not self._is_stopping:
            self._departure.give_up()
            self._manager.stopping("draining", self._stopping.longest_s(lame_duck_s, deadline_s))
        self._stopping.begin(lame_duck_s, deadline_s)

    # -- from one program to the next

    def _depart(self) -> None:
        """Become the next program, if it is to be, and nothing else was said before."""
        if not self._departure.is_due:
            return
        self._signals.hold()  # what comes from here on is the next program's
        for number in self._signals.read():
            self._on_signal(number)
        if self._departure.is_due:
            self._departure.leave(self._manager.variables)
            self._manager.ready(f"{SERVING}; not upgraded, the log says why")
        self._signals.release()

    def _arrive(self) -> None:
        if self._arrival is not None and not self._is_stopping and self._arrival.step():
            self._arrival = None
            log.info("upgraded, pid %d; former workers finish what is open", os.getpid())
            self._manager.ready(SERVING)

    def _dismiss(self, former: Post) -> None:
        timeouts = self._settings.timeouts
        self._stopping.drain(former, timeouts.lame_duck, timeouts.drain, is_replaced=True)

    def _release_control(self) -> None:
        self._fleet.control.state = WorkerState.DRAINING
        self._stopping.release_control()

    # -- posts

    def _fill(self, now_s: float) -> None:
        # Workers first: with a snapshot file they serve while the control process still starts.
        for post in sorted(self._fleet.posts, key=lambda post: post.slot is None):
            if self._is_stopping or post.due_s is None or post.due_s > now_s:
                continue
            programs = self._programs
            try:
                self._crew.start(
                    post,
                    programs.control if post.slot is None else programs.worker,
                    self._settings_of(post),
                    self._fleet.boot_for(post, self._settings),
                )
            except OSError as error:
                self._retry(post, 0.0, f"cannot be started: {error.strerror}")
                continue
            self._fleet.has_begun(post)
