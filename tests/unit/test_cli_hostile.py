"""What the command line does with words and answers that are meant to hurt, or make no sense."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gateway.cli.main import cli
from tests.support.admin_double import Double, admin_double
from tests.support.release_answers import pending, written

ESCAPES = "\x1b]0;owned\x07 \x9b31m \u202egnp"
OBEYED = ("\x1b", "\x07", "\x9b", "\u202e")


@pytest.fixture
def double() -> Iterator[Double]:
    with admin_double() as double:
        yield double


def gateway(double: Double, *arguments: str, **env: str) -> Result:
    return CliRunner(env={"GATEWAY_ADMIN": double.admin, **env}).invoke(cli, list(arguments))


def service(**members: Any) -> dict[str, Any]:
    found = {"name": "web", "application": "-", "balancer": "round_robin", "leaving": False}
    return found | {"routes": [], "instances": []} | members


def test_nothing_an_answer_holds_is_obeyed_by_the_terminal(double: Double) -> None:
    problem = {
        "detail": f"no {ESCAPES}",
        "code": "invalid",
        "errors": [{"field": f"a{ESCAPES}", "message": ESCAPES}],
        "weights": {ESCAPES: 1},
    }
    double.answer("GET", "/api/v1/applications/bad", problem, 422)
    double.answer(
        "POST", "/api/v1/applications/shop/shift", written(pending(), f"warned {ESCAPES}")
    )
    services = {"services": [service(name=f"web{ESCAPES}")], "next": None}
    double.answer("GET", "/api/v1/services", services)
    for arguments, words in (
        (("status", "bad"), "owned"),
        (("shift", "shop", "10"), "warned"),
        (("services",), "owned"),
        (("services", "--json"), "owned"),
    ):
        output = gateway(double, *arguments).output
        assert words in output
        assert not [c for c in OBEYED if c in output], arguments


def test_escaped_json_is_the_same_json(double: Double) -> None:
    services = {"services": [service(name=f"web{ESCAPES}")], "next": None}
    double.answer("GET", "/api/v1/services", services)
    shown = json.loads(gateway(double, "services", "--json").stdout)
    assert shown == {"services": services["services"]}


@pytest.mark.parametrize("token", ["a\nb", "a b", "tökén", "\x00", "a\x7f"])
def test_a_token_that_is_none_is_a_usage_error(double: Double, token: str) -> None:
    done = gateway(double, "--token", token, "status")
    assert done.exit_code == 2
    assert "a token has no blanks" in done.stderr
    assert not double.asked


def test_a_line_break_around_a_token_is_not_part_of_it(double: Double) -> None:
    double.answer("GET", "/api/v1/routes", {"routes": [], "next": None})
    assert gateway(double, "routes", GATEWAY_TOKEN="gw_1\n").exit_code == 0
    assert double.last.headers["Authorization"] == "Bearer gw_1"


@pytest.mark.parametrize("arguments", [("status", ""), ("release", ""), ("drain", "")])
def test_an_empty_name_is_a_usage_error(double: Double, arguments: tuple[str, ...]) -> None:
    done = gateway(double, *arguments)
    assert (done.exit_code, "a name is empty" in done.stderr) == (2, True)
    assert not double.asked


def test_who_refuses_without_a_code_is_no_admin_api(double: Double) -> None:
    double.answer("GET", "/api/v1/applications/shop", {"detail": "no route for this host"}, 404)
    done = gateway(double, "status", "shop")
    assert done.exit_code == 3
    assert "the address of an entrypoint?" in done.stderr


def test_https_to_a_plain_listener_is_told_apart(double: Double) -> None:
    done = gateway(double, "--admin", double.admin.replace("http://", "https://"), "status")
    assert done.exit_code == 3
    assert "does not speak TLS; use http://" in done.stderr


def test_no_releases_of_an_application_says_whose(double: Double) -> None:
    double.answer("GET", "/api/v1/releases", {"releases": [], "next": None})
    assert "no releases of 'shpo'" in gateway(double, "releases", "shpo").stdout
