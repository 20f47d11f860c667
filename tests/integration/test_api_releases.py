"""Releases over HTTP: deploy, look, shift, confirm, roll back; who may see what."""

from __future__ import annotations

import asyncio
from typing import Any

from gateway.core.model import InstanceId, Role, ServiceId
from tests.support.api import Api, Fell, finish_removal, on_an_api

SECRET = "hunter22"


def template(version: str, more: str = "", scale: int = 2) -> str:
    return f"""\
web-v{version}:
  image: web:{version}
  environment: [PASSWORD={SECRET}]
  labels:
    aliyun.scale: {scale}
    aliyun.routing.port_80: shop.example
    {more}
"""


V1 = template("1")
V2 = template("2", "aliyun.routing.coexist: true")


async def first_and_second(api: Api, query: str = "") -> Any:
    """An application of v1, and its release to v2, which waits for the operator."""
    assert (await api.deploy("shop", V1)).status == 201
    await api.reached("shop-1", "confirmed")
    answer = await api.deploy("shop", V2, query)
    assert answer.status == 201, answer.json
    return await api.reached("shop-2", "pending_confirmation")


@on_an_api
async def test_a_first_deployment_is_a_release_that_ends_by_itself(api: Api) -> None:
    answer = await api.deploy("shop", V1, "reason=hello")
    assert answer.status == 201
    made = answer.json
    assert (made["id"], made["application"], made["strategy"]) == ("shop-1", "shop", "blue-green")
    assert (made["phase"], made["is_first"], made["dry_run"]) == ("releasing", True, False)
    assert made["applied"] == {"workers": 2, "of": 2, "late": []}
    assert made["timeline"] == [
        {
            "time": "2027-01-15T08:00:00.000Z",
            "phase": "releasing",
            "by": made["timeline"][0]["by"],
            "reason": "hello",
        }
    ]
    assert made["timeline"][0]["by"].startswith("uid:")
    assert made["deadline"] == "2027-01-15T08:05:00.000Z"
    over = await api.reached("shop-1", "confirmed")
    (web,) = over["services"]
    assert (web["name"], web["id"], web["colour"]) == ("web-v1", "shop/web-v1", "green")
    assert (web["scale"], web["ready"], len(web["instances"])) == (2, 2, 2)
    assert over["legal"] == []
    assert over["waiting_for"] is None


@on_an_api
async def test_a_release_shows_colours_weights_and_what_it_waits_for(api: Api) -> None:
    shown = await first_and_second(api)
    assert [(s["name"], s["colour"]) for s in shown["services"]] == [
        ("web-v2", "green"),
        ("web-v1", "blue"),
    ]
    assert shown["routes"] == [
        {
            "route": "shop.example",
            "weights": {"web-v1": 100, "web-v2": 0},
            "held": False,
            "new_share": 0.0,
        }
    ]
    assert shown["legal"] == ["shift", "confirm", "rollback"]
    assert shown["waiting_for"] == "the operator to shift, confirm or roll back"
    (route,) = (await api("GET", "routes")).json["routes"]
    assert {s["name"]: s["colour"] for s in route["services"]} == {
        "web-v1": "blue",
        "web-v2": "green",
    }
    service = (await api("GET", "services/web-v2")).json
    assert (service["colour"], service["image"], service["scale"]) == ("green", "web:2", 2)


@on_an_api
async def test_a_held_route_says_so(api: Api) -> None:
    await api.deploy("shop", V1)
    await api.reached("shop-1", "confirmed")
    more = template("2").replace("shop.example", "shop.example:/cart")
    made = (await api.deploy("shop", V1 + more)).json
    held = {r["route"]: r["held"] for r in made["routes"]}
    assert held == {"shop.example/cart": True}
    (warning,) = (w for w in made["warnings"] if "selectors only" in w)
    assert made["new_warnings"] == made["warnings"]
    await api.reached("shop-2", "pending_confirmation")
    moved = (await api("POST", "releases/shop-2/confirm?force=true&dry_run=true")).json
    assert warning in moved["warnings"]
    assert warning not in moved["new_warnings"]
    assert (await api("GET", "routes/shop.example%2Fcart")).json["held"] is True
    assert (await api("GET", "routes/shop.example")).json["held"] is False


