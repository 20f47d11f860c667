"""The admin API of a running gateway: who gets in, and what bad input does not do."""

from __future__ import annotations

import http.client
import json
import socket
import stat
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.gateway import Admin, Answer, Gateway
from tests.support.origins import Origins

HOST = "shop.example"
WEIGHTS = f"routes/{HOST}/weights"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, origins: Origins) -> Iterator[Gateway]:
    """On TCP without authentication."""
    with Gateway(tmp_path_factory.mktemp("admin")) as found:
        for name in ("v1", "v2"):
            found.api.register(name, HOST, origins.start(name).port)
        found.api.set_weights(HOST, v1=3, v2=1)
        yield found


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, origins: Origins) -> Iterator[Gateway]:
    """On TCP with tokens only."""
    with Gateway(tmp_path_factory.mktemp("guarded"), admin={"auth": "token"}) as found:
        for name in ("v1", "v2"):
            found.api.register(name, HOST, origins.start(name).port)
        yield found


def over_tcp(gateway: Gateway) -> Admin:
    port = gateway.ports["admin"]
    return Admin(lambda: http.client.HTTPConnection("127.0.0.1", port, timeout=20))


def code(answer: Answer) -> str:
    assert answer.headers["Content-Type"] == "application/problem+json", answer
    problem = answer.json
    assert problem["status"] == answer.status
    return str(problem["code"])


def token(gateway: Gateway, role: str) -> dict[str, str]:
    answer = gateway.api("POST", "tokens", {"name": f"the-{role}", "role": role})
    assert answer.status in (200, 201), answer
    return {"Authorization": f"Bearer {answer.json['token']}"}


# --- who gets in


def test_tokens_open_tcp_as_far_as_their_role_goes_and_outlive_restarts(guarded: Gateway) -> None:
    tcp = over_tcp(guarded)
    body = {"v1": 1, "v2": 1}
    service = guarded.api.ok("GET", "services/v1")
    registration = {
        "routes": [{"host": HOST}],
        "endpoints": service["endpoints"],
        "coexist": True,
    }
    viewer, operator, admin = (token(guarded, r) for r in ("viewer", "operator", "admin"))

    def allowed(headers: dict[str, str]) -> list[int]:
        return [
            tcp("GET", "routes", headers=headers).status,
            tcp("PUT", WEIGHTS, body, headers=headers).status,
            tcp("PUT", "services/v1", registration, headers=headers).status,
        ]

    assert allowed({}) == [401, 401, 401]
    assert allowed({"Authorization": "Bearer gw_wrong"}) == [401, 401, 401]
    assert allowed(viewer) == [200, 403, 403]
    assert allowed(operator) == [200, 200, 403]
    assert allowed(admin) == [200, 200, 200]
    assert tcp("GET", "/healthz").status == tcp("GET", "/readyz").status == 200

    guarded.kill_control()
    assert allowed(viewer) == [200, 403, 403]
    assert guarded.stop() == 0
    guarded.start()
    assert allowed(operator) == [200, 200, 403]
    guarded.api.ok("DELETE", "tokens/the-operator")
    assert allowed(operator) == [401, 401, 401]
    for secret in (viewer, operator, admin):
        text = secret["Authorization"].removeprefix("Bearer ")
        assert text not in guarded.log
        assert text.encode() not in (guarded.state / "gateway.db").read_bytes()


def test_the_unix_socket_needs_no_token_and_is_its_owners_only(guarded: Gateway) -> None:
    assert guarded.api("GET", "routes").status == 200
    mode = (guarded.state / "admin.sock").stat().st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600
    assert all(
        stat.S_IMODE((guarded.state / name).stat().st_mode) & 0o077 == 0
        for name in ("gateway.db", "snapshot.json", "link.sock", "gateway.lock")
    )


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:8900"},
        {"Host": ""},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
    ],
)
def test_without_authentication_no_web_page_can_drive_the_api(
    gateway: Gateway, headers: dict[str, str]
) -> None:
    tcp = over_tcp(gateway)
    before = gateway.api.routes()
    for method, body in (("GET", None), ("PUT", {"v1": 0, "v2": 1})):
        answer = tcp(method, WEIGHTS, body, headers=headers)
        assert (answer.status, code(answer)) == (403, "forbidden")
    assert gateway.api.routes() == before
    assert tcp("GET", WEIGHTS).status == 200
    assert tcp("GET", WEIGHTS, headers={"Host": "localhost"}).status == 200


