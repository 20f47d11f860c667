"""Tokens and cookies. What a pool makes of them is in test_pool.py."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.model import AffinityKey, AtZero, InstanceId, RouteId, ServiceId
from gateway.routing.affinity import (
    HOME_LENGTH,
    TOKEN_LENGTH,
    Keyring,
    find,
    find_cookie,
    strip_cookie,
)
from gateway.routing.decision import Sticky
from gateway.routing.pool import Pool
from tests.support.worlds import (
    KEY,
    OTHER_KEY,
    UP,
    a_route,
    a_service,
    a_snapshot,
    a_world,
    pool_of,
    the_pool,
)

NAME = b"GATEWAYSESSION"


def token(keyring: Keyring, route: str = "r", service: str = "-/s", instance: str = "i") -> bytes:
    homes = keyring.homes(RouteId(route), ServiceId(service))
    return keyring.tokens(homes, InstanceId(instance))[0]


def cookie(pool: Pool, member: int = 0, instance: int = 0) -> bytes:
    """What a browser sends back after it got to that instance."""
    service = pool.services[member]
    return pool.set_cookie(service, service.instances[instance], False).partition(b";")[0]


def stickiness(pool: Pool, header: bytes) -> Sticky:
    return pool.decide(header, None).sticky


@pytest.fixture
def pool() -> Pool:
    return pool_of(a_route({"v1": 50, "v2": 50}), a_service("v1", UP, UP), a_service("v2", UP, UP))


# -- tokens


def test_a_token_is_format_key_and_two_digests() -> None:
    made = token(Keyring([KEY]))
    assert re.fullmatch(rb"1a[A-Za-z0-9_-]{32}", made)
    assert len(made) == TOKEN_LENGTH


def test_instances_of_a_service_share_the_first_part_only() -> None:
    keyring = Keyring([KEY])
    one, other = token(keyring, instance="i"), token(keyring, instance="j")
    assert one[:HOME_LENGTH] == other[:HOME_LENGTH]
    assert one[HOME_LENGTH:] != other[HOME_LENGTH:]


names = st.text(st.sampled_from("ab0:/-"), max_size=4)


@given(one=st.tuples(names, names, names), other=st.tuples(names, names, names))
@settings(deadline=None)
def test_different_places_have_different_tokens(
    one: tuple[str, str, str], other: tuple[str, str, str]
) -> None:
    keyring = Keyring([KEY])
    assert (token(keyring, *one) == token(keyring, *other)) is (one == other)


def test_tokens_are_the_same_in_every_worker_and_after_a_restart() -> None:
    """A change of these bytes throws all clients out of their sessions."""
    assert token(Keyring([KEY])) == token(Keyring([KEY, OTHER_KEY]))
    assert token(Keyring([KEY])) == b"1aGkg8VOId6IfcVOs5lEg8ERcBPZFRiWi4"


def test_another_secret_makes_another_token() -> None:
    same_id = AffinityKey(KEY.id, OTHER_KEY.secret, KEY.created)
    assert token(Keyring([KEY])) != token(Keyring([same_id]))


# -- what a client may send


def test_a_browser_is_recognised_among_its_other_cookies(pool: Pool) -> None:
    for header in (b"%s", b"a=1; %s", b"%s; b=2", b"a=1; %s; b=2", b"a=1;%s;b=2", b" a=1 ;  %s "):
        decision = pool.decide(header % cookie(pool, 1, 1), None)
        assert decision.sticky is Sticky.HIT
        assert decision.pinned is pool.services[1].instances[1]


def test_a_quoted_value_is_recognised(pool: Pool) -> None:
    name, _, value = cookie(pool).partition(b"=")
    assert stickiness(pool, b'%s="%s"' % (name, value)) is Sticky.HIT


@given(place=st.integers(0, TOKEN_LENGTH - 1), byte=st.integers(0, 255))
@settings(deadline=None, max_examples=60)
def test_a_forged_token_never_hits(place: int, byte: int) -> None:
    pool = pool_of(a_route({"v1": 1, "v2": 1}), a_service("v1", UP), a_service("v2", UP))
    name, _, good = cookie(pool).partition(b"=")
    forged = good[:place] + bytes([byte]) + good[place + 1 :]
    if forged != good:
        assert stickiness(pool, name + b"=" + forged) is not Sticky.HIT


@given(garbage=st.binary(max_size=80))
@settings(deadline=None, max_examples=100)
def test_garbage_in_the_header_is_a_new_client(garbage: bytes) -> None:
    pool = pool_of(a_route({"v1": 1}), a_service("v1", UP))
    for header in (garbage, NAME + b"=" + garbage, garbage + NAME + b"=", NAME + garbage):
        assert stickiness(pool, header) is Sticky.NEW


@pytest.mark.parametrize(
    "header",
    [
        b"X%s",
        b"my-%s",
        b"a=%s",
        b'a="%s"',
        b"a b %s",
        b"a=1, %s",
        b"\x00%s",
        b"%sx",
        b"%s=",
        b"-%s",
    ],
)
def test_a_token_that_is_not_the_whole_value_of_the_cookie_does_not_count(
    pool: Pool, header: bytes
) -> None:
    assert stickiness(pool, header % cookie(pool)) is Sticky.NEW


def test_a_cookie_without_an_equals_sign_does_not_count(pool: Pool) -> None:
    assert stickiness(pool, cookie(pool).replace(b"=", b".")) is Sticky.NEW


def test_the_name_is_compared_with_its_case(pool: Pool) -> None:
    name, _, value = cookie(pool).partition(b"=")
    assert stickiness(pool, name.lower() + b"=" + value) is Sticky.NEW


def test_a_token_of_another_route_of_the_same_services_does_not_count() -> None:
    services = [a_service("v1", UP), a_service("v2", UP)]
    routes = [a_route({"v1": 1, "v2": 1}, path=path) for path in ("/", "/api")]
    world = a_world(a_snapshot(routes, services))
    root, api = the_pool(world, path="/"), the_pool(world, path="/api")
    assert stickiness(api, cookie(root)) is Sticky.NEW
    for header in (
        b"%s; %s" % (cookie(root), cookie(api)),
        b"%s; %s" % (cookie(api), cookie(root)),
    ):
        assert stickiness(root, header) is Sticky.HIT
        assert stickiness(api, header) is Sticky.HIT


def test_of_several_known_tokens_the_first_counts(pool: Pool) -> None:
    decision = pool.decide(b"%s; %s" % (cookie(pool, 1, 0), cookie(pool, 0, 0)), None)
    assert decision.pinned is pool.services[1].instances[0]


def test_a_stale_token_before_the_good_one_does_not_hide_it(pool: Pool) -> None:
    stale = b"%s=1a%s" % (NAME, b"x" * 32)
    header = b"%s; %s=; %s=short; %s" % (stale, NAME, NAME, cookie(pool, 1, 1))
    assert pool.decide(header, None).pinned is pool.services[1].instances[1]


def test_a_token_known_as_a_service_only_counts_when_it_is_first(pool: Pool) -> None:
    gone = cookie(pool, 1)[: -TOKEN_LENGTH + HOME_LENGTH] + b"x" * 16
    decision = pool.decide(b"%s; %s" % (gone, cookie(pool, 0)), None)
    assert decision.sticky is Sticky.MOVED
    assert decision.service is pool.services[1]


# -- keys


def rotated(*keys: AffinityKey) -> Pool:
    route, services = a_route({"v1": 1, "v2": 1}), [a_service("v1", UP), a_service("v2", UP)]
    world = a_world(a_snapshot([route], services, (KEY,)), a_snapshot([route], services, keys))
    return the_pool(world)


def test_a_token_of_an_older_key_still_holds_and_is_renewed(pool: Pool) -> None:
    old = cookie(rotated(KEY), 1)
    after = rotated(OTHER_KEY, KEY)
    decision = after.decide(old, None)
    assert decision.sticky is Sticky.HIT
    assert decision.renew
    assert decision.service is after.services[1]
    assert not after.decide(cookie(after, 1), None).renew


def test_new_tokens_are_signed_with_the_first_key() -> None:
    assert cookie(rotated(OTHER_KEY, KEY)).startswith(NAME + b"=1b")


def test_a_token_of_a_dropped_key_is_worth_nothing() -> None:
    assert stickiness(rotated(OTHER_KEY), cookie(rotated(KEY))) is Sticky.NEW


def test_a_key_of_the_same_id_with_another_secret_makes_old_tokens_worthless() -> None:
    replaced = AffinityKey(KEY.id, OTHER_KEY.secret, KEY.created)
    assert stickiness(rotated(replaced), cookie(rotated(KEY))) is Sticky.NEW


def test_without_a_key_there_is_no_affinity() -> None:
    pool = rotated()
    assert pool.cookie_name is None
    assert stickiness(pool, cookie(rotated(KEY))) is Sticky.OFF
    with pytest.raises(LookupError):
        pool.set_cookie(pool.services[0], pool.services[0].instances[0], False)


# -- Set-Cookie


def test_the_cookie_is_for_the_route_and_out_of_reach_of_scripts() -> None:
    pool = pool_of(a_route({"v1": 1}, path="/api", at_zero=AtZero.EVICT), a_service("v1", UP))
    service = pool.services[0]
    plain = pool.set_cookie(service, service.instances[0], False)
    assert re.fullmatch(
        rb"GATEWAYSESSION=1a[\w-]{32}; Path=/api; Max-Age=3600; HttpOnly; SameSite=Lax", plain
    )
    assert pool.set_cookie(service, service.instances[0], True) == plain + b"; Secure"


@pytest.mark.parametrize(
    ("prefix", "path"),
    [
        ("/", b"/"),
        ("/api", b"/api"),
        ("/api/", b"/api"),
        ("/a/b;c", b"/a"),
        ("/a;b", b"/"),
        ("/a/\r\nSet-Cookie: x", b"/a"),
        ("/a b/c", b"/"),
        ("/ä/c", b"/"),
    ],
)
def test_a_prefix_that_a_cookie_cannot_name_is_cut_and_never_injects(
    prefix: str, path: bytes
) -> None:
    pool = pool_of(a_route({"v1": 1}, path=prefix), a_service("v1", UP))
    value = pool.set_cookie(pool.services[0], pool.services[0].instances[0], False)
    assert b"; Path=" + path + b"; Max-Age" in value
    assert b"\r" not in value


# -- cookies in a header

PART = st.sampled_from(
    [b"a=1", b"S=x", b"S=y", b"XS=n", b"S", b"S =z", b"", b" ", b'S="q"', b"aS=S=1"]
)


def simple_find(header: bytes, name: bytes) -> list[bytes]:
    found = []
    for part in header.split(b";"):
        key, equals, value = part.lstrip(b" \t").partition(b"=")
        if equals and key == name:
            value = value.strip()
            found.append(
                value[1:-1] if len(value) > 1 and value[:1] == b'"' == value[-1:] else value
            )
    return found


@given(parts=st.lists(PART), joint=st.sampled_from([b"; ", b";", b" ; ", b";\t"]))
@settings(deadline=None, max_examples=200)
def test_every_cookie_of_a_name_is_found_in_order(parts: list[bytes], joint: bytes) -> None:
    header = joint.join(parts)
    assert list(find_cookie(header, b"S")) == simple_find(header, b"S")


@given(parts=st.lists(PART), joint=st.sampled_from([b"; ", b";", b" ; "]))
@settings(deadline=None, max_examples=200)
def test_stripping_leaves_nothing_of_the_name_and_all_of_the_others(
    parts: list[bytes], joint: bytes
) -> None:
    header = joint.join(parts)
    left = strip_cookie(header, b"S") or b""
    assert list(find_cookie(left, b"S")) == []
    for name in (b"a", b"XS", b"aS"):
        assert list(find_cookie(left, name)) == list(find_cookie(header, name))


@given(header=st.text("aS=", max_size=30), part=st.text("aS=", min_size=1, max_size=4))
def test_a_part_is_found_where_bytes_find_it(header: str, part: str) -> None:
    whole, wanted = header.encode(), part.encode()
    for at in range(len(whole) + 2):
        assert find(whole, wanted, at) == whole.find(wanted, at)


def test_other_cookies_are_passed_on_byte_by_byte() -> None:
    assert strip_cookie(b"a=1; S=2; b= 3 ;c", b"S") == b"a=1; b= 3 ;c"
    assert strip_cookie(b"a=1;  b", b"S") == b"a=1;  b"
    assert strip_cookie(b"a=S; b", b"S") == b"a=S; b"


@pytest.mark.parametrize("header", [b"S=1", b"S=1; S=2", b" S=1 ;", b"", b"S=1;;"])
def test_nothing_is_left_of_a_header_that_holds_only_the_cookie(header: bytes) -> None:
    assert strip_cookie(header, b"S") is None


@pytest.mark.parametrize(
    "header", [b"xS=" * 20_000, b" " * 60_000 + b"S=", b"S=;" * 20_000, b"a=" + b" S=" * 20_000]
)
def test_a_hostile_header_is_read_to_its_end_once(header: bytes) -> None:
    assert len(list(find_cookie(header, b"S"))) <= 20_000
    strip_cookie(header, b"S")
