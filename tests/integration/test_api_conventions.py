"""What holds for every call: problems, tags, dry runs, repeated calls, acknowledgements."""

from __future__ import annotations

import asyncio
import logging
import os
import re
from pathlib import Path

import pytest

from admin.api import idempotency
from admin.api.app import OPERATIONS
from gateway.core.model import Role, ServiceId
from tests.support.api import Api, on_an_api

WEIGHTS = "routes/shop.example/weights"


@on_an_api
async def test_each_resource_has_a_tag_and_a_stale_one_is_refused(api: Api) -> None:
    await api.two_versions()
    for path, method, body in (
        (WEIGHTS, "PUT", {"v1": 1, "v2": 2}),
        ("routes/shop.example", "PUT", {"spill": False}),
        ("services/v1", "PATCH", {"coexist": True}),
    ):
        seen = (await api("GET", path)).etag
        answer = await api(method, path, body, headers={"If-Match": seen})
        assert answer.status == 200
        fresh = (await api("GET", path)).etag
        assert answer.etag == fresh != seen
        answer = await api(method, path, body, headers={"If-Match": seen})
        assert (answer.status, answer.code) == (412, "stale_revision")
        assert answer.json["etag"] == fresh
        assert (await api(method, path, body, headers={"If-Match": f'"x", {fresh}'})).status == 200


@on_an_api
async def test_a_tag_names_its_own_resource_only(api: Api) -> None:
    await api.two_versions()
    tag = (await api("GET", WEIGHTS)).etag
    await api("PUT", "routes/shop.example", {"spill": False})
    await api.register("other", "other.example", port=9009)
    api.checks.failing.add("v1@127.0.0.1:9001")
    assert (await api("GET", WEIGHTS)).etag == tag
    instance = "instances/v1@127.0.0.1:9001"
    seen = (await api("GET", instance)).etag
    drained = await api("POST", f"{instance}/drain", headers={"If-Match": seen})
    assert drained.status == 200
    assert (await api("POST", f"{instance}/drain", headers={"If-Match": seen})).status == 412


@on_an_api
async def test_tags_are_read_as_http_says(api: Api) -> None:
    await api.two_versions()
    body = {"v1": 1, "v2": 2}
    assert (await api("PUT", WEIGHTS, body, headers={"If-Match": "abc"})).places == [
        "header.If-Match"
    ]
    assert (await api("PUT", WEIGHTS, body, headers={"If-Match": "*"})).status == 200
    one = {"routes": [{"host": "x.y"}], "endpoints": []}
    assert (await api("PUT", "services/n", one, headers={"If-Match": "*"})).status == 412
    assert (await api("PUT", "services/n", one, headers={"If-None-Match": "*"})).status == 200
    assert (await api("PUT", "services/n", one, headers={"If-None-Match": "*"})).status == 412


@on_an_api
async def test_a_dry_run_judges_and_plans_and_changes_nothing(api: Api) -> None:
    await api.two_versions()
    state, snapshot = api.controller.state, api.controller.snapshot
    answer = await api("PUT", f"{WEIGHTS}?dry_run=true", {"v1": 0, "v2": 7})
    assert answer.status == 200
    assert answer.json["dry_run"] is True
    assert answer.json["applied"] is None
    assert answer.json["plan"]["routes"] == {"shop.example": {"v1": 0, "v2": 7}}
    for method, path, body in (
        ("DELETE", "services/v2?dry_run=true", None),
        ("POST", "instances/v1@127.0.0.1:9001/drain?dry_run=true", None),
        ("PATCH", "services/v2?dry_run=true", {"coexist": False}),
        ("PUT", "routes/shop.example?dry_run=true", {"spill": False}),
    ):
        answer = await api(method, path, body)
        assert answer.status == 200
        assert answer.json["dry_run"] is True
    assert (await api("PUT", f"{WEIGHTS}?dry_run=true", {"v1": 0, "v2": 0})).status == 422
    assert api.controller.state is state
    assert api.controller.snapshot is snapshot


@on_an_api
async def test_a_call_repeated_with_its_key_happens_once(api: Api) -> None:
    await api.two_versions()
    key = {"Idempotency-Key": "k1"}
    first = await api("POST", "tokens", {"name": "ci", "role": "viewer"}, headers=key)
    again = await api("POST", "tokens", {"name": "ci", "role": "viewer"}, headers=key)
    assert (again.status, again.raw) == (first.status, first.raw) == (201, first.raw)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first.headers
    other = await api("POST", "tokens", {"name": "cd", "role": "viewer"}, headers=key)
    assert (other.status, other.places) == (422, ["header.Idempotency-Key"])
    elsewhere = await api("PUT", WEIGHTS, {"v1": 1, "v2": 2}, headers=key)
    assert elsewhere.status == 200
    await api("PUT", WEIGHTS, {"v1": 3, "v2": 4})
    assert (await api("PUT", WEIGHTS, {"v1": 1, "v2": 2}, headers=key)).status == 200
    assert await api.weights() == {"v1": 3, "v2": 4}
    assert (
        await api("PUT", WEIGHTS, {"v1": 1, "v2": 2}, headers={"Idempotency-Key": ""})
    ).places == ["header.Idempotency-Key"]


