"""Applications over HTTP: looked at, scaled, removed; their output read."""

from __future__ import annotations

from pathlib import Path

import pytest

from admin.api import applications
from admin.api.context import OpenWork
from admin.api.redaction import redacted_template
from gateway.core.model import InstanceId, Role, ServiceId
from tests.support.api import Api, Fell, finish_removal, on_an_api

SECRET = "hunter22"
TEMPLATE = f"""\
# {SECRET}
web-v1:
  image: web:1
  environment: [PASSWORD={SECRET}]
  labels:
    aliyun.scale: 2
    aliyun.routing.port_80: shop.example
page-v1:
  image: page:1
  labels: {{aliyun.routing.port_81: page.local}}
"""


async def deployed(api: Api, name: str = "shop", template: str = TEMPLATE) -> None:
    answer = await api.deploy(name, template)
    assert answer.status == 201, answer.json
    await api.reached(f"{name}-1", "confirmed")


@on_an_api
async def test_an_application_is_shown_with_its_services_and_template(api: Api) -> None:
    await deployed(api)
    answer = await api("GET", "applications/shop")
    shown = answer.json
    assert (shown["name"], shown["release"], shown["leaving"]) == ("shop", None, False)
    assert shown["template"] == TEMPLATE
    web, page = shown["services"]
    assert (web["name"], web["id"], web["colour"]) == ("web-v1", "shop/web-v1", None)
    assert (web["scale"], web["ready"], len(web["instances"])) == (2, 2, 2)
    assert web["routes"] == [
        {
            "route": "shop.example",
            "host": "shop.example",
            "path": "/",
            "port": 80,
            "weight": 100,
            "share": 1.0,
        }
    ]
    assert page["scale"] == 1
    (listed,) = (await api("GET", "applications")).json["applications"]
    assert listed == {k: v for k, v in shown.items() if k != "template"}
    missing = await api("GET", "applications/shpo")
    assert (missing.status, missing.code) == (404, "not_found")
    assert "did you mean 'shop'" in missing.json["detail"]


@on_an_api
async def test_what_goes_wrong_outside_of_a_release_is_shown_without_secrets(api: Api) -> None:
    await deployed(api)
    one = InstanceId("web-v1@127.0.0.1:20000")
    api.launcher.fell["shop/web-v1"] = [Fell(one, f"ended: {SECRET}", output=(f"no {SECRET}",))]
    web, page = (await api("GET", "applications/shop")).json["services"]
    (failure,) = web["failures"]
    assert (failure["instance"], failure["what"]) == (one, f"ended: {SECRET}")
    assert page["failures"] == []
    viewer = await api.token(Role.VIEWER)
    seen = await api("GET", "applications/shop", token=viewer)
    assert seen.json["services"][0]["failures"][0]["instance"] == one
    assert SECRET not in str(seen.json)


@on_an_api
async def test_the_release_in_flight_is_part_of_its_application(api: Api) -> None:
    api.checks.failing |= {"web-v1@127.0.0.1:20000"}
    await api.deploy("shop", TEMPLATE)
    shown = (await api("GET", "applications/shop")).json
    assert shown["template"] is None
    assert shown["release"] == (await api("GET", "releases/shop-1")).json
    assert {s["colour"] for s in shown["services"]} == {"green"}


@on_an_api
async def test_applications_are_listed_page_by_page(api: Api) -> None:
    for name in ("b", "c", "a"):
        template = TEMPLATE.replace("shop.example", f"{name}.example").replace("page", f"p{name}")
        await deployed(api, name, template.replace(f"image: p{name}", "image: page"))
    first = (await api("GET", "applications?limit=2")).json
    assert [a["name"] for a in first["applications"]] == ["a", "b"]
    second = (await api("GET", f"applications?after={first['next']}")).json
    assert [a["name"] for a in second["applications"]] == ["c"]
    assert second["next"] is None


@on_an_api
async def test_viewers_see_no_value_of_an_environment(api: Api) -> None:
    await deployed(api)
    viewer, operator = await api.token(Role.VIEWER), await api.token(Role.OPERATOR)
    answer = await api("GET", "applications/shop", token=viewer)
    assert SECRET.encode() not in answer.raw
    assert "PASSWORD=***" in answer.json["template"]
    assert answer.json["template"] == redacted_template(TEMPLATE)
    answer = await api("GET", "applications/shop", token=operator)
    assert answer.json["template"] == TEMPLATE


