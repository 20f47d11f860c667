"""The way down: workers drain, then the control process and the backends end.

    begin -> WORKERS -> (no worker is left) -> REST -> (nobody is left) -> OVER

Decides in which order and by when everybody goes, not why. One worker may be sent that
way too, while the gateway stays up (`drain`).

Invariants:
* stages only go downwards; nobody is replaced after the first;
* the control process and the backends are stopped after the last worker is gone;
* whoever was told to go has a time by which it is killed.
"""

from __future__ import annotations

import time
from enum import Enum, auto

from . import messages
from .children import Post
from .fleet import Fleet
from .messages import WorkerState
from .processes import Processes

GRACE_S = 2.0
"""How much longer than it was given a child may take to stop."""
CONTROL_STOP_S = 5.0


class Stage(Enum):
    """How far down the gateway is."""

    UP = auto()
    WORKERS = auto()
    """They finish their work."""
    REST = auto()
    """The control process and the backends."""
    OVER = auto()


class Stopping:
    """See the module."""

    def __init__(self, fleet: Fleet, processes: Processes) -> None:
        self._fleet = fleet
        self._processes = processes
        self._stage = Stage.UP
        self._is_cut = False

    @property
    def has_begun(self) -> bool:
        """Nobody is replaced any more."""
        return self._stage is not Stage.UP

    @property
    def is_over(self) -> bool:
        """Nobody is left."""
        return self._stage is Stage.OVER

    def longest_s(self, lame_duck_s: float, deadline_s: float) -> float:
        """How long all of it may take."""
        grace_s = self._processes.longest_grace_s + GRACE_S + CONTROL_STOP_S
        return lame_duck_s + deadline_s + grace_s

    def begin(self, lame_duck_s: float, deadline_s: float) -> None:
        """Have all workers drain; `cut` is for those who are in a hurry then."""
        if not self.has_begun:
            self._stage = Stage.WORKERS
        for post in (*self._fleet.workers, *self._fleet.formers):
            # A former one that drains already keeps its deadline, unless all is cut.
            is_leaving = self._fleet.is_former(post) and post.state is WorkerState.DRAINING
            if not is_leaving or self._is_cut:
                self.drain(post, lame_duck_s, deadline_s)

    def cut(self) -> None:
        """What is open ends now."""
        self._is_cut = True
        self.begin(0.0, 0.0)
        if self._stage is Stage.REST:
            self._close_processes()
            if self._fleet.control.child is not None:
                self._fleet.control.child.kill_by_s = time.monotonic()

    def drain(
        self, post: Post, lame_duck_s: float, deadline_s: float, *, is_replaced: bool = False
    ) -> None:
        """Have one worker go."""
        if post.child is None:
            return
        post.state = WorkerState.DRAINING
        post.child.kill_by_s = time.monotonic() + lame_duck_s + deadline_s + GRACE_S
        message = messages.drain(lame_duck_s, deadline_s, is_replaced=is_replaced)
        self._fleet.crew.send(post, message)

    def release_control(self) -> None:
        """Have the control process finish what it is doing, and end."""
        control = self._fleet.control
        self._fleet.crew.send(control, messages.stop())
        if control.child is not None:
            control.child.kill_by_s = time.monotonic() + CONTROL_STOP_S

    def step(self) -> None:
        """Go a stage down if it is time to."""
        if self._stage is Stage.WORKERS and not self._fleet.has_workers:
            self._stage = Stage.REST
            self._fleet.tell(True, self._processes)  # the last roster: no worker is left
            self._close_processes()
            self.release_control()
        is_alone = self._fleet.control.child is None and self._processes.is_empty
        if self._stage is Stage.REST and is_alone:
            self._stage = Stage.OVER

    def _close_processes(self) -> None:
        self._processes.close(time.monotonic(), GRACE_S if self._is_cut else None)
