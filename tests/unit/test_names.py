"""Names: what is meant by a short one, and what is shown for a long one."""

from __future__ import annotations

import pytest

from gateway.core.errors import Code, Refused
from gateway.core.model import Service, ServiceId, split_service_id
from gateway.core.names import (
    did_you_mean,
    find_service,
    published_host,
    quote,
    short_names,
    weights_by_name,
)
from gateway.core.state import State

A, B, C = ServiceId("-/web"), ServiceId("shop/web"), ServiceId("shop/db")
STATE = State(services={s: Service(*split_service_id(s), ()) for s in (A, B, C)})


def test_a_short_name_means_the_only_service_that_has_it() -> None:
    assert find_service(STATE, "db").id == C
    assert find_service(STATE, "shop/web").id == B


def test_an_ambiguous_name_lists_the_full_ids() -> None:
    with pytest.raises(Refused) as refused:
        find_service(STATE, "web")
    assert refused.value.code is Code.AMBIGUOUS
    assert refused.value.extra == {"candidates": [A, B]}


def test_an_unknown_name_says_what_may_be_meant() -> None:
    with pytest.raises(Refused, match="did you mean 'web'") as refused:
        find_service(STATE, "wbe")
    assert refused.value.code is Code.NOT_FOUND


def test_full_ids_are_shown_only_where_short_names_clash() -> None:
    assert short_names([A, B, C]) == {A: A, B: B, C: "db"}
    assert weights_by_name({C: 1, A: 2}) == {"db": 1, "web": 2}


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("nginx", "nginx.apps.test"),
        ("Nginx", "nginx.apps.test"),
        ("a.LOCAL", "a.local"),
        ("*.x", "*.x"),
        ("localhost", "localhost"),
        ("[::1]", "[::1]"),
    ],
)
def test_a_bare_prefix_is_published_under_the_domain(host: str, shown: str) -> None:
    assert published_host(host, "apps.test") == shown


def test_names_from_outside_are_shown_safely() -> None:
    assert quote("a\r\n\x1b[31m") == r"'a\r\n\x1b[31m'"
    assert len(quote("x" * 10_000)) < 130


def test_looking_for_what_is_meant_is_bounded() -> None:
    many = (f"service-{n}" for n in range(10**9))
    assert did_you_mean("zzz", many) == ""