@on_an_api
async def test_traffic_is_shifted_by_percent_in_one_step(api: Api) -> None:
    await first_and_second(api, "strategy=gray")
    answer = await api("POST", "releases/shop-2/shift", {"new": 12.5})
    assert answer.status == 200
    (route,) = answer.json["routes"]
    assert route["new_share"] == 0.125
    assert await api.weights() == {"web-v1": 875, "web-v2": 125}
    answer = await api("POST", "applications/shop/shift", {"new": 100})
    assert answer.json["routes"][0]["weights"] == {"web-v1": 0, "web-v2": 100}
    for body in ({"new": 101}, {"new": -1}, {"new": "5"}, {"new": True}, {}, {"new": 1, "x": 2}):
        refused = await api("POST", "releases/shop-2/shift", body)
        assert refused.code == "invalid", body
        assert refused.places


@on_an_api
async def test_a_strategy_forbids_the_weights_it_does_not_know(api: Api) -> None:
    await first_and_second(api)
    answer = await api("POST", "releases/shop-2/shift", {"new": 25})
    assert (answer.status, answer.code) == (422, "strategy_forbids_weight")
    assert await api.weights() == {"web-v1": 100, "web-v2": 0}


@on_an_api
async def test_confirmed_the_old_services_go(api: Api) -> None:
    await first_and_second(api)
    refused = await api("POST", "releases/shop-2/confirm")
    assert (refused.status, refused.code) == (409, "no_traffic_on_new")
    await api("POST", "releases/shop-2/shift", {"new": 100})
    answer = await api("POST", "releases/shop-2/confirm?reason=looks%20good")
    assert answer.status == 200
    assert answer.json["phase"] == "confirming"
    assert answer.json["timeline"][-1]["reason"] == "looks good"
    over = await api.reached("shop-2", "confirmed")
    assert [(s["name"], s["scale"], s["ready"]) for s in over["services"]] == [
        ("web-v2", 2, 2),
        ("web-v1", 2, 0),
    ]
    assert [s["name"] for s in (await api("GET", "services")).json["services"]] == ["web-v2"]
    again = await api("POST", "releases/shop-2/confirm")
    assert (again.status, again.code) == (409, "illegal_transition")
    assert again.json["legal"] == []


@on_an_api
async def test_rolled_back_the_new_services_go(api: Api) -> None:
    await first_and_second(api)
    await api("POST", "releases/shop-2/shift", {"new": 100})
    answer = await api("POST", "applications/shop/rollback?reason=too%20slow")
    assert answer.json["phase"] == "rolling_back"
    await api.reached("shop-2", "rolled_back")
    assert await api.weights() == {"web-v1": 100}
    assert [s["name"] for s in (await api("GET", "services")).json["services"]] == ["web-v1"]


@on_an_api
async def test_a_way_back_is_offered_only_while_there_is_one(api: Api) -> None:
    await first_and_second(api)
    api.removes = False
    confirming = await api("POST", "releases/shop-2/confirm?force=true")
    assert (confirming.json["phase"], confirming.json["legal"]) == ("confirming", ["rollback"])
    assert "the open work of web-v1" in confirming.json["waiting_for"]
    api.launcher.is_stuck = True
    await finish_removal(api, ServiceId("shop/web-v1"))
    shown = (await api("GET", "releases/shop-2")).json
    assert (shown["phase"], shown["legal"]) == ("confirming", [])
    assert "the processes of web-v1 to stop" in shown["waiting_for"]
    assert (await api("POST", "releases/shop-2/rollback")).code == "illegal_transition"


@on_an_api
async def test_a_smooth_confirmation_moves_traffic_and_says_that_it_waits(api: Api) -> None:
    await first_and_second(api)
    answer = await api("POST", "applications/shop/confirm?smooth=true")
    assert (answer.status, answer.json["smooth"]) == (200, True)
    assert answer.json["phase"] == "pending_confirmation"
    assert await api.weights() == {"web-v1": 0, "web-v2": 100}
    assert "confirms by itself" in (await api("GET", "releases/shop-2")).json["waiting_for"]
    await api.wall.advance(6)
    await api.reached("shop-2", "confirmed")


