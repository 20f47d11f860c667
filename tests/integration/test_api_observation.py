"""Explain, figures, audit, health, metrics, validation and the description of it all."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from admin.api.figures import WorkerFigures, control_facts, release_phases
from gateway.core.model import InstanceId, RouteId
from gateway.core.release import Phase
from gateway.metrics.merge import Merger
from gateway.metrics.shared import create_region
from gateway.metrics.worker import WorkerMetrics
from tests.support.api import NOW, Api, on_an_api, serving, traffic

V1 = "v1@127.0.0.1:9001"


async def explained(api: Api, query: str) -> tuple[object, object, object, str]:
    answer = (await api("GET", f"explain?{query}")).json
    instance = answer["instance"]["id"] if answer["instance"] else None
    return answer["verdict"], answer["service"], instance, "\n".join(answer["why"])


@on_an_api
async def test_explain_says_which_rule_each_decision_followed(api: Api) -> None:
    await api.two_versions()
    verdict, service, instance, why = await explained(api, "host=Shop.Example:8080&path=/a?b=c")
    assert (verdict, service, instance) == ("ok", "-/v1", V1)
    assert "matches exactly" in why
    assert "drawn by weight: 100 of 100" in why
    answer = (await api("GET", "explain?host=shop.example")).json
    assert answer["status"] is None
    assert [(c["name"], c["weight"], c["share"]) for c in answer["candidates"]] == [
        ("v1", 100, 1.0),
        ("v2", 0, 0.0),
    ]
    assert answer["candidates"][1]["instances"][0]["health"] == "healthy"


@on_an_api
async def test_explain_follows_selectors_where_they_are_on(api: Api) -> None:
    await api.two_versions()
    header = "host=shop.example&header=X-Gateway-Service:%20v2"
    verdict, service, _, why = await explained(api, header)
    assert service == "-/v1"
    assert "selectors are off" in why
    await api("PUT", "routes/shop.example", {"selectors": True})
    verdict, service, _, why = await explained(api, header)
    assert (verdict, service) == ("ok", "-/v2")
    assert "header X-Gateway-Service" in why
    _, service, _, why = await explained(api, "host=shop.example&cookie=X-Gateway-Service=v2")
    assert service == "-/v2"
    assert "cookie X-Gateway-Service" in why
    answer = (await api("GET", "explain?host=shop.example&header=X-Gateway-Service:v3")).json
    assert (answer["verdict"], answer["status"]) == ("unknown_selection", 404)


@on_an_api
async def test_explain_follows_a_pin(api: Api) -> None:
    await api.two_versions()
    world_cookie = _cookie(api)
    await api("PUT", "routes/shop.example/weights", {"v1": 0, "v2": 100})
    _, service, instance, why = await explained(api, f"host=shop.example&cookie={world_cookie}")
    assert (service, instance) == ("-/v1", V1)
    assert "pinned" in why
    _, service, _, why = await explained(api, "host=shop.example&header=Cookie:GATEWAYSESSION=no")
    assert service == "-/v2"


def _cookie(api: Api) -> str:
    """What a client pinned to v1 sends."""
    import random

    from gateway.routing.pool import Pool
    from gateway.routing.world import World

    world = World(0, random.random)
    world.apply(api.controller.snapshot)
    pool = world.table.match(b"shop.example", b"/", False)
    assert isinstance(pool, Pool)
    decision = pool.decide(None, None)
    assert decision.service is not None
    instance = world.instance(InstanceId(V1))
    assert instance is not None
    return pool.set_cookie(decision.service, instance, False).decode().partition(";")[0]


@on_an_api
async def test_explain_tells_why_nothing_would_be_reached(api: Api) -> None:
    api.checks.failing.add("down@127.0.0.1:9003")
    await api.register("down", "down.example", port=9003)
    await api.register("inner", "inner.local", port=9004)
    await api.register("wild", "*.wild.example", port=9005)
    await api("PUT", "routes/bare.example", {"spill": False})
    for query, verdict, status, word in (
        ("host=nope.example", "unknown_host", 404, "no route has host"),
        ("host=down.exampl", "unknown_host", 404, "did you mean 'down.example'"),
        ("host=down.example", "no_healthy_instance", 503, "usable instance"),
        ("host=bare.example", "no_service", 503, "no service"),
        ("host=inner.local&internal=false", "internal_only", 404, "internal"),
        ("host=inner.local", "ok", None, "public ones"),
        ("host=a.wild.example", "ok", None, "wildcard *.wild.example"),
    ):
        answer = (await api("GET", f"explain?{query}")).json
        assert (answer["verdict"], answer["status"]) == (verdict, status), query
        assert word in "\n".join(answer["why"]), query


@on_an_api
async def test_explain_refuses_what_is_no_request(api: Api) -> None:
    answer = await api("GET", "explain?host=a%20b&path=x&header=nonsense&bogus=1")
    assert answer.places == ["query.bogus"]
    answer = await api("GET", "explain?host=a%20b&path=x&header=nonsense")
    assert answer.places == ["query.host", "query.path", "query.header[0]"]
    assert (await api("GET", "explain")).places == ["query.host"]


@on_an_api
async def test_figures_are_given_per_route_and_service(api: Api) -> None:
    await api.two_versions()
    api.figures.traffic = {
        "shop.example": traffic(600),
        "-/v1": traffic(600, in_flight=3),
        "shop.example -/v1": traffic(600, error_ratio=0.25),
    }
    stats = (await api("GET", "stats?window=300")).json
    assert stats["window"] == 300
    (route,) = stats["routes"]
    assert route["traffic"]["requests"] == 600
    assert route["traffic"]["p99"] == 0.03
    assert route["services"]["-/v1"]["error_ratio"] == 0.25
    assert route["services"]["-/v2"]["requests"] == 0
    assert stats["services"]["-/v1"]["in_flight"] == 3
    assert (await api("GET", "stats?window=61")).places == ["query.window"]
    assert (await api("GET", "stats")).json["window"] == 60


@on_an_api
async def test_the_audit_is_read_page_by_page_newest_first(api: Api) -> None:
    for n in range(5):
        await api("PUT", f"routes/r{n}.example?reason=why{n}", {"spill": False})
    first = (await api("GET", "audit?limit=2")).json
    assert [e["reason"] for e in first["entries"]] == ["why4", "why3"]
    second = (await api("GET", f"audit?limit=2&after={first['next']}")).json
    assert [e["reason"] for e in second["entries"]] == ["why2", "why1"]
    assert first["entries"][0]["time"].endswith("Z")
    assert (await api("GET", "audit?limit=1000")).json["next"] is None
    assert (await api("GET", "audit?after=x")).places == ["query.after"]


@on_an_api
async def test_ready_means_that_a_worker_serves(api: Api) -> None:
    answer = await api("GET", "/readyz")
    assert answer.status == 200
    assert answer.json["workers"] == 2
    workers = (await api("GET", "workers")).json["workers"]
    assert [w["state"] for w in workers] == ["serving", "serving"]
    assert {w["generation"] for w in workers} == {api.controller.snapshot.generation}
    api.controller.is_stopping = True
    answer = await api("GET", "/readyz")
    assert (answer.status, answer.code) == (503, "not_ready")
    assert (await api("GET", "/healthz")).json == {"status": "ok"}


@on_an_api
async def test_a_configuration_is_checked_without_being_used(api: Api) -> None:
    yaml = {"Content-Type": "application/yaml"}
    answer = await api("POST", "validate", raw=b"workes: 2\ndomain: x.example\n", headers=yaml)
    assert answer.json["valid"] is False
    (problem,) = answer.json["problems"]
    assert (problem["field"], problem["line"]) == ("workes", 1)
    assert "workers" in problem["message"]
    assert (await api("POST", "validate", raw=b"workers: 2\n", headers=yaml)).json["valid"]
    bomb = b"a: &a [x,x,x]\nb: &b [*a,*a,*a]\nc: [*b,*b]\n"
    assert not (await api("POST", "validate", raw=bomb, headers=yaml)).json["valid"]
    assert (await api("POST", "validate", raw=b"\xff", headers=yaml)).json["valid"] is False
    assert (await api("POST", "validate", raw=b"x", headers={"Content-Type": "a/b"})).status == 415


def test_counters_of_workers_reach_the_pages(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(tmp_path) as api:
            await api.two_versions()
            await api("PUT", "routes/dead.example", {"spill": False})
            fds = [create_region(f"slot{n}") for n in range(2)]
            workers = [WorkerMetrics(fd) for fd in fds]
            figures = WorkerFigures(api.controller, Merger(fds), lambda: NOW, api.clock)
            for worker in workers:
                series = worker.series("shop.example", "-", "-/v1", "v1")
                series.finish(b"GET", 200, 0.01, 10, 20)
                series.in_flight.add(2)
                worker.show_instance("-/v1", V1, 2, 1)
            api.clock.time += 1
            figures.sample()
            report = figures.report(60)
            assert report.routes["shop.example"].requests == 2
            assert report.pairs["shop.example", "-/v1"].in_flight == 4
            work = figures.work()
            assert work.services["-/v1"].in_flight == 4
            assert (
                work.instances["-/v1", V1].in_flight,
                work.instances["-/v1", V1].websockets,
            ) == (4, 2)

            page, kind = await figures.page("text/plain")
            assert kind.startswith("text/plain")
            weight = (
                b'gateway_route_weight{application="-",route="shop.example",service="v1"} 100.0'
            )
            assert weight in page
            assert b'gateway_instances{application="-",service="v2",state="up"} 1.0' in page
            assert b'gateway_route_invalid{reason="no_service",route="dead.example"}' in page or (
                b'gateway_route_invalid{route="dead.example",reason="no_service"} 1.0' in page
            )
            page, kind = await figures.page("application/openmetrics-text; version=1.0.0")
            assert kind.startswith("application/openmetrics-text")
            assert page.endswith(b"# EOF\n")
            for fd in fds:
                os.close(fd)

    asyncio.run(main())


@on_an_api
async def test_the_metrics_page_is_what_accept_asks_for(api: Api) -> None:
    answer = await api("GET", "/metrics", headers={"Accept": "x/y"})
    assert answer.raw == b"# x/y\n"
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert answer.headers["Vary"] == "Accept"


@on_an_api
async def test_the_phase_of_each_latest_release_is_measured(api: Api) -> None:
    template = "web-{}: {{image: 'web:1', labels: {{aliyun.routing.port_80: shop.example}}}}"
    await api.deploy("shop", template.format(1))
    await api.reached("shop-1", "confirmed")
    assert release_phases(api.controller.state, NOW + 5) == {"shop": (Phase.CONFIRMED, 5.0)}
    await api.wall.advance(100)
    await api.deploy("shop", template.format(2))
    await api.reached("shop-2", "pending_confirmation")
    await api.wall.advance(10)
    await api("POST", "applications/shop/shift", {"new": 100})  # changes no phase
    facts = control_facts(api.controller, NOW + 160)
    assert facts.release_phases == {"shop": (Phase.PENDING_CONFIRMATION, 60.0)}
    await api("POST", "applications/shop/rollback")
    await api.reached("shop-2", "rolled_back")
    await api("DELETE", "applications/shop")
    assert release_phases(api.controller.state, NOW + 170) == {}


@on_an_api
async def test_a_route_that_is_held_back_is_not_invalid(api: Api) -> None:
    web = "web-{}: {{image: 'web:1', labels: {{aliyun.routing.port_80: 'shop.example{}'}}}}\n"
    await api.deploy("shop", web.format(1, ""))
    await api.reached("shop-1", "confirmed")
    await api.deploy("shop", web.format(1, "") + web.format(2, ":/cart"))
    await api.settled()
    assert api.controller.snapshot.routes[RouteId("shop.example/cart")].held
    assert list(control_facts(api.controller, NOW).invalid_routes) == []


@on_an_api
async def test_a_route_that_cannot_serve_is_named_with_its_reason(api: Api) -> None:
    api.checks.failing.add("down@127.0.0.1:9003")
    await api.register("down", "down.example", port=9003)
    await api.register("zero", "zero.example", port=9004)
    await api("PUT", "routes/zero.example/weights?force=true", {"zero": 0})
    await api.register("fine", "fine.example", port=9005)
    facts = control_facts(api.controller, time.time())
    assert sorted(facts.invalid_routes) == [
        ("down.example", "no_healthy_instance"),
        ("zero.example", "no_weight"),
    ]
    assert facts.snapshot_age_s < 60
    assert facts.live.slots == {0, 1}