@on_an_api
async def test_tags_tell_nothing_of_secrets(api: Api) -> None:
    """They are digests: whoever can guess a short secret could check the guess."""
    await deployed(api)
    tags = [(await api("GET", p)).etag for p in ("services/web-v1", "applications/shop")]
    assert (await api("DELETE", "applications/shop")).json["removed"]
    answer = await api.deploy("shop", TEMPLATE.replace(SECRET, "another7"))
    await api.reached(answer.json["id"], "confirmed")
    assert (await api("GET", "services/web-v1")).etag == tags[0]
    assert (await api("GET", "applications/shop")).etag != tags[1]  # another release made it


@on_an_api
async def test_a_scale_for_which_there_are_not_ports_enough_is_refused(api: Api) -> None:
    ports = "".join(f"    aliyun.routing.port_{n}: p{n}.example\n" for n in range(80, 91))
    await deployed(api, "shop", "web-v1:\n  image: web:1\n  labels:\n" + ports)
    await deployed(api, "more", "page-v1:\n  image: page:1\n")
    refused = await api("PATCH", "services/web-v1", {"scale": 910})
    assert (refused.status, refused.places) == (422, ["scale"])
    (error,) = refused.json["errors"]
    assert "need 10011 ports, and providers.process.ports has 10000" in error["message"]
    allowed = await api("PATCH", "services/web-v1?dry_run=true", {"scale": 909})
    assert allowed.status == 200, "9999 and one are 10000"
    assert (await api("PATCH", "services/page-v1", {"scale": 2})).status == 200
    assert (await api("PATCH", "services/web-v1", {"scale": 909})).places == ["scale"]
    assert (await api("GET", "services/web-v1")).json["scale"] == 1


@on_an_api
async def test_a_service_is_scaled_and_keeps_its_weights(api: Api) -> None:
    await deployed(api)
    operator = await api.token(Role.OPERATOR)
    answer = await api("PATCH", "services/web-v1", {"scale": 3}, token=operator)
    assert answer.status == 200
    assert answer.json["service"]["scale"] == 3
    await api.settled()
    assert len((await api("GET", "services/web-v1/instances")).json["instances"]) == 3
    assert await api.weights() == {"web-v1": 100}
    refused = await api("PATCH", "services/web-v1", {"coexist": True}, token=operator)
    assert refused.code == "forbidden"
    for scale in (0, 1001, 1.5, "3", True):
        refused = await api("PATCH", "services/web-v1", {"scale": scale})
        assert refused.places == ["scale"], scale
    await api.register("hand", "hand.example")
    by_hand = await api("PATCH", "services/hand", {"scale": 2})
    assert (by_hand.status, by_hand.code) == (409, "in_use")
    assert (await api("GET", "services/hand")).json["scale"] is None


@on_an_api
async def test_a_service_of_an_application_is_not_changed_by_hand(api: Api) -> None:
    await deployed(api)
    removed = await api("DELETE", "services/web-v1")
    assert (removed.status, removed.code) == (409, "in_use")
    assert "'shop'" in removed.json["detail"]
    body = {"routes": [{"host": "x.y"}], "endpoints": []}
    put = await api("PUT", "services/shop%2Fweb-v1", body)
    assert (put.status, put.code) == (409, "in_use")
    assert "'shop'" in put.json["detail"]


@on_an_api
async def test_an_application_is_removed_with_all_that_belongs_to_it(api: Api) -> None:
    await deployed(api)
    operator = await api.token(Role.OPERATOR)
    assert (await api("DELETE", "applications/shop", token=operator)).code == "forbidden"
    dry = await api("DELETE", "applications/shop?dry_run=true")
    assert dry.json["plan"]["routes"] == {"shop.example": None, "page.local": None}
    answer = await api("DELETE", "applications/shop?drain_timeout=10")
    assert (answer.status, answer.json["removed"]) == (200, True)
    assert (await api("GET", "applications/shop")).status == 404
    assert not api.controller.state.services
    assert (await api("DELETE", "applications/shop")).status == 404


@on_an_api
async def test_a_removal_that_takes_long_is_told_with_what_is_open(api: Api) -> None:
    await deployed(api)
    api.removes = False
    api.figures.open_services = {"shop/web-v1": OpenWork(1, 2), "shop/page-v1": OpenWork(3, 0)}
    answer = await api("DELETE", "applications/shop?drain_timeout=60")
    assert (answer.status, answer.json["removed"]) == (202, False)
    assert (answer.json["in_flight"], answer.json["websockets"]) == (4, 2)
    assert api.clock.time >= applications.REMOVAL_WAIT_S
    assert api.controller.state.services[ServiceId("shop/web-v1")].drain_s == 60
    assert (await api("GET", "applications/shop")).json["leaving"] is True
    refused = await api.deploy("shop", TEMPLATE)
    assert (refused.status, refused.code) == (409, "in_use")
    for name in ("web-v1", "page-v1"):
        await finish_removal(api, ServiceId(f"shop/{name}"))
    assert (await api("GET", "applications/shop")).status == 404


