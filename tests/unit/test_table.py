"""The routing table against a naive model, and its rules one by one."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.snapshot import SnapshotRoute
from gateway.routing.affinity import Keyring
from gateway.routing.pool import Pool
from gateway.routing.table import Miss, Table
from tests.support.compiled import interpreted_only
from tests.support.worlds import a_route

EMPTY = Keyring(())


def pool(host: str, path: str = "/", internal: bool = False) -> Pool:
    return Pool(a_route({}, host, path, internal=internal), (), EMPTY, 0)


def table_of(*pools: Pool) -> Table:
    table = Table()
    for each in pools:
        table.put(each)
    return table


def match(table: Table, host: str, path: str = "/", internal: bool = False) -> str | Miss:
    found = table.match(host.encode(), path.encode(), internal)
    return found if isinstance(found, Miss) else found.route.id


# -- against a model

LABEL = st.sampled_from(["a", "b", "shop"])
HOST = st.lists(LABEL, min_size=1, max_size=4).map(".".join)
PATTERN = st.builds(lambda wild, host: ("*." if wild else "") + host, st.booleans(), HOST)
PATH = st.lists(st.sampled_from(["", "x", "xy", "api"]), max_size=5).map(
    lambda p: "/" + "/".join(p)
)
PREFIX = st.lists(st.sampled_from(["x", "xy", "api"]), max_size=3).map(lambda p: "/" + "/".join(p))


def is_host_match(pattern: str, host: str) -> bool:
    return (
        host.endswith(pattern[1:]) and len(host) >= len(pattern)
        if "*" in pattern
        else host == pattern
    )


def is_path_match(prefix: str, path: str) -> bool:
    return prefix == "/" or path == prefix or path.startswith(prefix + "/")


def naive(routes: list[SnapshotRoute], host: str, path: str, internal: bool) -> str | Miss:
    """All that fit; the best is exact before wildcard, then longest host, then longest path."""
    fit = [r for r in routes if is_host_match(r.host, host) and is_path_match(r.path, path)]
    if not fit:
        return Miss.UNKNOWN_HOST
    best = max(fit, key=lambda r: ("*" not in r.host, len(r.host), len(r.path)))
    return Miss.INTERNAL_ONLY if best.internal and not internal else best.id


@given(
    routes=st.dictionaries(st.tuples(PATTERN, PREFIX), st.booleans(), max_size=25),
    removed=st.sets(st.integers(0, 24)),
    asked=st.lists(st.tuples(HOST, PATH, st.booleans()), min_size=5, max_size=20),
)
@settings(deadline=None, max_examples=150)
def test_the_table_finds_what_a_search_through_all_routes_finds(
    routes: dict[tuple[str, str], bool],
    removed: set[int],
    asked: list[tuple[str, str, bool]],
) -> None:
    pools = [pool(host, path, internal) for (host, path), internal in routes.items()]
    table = table_of(*pools)
    for n in removed & set(range(len(pools))):
        table.remove(pools[n])
    left = [p.route for n, p in enumerate(pools) if n not in removed]
    for host, path, internal in asked:
        assert match(table, host, path, internal) == naive(left, host, path, internal)


# -- rule by rule


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/", "h"),
        ("/api", "h/api"),
        ("/api/", "h/api"),
        ("/api/x/y", "h/api"),
        ("/apiary", "h"),
        ("/ap", "h"),
        ("/api/v2", "h/api/v2"),
        ("/api/v2/", "h/api/v2"),
        ("/api/v22", "h/api"),
        ("//api", "h"),
        ("/x/api", "h"),
        ("/API", "h"),
        ("/%61pi", "h"),
        ("*", "h"),
        ("", "h"),
        ("/api" + "/" * 1000, "h/api"),
    ],
)
def test_the_longest_prefix_on_a_border_wins(path: str, route: str) -> None:
    table = table_of(pool("h"), pool("h", "/api"), pool("h", "/api/v2"))
    assert match(table, "h", path) == route


def test_a_prefix_with_a_trailing_slash_is_the_same_prefix() -> None:
    assert match(table_of(pool("h", "/api/")), "h", "/api") == "h/api"


def test_a_known_host_without_a_route_for_the_path_is_a_miss() -> None:
    assert match(table_of(pool("h", "/api")), "h", "/") is Miss.UNKNOWN_HOST


@pytest.mark.parametrize(
    ("host", "route"),
    [
        ("a.example", "a.example"),
        ("b.example", "*.example"),
        ("x.b.example", "*.b.example"),
        ("y.x.b.example", "*.b.example"),
        ("x.a.example", "*.example"),
        ("example", Miss.UNKNOWN_HOST),
        (".example", Miss.UNKNOWN_HOST),
        ("notexample", Miss.UNKNOWN_HOST),
        ("", Miss.UNKNOWN_HOST),
        ("." * 2000, Miss.UNKNOWN_HOST),
        ("[::1]", Miss.UNKNOWN_HOST),
    ],
)
def test_exact_hosts_come_first_then_the_longest_wildcard(host: str, route: str | Miss) -> None:
    table = table_of(pool("a.example"), pool("*.example"), pool("*.b.example"))
    assert match(table, host) == route


def test_a_host_whose_prefixes_do_not_fit_leaves_the_path_to_wildcards() -> None:
    table = table_of(pool("a.b.example", "/only"), pool("*.b.example", "/api"), pool("*.example"))
    assert match(table, "a.b.example", "/only/x") == "a.b.example/only"
    assert match(table, "a.b.example", "/api") == "*.b.example/api"
    assert match(table, "a.b.example", "/other") == "*.example"


def test_internal_routes_are_served_on_internal_entrypoints_only() -> None:
    table = table_of(pool("s.local", internal=True), pool("h"))
    assert match(table, "s.local", internal=False) is Miss.INTERNAL_ONLY
    assert match(table, "s.local", internal=True) == "s.local"
    assert match(table, "h", internal=True) == "h"


def test_an_internal_prefix_is_not_handed_to_the_public_route_above_it() -> None:
    table = table_of(
        pool("h"), pool("h", "/admin", internal=True), pool("*.b"), pool("x.b", "/", True)
    )
    assert match(table, "h", "/admin/users") is Miss.INTERNAL_ONLY
    assert match(table, "h", "/administration") == "h"
    assert match(table, "x.b") is Miss.INTERNAL_ONLY


def test_a_removed_route_leaves_nothing_behind() -> None:
    wild, exact = pool("*.example", "/a"), pool("h")
    table = table_of(wild, exact)
    table.remove(wild)
    table.remove(exact)
    table.remove(exact)
    assert match(table, "x.example", "/a") is Miss.UNKNOWN_HOST
    assert match(table, "h") is Miss.UNKNOWN_HOST


def test_removing_the_old_route_of_a_place_leaves_the_new_one() -> None:
    old, new = pool("h"), pool("h")
    table = table_of(old, new)
    table.remove(old)
    assert table.match(b"h", b"/", False) is new


class Counting(bytes):
    """A path or host that counts how often a part of it is taken."""

    slices = 0

    def __getitem__(self, part: slice) -> bytes:  # type: ignore[override]
        Counting.slices += 1
        return super().__getitem__(part)


@interpreted_only
@pytest.mark.parametrize("routes", [1, 1000])
def test_the_cost_of_a_match_is_bounded_by_the_routes_names_not_by_the_request(
    routes: int,
) -> None:
    table = table_of(pool("*.wild.example"), *(pool("h", f"/api/{n:04}") for n in range(routes)))
    Counting.slices = 0
    table.match(b"h", Counting(b"/" * 60_000), False)
    table.match(b"h", Counting(b"/api/0000" + b"/x" * 30_000), False)
    table.match(Counting(b"a." * 30_000 + b"com"), b"/", False)
    assert Counting.slices <= 20
