"""The `gateway` command against an admin API that notes what it is asked."""

from __future__ import annotations

import json
import os
import pty
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from socketserver import UnixStreamServer
from urllib.parse import unquote

import click
import pytest
from click.testing import CliRunner, Result

from gateway.cli.client import parse_address, path
from gateway.cli.explain import split
from gateway.cli.main import cli
from gateway.cli.output import percent
from tests.support.admin_double import Double, admin_double, handler_of

INSTANCE = {
    "id": "page-v1@127.0.0.1:9101",
    "service": "-/page-v1",
    "address": "127.0.0.1:9101",
    "health": "healthy",
    "state": "up",
    "in_flight": 2,
    "websockets": 1,
}
TRAFFIC = {"rate": 12.34, "error_ratio": 0.01, "p99": 0.0123}
ROUTE = {
    "route": "page.localhost",
    "internal": False,
    "services": [
        {"name": "page-v1", "weight": 90, "share": 0.9, "healthy": 1, "instances": 2}
        | {"traffic": TRAFFIC},
        {"name": "page-v2", "weight": 10, "share": 0.1, "healthy": 1, "instances": 1}
        | {"traffic": None},
    ],
}
EMPTY_ROUTE = {"route": "b.local/api", "internal": True, "services": []}
SERVICE = {
    "name": "page-v1",
    "application": "-",
    "balancer": "round_robin",
    "leaving": False,
    "routes": [{"route": "page.localhost"}],
    "instances": [INSTANCE],
}
EXPLANATION = {
    "verdict": "ok",
    "status": None,
    "route": "page.localhost",
    "service": "-/page-v1",
    "instance": INSTANCE,
    "why": ["by the weights: 90 of 100"],
}
WRITTEN = {
    "generation": 7,
    "applied": {"workers": 2, "of": 2, "late": []},
    "warnings": [],
    "dry_run": False,
}
WEIGHTS = {"page-v1": 90, "page-v2": 10}


@pytest.fixture
def double() -> Iterator[Double]:
    with admin_double() as double:
        furnish(double)
        yield double


def furnish(double: Double) -> None:
    double.answer("GET", "/api/v1/routes", {"routes": [ROUTE], "next": "page"})
    double.answer("GET", "/api/v1/routespage", {"routes": [EMPTY_ROUTE], "next": None})
    double.answer("GET", "/api/v1/services", {"services": [SERVICE], "next": None})
    double.answer("GET", "/api/v1/services/page-v1/instances", {"instances": [INSTANCE]})
    double.answer("GET", "/api/v1/routes/page.localhost/weights", WEIGHTS)
    double.answer("GET", "/api/v1/explain", EXPLANATION)
    double.answer(
        "GET",
        "/api/v1/tokens",
        {"tokens": [{"name": "ci", "role": "operator", "created": "2026-01-31T12:00:00Z"}]},
    )
    for method in ("PUT", "PATCH"):
        double.answer(
            method, "/api/v1/routes/page.localhost/weights", WRITTEN | {"weights": WEIGHTS}
        )


def gateway(double: Double, *arguments: str, **env: str) -> Result:
    return CliRunner(env={"GATEWAY_ADMIN": double.admin, **env}).invoke(cli, list(arguments))


READING = (
    ("routes",),
    ("services",),
    ("services", "show", "page-v1"),
    ("weights", "page.localhost"),
    ("explain", "http://page.localhost/"),
    ("token", "list"),
)