@on_an_api
async def test_an_application_in_a_release_is_removed_by_force_only(api: Api) -> None:
    api.checks.failing |= {"web-v1@127.0.0.1:20000"}
    await api.deploy("shop", TEMPLATE)
    refused = await api("DELETE", "applications/shop")
    assert (refused.status, refused.code) == (409, "release_in_progress")
    assert refused.json["release"] == "shop-1"
    assert (await api("DELETE", "applications/shop?force=true")).status == 200
    assert not api.controller.state.applications


@on_an_api
async def test_a_removal_heeds_the_tag(api: Api) -> None:
    await deployed(api)
    seen = (await api("GET", "applications/shop")).etag
    assert (await api("DELETE", "applications/shop", headers={"If-Match": '"x"'})).status == 412
    assert (await api("DELETE", "applications/shop", headers={"If-Match": seen})).status == 200


@on_an_api
async def test_what_instances_wrote_is_read_and_followed(api: Api) -> None:
    await deployed(api)
    api.launcher.wrote = [
        ("shop", "web-v1", "web-v1@127.0.0.1:20000", "one"),
        ("shop", "page-v1", "page-v1@127.0.0.1:20100", "two"),
        ("other", "web-v1", "web-v1@127.0.0.1:20200", "not this"),
    ]
    answer = (await api("GET", "applications/shop/logs")).json
    assert [(e["service"], e["line"]) for e in answer["lines"]] == [
        ("web-v1", "one"),
        ("page-v1", "two"),
    ]
    assert answer["lines"][0]["instance"] == "web-v1@127.0.0.1:20000"
    one = (await api("GET", "applications/shop/logs?service=page-v1&lines=1")).json
    assert [e["line"] for e in one["lines"]] == ["two"]
    api.launcher.wrote.append(("shop", "web-v1", "web-v1@127.0.0.1:20000", "three"))
    more = (await api("GET", f"applications/shop/logs?after={answer['after']}")).json
    assert [e["line"] for e in more["lines"]] == ["three"]
    rest = (await api("GET", f"applications/shop/logs?after={more['after']}")).json
    assert rest == {"lines": [], "after": more["after"]}
    # with many instances a cursor is long: it is one place for each
    long = await api("GET", f"applications/shop/logs?after={'0' * 50_000}1")
    assert (long.status, len(long.json["lines"])) == (200, 2)


@on_an_api
async def test_viewers_read_output_without_secrets(api: Api) -> None:
    await deployed(api)
    api.launcher.wrote = [("shop", "web-v1", "i", f"PASSWORD={SECRET}")]
    viewer = await api.token(Role.VIEWER)
    seen = (await api("GET", "applications/shop/logs", token=viewer)).json
    assert [e["line"] for e in seen["lines"]] == ["PASSWORD=***"]
    seen = (await api("GET", "applications/shop/logs")).json
    assert [e["line"] for e in seen["lines"]] == [f"PASSWORD={SECRET}"]


@on_an_api
async def test_output_outlives_its_service(api: Api) -> None:
    api.launcher.wrote = [("gone", "web-v1", "i", "good bye")]
    answer = await api("GET", "applications/gone/logs?service=web-v1")
    assert [e["line"] for e in answer.json["lines"]] == ["good bye"]


@pytest.mark.parametrize(
    "path",
    ["nope/logs", "..%2Fx/logs", "-/logs", "shop/logs?service=web-v9", "shop/logs?service=..%2Fa"],
)
def test_output_of_what_does_not_exist_is_not_found(tmp_path: Path, path: str) -> None:
    @on_an_api
    async def ask(api: Api) -> None:
        await deployed(api)
        answer = await api("GET", f"applications/{path}")
        assert (answer.status, answer.code) == (404, "not_found")

    ask(tmp_path)


@on_an_api
async def test_questions_for_output_are_checked(api: Api) -> None:
    await deployed(api)
    for query, place in (
        ("lines=0", "query.lines"),
        ("lines=10001", "query.lines"),
        ("after=x", "query.after"),
        ("servic=a", "query.servic"),
    ):
        assert (await api("GET", f"applications/shop/logs?{query}")).places == [place]
