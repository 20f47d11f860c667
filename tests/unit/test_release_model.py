"""Random stories of two applications against a simple model of what releases promise.

Commands of all kinds, health, time, removals and crashes of the control process come
in any order. `Stage` looks at the invariants of every state and that refusals change
nothing; the model here knows, independently of the code, phases, colours and who may
gain or lose what on a route. From wherever a story ends, both ends can be reached.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from copy import copy

import pytest

from admin.store.documents import documents, state_of
from gateway.core.commands import (
    AdvanceRelease,
    Command,
    ResumeInstance,
)
from gateway.core.decide import decide
from gateway.core.errors import Code, Refused
from gateway.core.model import (
    Health,
    ServiceId,
)
from gateway.core.observed import Observed
from gateway.core.phases import Event
from gateway.core.release import ConfirmMode, Phase, Release
from gateway.core.state import State, changes
from tests.support.release_model import LEGAL, Flight, Model
from tests.support.release_walk import Walk, in_words
from tests.support.releases import Stage

STORIES = 240
STEPS = 150


class Story(Walk):
    """A random walk, and the model beside it."""

    def __init__(self, seed: int) -> None:
        super().__init__(random.Random(seed))
        self.model = Model(self.stage)
        self.told: list[str] = []

    def step(self) -> None:
        self.stage.is_thorough = self.random.random() < 0.1
        kinds: list[tuple[float, Callable[[], Command | None]]] = [
            (6, self.deploy),
            (8, self.shift),
            (8, self.confirm),
            (2, self.roll_back),
            (8, self.weigh),
            (4, self.register),
            (2, self.remove_service),
            (10, self.finish),
            (5, self.forget),
            (3, self.advance),
            (14, self.go_on),
            (2, self.end_smooth),
            (2, self.scale),
            (0.5, self.remove_application),
            (1, self.policy),
            (1, self.drain),
            (1, self.mark),
            (10, self.happen),
        ]
        self.stage.now += 0.01
        [kind] = self.random.choices([k for _, k in kinds], [w for w, _ in kinds])
        command = kind()
        if command is not None:
            self.carry_out(command)

    def carry_out(self, command: Command) -> None:
        before = self.stage.state
        self.told.append(in_words(command))
        try:
            self.stage.do(command)
        except Refused as refusal:
            self.told[-1] += f" -> {refusal}"
            self.model.refused(command, refusal)
            assert self.stage.state is before
            return
        self.model.followed(command, before)
        self.model.compare()

    def go_on(self) -> Command | None:
        """What the driver would do."""
        for flight in self.model.flights.values():
            for event in Event:
                if self.model.step(flight, event) is not flight.phase:
                    return AdvanceRelease(flight.id, event, self.stage.now, "gateway")
        return None

    def happen(self) -> None:
        """Something that nobody asked for."""
        match self.random.randrange(10):
            case 0 | 1 | 2 | 3 | 4 | 5:
                self.stage.all_healthy()
            case 6:
                for sid in self.stage.state.services:
                    self.stage.health[sid] = self.random.choice(list(Health))
            case 7:
                self.stage.now += self.random.choice((1, 50, 150))
            case 8:
                self.stage.lingering.clear()
            case _:
                self.crash()

    def crash(self) -> None:
        """Everything but what is stored is forgotten; nothing may change by starting again."""
        self.told.append("crash")
        before = self.stage.state
        rows = [(k, i, b) for k, i, b in documents(changes(State(), before)) if b is not None]
        self.stage.state = state_of(before.revision, rows)
        assert self.stage.state == before
        assert list(self.stage.state.releases) == list(before.releases)
        self.stage.health.clear()
        blind = Observed()
        for release in before.releases.values():
            for event in (Event.HEALTHY, Event.DEPLOYED, Event.OLD_GONE, Event.NEW_GONE):
                if any(
                    f.id == release.id and self.of_event(f, event)
                    for f in self.model.flights.values()
                ):
                    command = AdvanceRelease(release.id, event, self.stage.now, "gateway")
                    assert decide(self.stage.state, command, blind).state is self.stage.state

    def of_event(self, flight: Flight, event: Event) -> bool:
        """Has the event anybody to wait for? Else it is so even for the blind."""
        return bool(flight.of("blue" if event is Event.OLD_GONE else "green"))


# --- both ends can be reached from anywhere ------------------------------------------------


def reach(stage: Stage, release: Release, *, keep: bool) -> None:
    """All is healthy and every process stops when it is told to; the operator wants one end."""
    stage.lingering.clear()
    stage.all_healthy()
    for instance in stage.state.drained:
        stage.do(ResumeInstance(instance))
    if not keep and release.phase in LEGAL:
        is_late = any(
            ServiceId(f"{release.application}/{n}") not in stage.state.services
            for n, c in release.colours.items()
            if c.value == "blue"
        )
        if release.phase is Phase.CONFIRMING and is_late:
            keep = True
        else:
            stage.rollback(app=release.id)
    elif release.phase is Phase.ROLLING_BACK:
        keep = False
    for _ in range(4):
        stage.drive()
        now = stage.state.releases[release.id]
        if now.phase is Phase.PENDING_CONFIRMATION:
            confirm(stage, now)
        stage.finish_removals()
        stage.lingering.clear()
    wanted = Phase.CONFIRMED if keep else Phase.ROLLED_BACK
    assert stage.state.releases[release.id].phase is wanted


def confirm(stage: Stage, release: Release) -> None:
    """As an operator and the driver do: smoothly, by force where that is no way."""
    stage.end_smooth(release.id)
    try:
        stage.confirm(ConfirmMode.SMOOTH, release.id)
    except Refused as refusal:
        if refusal.code is not Code.NO_TRAFFIC_ON_NEW:
            raise
        stage.confirm(ConfirmMode.FORCE, release.id)
    else:
        stage.confirm(ConfirmMode.PLAIN, release.id)


@pytest.mark.parametrize("chapter", range(8))
def test_whatever_happens_releases_keep_their_promises(chapter: int) -> None:
    for seed in range(chapter * STORIES // 8, (chapter + 1) * STORIES // 8):
        story = Story(seed)
        try:
            for _ in range(STEPS):
                story.step()
            for release in tuple(story.stage.state.releases.values()):
                if not release.phase.is_over:
                    for keep in (True, False):
                        other = copy(story.stage)
                        other.lingering = set(story.stage.lingering)
                        reach(other, release, keep=keep)
        except BaseException:
            print(f"story {seed}:", *story.told[-40:], sep="\n  ")
            raise


def test_the_stories_are_eventful() -> None:
    """A walk that never gets anywhere would prove nothing."""
    ends: dict[Phase, int] = {}
    verbs: dict[str, int] = {}
    for seed in range(15):
        story = Story(seed)
        for _ in range(STEPS):
            story.step()
        for release in story.stage.state.releases.values():
            for entry in release.timeline:
                ends[entry.phase] = ends.get(entry.phase, 0) + 1
        for line in story.told:
            if " -> " not in line:
                verbs[line.partition("(")[0]] = verbs.get(line.partition("(")[0], 0) + 1
    assert set(ends) == set(Phase), ends
    assert min(ends.values()) >= 3, ends
    for kind in ("StartRelease", "ShiftRelease", "ConfirmRelease", "RollbackRelease", "EndSmooth"):
        assert verbs.get(kind, 0) >= 3, verbs
