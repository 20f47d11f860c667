"""Who accepts for whom, and whose silence means what."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from gateway.runtime.children import Child, Post, describe_exit
from gateway.runtime.link import Link
from gateway.runtime.messages import WorkerState
from gateway.runtime.roster import covers, rows
from gateway.runtime.watch import Patience, Pulse, pulse

STARTING, SERVING = WorkerState.STARTING, WorkerState.SERVING
DRAINING, DEAD = WorkerState.DRAINING, WorkerState.DEAD


@pytest.fixture(scope="module")
def child() -> Iterator[Child]:
    ours, theirs = socket.socketpair()
    process = subprocess.Popen([sys.executable, "-S", "-c", ""])
    process.wait()
    yield Child(process, Link(ours), started_s=0.0, heard_s=100.0)
    ours.close()
    theirs.close()


def crew(child: Child, *states: WorkerState, silent: frozenset[int] = frozenset()) -> list[Post]:
    return [
        Post(
            f"worker-{slot}",
            slot,
            state,
            None if state is DEAD else child,
            is_silent=slot in silent,
        )
        for slot, state in enumerate(states)
    ]


def by_slot(found: dict[Post, frozenset[int]]) -> dict[int | None, frozenset[int]]:
    return {post.slot: slots for post, slots in found.items()}


def test_while_all_serve_each_accepts_for_itself(child: Child) -> None:
    found = by_slot(covers(crew(child, SERVING, SERVING), False))
    assert found == {0: frozenset(), 1: frozenset()}


@pytest.mark.parametrize("state", [DEAD, STARTING, DRAINING])
def test_a_slot_whose_worker_does_not_serve_is_covered_by_all_others(
    child: Child, state: WorkerState
) -> None:
    found = by_slot(covers(crew(child, SERVING, state, SERVING), False))
    assert found[0] == found[2] == {1}
    assert found.get(1, frozenset()) == frozenset()


def test_a_silent_worker_is_covered_and_covers_nobody(child: Child) -> None:
    found = by_slot(covers(crew(child, SERVING, SERVING, DEAD, silent=frozenset({1})), False))
    assert found == {0: {1, 2}, 1: frozenset()}


def test_while_the_gateway_stops_draining_workers_cover_the_gone(child: Child) -> None:
    assert by_slot(covers(crew(child, DRAINING, DEAD), True)) == {0: {1}}


def test_a_slot_is_held_by_its_former_worker_until_the_next_one_serves(child: Child) -> None:
    former, successor, sibling = crew(child, SERVING, STARTING, SERVING)
    successor.slot = former.slot = 0
    found = covers([former, successor, sibling], False)
    assert found == {former: frozenset(), successor: frozenset(), sibling: frozenset()}
    former.state, former.child = DEAD, None
    assert covers([former, successor, sibling], False) == {successor: frozenset(), sibling: {0}}


@given(
    st.lists(st.tuples(st.sampled_from(list(WorkerState)), st.booleans()), max_size=6),
    st.booleans(),
)
@hypothesis_settings(deadline=None)
def test_every_slot_is_accepted_for_while_anybody_is_healthy(
    states: list[tuple[WorkerState, bool]], is_stopping: bool
) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        process: subprocess.Popen[bytes] = subprocess.Popen.__new__(subprocess.Popen)
        process.returncode = 0
        stand_in = Child(process, Link(ours), 0.0, 0.0)
        posts = [
            Post(f"w{n}", n, s, None if s is DEAD else stand_in, is_silent=q)
            for n, (s, q) in enumerate(states)
        ]
        found = covers(posts, is_stopping)
        able = DRAINING if is_stopping else SERVING
        healthy = {p.slot for p in posts if p.state is able and not p.is_silent}
        if healthy:
            accepted = healthy | {slot for slots in found.values() for slot in slots}
            assert accepted == set(range(len(posts)))
        assert all(not slots for p, slots in found.items() if p.slot not in healthy)


def test_the_roster_tells_each_slot(child: Child) -> None:
    posts = crew(child, SERVING, DEAD)
    posts[1].restarts, posts[0].started_unix, posts[0].region = 4, 12.0, 5
    assert rows(posts) == [
        {
            "slot": 0,
            "region": 5,
            "pid": child.pid,
            "state": "serving",
            "restarts": 0,
            "started": 12.0,
        },
        {"slot": 1, "region": None, "pid": 0, "state": "dead", "restarts": 4, "started": 0.0},
    ]


@pytest.mark.parametrize(
    ("quiet_s", "has_spoken", "is_control", "verdict"),
    [
        (0.0, True, False, Pulse.ALIVE),
        (0.5, True, False, Pulse.ALIVE),
        (0.7, True, False, Pulse.SILENT),
        (9.9, True, False, Pulse.SILENT),
        (10.0, True, False, Pulse.HUNG),
        (10.0, False, False, Pulse.SILENT),
        (30.0, False, False, Pulse.HUNG),
        (29.0, True, True, Pulse.SILENT),
        (30.0, True, True, Pulse.HUNG),
    ],
)
def test_silence_is_covered_within_a_second_and_ended_after_ten(
    child: Child, quiet_s: float, has_spoken: bool, is_control: bool, verdict: Pulse
) -> None:
    child.has_spoken = has_spoken
    assert pulse(child, is_control, child.heard_s + quiet_s, Patience()) is verdict


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, "exit code 0"),
        (3, "exit code 3"),
        (-9, "killed by SIGKILL"),
        (-99, "killed by signal 99"),
    ],
)
def test_an_exit_is_described_in_words(code: int, words: str) -> None:
    assert describe_exit(code) == words
