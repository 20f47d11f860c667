"""`POST /validate` tells of a template what was understood, and what was not."""

from __future__ import annotations

import json

from tests.support.api import Api, on_an_api

YAML = {"Content-Type": "application/yaml"}
WEB = b"""
web:
  x-gateway: {endpoints: ["10.0.0.1:8080", "10.0.0.2:8080"]}
  labels:
    gateway.routing.port_80: web;shop.example:/api
    gateway.routing.coexist: true
    gateway.routing.session_sticky: false
    gateway.probe.url: http://container/health
  hostname: web
db:
  x-gateway: {endpoints: ["10.0.0.3:5432"]}
"""


@on_an_api
async def test_a_template_is_checked_without_being_used(api: Api) -> None:
    before = api.controller.state
    answer = await api("POST", "validate?kind=template", raw=WEB, headers=YAML)
    assert answer.status == 200
    assert (answer.json["valid"], answer.json["kind"]) == (True, "template")
    assert answer.json["problems"] == []
    (warning,) = answer.json["warnings"]
    assert warning.startswith("web.hostname: has no effect here")
    web, db = answer.json["services"]
    assert web["endpoints"] == ["10.0.0.1:8080", "10.0.0.2:8080"]
    assert (web["image"], web["scale"], web["coexist"]) == (None, 2, True)
    assert web["routes"] == [
        {"route": "web.localhost", "port": None, "sticky": False},
        {"route": "shop.example/api", "port": None, "sticky": False},
    ]
    assert (web["health"]["type"], web["health"]["path"]) == ("http", "/health")
    assert db["health"]["type"] == "running"
    assert api.controller.state is before


@on_an_api
async def test_problems_of_a_template_have_place_and_line(api: Api) -> None:
    text = WEB + b"  labels: {gateway.scal: 2}\nnew: {image: 'app:1'}\n"
    answer = await api("POST", "validate?kind=template", raw=text, headers=YAML)
    assert answer.status == 200
    assert answer.json["valid"] is False
    misspelt, unknown = answer.json["problems"]
    assert (misspelt["field"], misspelt["line"]) == ("db.labels.gateway.scal", 12)
    assert "did you mean 'gateway.scale'" in misspelt["message"]
    assert (unknown["field"], unknown["line"]) == ("new.image", 13)
    assert "providers.process.images" in unknown["message"]
    assert [s["name"] for s in answer.json["services"]] == ["web", "new"]


@on_an_api
async def test_what_kind_a_document_is_shows_in_its_keys(api: Api) -> None:
    for text, kind in (
        (WEB, "template"),
        (b"services: {}", "template"),
        (b"web: {image: x}", "template"),
        (b"workers: 2", "configuration"),
        (b"", "configuration"),
        (b"[1]", "configuration"),
        (b"providers: {process: {images: {}}}", "configuration"),
    ):
        answer = await api("POST", "validate", raw=text, headers=YAML)
        assert answer.json["kind"] == kind, text
    answer = await api("POST", "validate?kind=configuration", raw=WEB, headers=YAML)
    assert (answer.json["valid"], answer.json["kind"]) == (False, "configuration")


@on_an_api
async def test_templates_are_json_too(api: Api) -> None:
    headers = {"Content-Type": "application/json"}
    web = {"x-gateway": {"endpoints": ["a:1"]}}
    for text, valid in (
        (json.dumps({"services": {"web": web}}), True),
        (json.dumps({"services": {"web": {**web, "ports": ["80:80"]}}}), False),
        ("{", False),
    ):
        answer = await api("POST", "validate?kind=template", raw=text.encode(), headers=headers)
        assert answer.json["valid"] is valid
        assert bool(answer.json["problems"]) is not valid
        assert all(problem["line"] is None for problem in answer.json["problems"])
