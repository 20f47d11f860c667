"""Snapshots: differences, their wire form, and the cached bytes of the whole."""

from __future__ import annotations

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from admin.snapshot_bytes import SnapshotBytes, difference, frame
from gateway.core.model import AffinityKey, AtZero, BalancerName, InstanceId, RouteId, ServiceId
from gateway.core.snapshot import (
    EMPTY,
    Affinity,
    Condition,
    Member,
    Snapshot,
    SnapshotInstance,
    SnapshotRoute,
    SnapshotService,
    Timeouts,
    delta_from_wire,
    delta_to_wire,
    diff,
    patch,
    whole,
)
from gateway.runtime.link import Decoder

names = st.sampled_from(["a", "b", "c", "ü", "*.d"])
weights = st.integers(0, 3)
route = st.builds(
    lambda name, members, internal, at_zero, held: SnapshotRoute(
        RouteId(name),
        name,
        "/",
        internal,
        tuple(Member(ServiceId(s), w, p) for s, w, p in members),
        Affinity(True, "C", 5, at_zero),
        Timeouts(1.0, 2.0, 3.0),
        selectors=internal,
        spill=True,
        held=held,
    ),
    names,
    st.lists(st.tuples(names, weights, st.none() | st.just(80)), max_size=2),
    st.booleans(),
    st.sampled_from(AtZero),
    st.booleans(),
)
service = st.builds(
    lambda name, balancer, conditions, drain_s, limit: SnapshotService(
        ServiceId(name),
        "-",
        name,
        "v1",
        balancer,
        tuple(
            SnapshotInstance(InstanceId(f"{name}{n}"), "10.0.0.1", n, c, {80: 8080} if n else {})
            for n, c in enumerate(conditions)
        ),
        drain_s,
        limit,
    ),
    names,
    st.sampled_from(BalancerName),
    st.lists(st.sampled_from(Condition), max_size=2),
    st.none() | st.just(2.5),
    st.none() | st.just(7),
)
snapshots = st.builds(
    lambda generation, routes, services, keys: Snapshot(
        generation,
        1,
        1.5,
        {r.id: r for r in routes},
        {s.id: s for s in services},
        tuple(AffinityKey(k, "00" * 32, 1.0) for k in keys),
    ),
    st.integers(1, 9),
    st.lists(route, max_size=4),
    st.lists(service, max_size=4),
    st.lists(st.sampled_from("xyz"), unique=True),
)


@settings(deadline=None, max_examples=100)
@given(snapshots, snapshots)
def test_a_difference_travels_and_leads_to_the_new_snapshot(old: Snapshot, new: Snapshot) -> None:
    wire = orjson.loads(orjson.dumps(delta_to_wire(diff(old, new))))
    arrived = patch(old, delta_from_wire(wire))
    assert arrived == new
    assert all(arrived.routes[k] is r for k, r in old.routes.items() if new.routes.get(k) == r)


@settings(deadline=None, max_examples=50)
@given(snapshots)
def test_the_whole_needs_no_base_and_equals_have_no_difference(snapshot: Snapshot) -> None:
    assert patch(EMPTY, whole(snapshot)) == snapshot
    assert diff(snapshot, patch(EMPTY, whole(snapshot))).is_empty


@settings(deadline=None, max_examples=100)
@given(st.lists(snapshots, min_size=1, max_size=5))
def test_cached_bytes_are_those_of_the_snapshot_whatever_came_before(
    history: list[Snapshot],
) -> None:
    cache = SnapshotBytes()
    for snapshot in history:
        wire = orjson.loads(cache.body(snapshot))
        assert patch(EMPTY, delta_from_wire(wire)) == snapshot


def test_frames_carry_session_and_difference() -> None:
    new = Snapshot(3, 2, 1.0, {}, {}, ())
    cache = SnapshotBytes()
    for sent in (cache.whole_frame("s1", new), frame("s1", difference(EMPTY, new))):
        (message,) = Decoder().feed(sent)
        assert (message["t"], message["session"]) == ("snapshot", "s1")
        assert patch(EMPTY, delta_from_wire(message["delta"])) == new
