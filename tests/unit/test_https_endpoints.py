"""Endpoints of https: how they are written, and what becomes of them up to the snapshot."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from admin.api.schemas import ServiceBody
from gateway.core.compile import compile_service
from gateway.core.model import Endpoint, InstanceTls, Service, UpstreamTls
from gateway.core.observed import Observed, instances_by_hand
from gateway.core.snapshot import service_from_wire, service_to_wire
from gateway.core.spelling import endpoint
from gateway.core.state import State
from gateway.core.templates import dotted, parse, read


@pytest.mark.parametrize(
    ("text", "expected", "shown"),
    [
        ("a.test:8443", Endpoint("a.test", 8443), "a.test:8443"),
        ("https://a.test:8443", Endpoint("a.test", 8443, True), "https://a.test:8443"),
        ("HTTPS://A.test", Endpoint("a.test", 443, True), "https://a.test:443"),
        ("https://10.0.0.1", Endpoint("10.0.0.1", 443, True), "https://10.0.0.1:443"),
        ("https://[::1]", Endpoint("::1", 443, True), "https://[::1]:443"),
        ("https://[::1]:1", Endpoint("::1", 1, True), "https://[::1]:1"),
    ],
)
def test_an_endpoint_of_https_is_written_as_a_url(
    text: str, expected: Endpoint, shown: str
) -> None:
    assert endpoint(text) == expected
    assert expected.text == shown
    assert endpoint(shown) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("https://", "https://a:0", "https://a:x", "https://a/", "https://a:1/x", "http://a:1"),
        *("https://u@a:1", "https://::1", "https://a:", "https:a:1", "https://[::1", "https://*.a"),
    ],
)
def test_what_is_no_endpoint_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"endpoint|port|host|address|brackets|label"):
        endpoint(text)


def service(tls: UpstreamTls | None, *endpoints: str) -> Service:
    return Service("-", "one", (), endpoints=tuple(map(endpoint, endpoints)), tls=tls)


def test_instances_are_verified_under_their_host_unless_another_name_is_given() -> None:
    endpoints = ("https://a.test:1", "b.test:2")
    own, plain = instances_by_hand(service(None, *endpoints))
    assert (own.id, own.tls) == ("one@a.test:1", InstanceTls("a.test"))
    assert (plain.id, plain.tls) == ("one@b.test:2", None)
    named, _ = instances_by_hand(service(UpstreamTls("inner.test", verify=False), *endpoints))
    assert named.tls == InstanceTls("inner.test", verify=False)


def test_a_worker_is_told_how_to_speak_to_an_instance() -> None:
    one = service(UpstreamTls("inner.test"), "https://10.0.0.1:1", "10.0.0.2:2")
    observed = Observed(instances={one.id: instances_by_hand(one)})
    compiled = compile_service(State(services={one.id: one}), observed, one)
    assert [i.tls for i in compiled.instances] == [InstanceTls("inner.test"), None]
    assert service_from_wire(service_to_wire(compiled)) == compiled


def body(**values: Any) -> Service:
    whole = {"routes": [{"host": "shop.example"}], **values}
    return ServiceBody.model_validate(whole).to_core("one", "localhost")


def test_a_registration_says_it() -> None:
    found = body(endpoints=["https://a.test", "b.test:2"], tls={"server_name": "Inner.test."})
    assert found.endpoints == (Endpoint("a.test", 443, True), Endpoint("b.test", 2))
    assert found.tls == UpstreamTls("inner.test")
    assert body(endpoints=["https://a.test"]).tls is None
    unverified = body(endpoints=["https://a.test"], tls={"verify": False})
    assert unverified.tls == UpstreamTls(None, verify=False)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"endpoints": ["a.test:1"], "tls": {}}, "begin with https://"),
        ({"endpoints": ["https://a.test:1", "a.test:1"]}, "is there already"),
        ({"endpoints": ["https://a"], "tls": {"server_name": "a b"}}, "labels"),
        ({"endpoints": ["https://a"], "tls": {"verfy": False}}, "verfy"),
        ({"endpoints": ["https://a"], "tls": {"verify": "no"}}, "bool"),
    ],
)
def test_a_registration_that_is_wrong_is_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        body(**values)


def template(extension: dict[str, Any]) -> Any:
    return {"billing": {"x-gateway": extension, "labels": {"gateway.routing.port_443": "b.test"}}}


def test_a_template_says_it() -> None:
    document = template({"endpoints": ["https://a.test:1"], "tls": {"server_name": "inner.test"}})
    parsed = parse(document, application="x", domain="localhost", source="")
    (found,) = parsed.template.services
    assert found.endpoints == (Endpoint("a.test", 1, True),)
    assert found.tls == UpstreamTls("inner.test")


@pytest.mark.parametrize(
    ("extension", "place", "words"),
    [
        ({"endpoints": ["a:1"], "tls": {}}, "tls", "begins with https://"),
        ({"tls": {}}, "tls", "begins with https://"),
        ({"endpoints": ["https://a"], "tls": 1}, "tls", "must be a map"),
        ({"endpoints": ["https://a"], "tls": {"name": "x"}}, "tls.name", "unknown key"),
        ({"endpoints": ["https://a"], "tls": {"server_name": "a b"}}, "tls.server_name", "labels"),
        ({"endpoints": ["https://a"], "tls": {"server_name": 5}}, "tls.server_name", "text"),
        ({"endpoints": ["https://a"], "tls": {"verify": 1}}, "tls.verify", "true or false"),
        ({"endpoints": ["https://a:1", "a:1"]}, "endpoints[1]", "already"),
    ],
)
def test_a_template_that_is_wrong_is_told_where(
    extension: dict[str, Any], place: str, words: str
) -> None:
    found = read(template(extension), application="x", domain="localhost")
    told = {dotted(p.place): p.message for p in found.problems}
    assert words in told[f"billing.x-gateway.{place}"], told