@on_an_api
async def test_a_refused_call_and_a_dry_run_use_up_no_key(api: Api) -> None:
    await api.two_versions()
    key = {"Idempotency-Key": "k1"}
    assert (await api("PUT", WEIGHTS, {"v1": 0, "v2": 0}, headers=key)).status == 422
    dry = await api("PUT", f"{WEIGHTS}?dry_run=true", {"v1": 5, "v2": 5}, headers=key)
    assert dry.status == 200
    assert (await api("PUT", WEIGHTS, {"v1": 5, "v2": 5}, headers=key)).status == 200
    assert await api.weights() == {"v1": 5, "v2": 5}


@on_an_api
async def test_two_calls_with_one_key_at_the_same_time_are_one(api: Api) -> None:
    key = {"Idempotency-Key": "k1"}
    body = {"name": "ci", "role": "viewer"}
    answers = await asyncio.gather(*(api("POST", "tokens", body, headers=key) for _ in range(5)))
    assert len({a.raw for a in answers}) == 1
    assert idempotency.ENTRIES_MAX >= 100


@on_an_api
async def test_a_late_worker_is_named_and_the_change_stands(api: Api) -> None:
    await api.two_versions()
    api.workers[1].hangs = True
    answer = await api("PUT", WEIGHTS, {"v1": 1, "v2": 1})
    assert answer.status == 202
    assert answer.json["applied"] == {
        "workers": 1,
        "of": 2,
        "late": [f"worker 1 (pid {os.getpid() + 1})"],
    }
    assert await api.weights() == {"v1": 1, "v2": 1}


@on_an_api
async def test_a_store_that_is_away_is_told_and_nothing_is_changed(api: Api) -> None:
    await api.two_versions()
    api.store.become_unavailable()
    answer = await api("PUT", WEIGHTS, {"v1": 1, "v2": 1})
    assert (answer.status, answer.code) == (503, "store_unavailable")
    assert answer.headers["Retry-After"]
    assert await api.weights() == {"v1": 100, "v2": 0}


