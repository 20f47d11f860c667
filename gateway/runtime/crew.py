"""The running children: starting them, hearing them, noticing their silence and their end.

Mechanics only; what follows from any of it is decided by the supervisor. One
selector holds all links.

Invariant: a child stays at its post until it is reaped here, so that its pid
cannot meanwhile belong to somebody else.
"""

from __future__ import annotations

import logging
import os
import selectors
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from . import children, hearing
from .boot import ControlBoot, WorkerBoot
from .children import Child, Post
from .hearing import Nonsense
from .link import BrokenLink, Message
from .messages import WorkerState
from .settings import Settings
from .watch import Patience, Pulse, pulse

log = logging.getLogger("gateway.supervisor")

Said = tuple[Post, Message]
"""Who said what."""


@dataclass(frozen=True, slots=True)
class Death:
    """A child that ended. The post is empty already; `was` is its last state."""

    post: Post
    child: Child
    was: WorkerState
    code: int
    last_words: Sequence[Message]


class Crew:
    """All posts, over one selector that others may register with too."""

    def __init__(
        self, posts: Sequence[Post], selector: selectors.BaseSelector, patience: Patience
    ) -> None:
        self._posts = posts
        self._patience = patience
        self._selector = selector

    def start(
        self,
        post: Post,
        command: Sequence[str],
        settings: Settings,
        make_boot: Callable[[int, int], WorkerBoot | ControlBoot],
    ) -> None:
        """Fill an empty post. Raises `OSError` when the system cannot start a process."""
        post.due_s = None
        post.child = child = children.spawn(command, settings, make_boot, time.monotonic())
        post.state = WorkerState.STARTING
        post.started_unix = time.time()
        post.is_silent = False
        post.generation = 0
        self._selector.register(child.link, selectors.EVENT_READ, post)
        log.info("%s started, pid %d", post.name, child.pid)

    def adopt(self, post: Post, child: Child, *, is_mute: bool) -> None:
        """Fill an empty post with a child that is there already."""
        post.due_s = None
        post.child = child
        self._selector.register(child.link, selectors.EVENT_READ, post)
        if is_mute:
            self._mute(child)
        else:
            self._watch(post, child)

    def handle(self, post: Post, mask: int) -> list[Said]:
        """What the selector reported for a post's link."""
        child = post.child
        if child is None or child.is_mute:
            return []
        received: list[Message] = []
        try:
            if mask & selectors.EVENT_WRITE:
                child.link.flush()
                self._watch(post, child)
            if mask & selectors.EVENT_READ:
                for message in child.link.receive():
                    hearing.verify(message)
                    received.append(message)
        except Nonsense as nonsense:
            log.error("%s said what makes no sense, killed: %s", post.name, nonsense)
            self._mute(child)
            child.kill()
        except BrokenLink as end:
            log.debug("%s: %s", post.name, end)
            self._mute(child)
        if received:
            child.heard_s = time.monotonic()
            child.has_spoken = True
        return [(post, message) for message in received]

    def send(self, post: Post, message: Mapping[str, object]) -> None:
        """Tell a child something; an empty post and a broken link swallow it."""
        child = post.child
        if child is None or child.is_mute:
            return
        try:
            child.link.send(message)
        except BrokenLink as end:
            log.debug("%s: %s", post.name, end)
            self._mute(child)
            return
        if child.link.wants_write:
            self._watch(post, child)

    def reap(self, other: Callable[[int, int], None]) -> list[Death]:
        """All ended children; `other(pid, code)` is told of those that fill no post."""
        deaths: list[Death] = []
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return deaths
            if pid == 0:
                return deaths
            code = os.waitstatus_to_exitcode(status)
            post = next((p for p in self._posts if p.pid == pid), None)
            if post is not None and post.child is not None:
                deaths.append(self._bury(post, post.child, code))
            else:
                other(pid, code)

    def forgive(self, late_s: float) -> None:
        """This process itself was held up for so long: silence meanwhile proves nothing."""
        for post in self._posts:
            if post.child is not None:
                post.child.heard_s += late_s

    def look(self, now_s: float) -> None:
        """Note who is silent; kill who hangs, or has not stopped in time."""
        for post in self._posts:
            child = post.child
            if child is None:
                continue
            verdict = pulse(child, post.slot is None, now_s, self._patience)
            is_silent = verdict is not Pulse.ALIVE
            if is_silent != post.is_silent and post.state is WorkerState.SERVING:
                log.warning("%s is %s", post.name, "silent" if is_silent else "heard again")
            post.is_silent = is_silent
            if verdict is Pulse.HUNG:
                log.error("%s is silent for %.0f s: killed", post.name, now_s - child.heard_s)
                child.heard_s = now_s
                child.kill()
            elif child.kill_by_s is not None and now_s >= child.kill_by_s:
                log.warning("%s has not stopped in time: killed", post.name)
                child.kill_by_s = None
                child.kill()

    def kill_all(self) -> None:
        """End everybody now and wait for it."""
        for post in self._posts:
            if post.child is not None:
                post.child.kill()
                post.child.process.wait()

    def _bury(self, post: Post, child: Child, code: int) -> Death:
        child.process.returncode = code  # reaped here; Popen would look for it in vain
        last_words = [m for m in child.link.receive_rest() if _is_sound(m)]
        self._mute(child)
        child.link.close()
        death = Death(post, child, post.state, code, last_words)
        post.child = None
        post.state = WorkerState.DEAD
        post.is_silent = False
        return death

    def _watch(self, post: Post, child: Child) -> None:
        wants = selectors.EVENT_READ
        if child.link.wants_write:
            wants |= selectors.EVENT_WRITE
        self._selector.modify(child.link, wants, post)

    def _mute(self, child: Child) -> None:
        """Leave a broken link alone: its descriptor would be reported for ever."""
        if not child.is_mute:
            child.is_mute = True
            self._selector.unregister(child.link)


def _is_sound(message: Message) -> bool:
    try:
        hearing.verify(message)
    except Nonsense:
        return False
    return True