@on_an_api
async def test_a_forced_confirmation_overrules_the_guards(api: Api) -> None:
    await first_and_second(api)
    both = await api("POST", "releases/shop-2/confirm?smooth=true&force=true")
    assert both.places == ["query.force"]
    assert (await api("POST", "releases/shop-2/confirm?force=true")).json["phase"] == "confirming"
    assert await api.weights() == {"web-v2": 100}


@on_an_api
async def test_one_release_of_an_application_at_a_time(api: Api) -> None:
    await first_and_second(api)
    answer = await api.deploy("shop", template("3".replace("3", "2")).replace("web-v2", "web-v3"))
    assert (answer.status, answer.code) == (409, "release_in_progress")
    assert answer.json["release"] == "shop-2"


@on_an_api
async def test_what_cannot_be_released_is_refused_with_the_reason(api: Api) -> None:
    await api.deploy("shop", V1)
    await api.reached("shop-1", "confirmed")
    same = await api.deploy("shop", V1)
    assert (same.status, same.code) == (422, "nothing_to_release")
    other = await api.deploy("shop", V1.replace(SECRET, "hunter33"))
    assert (other.status, other.code) == (422, "service_redefined")
    assert other.places == ["web-v1.environment"]
    assert b"hunter" not in other.raw
    taken = await api.deploy("rival", V1.replace("web-v1", "rival-v1"))
    assert (taken.status, taken.code) == (409, "route_conflict")
    assert "rival" not in [
        a["name"] for a in (await api("GET", "applications")).json["applications"]
    ]


@on_an_api
async def test_a_bad_template_is_refused_with_every_place(api: Api) -> None:
    answer = await api.deploy(
        "shop",
        "web-v1:\n  image: web:9\n  labels: {aliyun.scal: 1}\nweb-v2: {imgae: web:1}\n",
        "strategy=blue-gren",
    )
    assert answer.places == ["query.strategy"]
    assert "'blue-green'" in answer.json["errors"][0]["message"]
    answer = await api.deploy(
        "-", "web-v1:\n  image: web:9\n  labels: {aliyun.scal: 1}\nweb-v2: {imgae: web:1}\n"
    )
    assert {"path.app", "web-v1.labels.aliyun.scal", "web-v2.imgae"} <= set(answer.places)
    assert (await api.deploy("shop", "web-v1: [")).places == ["body"]
    assert not api.controller.state.applications


@on_an_api
async def test_an_unknown_strategy_is_told_all_there_are(api: Api) -> None:
    answer = await api.deploy("shop", V1, "strategy=xyz&deadline=0&on_deadline=no")
    assert set(answer.places) == {"query.strategy", "query.deadline", "query.on_deadline"}
    (message,) = [e["message"] for e in answer.json["errors"] if e["field"] == "query.strategy"]
    assert "blue-green, canary, gray, ab, standard" in message


@on_an_api
async def test_a_deployment_says_which_deadline_it_has(api: Api) -> None:
    made = (await api.deploy("shop", V1, "strategy=ab&deadline=7.5&on_deadline=hold")).json
    assert (made["strategy"], made["on_deadline"]) == ("ab", "hold")
    assert made["deadline"] == "2027-01-15T08:00:07.500Z"


@on_an_api
async def test_the_body_is_yaml_or_json_and_not_forgotten(api: Api) -> None:
    as_json = (
        '{"services": {"web-v1": {"image": "web:1", "labels": {"aliyun.routing.port_80": "a.b"}}}}'
    )
    answer = await api.deploy("one", as_json, headers={"Content-Type": "application/json"})
    assert answer.status == 201
    for kind in ("application/x-yaml", "text/yaml; charset=utf-8"):
        answer = await api.deploy("two", V1, "dry_run=true", headers={"Content-Type": kind})
        assert answer.status == 200, kind
    assert (await api.deploy("two", V1, headers={"Content-Type": "text/plain"})).status == 415
    assert (await api("POST", "applications/two/releases")).places == ["body"]
    assert (await api.deploy("two", V1, "previous=true")).places == ["body"]