@pytest.mark.parametrize("arguments", READING)
def test_every_reading_command_prints_json(double: Double, arguments: tuple[str, ...]) -> None:
    done = gateway(double, *arguments, "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)


@pytest.mark.parametrize("arguments", READING)
def test_piped_output_is_plain_text(double: Double, arguments: tuple[str, ...]) -> None:
    done = gateway(double, *arguments)
    assert done.exit_code == 0
    assert "\x1b" not in done.stdout
    assert done.stderr == ""


def test_routes_are_listed_to_the_last_page(double: Double) -> None:
    lines = [line.split() for line in gateway(double, "routes").stdout.splitlines()]
    assert lines == [
        ["ROUTE", "SERVICE", "WEIGHT", "SHARE", "HEALTHY", "REQ/S", "ERRORS", "P99", "MS"],
        ["page.localhost", "page-v1", "90", "90", "%", "1/2", "12.3", "1", "%", "12"],
        ["page-v2", "10", "10", "%", "1/1", "0.0", "0", "%", "-"],
        ["b.local/api", "(internal)", "-", "-", "-", "-", "-", "-", "-"],
    ]
    found = json.loads(gateway(double, "routes", "--json").stdout)
    assert found == {"routes": [ROUTE, EMPTY_ROUTE]}


def test_piped_tables_are_neither_wrapped_nor_cut(double: Double) -> None:
    long = "x" * 300
    double.answer("GET", "/api/v1/routes/long/weights", {long: 1})
    assert any(line.startswith(long) for line in gateway(double, "weights", "long").stdout.split())


def test_text_of_the_gateway_is_never_markup(double: Double) -> None:
    double.answer("GET", "/api/v1/routes/m/weights", {"[red]x[/nonsense]": 1})
    assert "[red]x[/nonsense]" in gateway(double, "weights", "m").stdout


def test_weights_with_pairs_replace_the_whole_set(double: Double) -> None:
    done = gateway(double, "weights", "page.localhost", "page-v1=90", "page-v2=10")
    assert done.exit_code == 0
    assert (double.last.method, double.last.body) == ("PUT", WEIGHTS)
    assert "applied by 2 of 2 workers, generation 7" in done.stdout


def test_weights_with_patch_change_those_named(double: Double) -> None:
    flags = ("--patch", "--force", "--dry-run", "--reason", "try it")
    assert gateway(double, "weights", "page.localhost", "page-v2=10", *flags).exit_code == 0
    assert (double.last.method, double.last.body) == ("PATCH", {"page-v2": 10})
    assert double.last.query == [("dry_run", "true"), ("force", "true"), ("reason", "try it")]


@pytest.mark.parametrize(
    "pairs",
    [("page-v1",), ("page-v1=",), ("=5",), ("page-v1=half",), ("page-v1=0.5",), ("a=1", "a=2")],
)
def test_a_malformed_pair_is_a_usage_error_and_asks_nothing(
    double: Double, pairs: tuple[str, ...]
) -> None:
    done = gateway(double, "weights", "page.localhost", *pairs)
    assert done.exit_code == 2
    assert "Error" in done.stderr
    assert not double.asked


def test_a_huge_weight_is_the_gateways_to_refuse(double: Double) -> None:
    gateway(double, "weights", "page.localhost", "page-v1=1" + "0" * 400)
    assert double.last.body == {"page-v1": 10**400}


def test_a_refusal_prints_detail_and_places_and_exits_1(double: Double) -> None:
    problem = {
        "detail": "weights are whole numbers",
        "code": "invalid",
        "errors": [{"field": "page-v1", "message": "is negative"}],
        "weights": WEIGHTS,
    }
    double.answer("PUT", "/api/v1/routes/page.localhost/weights", problem, 422)
    done = gateway(double, "weights", "page.localhost", "page-v1=-1")
    assert done.exit_code == 1
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "refused: weights are whole numbers [invalid]",
        "  page-v1: is negative",
        "  now: page-v1=90 page-v2=10",
    ]


def test_without_a_token_the_refusal_says_how_to_give_one(double: Double) -> None:
    double.answer("GET", "/api/v1/routes", {"detail": "no token", "code": "unauthorized"}, 401)
    done = gateway(double, "routes")
    assert done.exit_code == 1
    assert "GATEWAY_TOKEN" in done.stderr