# --- bad input

A_SERVICE: dict[str, Any] = {"routes": [{"host": "new.example"}], "endpoints": ["127.0.0.1:9"]}


def a_service(**changes: Any) -> str:
    return json.dumps(A_SERVICE | changes)


BAD_WEIGHTS = [
    ('{"v1": -1, "v2": 1}', "weights.v1"),
    ('{"v1": "much", "v2": 1}', "weights.v1"),
    ('{"v1": "1", "v2": 1}', "weights.v1"),
    ('{"v1": NaN, "v2": 1}', ""),
    ('{"v1": Infinity, "v2": 1}', ""),
    ('{"v1": 1e400, "v2": 1}', ""),
    ('{"v1": 1' + "0" * 400 + ', "v2": 1}', "weights.v1"),
    ('{"v1": 1' + "0" * 10_000 + ', "v2": 1}', ""),
    ('{"v1": 1000001, "v2": 1}', "weights.v1"),
    ('{"v1": 1.5, "v2": 1}', "weights.v1"),
    ('{"v1": 1.0, "v2": 1}', "weights.v1"),
    ('{"v1": true, "v2": 1}', "weights.v1"),
    ('{"v1": null, "v2": 1}', "weights.v1"),
    ('{"v1": [1], "v2": 1}', "weights.v1"),
    ('{"v1": {"a": 1}, "v2": 1}', "weights.v1"),
    ('{"v1": 1}', "weights.v2"),
    ('{"v1": 1, "v2": 1, "v3": 1}', "weights.v3"),
    ('{"v1": 1, "v2": 1, "-/v1": 1}', "weights.-/v1"),
    ('{"v1": 1, "v1": 2, "v2": 1}', ""),
    ("{}", "weights"),
    ("[]", "weights"),
    ("1", "weights"),
    ("null", "weights"),
    ('"v1"', "weights"),
    ('{"v1": 1, "v2": 1', ""),
    ("", ""),
    ("[" * 100_000, ""),
    ('{"a":' * 5_000 + "1" + "}" * 5_000, ""),
    ('{"' + "x" * 100_000 + '": 1, "v1": 1, "v2": 1}', "weights."),
    ('{"v1": 1, "v2": 1}\x00', ""),
    ('{"\\ud800": 1, "v1": 1, "v2": 1}', ""),
    ('{"v1": 0, "v2": 0}', None),
]