@on_an_api
async def test_the_template_before_is_deployed_without_a_body(api: Api) -> None:
    none = await api("POST", "applications/shop/releases?previous=true")
    assert (none.status, none.code) == (404, "not_found")
    await first_and_second(api)
    assert (await api("GET", "applications/shop")).json["has_previous"] is False
    await api("POST", "applications/shop/confirm?force=true")
    await api.reached("shop-2", "confirmed")
    assert (await api("GET", "applications/shop")).json["has_previous"] is True
    back = await api("POST", "applications/shop/releases?previous=true")
    assert back.status == 201
    assert {s["name"]: s["colour"] for s in back.json["services"]} == {
        "web-v1": "green",
        "web-v2": "blue",
    }


@on_an_api
async def test_a_dry_run_shows_the_release_and_makes_none(api: Api) -> None:
    state = api.controller.state
    answer = await api.deploy("shop", V1, "dry_run=true")
    assert answer.status == 200
    assert answer.json["id"] == "shop-1"
    assert answer.json["plan"]["services"] == ["shop/web-v1"]
    assert answer.json["plan"]["routes"] == {"shop.example": {"web-v1": 100}}
    assert (answer.json["dry_run"], answer.json["applied"]) == (True, None)
    assert api.controller.state is state
    await first_and_second(api)
    state = api.controller.state
    for path, body in (("shift", {"new": 100}), ("rollback", None), ("confirm?force=true", None)):
        sign = "&" if "?" in path else "?"
        answer = await api("POST", f"releases/shop-2/{path}{sign}dry_run=true", body)
        assert (answer.status, answer.json["dry_run"]) == (200, True)
    assert api.controller.state is state


@on_an_api
async def test_a_release_has_a_tag_and_a_stale_one_is_refused(api: Api) -> None:
    await first_and_second(api)
    seen = (await api("GET", "releases/shop-2")).etag
    await api("PUT", "routes/shop.example/weights", {"web-v1": 0, "web-v2": 100})
    stale = {"If-Match": seen}
    assert (await api("POST", "releases/shop-2/confirm", headers=stale)).status == 412
    assert (await api("POST", "applications/shop/confirm", headers=stale)).status == 412
    fresh = {"If-Match": (await api("GET", "releases/shop-2")).etag}
    answer = await api("POST", "releases/shop-2/confirm", headers=fresh)
    assert answer.status == 200
    only_new = {"If-None-Match": "*", "Content-Type": "application/yaml"}
    assert (await api.deploy("shop", V1, headers=only_new)).status == 412


@on_an_api
async def test_a_deployment_repeated_with_its_key_happens_once(api: Api) -> None:
    headers = {"Idempotency-Key": "build-7", "Content-Type": "application/yaml"}
    first = await api.deploy("shop", V1, headers=headers)
    again = await api.deploy("shop", V1, headers=headers)
    assert (again.status, again.raw) == (201, first.raw)
    assert again.headers["Idempotency-Replayed"] == "true"
    other = await api.deploy("shop", V2, headers=headers)
    assert (other.status, other.places) == (422, ["header.Idempotency-Key"])
    assert list(api.controller.state.releases) == ["shop-1"]


@on_an_api
async def test_a_key_is_known_to_the_release_when_the_answer_is_forgotten(api: Api) -> None:
    headers = {"Idempotency-Key": "build-7", "Content-Type": "application/yaml"}
    assert (await api.deploy("shop", V1, headers=headers)).status == 201
    await api.reached("shop-1", "confirmed")
    api.forget_answers()
    again = await api.deploy("shop", V1, headers=headers)
    assert (again.status, again.json["id"], again.json["phase"]) == (201, "shop-1", "confirmed")
    assert again.headers["Idempotency-Replayed"] == "true"
    api.forget_answers()
    other = await api.deploy("shop", V2, headers=headers)
    assert (other.status, other.json["id"]) == (201, "shop-2")
    assert "Idempotency-Replayed" not in other.headers