def test_a_late_worker_is_named_and_the_change_stands(double: Double) -> None:
    late = {"workers": 1, "of": 2, "late": ["worker 1"]}
    double.answer(
        "PUT",
        "/api/v1/routes/page.localhost/weights",
        WRITTEN | {"applied": late, "weights": WEIGHTS, "warnings": ["both at 100"]},
        202,
    )
    done = gateway(double, "weights", "page.localhost", "page-v1=90", "page-v2=10")
    assert done.exit_code == 0
    assert "1 of 2 workers" in done.stdout
    assert "worker 1" in done.stdout
    assert "warning: both at 100" in done.stderr


def test_no_gateway_there_exits_3_with_one_line(tmp_path: Path) -> None:
    for admin in (str(tmp_path / "none.sock"), f"127.0.0.1:{free_port()}"):
        done = CliRunner().invoke(cli, ["--admin", admin, "routes"])
        assert done.exit_code == 3
        assert len(done.stderr.splitlines()) == 1
        assert admin in done.stderr


@pytest.mark.parametrize("answer", [b"<html>nginx</html>", b"", b'{"half', b"[]", b"null"])
@pytest.mark.parametrize("status", [200, 302, 502])
def test_what_is_no_admin_api_counts_as_not_reachable(
    double: Double, answer: bytes, status: int
) -> None:
    double.answer("GET", "/api/v1/services/page-v1/instances", answer, status)
    done = gateway(double, "services", "show", "page-v1")
    assert done.exit_code == 3
    assert double.admin in done.stderr


def test_another_json_api_counts_as_not_reachable(double: Double) -> None:
    for command in READING:
        for key in list(double.answers):
            double.answer(*key, {"hello": 1})
        assert gateway(double, *command).exit_code in (0, 3)


def test_an_answer_that_is_no_http_counts_as_not_reachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def babble() -> None:
            client, _ = server.accept()
            with client:
                client.recv(4096)
                client.sendall(b"220 mail ready\r\n")

        thread = threading.Thread(target=babble)
        thread.start()
        admin = f"127.0.0.1:{server.getsockname()[1]}"
        done = CliRunner().invoke(cli, ["--admin", admin, "routes"])
        thread.join()
    assert done.exit_code == 3