BAD_SERVICES = [
    (a_service(routes=[]), "routes"),
    (a_service(routes=[{}]), "routes[0].host"),
    (a_service(routes=[{"host": ""}]), "routes[0].host"),
    (a_service(routes=[{"host": "a b"}]), "routes[0].host"),
    (a_service(routes=[{"host": "a..b"}]), "routes[0].host"),
    (a_service(routes=[{"host": "*"}]), "routes[0].host"),
    (a_service(routes=[{"host": "a.*.b"}]), "routes[0].host"),
    (a_service(routes=[{"host": "x" * 300}]), "routes[0].host"),
    (a_service(routes=[{"host": f"{'x' * 64}.example"}]), "routes[0].host"),
    (a_service(routes=[{"host": "new.example\r\nX: y"}]), "routes[0].host"),
    (a_service(routes=[{"host": "new.example:80"}]), "routes[0].host"),
    (a_service(routes=[{"host": 1}]), "routes[0].host"),
    (a_service(routes=[{"host": "a.example", "path": "x"}]), "routes[0].path"),
    (a_service(routes=[{"host": "a.example", "path": "/a/../b"}]), "routes[0].path"),
    (a_service(routes=[{"host": "a.example", "path": "/" + "x" * 5000}]), "routes[0].path"),
    (a_service(routes=[{"host": "a.example", "path": "/a b"}]), "routes[0].path"),
    (a_service(routes=[{"host": "a.example", "port": 0}]), "routes[0].port"),
    (a_service(routes=[{"host": "a.example", "port": 65536}]), "routes[0].port"),
    (a_service(routes=[{"host": "a.example"}, {"host": "A.example", "path": "/"}]), "routes"),
    (a_service(routes=[{"host": f"h{n}.example"} for n in range(300)]), "routes"),
    (a_service(endpoints=["127.0.0.1"]), "endpoints[0]"),
    (a_service(endpoints=["127.0.0.1:0"]), "endpoints[0]"),
    (a_service(endpoints=["127.0.0.1:65536"]), "endpoints[0]"),
    (a_service(endpoints=["127.0.0.1:9", "127.0.0.1:x"]), "endpoints[1]"),
    (a_service(endpoints=["127.0.0.1:9", "127.0.0.1:9"]), "endpoints"),
    (a_service(endpoints=[":9"]), "endpoints[0]"),
    (a_service(endpoints=["[::1:9"]), "endpoints[0]"),
    (a_service(endpoints=["http://127.0.0.1:9"]), "endpoints[0]"),
    (a_service(endpoints=["127.0.0.1:-9"]), "endpoints[0]"),
    (a_service(endpoints=["127.0.0.1:١"]), "endpoints[0]"),
    (a_service(endpoints=[9]), "endpoints[0]"),
    (a_service(endpoints="127.0.0.1:9"), "endpoints"),
    (a_service(coexist="yes"), "coexist"),
    (a_service(balancer="random"), "balancer"),
    (a_service(health={"path": "health"}), "health.path"),
    (a_service(health={"interval": 0}), "health.interval"),
    (a_service(health={"interval": -1}), "health.interval"),
    (a_service(health={"rise": 0}), "health.rise"),
    (a_service(health={"type": "icmp"}), "health.type"),
    (a_service(helth={}), "helth"),
    ('{"routes": [{"host": "new.example"}]}', "endpoints"),
    ('{"endpoints": ["127.0.0.1:9"]}', "routes"),
    ("routes: []", ""),
]

BAD_POLICIES = [
    ('{"spil": true}', "spil"),
    ('{"spill": "no"}', "spill"),
    ('{"affinity": {"cookie": "a b"}}', "affinity.cookie"),
    ('{"affinity": {"cookie": ""}}', "affinity.cookie"),
    ('{"affinity": {"cookie": "a;b"}}', "affinity.cookie"),
    ('{"affinity": {"max_age": 0}}', "affinity.max_age"),
    ('{"affinity": {"at_zero": "stay"}}', "affinity.at_zero"),
    ('{"timeouts": {"connect": 0}}', "timeouts.connect"),
    ('{"timeouts": {"connect": -1}}', "timeouts.connect"),
    ('{"timeouts": {"connect": 1e400}}', ""),
    ('{"timeouts": 5}', "timeouts"),
    ("[]", ""),
]


def the_state(gateway: Gateway) -> Any:
    """Everything that operators have set."""
    services = gateway.api.ok("GET", "services")["services"]
    desired = ("id", "coexist", "leaving", "balancer", "endpoints", "health", "routes")
    return (
        gateway.api.routes(),
        [{key: service[key] for key in desired} for service in services],
        gateway.metric("gateway_config_generation"),
    )


def refused(gateway: Gateway, method: str, path: str, text: str, place: str | None) -> None:
    """It must be a problem that names the place, and change nothing."""
    before = the_state(gateway)
    answer = gateway.api(method, path, raw=text.encode("utf-8", "surrogatepass"))
    found = code(answer)
    assert answer.status in (400, 413, 422), answer
    assert len(answer.raw) < 5000
    if place is None:
        assert found == "route_without_traffic"
    else:
        assert found in ("invalid", "too_large"), answer
        fields = [error["field"] for error in answer.json.get("errors", ())]
        assert any(field.startswith(place) for field in fields) or not place, answer
        assert fields or answer.json["detail"]
    assert the_state(gateway) == before