@on_an_api
async def test_what_was_done_to_a_release_is_not_done_again_when_the_answer_is_forgotten(
    api: Api,
) -> None:
    await first_and_second(api, "strategy=gray")
    shop = "applications/shop"
    half = {"Idempotency-Key": "half"}
    for path, body, headers in (
        ("shift", {"new": 50}, half),
        ("shift", {"new": 100}, {}),
        ("shift", {"new": 50}, half),
    ):
        api.forget_answers()
        answer = await api("POST", f"{shop}/{path}", body, headers=headers)
        assert answer.status == 200, answer.raw
    assert answer.headers["Idempotency-Replayed"] == "true"
    assert answer.json["routes"][0]["new_share"] == 1.0, "the later shift stands"
    end = {"Idempotency-Key": "end"}
    assert (await api("POST", f"{shop}/confirm", headers=end)).status == 200
    await api.reached("shop-2", "confirmed")
    api.forget_answers()
    again = await api("POST", f"{shop}/confirm", headers=end)
    assert (again.status, again.json["phase"]) == (200, "confirmed")
    assert again.headers["Idempotency-Replayed"] == "true"
    other = await api("POST", f"{shop}/confirm", headers={"Idempotency-Key": "another"})
    assert (other.status, other.code) == (409, "illegal_transition")


@on_an_api
async def test_the_history_is_read_newest_first_and_page_by_page(api: Api) -> None:
    await first_and_second(api)
    await api.deploy("other", V1.replace("shop.example", "other.example"))
    ids = [r["id"] for r in (await api("GET", "releases")).json["releases"]]
    assert ids == ["other-1", "shop-2", "shop-1"]
    first = (await api("GET", "releases?application=shop&limit=1")).json
    assert [r["id"] for r in first["releases"]] == [first["next"]] == ["shop-2"]
    second = (await api("GET", "releases?application=shop&limit=1&after=shop-2")).json
    assert [r["id"] for r in second["releases"]] == ["shop-1"]
    assert second["next"] is None
    assert second["releases"][0]["services"][0]["instances"] == []
    assert (await api("GET", "releases?application=nope")).json["releases"] == []
    assert (await api("GET", "releases?after=shop-9")).places == ["query.after"]
    missing = await api("GET", "releases/shop-22")
    assert (missing.status, missing.code) == (404, "not_found")
    assert "did you mean" in missing.json["detail"]


@on_an_api
async def test_verbs_of_an_application_without_a_release_in_flight_are_refused(api: Api) -> None:
    for verb, body in (("shift", {"new": 1}), ("confirm", None), ("rollback", None)):
        answer = await api("POST", f"applications/shop/{verb}", body)
        assert (answer.status, answer.code) == (404, "not_found")
    await api.deploy("shop", V1)
    await api.reached("shop-1", "confirmed")
    for verb, body in (("shift", {"new": 1}), ("confirm", None), ("rollback", None)):
        answer = await api("POST", f"applications/shop/{verb}", body)
        assert (answer.status, answer.code) == (409, "illegal_transition")
        assert answer.json["release"] == "shop-1"
        # an application's name is no id of a release
        assert (await api("POST", f"releases/shop/{verb}", body)).status == 404


@on_an_api
async def test_operators_release_and_viewers_look_on(api: Api) -> None:
    await first_and_second(api)
    operator, viewer = await api.token(Role.OPERATOR), await api.token(Role.VIEWER)
    for path in ("releases", "releases/shop-2", "applications", "applications/shop"):
        assert (await api("GET", path, token=viewer)).status == 200
    for path, body in (
        ("releases/shop-2/shift", {"new": 100}),
        ("releases/shop-2/confirm", None),
        ("applications/shop/rollback", None),
    ):
        assert (await api("POST", path, body, token=viewer)).code == "forbidden"
    assert (await api.deploy("shop", V1, token=viewer)).code == "forbidden"
    answer = await api("POST", "releases/shop-2/shift", {"new": 100}, token=operator)
    assert answer.json["timeline"][-1]["by"] == "token:operator"
    assert (await api("POST", "releases/shop-2/confirm", token=operator)).status == 200