def test_the_unix_socket_in_the_state_folder_is_the_default(
    double: Double, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("state").mkdir()
    handler = handler_of(double)
    with UnixStreamServer("state/admin.sock", handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        done = CliRunner().invoke(cli, ["services"])
        thread.join()
    assert done.exit_code == 0
    assert "page-v1" in done.stdout


def test_a_dead_default_socket_does_not_hide_the_tcp_listener(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("state").mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind("state/admin.sock")
    done = CliRunner().invoke(cli, ["--help"])
    from gateway.cli.client import addresses

    assert [str(a) for a in addresses(None)] == ["state/admin.sock", "http://127.0.0.1:8900"]
    assert done.exit_code == 0


def test_the_token_is_sent_and_the_later_option_wins(double: Double) -> None:
    gateway(double, "services", GATEWAY_TOKEN="gw_env")
    assert double.last.headers["Authorization"] == "Bearer gw_env"
    gateway(double, "--token", "gw_first", "services", GATEWAY_TOKEN="gw_env")
    assert double.last.headers["Authorization"] == "Bearer gw_first"
    gateway(double, "--token", "gw_first", "services", "--token", "gw_later")
    assert double.last.headers["Authorization"] == "Bearer gw_later"
    done = gateway(double, "--admin", "nowhere.invalid:1", "services", "--admin", double.admin)
    assert done.exit_code == 0


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://127.0.0.1:8900", "http://127.0.0.1:8900"),
        ("127.0.0.1:8900", "http://127.0.0.1:8900"),
        ("https://gw.example", "https://gw.example:443"),
        ("http://gw.example/behind/", "http://gw.example:80/behind"),
        ("http://[::1]:8900", "http://[::1]:8900"),
        ("/run/gateway/admin.sock", "/run/gateway/admin.sock"),
        ("admin.sock", "admin.sock"),
        ("unix:/run/a", "/run/a"),
        ("unix:///run/a", "/run/a"),
    ],
)
def test_addresses_in_every_usual_form(text: str, shown: str) -> None:
    assert str(parse_address(text)) == shown


@pytest.mark.parametrize("text", ["ftp://a", "http://", "http://a:port", "http://[::1:5", ""])
def test_a_text_that_is_no_address_is_a_usage_error(text: str) -> None:
    with pytest.raises(click.BadParameter):
        parse_address(text)


def test_a_route_with_a_path_is_one_part_of_the_address(double: Double) -> None:
    gateway(double, "weights", "shop.example/api")
    assert double.last.path == "/api/v1/routes/shop.example%2Fapi/weights"
    assert unquote(path("routes", "a b/ä?#%")) == "/api/v1/routes/a b/ä?#%"


def test_register_sends_routes_endpoints_and_check(double: Double) -> None:
    routes = [{"route": "shop.example/api", "weight": 0, "share": 0.0}]
    answer = WRITTEN | {"service": SERVICE | {"routes": routes}}
    double.answer("PUT", "/api/v1/services/shop-v2", answer)
    done = gateway(
        double,
        *("services", "register", "shop-v2", "--route", "shop.example/api", "--route", "shop"),
        *("--endpoint", "10.0.0.5:80", "--endpoint", "10.0.0.6:80", "--coexist"),
        *("--check", "/health", "--balancer", "least_requests"),
    )
    assert done.exit_code == 0
    assert double.last.body == {
        "routes": [{"host": "shop.example", "path": "/api"}, {"host": "shop"}],
        "endpoints": ["10.0.0.5:80", "10.0.0.6:80"],
        "coexist": True,
        "balancer": "least_requests",
        "health": {"path": "/health"},
    }
    assert re.search(r"shop\.example/api +0 +0 %", done.stdout)


@pytest.mark.parametrize(
    ("options", "members"),
    [
        (("--in-flight", "8"), {"limits": {"in_flight": 8}}),
        (("--server-name", "in.test"), {"tls": {"server_name": "in.test", "verify": True}}),
        (("--no-verify",), {"tls": {"server_name": None, "verify": False}}),
        ((), {}),
    ],
)
def test_register_sends_limit_and_tls_only_where_asked_for(
    double: Double, options: tuple[str, ...], members: dict[str, object]
) -> None:
    double.answer("PUT", "/api/v1/services/b", WRITTEN | {"service": SERVICE | {"routes": []}})
    where = ("--route", "b.test", "--endpoint", "https://10.0.0.5")
    done = gateway(double, "services", "register", "b", *where, *options)
    assert done.exit_code == 0, done.output
    sent = {k: v for k, v in double.last.body.items() if k in ("limits", "tls")}
    assert sent == members


def test_delete_says_what_is_still_open(double: Double) -> None:
    answer = WRITTEN | {"removed": False, "in_flight": 3, "websockets": 1}
    double.answer("DELETE", "/api/v1/services/shop-v1", answer, 202)
    done = gateway(double, "services", "delete", "shop-v1", "--drain-timeout", "2.5")
    assert done.exit_code == 0
    assert double.last.query == [("drain_timeout", "2.5")]
    assert "3 requests, 1 WebSockets" in done.stdout


@pytest.mark.parametrize(("drained", "code"), [(True, 0), (False, 1)])
def test_drain_with_wait_tells_by_its_exit_code_whether_all_work_ended(
    double: Double, drained: bool, code: int
) -> None:
    answer = WRITTEN | {"drained": drained, "in_flight": 0 if drained else 2, "websockets": 0}
    double.answer("POST", "/api/v1/instances/page-v1@127.0.0.1:9101/drain", answer)
    assert gateway(double, "drain", "page-v1@127.0.0.1:9101", "--wait", "2").exit_code == code
    assert double.last.query == [("wait", "2")]
    assert gateway(double, "drain", "page-v1@127.0.0.1:9101").exit_code == 0


def test_resume_asks_for_it(double: Double) -> None:
    double.answer("POST", "/api/v1/instances/page-v1@127.0.0.1:9101/resume", WRITTEN)
    assert gateway(double, "resume", "page-v1@127.0.0.1:9101").exit_code == 0


def test_explain_passes_headers_and_cookies_and_prints_the_reasons(double: Double) -> None:
    done = gateway(
        double,
        *("explain", "http://page.localhost:8080/a?b=c", "-H", "X-A: 1", "-H", "X-B: 2"),
        *("--cookie", "c=d", "--internal"),
    )
    assert done.exit_code == 0
    assert double.last.query == [
        ("host", "page.localhost:8080"),
        ("path", "/a?b=c"),
        ("header", "X-A: 1"),
        ("header", "X-B: 2"),
        ("cookie", "c=d"),
        ("internal", "true"),
    ]
    assert "by the weights: 90 of 100" in done.stdout
    assert "page-v1@127.0.0.1:9101" in done.stdout


def test_explain_reads_urls_with_and_without_scheme() -> None:
    assert split("a.b") == ("a.b", "/")
    assert split("https://u:p@a.b:1/x?y#z") == ("a.b:1", "/x?y")
    for text in ("http:///x", "", "http://[::1"):
        with pytest.raises(click.UsageError):
            split(text)


def test_a_new_token_is_all_of_standard_output(double: Double) -> None:
    double.answer("POST", "/api/v1/tokens", WRITTEN | {"token": "gw_secret"}, 201)
    double.answer("DELETE", "/api/v1/tokens/ci", WRITTEN)
    done = gateway(double, "token", "create", "ci", "--role", "operator")
    assert (done.exit_code, done.stdout) == (0, "gw_secret\n")
    assert double.last.body == {"name": "ci", "role": "operator"}
    assert gateway(double, "token", "create", "ci", "--role", "root").exit_code == 2
    assert gateway(double, "token", "delete", "ci").exit_code == 0


def test_check_prints_every_problem_with_its_place(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text("domian: x\ntimeouts: {connect: -1}\n")
    done = CliRunner().invoke(cli, ["check", "-c", str(file)])
    assert done.exit_code == 1
    lines = done.stderr.splitlines()
    assert len(lines) == 2
    assert "domain" in lines[0]
    assert "timeouts.connect" in lines[1]
    assert all(line.startswith(f"{file}: line {n}: ") for n, line in enumerate(lines, 1))

    file.write_text("domain: example.org\n")
    assert CliRunner().invoke(cli, ["check", "-c", str(file)]).exit_code == 0
    assert CliRunner().invoke(cli, ["check", "-c", str(tmp_path / "none")]).exit_code == 2


def test_an_unknown_command_suggests_the_one_meant() -> None:
    done = CliRunner().invoke(cli, ["rotues"])
    assert done.exit_code == 2
    assert "routes" in done.stderr


def test_help_loads_no_heavy_library() -> None:
    program = "import gateway.cli.main, json, sys; print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    loaded = {name.split(".")[0] for name in json.loads(done.stdout)}
    assert not loaded & {"rich", "aiohttp", "pydantic", "yaml", "http", "orjson", "asyncio"}


@pytest.mark.parametrize("no_colour", ["", "1"])
def test_colour_is_for_terminals_without_no_color(double: Double, no_colour: str) -> None:
    double.answer("GET", "/api/v1/services/x/instances", {"instances": [INSTANCE]})
    environment = os.environ | {"NO_COLOR": no_colour, "TERM": "xterm", "COLUMNS": "200"}
    ours, theirs = pty.openpty()
    subprocess.run(
        [sys.executable, "-m", "gateway", "--admin", double.admin, "services", "show", "x"],
        stdout=theirs,
        env=environment,
        check=True,
        timeout=30,
    )
    shown = os.read(ours, 65536).decode()
    os.close(theirs)
    os.close(ours)
    assert "healthy" in shown
    assert ("\x1b[32m" in shown) is not bool(no_colour)


def test_shares_are_shown_without_needless_digits() -> None:
    assert [percent(x) for x in (0, 0.9, 0.123, 1, 1 / 3)] == [
        "0 %",
        "90 %",
        "12.3 %",
        "100 %",
        "33.3 %",
    ]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port
