"""What clients send becomes what the model means, with its defaults."""

from __future__ import annotations

from typing import Any

import pytest

from admin.api.payload import parse
from admin.api.schemas import PolicyBody, ServiceBody, TokenBody, WeightsBody
from gateway.core.errors import Refused
from gateway.core.model import (
    AffinityPolicy,
    AtZero,
    BalancerName,
    Check,
    CheckKind,
    Claim,
    Endpoint,
    RoutePolicy,
    Service,
    TimeoutPolicy,
)


def service(**body: Any) -> Service:
    whole = {"routes": [{"host": "shop.example"}], "endpoints": [], **body}
    return parse(ServiceBody, whole).to_core("v1", "gw.example")


def test_a_bare_prefix_is_published_under_the_domain_and_localhost_stays() -> None:
    found = service(routes=[{"host": h} for h in ("nginx", "localhost", "A.b", "*.c.d")])
    assert [c.host for c in found.claims] == ["nginx.gw.example", "localhost", "a.b", "*.c.d"]


def test_a_service_has_the_defaults_of_the_contract() -> None:
    assert service() == Service("-", "v1", (Claim("shop.example", "/", None),))


def test_everything_a_service_can_say_arrives() -> None:
    found = service(
        routes=[{"host": "a.b", "path": "/x/", "port": 8080}],
        coexist=True,
        endpoints=["web:80", "[::1]:81"],
        balancer="least_requests",
        health={
            "path": "/ping",
            "port": 9,
            "interval": 1,
            "timeout": 0.5,
            "rise": 2,
            "fall": 4,
            "host": "h.i",
            "initial_delay": 3,
        },
    )
    assert found.claims == (Claim("a.b", "/x", 8080),)
    assert found.coexist
    assert found.endpoints == (Endpoint("web", 80), Endpoint("::1", 81))
    assert found.balancer is BalancerName.LEAST_REQUESTS
    assert found.check == Check(CheckKind.HTTP, "/ping", "h.i", 9, 1, 0.5, 2, 4, 3)


def test_a_check_with_a_path_asks_http_and_one_without_tcp() -> None:
    assert service(health={"path": "/ok"}).check == Check(CheckKind.HTTP, "/ok")
    assert service(health={}).check == Check(CheckKind.TCP)
    assert service(health={"type": "http"}).check == Check(CheckKind.HTTP, "/")
    for wrong in (
        {"type": "tcp", "path": "/"},
        {"path": "x"},
        {"path": "/a b"},
        {"path": "/\r\nX: 1"},
    ):
        with pytest.raises(Refused):
            service(health=wrong)


@pytest.mark.parametrize(
    "body",
    [
        {"routes": []},
        {"routes": [{"host": "a.b"}, {"host": "A.b", "path": "/"}]},
        {"endpoints": ["a:1", "A:1"]},
        {"endpoints": "a:1"},
        {"coexist": 1},
        {"routes": [{"host": "a.b", "port": True}]},
        {"routes": [{"host": "a.b", "port": 80.0}]},
        {"health": {"interval": 0}},
        {"health": {"timeout": "1"}},
        {"balancer": "ROUND_ROBIN"},
    ],
)
def test_a_service_that_cannot_be_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(Refused):
        service(**body)


def test_a_policy_says_only_what_the_operator_said() -> None:
    assert parse(PolicyBody, {}).to_core() == RoutePolicy()
    found = parse(
        PolicyBody,
        {
            "affinity": {"enabled": False, "cookie": "S", "max_age": 60, "at_zero": "evict"},
            "timeouts": {"connect": 1, "response_header": 2.5, "idle_stream": 3},
            "selectors": True,
            "internal": False,
            "spill": False,
        },
    ).to_core()
    assert found == RoutePolicy(
        AffinityPolicy(False, "S", 60, AtZero.EVICT), TimeoutPolicy(1, 2.5, 3), True, False, False
    )


def test_tokens_have_a_plain_name_and_a_known_role() -> None:
    assert parse(TokenBody, {"name": "ci", "role": "viewer"}).role == "viewer"
    for wrong in ({"name": "ci"}, {"name": "", "role": "viewer"}, {"name": "c/i", "role": "root"}):
        with pytest.raises(Refused):
            parse(TokenBody, wrong)


def test_weights_name_at_least_one_service() -> None:
    assert parse(WeightsBody, {"v1": 1}).root == {"v1": 1}
    several: tuple[object, ...] = ({}, [], 1, None, "v1=1")
    for wrong in several:
        with pytest.raises(Refused):
            parse(WeightsBody, wrong)