@on_an_api
async def test_failures_are_told_and_secrets_in_them_are_not_for_viewers(api: Api) -> None:
    await first_and_second(api)
    one = InstanceId("web-v2@127.0.0.1:20100")
    api.launcher.fell["shop/web-v2"] = [
        Fell(one, f"ended with {SECRET}", output=(f"cannot log in with {SECRET}",))
    ]
    api.launcher.problems[one] = f"status 500: {SECRET}"
    api.checks.fail(one)
    async with asyncio.timeout(5):
        while (shown := (await api("GET", "releases/shop-2")).json)["services"][0]["ready"] != 1:
            await asyncio.sleep(0.005)
    web = shown["services"][0]
    assert web["ready"] == 1
    assert web["failures"] == [
        {
            "instance": one,
            "what": f"ended with {SECRET}",
            "time": "2027-01-15T08:00:00.000Z",
            "output": [f"cannot log in with {SECRET}"],
        }
    ]
    assert [i["problem"] for i in web["instances"]] == ["status 500: ***", None]
    assert shown["waiting_for"] == f"1 of 2 instances of web-v2 healthy (ended with {SECRET})"
    viewer = await api.token(Role.VIEWER)
    for path in (
        "releases",
        "releases/shop-2",
        "applications",
        "applications/shop",
        "services/web-v2",
        "services",
        "audit?limit=1000",
    ):
        seen = await api("GET", path, token=viewer)
        assert seen.status == 200
        assert SECRET.encode() not in seen.raw, path
    web = (await api("GET", "releases/shop-2", token=viewer)).json["services"][0]
    assert web["failures"][0]["output"] == ["cannot log in with ***"]


@on_an_api
async def test_a_release_that_did_not_come_up_leaves_no_secret_in_the_audit(api: Api) -> None:
    api.launcher.fell["shop/web-v1"] = [
        Fell(InstanceId("web-v1@127.0.0.1:20000"), "ended", output=(f"bad {SECRET}",))
    ]
    api.checks.failing |= {"web-v1@127.0.0.1:20000", "web-v1@127.0.0.1:20001"}
    await api.deploy("shop", V1, "deadline=0.5")
    await api.wall.advance(1)
    over = await api.reached("shop-1", "rolled_back")
    reasons = [entry["reason"] for entry in over["timeline"]]
    assert any("bad ***" in reason for reason in reasons), reasons
    trail = await api("GET", "audit?limit=1000")
    assert b"bad ***" in trail.raw
    assert SECRET.encode() not in trail.raw


@on_an_api
async def test_refused_verbs_stand_in_the_audit(api: Api) -> None:
    await first_and_second(api)
    await api("POST", "releases/shop-2/confirm")
    await api("POST", "releases/shop-7/rollback?reason=why")
    await api("POST", "releases/shop-2/shift", {"new": 100})
    trail = [entry[1:] for entry in await api.trail()]
    assert ("start_release", "shop", "done", "") in trail
    assert ("confirm_release", "shop-2", "refused", "no_traffic_on_new") in trail
    assert ("rollback_release", "shop-7", "refused", "not_found") in trail
    assert ("shift_release", "shop-2", "done", "") in trail


@on_an_api
async def test_the_audit_says_what_became_of_a_release(api: Api) -> None:
    await first_and_second(api)
    await api("PATCH", "services/web-v1", {"scale": 3})
    await api("POST", "releases/shop-2/shift?reason=try", {"new": 100})
    await api("POST", "releases/shop-2/confirm?force=true")
    await api.reached("shop-2", "confirmed")
    entries = (await api("GET", "audit?limit=1000")).json["entries"]
    told = {(e["action"], e["target"]): (e["detail"], e["reason"]) for e in entries[::-1]}
    assert told["start_release", "shop"] == ("shop-2, blue-green: releasing", None)
    assert told["scale_service", "shop/web-v1"] == ("2 -> 3", None)
    assert told["shift_release", "shop-2"] == ("100 % on the new services", "try")
    assert told["confirm_release", "shop-2"] == (
        "force; shop-2: pending_confirmation -> confirming",
        None,
    )
    assert told["advance_release", "shop-2"][0] == "shop-2: confirming -> confirmed"


@on_an_api
async def test_a_late_worker_is_named_and_the_release_stands(api: Api) -> None:
    api.workers[1].hangs = True
    answer = await api.deploy("shop", V1)
    assert answer.status == 202
    assert answer.json["applied"]["late"]
    assert answer.json["id"] == "shop-1"
