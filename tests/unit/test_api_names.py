"""Names are brought into one form or refused with the reason."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from admin.api import names
from gateway.core.model import Endpoint


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("Shop.Example", "shop.example"),
        ("*.shop.example", "*.shop.example"),
        ("nginx", "nginx"),
        ("localhost", "localhost"),
        ("a_b.example", "a_b.example"),
        ("10.0.0.1", "10.0.0.1"),
        ("[::1]", "[::1]"),
        ("[0:0::1]", "[::1]"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
    ],
)
def test_a_host_is_brought_into_the_form_the_table_compares(text: str, normal: str) -> None:
    assert names.host(text) == normal


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "a..b",
        "a.b.",
        "-a.b",
        "a-.b",
        "a b",
        "a.b:80",
        "http://a.b",
        "a.b/c",
        "*",
        "*.",
        "a.*.b",
        "*a.b",
        "bücher.example",
        "1.2.3",
        "1.2.3.999",
        "300",
        "::1",
        "[::1",
        "[::1%eth0]",
        "a" * 64 + ".b",
        "a." * 127 + "bb",
        "a.b\n",
        "a.b\x00",
    ],
)
def test_what_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        names.host(text)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("/", "/"),
        ("/api", "/api"),
        ("/api/", "/api"),
        ("/a/b.c/%41", "/a/b.c/%41"),
        ("/a;b=c", "/a;b=c"),
    ],
)
def test_a_path_prefix_has_one_form(text: str, normal: str) -> None:
    assert names.path_prefix(text) == normal


@pytest.mark.parametrize(
    "text",
    [
        "",
        "api",
        "/a//b",
        "//",
        "/./a",
        "/a/..",
        "/%2e%2E/a",
        "/a?b",
        "/a#b",
        "/a b",
        "/%zz",
        "/%4",
        "/ü",
        "/a\\b",
        "/" + "a" * 1024,
    ],
)
def test_what_is_no_path_prefix_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        names.path_prefix(text)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("web:80", "web", 80),
        ("10.0.0.1:1", "10.0.0.1", 1),
        ("[::1]:65535", "::1", 65535),
        ("Web.Example.:8", "web.example.", 8),
    ],
)
def test_endpoints_are_host_and_port(text: str, host: str, port: int) -> None:
    assert names.endpoint(text) == Endpoint(host, port)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":80",
        "web",
        "web:",
        "web:0",
        "web:65536",
        "web:+80",
        "web:8_0",
        "web:٨٠",
        "::1:80",
        "http://web:80",
        "web:80/x",
        "[::1]",
        "a b:80",
        "web:080000",
    ],
)
def test_what_is_no_endpoint_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        names.endpoint(text)


def test_names_are_bounded_and_plain() -> None:
    assert names.service_name("serviceA-v1.2_x") == "serviceA-v1.2_x"
    for text in ("", "a" * 129, "a/b", "a b", "ä", "a\n", ".", "..", "a%2f"):
        for valid in (names.service_name, names.plain_name):
            with pytest.raises(ValueError, match=r"\w"):
                valid(text)


def test_no_service_is_called_as_the_application_of_those_registered_by_hand() -> None:
    with pytest.raises(ValueError, match="by hand"):
        names.service_name("-")
    assert [names.service_name(text) for text in ("--", "a-", "-.")] == ["--", "a-", "-."]


def test_cookie_names_are_tokens() -> None:
    assert names.cookie_name("GATEWAYSESSION") == "GATEWAYSESSION"
    for text in ("", "a b", "a;b", "a=b", "ä", "x" * 129):
        with pytest.raises(ValueError, match="token"):
            names.cookie_name(text)


@given(st.text(max_size=60))
@settings(deadline=None, max_examples=300)
def test_a_normal_form_stays_as_it_is(text: str) -> None:
    for normalise in (names.host, names.path_prefix, names.service_name, names.cookie_name):
        try:
            normal = normalise(text)
        except ValueError:
            continue
        assert normalise(normal) == normal
        assert normal.isascii()


def test_a_route_is_host_and_path() -> None:
    assert names.route_parts("Shop.example/api/") == ("shop.example", "/api")
    assert names.route_parts("shop.example") == ("shop.example", "/")
    assert names.route_parts("shop.example/") == ("shop.example", "/")
