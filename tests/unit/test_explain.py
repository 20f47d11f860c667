"""Explanations of requests that held routes have to do with: `explain` says what workers do."""

from __future__ import annotations

import pytest

from admin.api.context import NothingLaunched
from admin.api.explain import explanation, read
from admin.api.queries import ExplainQuery
from admin.api.report_answers import Explanation
from admin.api.views import View
from gateway.core.observed import Observed
from gateway.core.state import State
from tests.support.api import SetFigures
from tests.support.worlds import UP, a_route, a_service, a_snapshot, a_world

SNAPSHOT = a_snapshot(
    [
        a_route({"v1": 100}, "shop.example"),
        a_route({"v2": 100}, "shop.example", "/api", held=True, selectors=True),
        a_route({"v2": 100}, "shop.example", "/off", held=True),
        a_route({"v2": 100}, "new.example", held=True, selectors=True),
        a_route({"v1": 100}, "x.example"),
        a_route({"v2": 100}, "x.example", "/inner", held=True, selectors=True, internal=True),
    ],
    [a_service("v1", UP), a_service("v2", UP)],
)


def explained(host: str, path: str = "/", **query: object) -> tuple[Explanation, str]:
    asked = read(ExplainQuery(host=host, path=path, **query))  # type: ignore[arg-type]
    now = View(State(), Observed(), SNAPSHOT, SetFigures(), NothingLaunched())
    found = explanation(asked, a_world(SNAPSHOT), now)
    return found, "\n".join(found.why)


def test_a_held_route_that_is_passed_over_is_named_with_the_way_to_it() -> None:
    found, why = explained("shop.example", "/api/x")
    assert (found.route, found.service, found.verdict) == ("shop.example", "-/v1", "ok")
    assert "route shop.example/api is held back" in why
    assert "X-Gateway-Service" in why


def test_a_held_route_without_selectors_is_said_to_be_out_of_reach() -> None:
    found, why = explained("shop.example", "/off", header=["X-Gateway-Service: v2"])
    assert found.route == "shop.example"
    assert "shop.example/off is held back: nobody gets there" in why


@pytest.mark.parametrize(
    "query",
    [{"header": ["X-Gateway-Service: v2"]}, {"cookie": ["X-Gateway-Service=v2"]}],
)
def test_a_selector_leads_to_a_held_route_and_is_said_to(query: dict[str, object]) -> None:
    found, why = explained("shop.example", "/api/x", **query)
    assert (found.route, found.service) == ("shop.example/api", "-/v2")
    assert "without the selector the request would go elsewhere" in why
    assert "is held back: only" not in why


def test_a_selector_that_names_no_service_of_the_held_route_does_not_lead_there() -> None:
    found, why = explained("shop.example", "/api", header=["X-Gateway-Service: v1"])
    assert found.route == "shop.example"
    assert "shop.example/api is held back" in why


def test_a_host_that_only_a_held_route_has_is_unknown_and_the_route_is_named() -> None:
    found, why = explained("new.example")
    assert (found.verdict, found.status, found.route) == ("unknown_host", 404, None)
    assert "no route has host 'new.example'" in why
    assert "route new.example is held back" in why
    assert "new.example" not in explained("new.exampl")[1].partition("did you mean")[2]


def test_a_held_internal_route_is_explained_as_each_entrypoint_serves_it() -> None:
    selected = {"header": ["X-Gateway-Service: v2"]}
    found, why = explained("x.example", "/inner", internal=False)
    assert (found.route, found.verdict) == ("x.example", "ok")
    assert "x.example/inner is held back" in why
    found, why = explained("x.example", "/inner", internal=False, **selected)
    assert (found.verdict, found.status) == ("internal_only", 404)
    assert "is held back: only" not in why
    found, why = explained("x.example", "/inner", **selected)
    assert found.route == "x.example/inner"
    assert "public ones 404" in why


def test_where_no_route_is_held_nothing_is_said_of_it() -> None:
    assert "held" not in explained("shop.example", "/")[1]
