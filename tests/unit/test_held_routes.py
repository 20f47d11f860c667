"""A held route is there for those who select one of its services, and for nobody else."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.snapshot import Snapshot, SnapshotRoute
from gateway.routing.decision import Verdict
from gateway.routing.pool import Pool
from gateway.routing.table import Miss
from gateway.routing.world import World
from tests.support.compiled import interpreted_only
from tests.support.worlds import DOWN, UP, a_route, a_service, a_snapshot, a_world

V1, V2 = a_service("v1", UP), a_service("v2", UP)


def match(
    world: World,
    host: str,
    path: str = "/",
    selector: bytes | None = None,
    cookies: bytes | None = None,
    internal: bool = True,
) -> str | Miss:
    found = world.table.match_selected(host.encode(), path.encode(), internal, cookies, selector)
    return found.route.id if isinstance(found, Pool) else found


def world_of(*routes: SnapshotRoute) -> World:
    return a_world(a_snapshot(routes, [V1, V2]))


# -- against the table without them, and against a model

# Few hosts and paths, so that routes of all kinds are in each other's way.
HOST = st.sampled_from(["a", "b.a", "c.b.a", "d.c.b.a"])
PATTERN = st.sampled_from(["b.a", "c.b.a", "d.c.b.a", "*.a", "*.b.a", "*.c.b.a"])
PREFIX = st.sampled_from(["/", "/x", "/x/y"])
PATH = st.sampled_from(["/", "/x", "/x/y", "/x/y/z", "/xy", "/y"])
ROUTE = st.builds(
    lambda host, path, members, internal, held, selectors: a_route(
        dict.fromkeys(sorted(members), 1),
        host,
        path,
        internal=internal,
        held=held,
        selectors=selectors,
    ),
    PATTERN,
    PREFIX,
    st.sets(st.sampled_from(["v1", "v2"])),
    st.sampled_from([False, False, True]),
    st.booleans(),
    st.sampled_from([True, True, False]),
)
ROUTES = st.lists(ROUTE, max_size=18, unique_by=lambda r: r.id)
SELECTION = st.sampled_from(
    [
        (None, None),
        (b"v1", None),
        (b"-/v2", None),
        (b"v3", None),
        (b"", None),
        (None, b"X-Gateway-Service=v1"),
        (None, b"a=1; X-Gateway-Service=v9; X-Gateway-Service=v2"),
        (None, b"GATEWAYSESSION=x; v1=X-Gateway-Service"),
        (b"v3", b"X-Gateway-Service=v1"),
    ]
)
NAMED = {b"v1": {"-/v1"}, b"-/v2": {"-/v2"}, None: set[str]()}
REQUESTS = st.lists(st.tuples(HOST, PATH, st.booleans()), min_size=5, max_size=15)


def is_fit(route: SnapshotRoute, host: str, path: str) -> bool:
    fits_host = (
        host.endswith(route.host[1:]) and len(host) >= len(route.host)
        if "*" in route.host
        else host == route.host
    )
    return fits_host and (route.path == "/" or f"{path}/".startswith(f"{route.path}/"))


def naive(
    routes: list[SnapshotRoute],
    request: tuple[str, str, bool],
    selector: bytes | None,
    cookies: bytes | None,
) -> str | Miss:
    """All routes that fit, but for the held ones that were not selected; then the best."""
    host, path, internal = request
    if selector is not None:
        named = NAMED.get(selector, set())
    else:
        named = {f"-/v{n}" for n in (1, 2) if b"X-Gateway-Service=v%d" % n in (cookies or b"")}
    fit = [
        r
        for r in routes
        if is_fit(r, host, path)
        and (not r.held or (r.selectors and named & {m.service for m in r.members}))
    ]
    if not fit:
        return Miss.UNKNOWN_HOST
    best = max(fit, key=lambda r: ("*" not in r.host, len(r.host), len(r.path)))
    return Miss.INTERNAL_ONLY if best.internal and not internal else best.id


@given(routes=ROUTES, asked=REQUESTS)
@settings(deadline=None, max_examples=100)
def test_for_requests_without_a_selector_held_routes_are_not_there(
    routes: list[SnapshotRoute], asked: list[tuple[str, str, bool]]
) -> None:
    world, without = world_of(*routes), world_of(*(r for r in routes if not r.held))
    assert world.table.has_held is any(r.held for r in routes)
    assert not without.table.has_held
    for host, path, internal in asked:
        expected = match(without, host, path, internal=internal)
        for selector, cookies in ((None, None), (None, b"GATEWAYSESSION=x"), (b"v9", None)):
            assert match(world, host, path, selector, cookies, internal) == expected
        found = world.table.match(host.encode(), path.encode(), internal)
        assert (found.route.id if isinstance(found, Pool) else found) == expected


@given(routes=ROUTES, asked=REQUESTS, selection=SELECTION)
@settings(deadline=None, max_examples=150)
def test_a_selector_finds_what_a_search_through_all_routes_finds(
    routes: list[SnapshotRoute],
    asked: list[tuple[str, str, bool]],
    selection: tuple[bytes | None, bytes | None],
) -> None:
    world = world_of(*routes)
    for host, path, internal in asked:
        found = match(world, host, path, *selection, internal=internal)
        assert found == naive(routes, (host, path, internal), *selection)


@given(
    routes=ROUTES,
    history=st.lists(
        st.lists(st.sampled_from(["held", "open", "gone"]), min_size=18, max_size=18),
        min_size=2,
        max_size=5,
    ),
    asked=REQUESTS,
    selection=SELECTION,
)
@settings(deadline=None, max_examples=75)
def test_routes_that_are_held_and_let_go_leave_nothing_behind(
    routes: list[SnapshotRoute],
    history: list[list[str]],
    asked: list[tuple[str, str, bool]],
    selection: tuple[bytes | None, bytes | None],
) -> None:
    snapshots = [
        a_snapshot(
            [
                replace(route, held=fate == "held")
                for route, fate in zip(routes, fates, strict=False)
                if fate != "gone"
            ],
            [V1, V2],
            generation=generation,
        )
        for generation, fates in enumerate(history, 1)
    ]
    past, new = a_world(*snapshots), a_world(snapshots[-1])
    assert past.table.has_held is new.table.has_held
    for host, path, internal in asked:
        for which in ((None, None), selection):
            assert match(past, host, path, *which, internal=internal) == match(
                new, host, path, *which, internal=internal
            )


# -- rule by rule


def test_a_held_prefix_leaves_the_traffic_of_the_route_above_it_alone() -> None:
    world = world_of(
        a_route({"v1": 1}, "h"), a_route({"v2": 1}, "h", "/api", held=True, selectors=True)
    )
    assert match(world, "h", "/api/x") == "h"
    assert match(world, "h", "/api/x", b"v2") == "h/api"
    assert match(world, "h", "/apiary", b"v2") == "h"
    assert match(world, "h", "/api/x", b"v1") == "h"


def test_a_held_host_leaves_the_traffic_of_its_wildcard_alone() -> None:
    world = world_of(
        a_route({"v1": 1}, "*.h"), a_route({"v2": 1}, "a.h", held=True, selectors=True)
    )
    assert match(world, "a.h") == "*.h"
    assert match(world, "a.h", selector=b"v2") == "a.h"


def test_an_exact_host_takes_precedence_over_a_wildcard_of_its_length_and_a_longer_path() -> None:
    world = world_of(
        a_route({"v1": 1}, "*.h", "/api"), a_route({"v2": 1}, "a.h", held=True, selectors=True)
    )
    assert match(world, "a.h", "/api") == "*.h/api"
    assert match(world, "a.h", "/api", b"v2") == "a.h"


def test_of_several_held_routes_the_best_that_was_selected_is_found() -> None:
    world = world_of(
        a_route({"v2": 1}, "*.h", held=True, selectors=True),
        a_route({"v1": 1}, "*.b.h", held=True, selectors=True),
        a_route({"v1": 1}, "a.b.h", "/x", held=True, selectors=True),
    )
    assert match(world, "a.b.h", "/x", b"v1") == "a.b.h/x"
    assert match(world, "a.b.h", "/", b"v1") == "*.b.h"
    assert match(world, "a.b.h", "/x", b"v2") == "*.h"
    assert match(world, "a.b.h", "/x") is Miss.UNKNOWN_HOST


def test_an_open_internal_route_is_not_got_round_by_a_held_one_above_it() -> None:
    world = world_of(
        a_route({"v1": 1}, "h", "/admin", internal=True),
        a_route({"v2": 1}, "h", held=True, selectors=True),
    )
    assert match(world, "h", "/admin", b"v2", internal=False) is Miss.INTERNAL_ONLY


def test_a_held_route_that_hides_nothing_is_a_miss() -> None:
    world = world_of(a_route({"v1": 1}, "h", held=True, selectors=True))
    assert match(world, "h") is Miss.UNKNOWN_HOST
    assert match(world, "h", selector=b"v1") == "h"


def test_a_better_open_route_is_not_given_up_for_a_held_one() -> None:
    world = world_of(
        a_route({"v1": 1}, "h", "/api"),
        a_route({"v2": 1}, "h", held=True, selectors=True),
        a_route({"v2": 1}, "*.h", "/api/x", held=True, selectors=True),
    )
    assert match(world, "h", "/api/x", b"v2") == "h/api"
    assert match(world, "h", "/", b"v2") == "h"


def test_a_held_internal_prefix_does_not_hide_the_public_route_above_it() -> None:
    world = world_of(
        a_route({"v1": 1}, "h"),
        a_route({"v2": 1}, "h", "/admin", internal=True, held=True, selectors=True),
    )
    assert match(world, "h", "/admin", internal=False) == "h"
    assert match(world, "h", "/admin", b"v2", internal=True) == "h/admin"
    assert match(world, "h", "/admin", b"v2", internal=False) is Miss.INTERNAL_ONLY


def test_where_selectors_are_off_nobody_gets_to_a_held_route() -> None:
    world = world_of(a_route({"v1": 1}, "h"), a_route({"v2": 1}, "h", "/api", held=True))
    for selector, cookies in ((b"v2", None), (None, b"X-Gateway-Service=v2")):
        assert match(world, "h", "/api", selector, cookies) == "h"


def test_the_header_decides_before_the_cookie_does() -> None:
    world = world_of(
        a_route({"v1": 1}, "h"), a_route({"v2": 1}, "h", "/api", held=True, selectors=True)
    )
    cookie = b"X-Gateway-Service=v2"
    assert match(world, "h", "/api", None, cookie) == "h/api"
    assert match(world, "h", "/api", b"v1", cookie) == "h"


def test_a_selected_service_that_is_not_up_yet_is_a_503_not_the_other_routes_answer() -> None:
    world = a_world(
        a_snapshot(
            [a_route({"v1": 1}, "h"), a_route({"v2": 0}, "h", "/api", held=True, selectors=True)],
            [V1, a_service("v2", DOWN)],
        )
    )
    found = world.table.match_selected(b"h", b"/api", False, None, b"v2")
    assert isinstance(found, Pool)
    assert found.decide(None, b"v2").verdict is Verdict.NO_HEALTHY_INSTANCE


def test_a_selected_request_to_a_held_route_is_pinned_nowhere() -> None:
    world = world_of(a_route({"v2": 0}, "h", held=True, selectors=True))
    found = world.table.match_selected(b"h", b"/", False, None, b"v2")
    assert isinstance(found, Pool)
    assert not found.decide(None, b"v2").renew


def test_letting_a_route_go_is_one_step_and_keeps_its_place_in_the_round() -> None:
    held = a_route({"v1": 1, "v2": 3}, "h", "/api", held=True, selectors=True, affinity=False)
    before = a_snapshot([a_route({"v1": 1}, "h"), held], [V1, V2])
    after = with_route(before, replace(held, held=False))
    world = a_world(before)
    assert match(world, "h", "/api") == "h"
    world.apply(after)
    assert match(world, "h", "/api") == "h/api"
    assert not world.table.has_held
    pool = world.pools[held.id]
    got = [pool.decide(None, None).service for _ in range(2)]
    world.apply(with_route(before, held, generation=3))
    assert match(world, "h", "/api") == "h"
    world.apply(with_route(before, replace(held, held=False), generation=4))
    got += [world.pools[held.id].decide(None, None).service for _ in range(2)]
    assert Counter(s.name for s in got if s is not None) == {"v1": 1, "v2": 3}


def with_route(snapshot: Snapshot, route: SnapshotRoute, generation: int = 2) -> Snapshot:
    return replace(snapshot, generation=generation, routes={**snapshot.routes, route.id: route})


@pytest.mark.parametrize("selector", [None, b"v2", b"v9"])
def test_the_routes_passed_over_can_be_told(selector: bytes | None) -> None:
    world = world_of(
        a_route({"v1": 1}, "h"),
        a_route({"v2": 1}, "h", "/api", held=True, selectors=True),
        a_route({"v1": 1}, "h", "/api/x", held=True),
        a_route({"v1": 1}, "*.b", held=True),
    )
    before = [p.route.id for p in world.table.held_before(b"h", b"/api/x")]
    assert before == ["h/api/x", "h/api"]
    assert match(world, "h", "/api/x", selector) == ("h/api" if selector == b"v2" else "h")


class Counting(bytes):
    """A path or host that counts how often a part of it is taken."""

    slices = 0

    def __getitem__(self, part: slice) -> bytes:  # type: ignore[override]
        Counting.slices += 1
        return super().__getitem__(part)


@interpreted_only
def test_a_selector_costs_look_ups_bounded_by_the_routes_names_not_by_the_request() -> None:
    world = world_of(
        a_route({"v2": 1}, "*.wild.example", held=True, selectors=True),
        *(a_route({"v2": 1}, "h", f"/api/{n:04}", held=True, selectors=True) for n in range(100)),
    )
    Counting.slices = 0
    for host, path in (
        (b"h", Counting(b"/" * 60_000)),
        (b"h", Counting(b"/api/0000" + b"/x" * 30_000)),
        (Counting(b"a." * 30_000 + b"com"), b"/"),
    ):
        world.table.match_selected(host, path, False, None, b"v1")
    assert Counting.slices <= 40
