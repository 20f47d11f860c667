"""Routes and weights over HTTP: one atomic set, judged as a whole, answered when applied."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.api import Api, on_an_api, traffic


@on_an_api
async def test_routes_are_listed_with_services_weights_shares_and_traffic(api: Api) -> None:
    await api.two_versions()
    await api("PUT", "routes/shop.example/weights", {"v1": 75, "v2": 25})
    api.figures.traffic = {
        "shop.example": traffic(120),
        "shop.example -/v1": traffic(90, error_ratio=0.1),
    }
    (route,) = (await api("GET", "routes")).json["routes"]
    assert route["route"] == "shop.example"
    assert route["weights"] == {"v1": 75, "v2": 25}
    assert [s["share"] for s in route["services"]] == [0.75, 0.25]
    assert [s["healthy"] for s in route["services"]] == [1, 1]
    assert [s["colour"] for s in route["services"]] == [None, None]
    assert route["traffic"]["rate"] == 2.0
    assert route["services"][0]["traffic"]["error_ratio"] == 0.1
    assert route["services"][1]["traffic"]["error_ratio"] is None
    assert (await api("GET", "routes/shop.example")).json == route


@on_an_api
async def test_lists_are_given_in_parts(api: Api) -> None:
    await api.register("many", *(f"h{n}.example" for n in range(5)))
    seen, after = [], ""
    while True:
        part = (await api("GET", f"routes?limit=2{after}")).json
        assert len(part["routes"]) <= 2
        seen += [r["route"] for r in part["routes"]]
        if part["next"] is None:
            break
        after = f"&after={part['next']}"
    assert seen == [f"h{n}.example" for n in range(5)]
    assert (await api("GET", "routes?limit=0")).places == ["query.limit"]
    assert (await api("GET", "services?limit=1")).json["next"] is None


@on_an_api
async def test_a_route_is_found_by_any_spelling_of_its_name(api: Api) -> None:
    await api.register("api", "shop.example")
    await api.register("nginx", "nginx")
    body = {"routes": [{"host": "shop.example", "path": "/api"}], "endpoints": []}
    assert (await api("PUT", "services/path", body)).status == 200
    for text, route in {
        "Shop.EXAMPLE": "shop.example",
        "shop.example%2F": "shop.example",
        "shop.example%2Fapi": "shop.example/api",
        "shop.example%2fapi%2f": "shop.example/api",
        "nginx": "nginx.localhost",
    }.items():
        assert (await api("GET", f"routes/{text}")).json["route"] == route
    for text in ("nope.example", "shop.example%2Fapiary", "%00", "%2F", "..", "*"):
        assert (await api("GET", f"routes/{text}")).status == 404
    assert "did you mean" in (await api("GET", "routes/shop.exampl")).json["detail"]


@on_an_api
async def test_put_replaces_the_whole_set_of_weights_and_patch_some(api: Api) -> None:
    await api.two_versions()
    answer = await api("PUT", "routes/shop.example/weights", {"v1": 0, "-/v2": 1_000_000})
    assert answer.status == 200
    assert answer.json["applied"] == {"workers": 2, "of": 2, "late": []}
    assert answer.json["generation"] == api.controller.snapshot.generation
    assert answer.json["weights"] == await api.weights() == {"v1": 0, "v2": 1_000_000}
    await api("PATCH", "routes/shop.example/weights", {"v1": 5})
    assert await api.weights() == {"v1": 5, "v2": 1_000_000}


BAD_WEIGHTS: dict[str, tuple[bytes, set[str]]] = {
    "negative": (b'{"v1": -1, "v2": 0}', {"weights.v1"}),
    "too large": (b'{"v1": 1000001, "v2": 0}', {"weights.v1"}),
    "text": (b'{"v1": "1", "v2": 0}', {"weights.v1"}),
    "fraction": (b'{"v1": 1.0, "v2": 0}', {"weights.v1"}),
    "truth": (b'{"v1": true, "v2": 0}', {"weights.v1"}),
    "null": (b'{"v1": null, "v2": 0}', {"weights.v1"}),
    "object": (b'{"v1": {}, "v2": 0}', {"weights.v1"}),
    "NaN": (b'{"v1": NaN, "v2": 0}', {"weights.v1"}),
    "infinity": (b'{"v1": Infinity, "v2": 0}', {"weights.v1"}),
    "10^400": (b'{"v1": 1e400, "v2": 0}', {"weights.v1"}),
    "10^400 in digits": (b'{"v1": 1' + b"0" * 400 + b', "v2": 0}', {"weights.v1"}),
    "10^5000 in digits": (b'{"v1": 1' + b"0" * 5000 + b', "v2": 0}', {"weights.v1"}),
    "twice": (b'{"v1": 1, "v1": 2, "v2": 0}', {"weights.v1"}),
    "twice by two names": (b'{"v1": 1, "-/v1": 2, "v2": 0}', {"weights.-/v1"}),
    "missing": (b'{"v1": 1}', {"weights.v2"}),
    "unknown": (b'{"v1": 1, "v2": 0, "v3": 1}', {"weights.v3"}),
    "all wrong": (b'{"v1": "x", "v3": 1}', {"weights.v1", "weights.v2", "weights.v3"}),
    "empty": (b"{}", {"weights"}),
    "a list": (b"[1, 2]", {"weights"}),
    "null body": (b"null", {"weights"}),
    "no JSON": (b"v1=1", {"body"}),
    "nothing": (b"", {"body"}),
    "not UTF-8": (b'{"v\xff": 1}', {"body"}),
    "deep": (b'{"v1": ' + b"[" * 500 + b"]" * 500 + b', "v2": 0}', set()),
}


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_a_bad_weight_is_refused_with_its_place_and_changes_nothing(
    method: str, tmp_path: Any
) -> None:
    @on_an_api
    async def each(api: Api) -> None:
        await api.two_versions()
        before, revision = api.controller.snapshot, api.controller.state.revision
        for name, (raw, places) in BAD_WEIGHTS.items():
            if method == "PATCH" and name == "missing":
                continue
            answer = await api(method, "routes/shop.example/weights", raw=raw)
            assert (answer.status, answer.code) == (422, "invalid"), name
            found = set(answer.places)
            if method == "PATCH":
                assert found >= places - {"weights.v2"}, name
            elif places:
                assert found == places, name
            assert found, name
        assert api.controller.snapshot is before
        assert api.controller.state.revision == revision

    each(tmp_path)


@on_an_api
async def test_a_set_that_is_not_whole_is_told_the_present_one(api: Api) -> None:
    await api.two_versions()
    answer = await api("PUT", "routes/shop.example/weights", {"v1": 1})
    assert answer.json["weights"] == {"v1": 100, "v2": 0}


@on_an_api
async def test_a_route_keeps_some_traffic_unless_forced(api: Api) -> None:
    await api.two_versions()
    none = {"v1": 0, "v2": 0}
    answer = await api("PUT", "routes/shop.example/weights", none)
    assert (answer.status, answer.code) == (422, "route_without_traffic")
    assert (await api("PUT", "routes/shop.example/weights?force=true", none)).status == 200
    assert await api.weights() == none


@on_an_api
async def test_names_are_full_ids_where_short_ones_clash(api: Api) -> None:
    await api.two_versions()
    answer = await api("PUT", "routes/nope.example/weights", {"v1": 1})
    assert (answer.status, answer.code) == (404, "not_found")


@on_an_api
async def test_a_policy_is_kept_apart_from_members_and_survives_them(api: Api) -> None:
    policy = {"affinity": {"enabled": False}, "timeouts": {"connect": 1.5}, "spill": False}
    answer = await api("PUT", "routes/shop.example", policy)
    assert answer.status == 200
    shown = answer.json["route"]
    assert shown["policy"]["affinity"]["enabled"] is False
    assert shown["policy"]["affinity"]["cookie"] is None
    assert shown["effective"]["affinity"]["cookie"] == "GATEWAYSESSION"
    assert shown["effective"]["timeouts"]["connect"] == 1.5
    await api.register("v1", "shop.example")
    await api("DELETE", "services/v1?force=true")
    shown = (await api("GET", "routes/shop.example")).json
    assert shown["policy"]["timeouts"]["connect"] == 1.5
    assert shown["services"] == []


@on_an_api
async def test_a_policy_that_cannot_be_is_refused(api: Api) -> None:
    answer = await api(
        "PUT",
        "routes/shop.example",
        {"afinity": {}, "timeouts": {"connect": 0}, "affinity": {"cookie": "a b"}, "spill": 1},
    )
    assert set(answer.places) == {"afinity", "timeouts.connect", "affinity.cookie", "spill"}
    for route in ("a%20b", "shop.example%2F..", "http:%2F%2Fx", "%E2%82%AC.example", "a" * 300):
        answer = await api("PUT", f"routes/{route}", {})
        assert answer.places == ["path.route"], route
    assert not api.controller.state.routes


@on_an_api
async def test_a_route_with_members_is_not_deleted(api: Api) -> None:
    await api.two_versions()
    answer = await api("DELETE", "routes/shop.example")
    assert (answer.status, answer.code) == (409, "in_use")
    assert answer.json["weights"] == {"v1": 100, "v2": 0}
    await api("PUT", "routes/other.example", {"spill": False})
    assert (await api("DELETE", "routes/other.example")).json["route"] is None
    assert (await api("GET", "routes/other.example")).status == 404
    assert (await api("DELETE", "routes/other.example")).status == 404
