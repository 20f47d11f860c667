"""The posts of a gateway: who fills them, who is about to leave them, and what they are told.

Usually one post for each worker slot and one for the control process. When another
program has taken over (`upgrade.py`), the workers it found are *formers*: they hold
their slots until the new workers serve, are never replaced, and count in regions of
their own. Decides nothing.

Invariant: what children are told (roster, covers) is computed from the posts and sent
when it differs from what was sent last, so that no event can be forgotten.
"""

from __future__ import annotations

import base64
import selectors
import socket
import time
from collections.abc import Sequence

from . import messages, roster, snapshot_file
from .children import Adopted, Child, Post
from .crew import Crew
from .handover import HandedChild
from .link import Link
from .messages import Json, WorkerState
from .processes import Processes
from .resources import MakeBoot, Resources
from .settings import Settings
from .watch import Patience


class Fleet:
    """See the module. `handed` are the children of the program that ran here before."""

    def __init__(
        self,
        resources: Resources,
        selector: selectors.BaseSelector,
        patience: Patience,
        slots: int,
        handed: Sequence[HandedChild] | None = None,
    ) -> None:
        self._resources = resources
        self.control = Post("control", None)
        self.formers: list[Post] = []
        self.former_control: Child | None = None
        self.posts = [self.control]
        self.crew = Crew(self.posts, selector, patience)
        for one in handed or ():
            self._adopt(one)
        taken = {f.region for f in self.formers if f.region is not None}
        self.workers: list[Post] = []
        for slot in range(slots):
            region = resources.free_region(taken)
            taken.add(region)
            self.workers.append(Post(f"worker-{slot}", slot, region=region))
        self.posts += self.workers
        self.generation = 0
        """The highest one that any worker said it serves."""
        self._told_rows: list[Json] | None = None

    @property
    def is_serving(self) -> bool:
        """Some worker takes requests."""
        return any(p.state is WorkerState.SERVING for p in (*self.workers, *self.formers))

    @property
    def is_renewed(self) -> bool:
        """All slots have a worker of this program that takes requests."""
        return all(p.state is WorkerState.SERVING for p in self.workers)

    @property
    def has_workers(self) -> bool:
        """Some worker process is there, in whatever state."""
        return any(p.child is not None for p in (*self.workers, *self.formers))

    def is_former(self, post: Post) -> bool:
        """Does a child of the program that ran here before fill it?"""
        if post is self.control:
            return post.child is not None and post.child is self.former_control
        return post in self.formers

    def has_left(self, former: Post) -> None:
        """A former worker has ended: its slot is its successor's, its region is free."""
        self.formers.remove(former)
        self.posts.remove(former)

    def boot_for(self, post: Post, settings: Settings) -> MakeBoot:
        """What a child for an empty post is given."""
        if post.slot is None or post.region is None:
            # A beat is up to 0.25 s old; what was published meanwhile is in the file.
            header = snapshot_file.read_header(settings.snapshot_file)
            filed = header.generation if header is not None else 0
            return self._resources.control_boot(floor=max(self.generation, filed))
        is_control_up = self.control.state is WorkerState.SERVING
        return self._resources.worker_boot(post.slot, post.region, is_control_up)

    def has_begun(self, post: Post) -> None:
        """The post has just been filled: its child knows nothing yet."""
        if post.slot is None:
            self._told_rows = None
        else:
            post.covers = frozenset()

    def tell(self, is_stopping: bool, processes: Processes) -> None:
        """Tell everybody what has changed for them."""
        # Who drains because another one took over accepts nothing, the gateway stopping or not.
        accepting = [p for p in self.formers if p.state is WorkerState.SERVING]
        for post, slots in roster.covers([*self.workers, *accepting], is_stopping).items():
            if slots != post.covers:
                post.covers = slots
                self.crew.send(post, messages.cover(slots))
        if self.control.child is None:
            return
        if (news := processes.news()) is not None:
            self.crew.send(self.control, news)
        rows = roster.rows([*self.workers, *self.formers])
        if rows != self._told_rows:
            self._told_rows = rows
            self.crew.send(self.control, messages.roster(rows, self.generation))

    def hand_over(self) -> tuple[HandedChild, ...]:
        """All children, for the program that takes this one's place."""
        return tuple(_handed(p, p.child) for p in self.posts if p.child is not None)

    def _adopt(self, handed: HandedChild) -> None:
        if handed.slot is None:
            post = self.control
        else:
            post = Post(f"former worker-{handed.slot}", handed.slot, region=handed.region)
            self.formers.append(post)
            self.posts.append(post)
        unread, unsent = base64.b64decode(handed.unread), base64.b64decode(handed.unsent)
        child = Child(
            Adopted(handed.pid),
            Link(socket.socket(fileno=handed.fd), unread=unread, unsent=unsent),
            started_s=handed.started_s,
            # Nobody listened meanwhile: silence proves nothing.
            heard_s=time.monotonic(),
            has_spoken=handed.has_spoken,
            kill_by_s=handed.kill_by_s,
        )
        post.restarts, post.generation = handed.restarts, handed.generation
        post.state, post.started_unix = WorkerState(handed.state), handed.started_unix
        self.crew.adopt(post, child, is_mute=handed.is_mute)
        if post is self.control:
            self.former_control = child


def _handed(post: Post, child: Child) -> HandedChild:
    unread, unsent = child.link.leftover()
    return HandedChild(
        slot=post.slot,
        region=post.region,
        pid=child.pid,
        fd=child.link.fileno(),
        state=post.state,
        started_unix=post.started_unix,
        started_s=child.started_s,
        has_spoken=child.has_spoken,
        is_mute=child.is_mute,
        kill_by_s=child.kill_by_s,
        restarts=post.restarts,
        generation=post.generation,
        unread=base64.b64encode(unread).decode(),
        unsent=base64.b64encode(unsent).decode(),
    )
