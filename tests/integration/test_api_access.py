"""Who may do what over which socket, and what the audit keeps of it."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Literal

import pytest

from gateway.core.model import Role
from gateway.runtime.loops import loop_factory
from gateway.runtime.settings import AdminAuth
from tests.support.api import Api, on_an_api, serving

WEIGHTS = "routes/shop.example/weights"


@pytest.mark.parametrize("transport", ["aiofastnet", "uvloop"])
def test_the_unix_socket_needs_no_token_and_the_audit_has_the_uid(
    transport: Literal["aiofastnet", "uvloop"], tmp_path: Path
) -> None:
    async def main() -> None:
        async with serving(tmp_path) as api:
            await api.two_versions()
            (entry, *_) = (await api("GET", "audit")).json["entries"]
            assert entry["actor"] == f"uid:{os.getuid()}"

    with asyncio.Runner(loop_factory=loop_factory(transport)) as runner:
        runner.run(main())


@on_an_api
async def test_tcp_without_a_token_is_refused_and_told_how(api: Api) -> None:
    for method, path in (("GET", "routes"), ("PUT", WEIGHTS), ("GET", "/metrics")):
        answer = await api(method, path, tcp=True)
        assert (answer.status, answer.code) == (401, "unauthorized")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert (await api("GET", "routes", token="wrong")).status == 401
    assert (await api("GET", "/api/v1/nope", tcp=True)).status == 404


@on_an_api
async def test_health_and_documentation_are_open(api: Api) -> None:
    for path in ("/healthz", "/readyz", "/openapi.json", "/docs"):
        assert (await api("GET", path, tcp=True)).status == 200


@on_an_api
async def test_roles_bound_what_a_token_may_do(api: Api) -> None:
    await api.two_versions()
    viewer, operator, admin = [
        await api.token(role) for role in (Role.VIEWER, Role.OPERATOR, Role.ADMIN)
    ]
    weights = {"v1": 1, "v2": 1}
    assert (await api("GET", WEIGHTS, token=viewer)).status == 200
    answer = await api("PUT", WEIGHTS, weights, token=viewer)
    assert (answer.status, answer.code) == (403, "forbidden")
    assert (await api("PUT", WEIGHTS, weights, token=operator)).status == 200
    assert (await api("POST", "instances/v1@127.0.0.1:9001/drain", token=operator)).status == 200
    for method, path, body in (
        ("PUT", "routes/shop.example", {}),
        ("PUT", "services/v1", {}),
        ("DELETE", "services/v1", None),
        ("GET", "tokens", None),
        ("POST", "tokens", {"name": "x", "role": "admin"}),
        ("DELETE", "tokens/admin", None),
    ):
        assert (await api(method, path, body, token=operator)).status == 403, path
    assert (await api("PUT", "routes/shop.example", {}, token=admin)).status == 200


@on_an_api
async def test_a_role_is_checked_before_anything_is_told_about_the_payload(api: Api) -> None:
    viewer = await api.token(Role.VIEWER)
    assert (await api("PUT", WEIGHTS, raw=b"{", token=viewer)).status == 403


@on_an_api
async def test_a_token_is_shown_once_and_works_until_it_is_deleted(api: Api) -> None:
    made = await api("POST", "tokens", {"name": "ci", "role": "operator"})
    assert made.status == 201
    text = made.json["token"]
    assert (await api("GET", "routes", token=text)).status == 200
    listed = await api("GET", "tokens")
    assert [t["name"] for t in listed.json["tokens"]] == ["ci"]
    assert text.encode() not in listed.raw
    assert text not in str(api.controller.state)
    assert text.encode() not in (await api("GET", "audit")).raw
    assert (await api("POST", "tokens", {"name": "ci", "role": "viewer"})).code == "in_use"
    dry = await api("POST", "tokens?dry_run=true", {"name": "dry", "role": "viewer"})
    assert (dry.status, dry.json["token"]) == (200, None)
    assert (await api("DELETE", "tokens/ci")).status == 200
    assert (await api("GET", "routes", token=text)).status == 401
    assert (await api("DELETE", "tokens/ci")).status == 404


@on_an_api
async def test_refused_calls_stand_in_the_audit(api: Api) -> None:
    await api.two_versions()
    viewer = await api.token(Role.VIEWER)
    await api("PUT", f"{WEIGHTS}?reason=friday", {"v1": 0, "v2": 0})
    await api("PUT", WEIGHTS, raw=b"{")
    await api("PUT", WEIGHTS, {"v1": 1, "v2": 1}, token=viewer)
    await api("PUT", WEIGHTS, {"v1": 1, "v2": 1}, token="wrong")
    await api("PUT", "services/a%2Fb", {"routes": [{"host": "x.y"}], "endpoints": []})
    uid = f"uid:{os.getuid()}"
    assert (await api.trail())[-5:] == [
        (uid, "set_weights", "shop.example", "refused", "route_without_traffic"),
        (uid, "set_weights", "shop.example", "refused", "invalid"),
        ("token:viewer", "set_weights", "shop.example", "refused", "forbidden"),
        ("anonymous@127.0.0.1", "set_weights", "shop.example", "refused", "unauthorized"),
        (uid, "put_service", "a/b", "refused", "in_use"),
    ]
    entries = (await api("GET", "audit?limit=5")).json["entries"]
    assert entries[4]["reason"] == "friday"
    assert entries[4]["detail"]


@on_an_api
async def test_reading_and_dry_runs_leave_no_line_in_the_audit(api: Api) -> None:
    await api.two_versions()
    before = await api.trail()
    await api("GET", "routes/nope")
    await api("PUT", f"{WEIGHTS}?dry_run=true", {"v1": 0, "v2": 0})
    await api("PUT", f"{WEIGHTS}?dry_run=true", raw=b"{")
    assert await api.trail() == before


@on_an_api
async def test_strangers_cannot_flush_the_audit(api: Api) -> None:
    for _ in range(50):
        assert (await api("GET", "routes", tcp=True)).status == 401
    assert len(await api.trail()) <= 10
    api.clock.time += 100
    await api("GET", "routes", tcp=True)
    assert len(await api.trail()) <= 11


def test_without_auth_only_the_listeners_own_name_is_served(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(tmp_path, AdminAuth.NONE) as api:
            own = f"127.0.0.1:{api.port}"
            assert (await api("GET", "routes", tcp=True)).status == 200
            for host, origin, status in (
                ("localhost", None, 200),
                (own, f"http://{own}", 200),
                ("evil.example", None, 403),
                (own, "http://evil.example", 403),
                (own, "null", 403),
            ):
                headers = {"Host": host} | ({"Origin": origin} if origin is not None else {})
                answer = await api("GET", "routes", headers=headers, tcp=True)
                assert answer.status == status, headers
            answer = await api(
                "PUT", WEIGHTS, {"v1": 1}, headers={"Origin": "http://evil.example"}, tcp=True
            )
            assert answer.code == "forbidden"

    asyncio.run(main())


@on_an_api
async def test_what_a_form_of_a_web_page_can_send_is_refused(api: Api) -> None:
    await api.two_versions()
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        raw = json.dumps({"v1": 0, "v2": 1}).encode()
        answer = await api("PUT", WEIGHTS, raw=raw, headers={"Content-Type": kind})
        assert (answer.status, answer.code) == (415, "unsupported_media_type"), kind
    assert await api.weights() == {"v1": 100, "v2": 0}
