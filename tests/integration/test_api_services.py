"""Services and instances registered by hand, over HTTP."""

from __future__ import annotations

from admin.api.context import OpenWork
from gateway.core.model import ServiceId
from tests.support.api import Api, finish_removal, on_an_api

V1 = "v1@127.0.0.1:9001"
ONE = {"routes": [{"host": "shop.example"}], "endpoints": ["127.0.0.1:9001"]}


@on_an_api
async def test_the_first_holder_gets_100_and_a_coexisting_one_0(api: Api) -> None:
    await api.two_versions()
    assert await api.weights() == {"v1": 100, "v2": 0}
    shown = (await api("GET", "services/v2")).json
    assert shown["id"] == "-/v2"
    assert shown["routes"][0]["weight"] == 0
    assert shown["coexist"] is True
    listed = (await api("GET", "services")).json["services"]
    assert [s["name"] for s in listed] == ["v1", "v2"]
    assert (await api("GET", "services/-%2Fv2")).json == shown


@on_an_api
async def test_a_route_held_by_another_is_refused_naming_the_holder(api: Api) -> None:
    await api.register("v1", "shop.example")
    answer = await api("PUT", "services/v2", ONE)
    assert (answer.status, answer.code) == (409, "route_conflict")
    assert answer.json["holders"] == {"shop.example": ["-/v1"]}
    assert (await api("GET", "services/v2")).status == 404


@on_an_api
async def test_a_registration_replaced_keeps_its_weights(api: Api) -> None:
    await api.two_versions()
    await api("PUT", "routes/shop.example/weights", {"v1": 1, "v2": 99})
    await api.register("v2", "shop.example", "new.example", coexist=True, port=9005)
    assert await api.weights() == {"v1": 1, "v2": 99}
    assert await api.weights("new.example") == {"v2": 100}


@on_an_api
async def test_bad_registrations_are_refused_with_every_place(api: Api) -> None:
    answer = await api(
        "PUT",
        "services/v1",
        {"routes": [{"host": "a b"}, {"host": "x.y", "path": "/../z"}], "endpoints": ["x"]},
    )
    assert set(answer.places) == {"routes[0].host", "routes[1].path", "endpoints[0]"}
    answer = await api("PUT", "services/v1?dry_rn=true", {"rutes": []})
    assert set(answer.places) == {"query.dry_rn", "rutes", "routes", "endpoints"}
    for name in ("a" * 129, "a%20b", "%2F", "..", "%C3%A4", "-", "-%2F-"):
        assert (await api("PUT", f"services/{name}", ONE)).places == ["path.name"], name
    assert not api.controller.state.services


@on_an_api
async def test_services_of_applications_are_not_changed_by_hand(api: Api) -> None:
    answer = await api("PUT", "services/shop%2Fweb", ONE)
    assert (answer.status, answer.code) == (409, "in_use")
    assert (await api("PUT", "services/-%2Fweb", ONE)).json["service"]["id"] == "-/web"


@on_an_api
async def test_coexist_is_marked_by_itself(api: Api) -> None:
    await api.register("v1", "shop.example")
    answer = await api("PATCH", "services/v1", {"coexist": True})
    assert answer.json["service"]["coexist"] is True
    assert (await api("PATCH", "services/v1", {})).places == ["body"]
    assert (await api("PATCH", "services/v1", {"scale": 3, "coexist": True})).places == ["body"]
    assert (await api("PATCH", "services/v1", {"scale": 0})).places == ["scale"]
    assert (await api("PATCH", "services/nope", {"coexist": True})).status == 404


@on_an_api
async def test_instances_are_shown_with_health_state_and_open_work(api: Api) -> None:
    api.checks.failing.add("v2@127.0.0.1:9002")
    await api.two_versions()
    api.figures.open_instances = {f"-/v1 {V1}": [OpenWork(3, 1)]}
    (one,) = (await api("GET", "services/v1/instances")).json["instances"]
    assert one == {
        "id": V1,
        "service": "-/v1",
        "address": "127.0.0.1:9001",
        "health": "healthy",
        "state": "up",
        "in_flight": 3,
        "websockets": 1,
        "problem": None,
    }
    (two,) = (await api("GET", "services/v2")).json["instances"]
    assert (two["health"], two["state"]) == ("unhealthy", "down")
    assert (await api("GET", f"instances/{V1}")).json == one
    answer = await api("GET", "instances/v1@127.0.0.1:9009")
    assert answer.status == 404
    assert "did you mean" in answer.json["detail"]


