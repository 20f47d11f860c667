"""How much work an instance of a service is given: said in registrations and templates, compiled."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from admin.api.schemas import ServiceBody
from gateway.core.compile import compile_service
from gateway.core.model import Claim, Service
from gateway.core.observed import Observed
from gateway.core.state import State
from gateway.core.templates import dotted, parse, read


def registered(**values: Any) -> Service:
    whole = {"routes": [{"host": "shop.example"}], "endpoints": ["10.0.0.1:80"], **values}
    return ServiceBody.model_validate(whole).to_core("one", "localhost")


def template(extension: dict[str, Any]) -> Any:
    return {
        "worker": {
            "image": "registry.example/worker:1",
            "x-gateway": extension,
            "labels": {"gateway.routing.port_80": "w.test"},
        }
    }


@pytest.mark.parametrize(
    ("values", "limit"),
    [
        ({}, None),
        ({"limits": {}}, None),
        ({"limits": {"in_flight": None}}, None),
        ({"limits": {"in_flight": 1}}, 1),
    ],
)
def test_a_registration_says_it(values: dict[str, Any], limit: int | None) -> None:
    assert registered(**values).in_flight_limit == limit


@pytest.mark.parametrize("value", [0, -1, 10_000_001, 1.0, "1", True, {}])
def test_a_registration_that_is_wrong_is_refused(value: object) -> None:
    with pytest.raises(ValidationError, match=r"limits\.in_flight"):
        registered(limits={"in_flight": value})


@pytest.mark.parametrize(
    ("extension", "limit"),
    [
        ({"limits": {"in_flight": 32}}, 32),
        ({"limits": {"in_flight": "32"}}, 32),
        ({"limits": {"in_flight": None}}, None),
        ({"limits": None}, None),
        ({"limits": {"in_flight": 5}, "endpoints": ["10.0.0.1:80"]}, 5),
    ],
)
def test_a_template_says_it_of_services_started_here_or_elsewhere(
    extension: dict[str, Any], limit: int | None
) -> None:
    parsed = parse(template(extension), application="x", domain="localhost", source="")
    (found,) = parsed.template.services
    assert found.in_flight_limit == limit
    assert (found.launch is None) == ("endpoints" in extension)


@pytest.mark.parametrize(
    ("limits", "place", "words"),
    [
        (5, "limits", "must be a map"),
        ({"inflight": 5}, "limits.inflight", "in_flight"),
        ({"in_flight": 0}, "limits.in_flight", "from 1 to"),
        ({"in_flight": []}, "limits.in_flight", "must be"),
    ],
)
def test_a_template_that_is_wrong_is_told_where(limits: object, place: str, words: str) -> None:
    found = read(template({"limits": limits}), application="x", domain="localhost")
    told = {dotted(p.place): p.message for p in found.problems}
    assert words in told[f"worker.x-gateway.{place}"], told


@pytest.mark.parametrize("limit", [None, 7])
def test_data_planes_are_told(limit: int | None) -> None:
    service = Service("-", "one", (Claim("a.test"),), in_flight_limit=limit)
    assert compile_service(State(), Observed(), service).in_flight_limit == limit