@pytest.mark.parametrize(("text", "place"), BAD_WEIGHTS, ids=lambda value: str(value)[:40])
def test_bad_weights_are_refused_with_their_place(
    gateway: Gateway, text: str, place: str | None
) -> None:
    refused(gateway, "PUT", WEIGHTS, text, place)


@pytest.mark.parametrize(("text", "place"), BAD_SERVICES, ids=lambda value: str(value)[:40])
def test_bad_registrations_are_refused_with_their_place(
    gateway: Gateway, text: str, place: str
) -> None:
    refused(gateway, "PUT", "services/new", text, place)


@pytest.mark.parametrize(("text", "place"), BAD_POLICIES, ids=lambda value: str(value)[:40])
def test_bad_policies_are_refused_with_their_place(gateway: Gateway, text: str, place: str) -> None:
    refused(gateway, "PUT", f"routes/{HOST}", text, place)


@pytest.mark.parametrize(
    "name", ["x" * 300, "a%20b", "..", "%2E%2E", "a%00b", "a%0Ab", "%C3%A4", "%FF", "a%2F%2Fb"]
)
def test_names_that_cannot_be_are_refused(gateway: Gateway, name: str) -> None:
    before = the_state(gateway)
    answer = gateway.api("PUT", f"services/{name}", A_SERVICE)
    assert answer.status in (400, 404, 405, 409, 422), answer
    assert code(answer)
    assert the_state(gateway) == before


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("PUT", f"{WEIGHTS}?dry_run=maybe", 422),
        ("PUT", f"{WEIGHTS}?forse=true", 422),
        ("PUT", "routes/nowhere.example/weights", 404),
        ("PATCH", "routes/%2A/weights", 404),
        ("GET", "routes?limit=0", 422),
        ("GET", "routes?limit=" + "9" * 5000, 422),
        ("GET", "stats?window=7", 422),
        ("GET", "explain", 422),
        ("GET", "audit?after=-1", 422),
        ("GET", "services/v", 404),
        ("DELETE", "services/v3", 404),
        ("POST", "instances/v1%40127.0.0.1%3A1/drain", 404),
        ("POST", "instances/x/drain?wait=-1", 422),
        ("POST", "instances/x/drain?wait=nan", 422),
        ("DELETE", f"routes/{HOST}", 409),
        ("DELETE", "services/v1?drain_timeout=-1", 422),
        ("TRACE", "routes", 405),
        ("GET", "nothing", 404),
    ],
)
def test_calls_that_cannot_be_are_problems(
    gateway: Gateway, method: str, path: str, status: int
) -> None:
    before = the_state(gateway)
    body = {"v1": 1, "v2": 2} if method in ("PUT", "PATCH") else None
    answer = gateway.api(method, path, body)
    assert answer.status == status, answer
    assert code(answer)
    assert the_state(gateway) == before


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x00" * 1000,
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: a\r\n\r\n",
        b"A" * 200_000,
    ],
)
@pytest.mark.parametrize("name", ["public", "internal", "health", "admin"])
def test_garbage_on_any_listener_is_refused_and_costs_nobody_else(
    gateway: Gateway, name: str, data: bytes
) -> None:
    workers = gateway.workers
    with socket.create_connection(("127.0.0.1", gateway.ports[name]), timeout=10) as client:
        try:
            client.sendall(data)
            answer = client.recv(4096)
        except ConnectionError:
            answer = b""
        assert not answer or answer.split(b" ")[1][:1] in (b"4", b"5"), answer
    assert gateway.get("public", host=HOST) == 200
    assert gateway.workers == workers


def test_a_bad_call_among_good_ones_leaves_a_trace_in_the_audit(gateway: Gateway) -> None:
    gateway.api("PUT", WEIGHTS, {"v1": -1, "v2": 1})
    entry = gateway.api.ok("GET", "audit?limit=1")["entries"][0]
    assert (entry["result"], entry["code"]) == ("refused", "invalid")
    assert entry["actor"].startswith("uid:")