@on_an_api
async def test_an_instance_is_drained_and_given_work_again(api: Api) -> None:
    await api.two_versions()
    api.figures.open_instances = {f"-/v1 {V1}": [OpenWork(2, 1)]}
    answer = await api("POST", f"instances/{V1}/drain")
    assert answer.status == 200
    assert answer.json["instance"]["state"] == "draining"
    assert (answer.json["in_flight"], answer.json["websockets"]) == (2, 1)
    assert answer.json["drained"] is False
    assert answer.json["applied"]["workers"] == 2
    answer = await api("POST", f"instances/{V1}/resume")
    assert answer.json["instance"]["state"] == "up"
    assert answer.json["drained"] is False
    assert (await api("POST", "instances/nope/drain")).status == 404


@on_an_api
async def test_draining_waits_until_nothing_is_open_or_the_time_is_over(api: Api) -> None:
    await api.two_versions()
    looks = [OpenWork(2, 0), OpenWork(1, 0), OpenWork(0, 1), OpenWork(0, 0)]
    api.figures.open_instances = {f"-/v1 {V1}": looks}
    answer = await api("POST", f"instances/{V1}/drain?wait=30")
    assert answer.json["drained"] is True
    assert api.clock.time < 1
    api.figures.open_instances = {f"-/v1 {V1}": [OpenWork(1, 0)]}
    answer = await api("POST", f"instances/{V1}/drain?wait=30")
    assert answer.json["drained"] is False
    assert 30 <= api.clock.time <= 32
    assert (await api("POST", f"instances/{V1}/drain?wait=-1")).places == ["query.wait"]
    assert (await api("POST", f"instances/{V1}/drain?wait=nan")).places == ["query.wait"]


@on_an_api
async def test_counts_of_open_work_are_given_time_to_be_true(api: Api) -> None:
    """Workers tell what instances have open a little later than it happens."""
    await api.two_versions()
    await api("POST", f"instances/{V1}/drain")
    assert api.clock.time >= 0.2


@on_an_api
async def test_a_service_is_drained_then_removed(api: Api) -> None:
    await api.two_versions()
    answer = await api("DELETE", "services/v2")
    assert (answer.status, answer.json["removed"]) == (200, True)
    assert (await api("GET", "services/v2")).status == 404
    assert await api.weights() == {"v1": 100}


@on_an_api
async def test_a_removal_that_takes_long_is_told_with_what_is_open(api: Api) -> None:
    await api.two_versions()
    api.removes = False
    api.figures.open_services = {"-/v2": OpenWork(1, 4)}
    answer = await api("DELETE", "services/v2?drain_timeout=60")
    assert (answer.status, answer.json["removed"]) == (202, False)
    assert (answer.json["in_flight"], answer.json["websockets"]) == (1, 4)
    assert 5 <= api.clock.time < 6
    assert api.controller.state.services[ServiceId("-/v2")].drain_s == 60
    shown = (await api("GET", "services/v2")).json
    assert shown["leaving"] is True
    assert shown["instances"][0]["state"] == "draining"


@on_an_api
async def test_a_removal_is_answered_as_soon_as_it_is_done(api: Api) -> None:
    await api.two_versions()
    api.removes = False

    async def finish_after_a_second() -> None:
        if api.clock.time >= 1:
            api.clock.on_tick = None
            await finish_removal(api, ServiceId("-/v2"))

    api.clock.on_tick = finish_after_a_second
    answer = await api("DELETE", "services/v2")
    assert (answer.status, answer.json["removed"]) == (200, True)
    assert 1 <= api.clock.time < 2


@on_an_api
async def test_the_last_service_with_traffic_is_not_removed_unless_forced(api: Api) -> None:
    await api.two_versions()
    answer = await api("DELETE", "services/v1")
    assert (answer.status, answer.code) == (409, "in_use")
    answer = await api("DELETE", "services/v1?force=true")
    assert answer.status == 200
    assert answer.json["warnings"]
    assert (await api("DELETE", "services/v1")).status == 404
    assert (await api("DELETE", "services/v2?drain_timeout=x")).places == ["query.drain_timeout"]