def test_no_traceback_reaches_a_client(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    @on_an_api
    async def break_it(api: Api) -> None:
        await api.two_versions()
        api.store.trouble = RuntimeError("secret inside")
        answer = await api("PUT", WEIGHTS, {"v1": 1, "v2": 1})
        assert (answer.status, answer.code) == (500, "internal")
        for leak in (b"secret", b"Traceback", b"RuntimeError", b".py"):
            assert leak not in answer.raw

    with caplog.at_level(logging.ERROR):
        break_it(tmp_path)
    assert "secret inside" in caplog.text


@on_an_api
async def test_addresses_and_methods_that_do_not_exist_are_problems(api: Api) -> None:
    for path in ("/", "/api/v1", "/api/v1/routes/", "/api/v2/routes", "/api/v1/routes/a/b/c"):
        answer = await api("GET", path)
        assert (answer.status, answer.code) == (404, "not_found"), path
    answer = await api("PATCH", "routes")
    assert (answer.status, answer.code) == (405, "method_not_allowed")
    assert answer.headers["Allow"] == "GET, HEAD"
    assert (await api("OPTIONS", "/healthz")).code == "method_not_allowed"


@on_an_api
async def test_bodies_are_bounded_and_uncompressed(api: Api) -> None:
    await api.two_versions()
    huge = b'{"v1": 1' + b" " * (1 << 20) + b"}"
    answer = await api("PUT", WEIGHTS, raw=huge)
    assert (answer.status, answer.code) == (413, "payload_too_large")
    for coding in ("gzip", "deflate", "br", "x"):
        answer = await api("PUT", WEIGHTS, raw=b"{}", headers={"Content-Encoding": coding})
        assert (answer.status, answer.code) == (415, "unsupported_media_type")


@on_an_api
async def test_a_long_body_without_a_length_is_cut_off(api: Api) -> None:
    await api.two_versions()
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    token = await api.token(Role.ADMIN)
    writer.write(
        f"PUT /api/v1/{WEIGHTS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
        "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    )
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    for _ in range(20):
        writer.write(chunk)
    assert b" 413 " in await reader.readline()
    writer.close()


def test_what_is_no_http_fills_no_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    @on_an_api
    async def knock(api: Api) -> None:
        for raw in (b"\0\r\n\r\n", b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n"):
            reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
            writer.write(raw)
            assert b" 400 " in await reader.readline()
            writer.close()

    knock(tmp_path)
    assert not caplog.records


@on_an_api
async def test_calls_without_a_body_take_none(api: Api) -> None:
    await api.two_versions()
    drain = "instances/v1@127.0.0.1:9001/drain"
    assert (await api("POST", drain, {"wait": 3})).places == ["body"]
    assert (await api("POST", drain, {})).status == 200
    assert (await api("POST", drain)).status == 200


@on_an_api
async def test_answers_are_not_stored_by_caches_nor_guessed_at(api: Api) -> None:
    for path in ("routes", "/docs", "/nope"):
        headers = (await api("GET", path)).headers
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "aiohttp" not in headers["Server"]
    page = await api("GET", "/docs")
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert b"<script" not in page.raw
    assert b"src=" not in page.raw


@on_an_api
async def test_head_answers_like_get_without_a_body(api: Api) -> None:
    answer = await api("HEAD", "/healthz")
    assert (answer.status, answer.raw) == (200, b"")


@on_an_api
async def test_hostile_addresses_never_break_anything(api: Api) -> None:
    await api.two_versions()
    texts = ("%00", "%FF", "%2e%2e", "%E2%80%AE", "a" * 3000, "%7B%7D", "%0d%0aX:1", "'\"<>")
    for operation in OPERATIONS:
        for name in operation.parameters:
            for text in texts:
                path = operation.path.replace(f"{{{name}}}", text)
                body: object = {} if operation.body is not None else None
                answer = await api(operation.method, path, body)
                assert 400 <= answer.status < 500, (operation.method, path)
                assert answer.code
    assert set(api.controller.state.services) == {ServiceId("-/v1"), ServiceId("-/v2")}


BODIES = (
    b"",
    b"\0",
    b"null",
    b"[]",
    b"0",
    b'"x"',
    b"{",
    b"{}" * 2,
    b"\xff\xfe{}",
    b"\xef\xbb\xbf{}",
    b'{"a": 1, "a": 2}',
    b'{"\\ud800": NaN}',
    b'{"reason": 1e999, "new": -1e999}',
    b"[" * 100_000,
    b'{"a":' * 20_000,
    b'{"n": ' + b"9" * 100_000 + b"}",
    b'{"' + b"k" * 200_000 + b'": {}}',
    b"{" + b",".join(b'"%d": 1' % n for n in range(2_000)) + b"}",
    b"a: &a [*a]",
    b"a: !!python/object/apply:os.system [id]",
    b"services: {web: {image: !!binary aaaa, labels: [[[]]]}}",
    b"{services: {? {a: b} : c}}",
    b"x:\n\t- y",
)
FIELDS = (
    {"Content-Type": "application/json; charset=utf-16"},
    {"Content-Type": "multipart/form-data; boundary="},
    {"Content-Type": "x" * 4000},
    {"If-Match": '"' * 1000},
    {"If-Match": "W/" * 1000, "If-None-Match": "*,*"},
    {"Idempotency-Key": "k" * 4000},
    {"Idempotency-Key": "\u202e\u00ff"},
    {"Accept": "," * 4000},
    {"Content-Encoding": "identity, identity"},
    {"Expect": "nothing"},
    {"Range": "bytes=99999999999-"},
)
QUERIES = (
    "?" + "a=1&" * 2000,
    "?%00=%00&limit=%FF",
    "?limit=-1&after=%E2%80%AE%1b[2J",
    "?limit=99999999999999999999999999&window=inf&wait=nan",
    "?dry_run=%00&force=tRuE&reason=" + "x" * 501,
    "?=&&&==;",
)


def addresses() -> list[tuple[str, str]]:
    """Each operation that can be sent something, at names that do not exist."""
    return [(o.method, re.sub(r"{\w+}", "nope", o.path)) for o in OPERATIONS]


def test_hostile_bodies_fields_and_queries_are_refused_and_never_our_fault(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    @on_an_api
    async def attack(api: Api) -> None:
        await api.two_versions()
        before = api.controller.state
        for method, path in addresses():
            if method not in ("GET", "DELETE"):
                yaml = path.endswith(("/releases", "/validate"))
                kind = "application/yaml" if yaml else "application/json"
                for raw in BODIES:
                    answer = await api(method, path, raw=raw, headers={"Content-Type": kind})
                    assert answer.status < 500, (method, path, raw[:40])
            for fields in FIELDS:
                body: object = {} if method not in ("GET", "DELETE") else None
                answer = await api(method, path, body, headers=fields)
                assert answer.status < 500, (method, path, fields)
            for query in QUERIES:
                assert (await api(method, path + query)).status < 500, (method, path, query)
        assert api.controller.state.services == before.services
        assert api.controller.state.routes.keys() - before.routes.keys() <= {"nope.localhost"}
        assert (await api("GET", "audit")).status == 200

    attack(tmp_path)
    assert not [r for r in caplog.records if r.exc_info]


@on_an_api
async def test_what_is_said_of_a_change_forges_no_line_anywhere(api: Api) -> None:
    await api.two_versions()
    reason = "%0A2026-01-01T00:00:00.000Z%20info%20forged%1B[2J"
    answer = await api("PUT", f"{WEIGHTS}?reason={reason}", {"v1": 50, "v2": 50})
    assert answer.status == 200
    entry = (await api("GET", "audit?limit=1")).json["entries"][0]
    assert entry["reason"].startswith("\n2026")
    raw = (await api("GET", "audit?limit=1")).raw
    assert b"\x1b" not in raw
    assert b"\\n2026" in raw
