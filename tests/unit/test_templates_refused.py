"""What is wrong with a template is told at once, each thing with its place and a way out."""

from __future__ import annotations

from time import process_time
from typing import Any

import pytest

from gateway.core.errors import Code, Refused
from gateway.core.templates import SCALE_MAX, keys, labels, parse
from gateway.core.templates.problems import KEPT_MAX, SHOWN_MAX


def refused(document: object) -> Refused:
    with pytest.raises(Refused) as caught:
        parse(document, application="app", domain="localhost", source="")
    return caught.value


def problems(document: object) -> list[tuple[str, str]]:
    """Place and message of each problem."""
    refusal = refused(document)
    assert refusal.code is Code.INVALID
    assert refusal.errors
    return [(e.field, e.message) for e in refusal.errors]


def problem(document: object) -> tuple[str, str]:
    (one,) = problems(document)
    return one


def of_service(**content: Any) -> tuple[str, str]:
    """The only problem of a service, its place without the service's name."""
    place, message = problem({"web": {"image": "app:1", **content}})
    assert place.startswith("web.")
    return place.removeprefix("web."), message


def of_label(name: str, value: object) -> str:
    """The only problem of a label; the place must be the label's."""
    place, message = of_service(labels={name: value})
    assert place == f"labels.{name}"
    return message


@pytest.mark.parametrize("document", [None, {}, {"services": {}}, {"version": "3"}])
def test_a_template_that_names_no_service_shows_how_one_is_named(document: object) -> None:
    _, message = problem(document)
    assert message.startswith("no service; ")
    assert "web: {image: ...}" in message


@pytest.mark.parametrize("document", [[], "web", 3, True, {"services": []}, {"services": "x"}])
def test_a_template_that_is_no_map_is_refused(document: object) -> None:
    _, message = problem(document)
    assert "map" in message


@pytest.mark.parametrize("value", [None, [], "app:1", 3])
def test_a_service_is_a_map(value: object) -> None:
    place, message = problem({"web": value})
    assert (place, message[:25]) == ("web", "a service is a map, for e")


@pytest.mark.parametrize("name", ["a/b", "-", "bücher", "日本", "x" * 300, "a b", "..", "a:b", ""])
def test_a_service_has_a_name_that_the_api_takes_too(name: str) -> None:
    ((place, message),) = problems({"services": {name: {"image": "x"}}})
    assert place.startswith("services")
    assert len(place) < 200
    assert place.isascii() or place.isprintable()
    assert message.startswith("this is no name for a service: ")


@pytest.mark.parametrize("name", ["web.v1", "Web_1", "x" * 128, "1", "a-b"])
def test_dots_and_the_like_are_fine_in_names(name: str) -> None:
    assert parse({name: {"image": "x"}}, application="a", domain="d.e", source="").template.services


def test_everything_is_told_at_once() -> None:
    found = problems(
        {
            "services": {
                "a": {"imgae": "x", "labels": {"aliyun.scale": "three"}},
                "b/c": {"image": "x", "volumes": ["/x:/y"]},
                "d": {"image": "x", "depends_on": ["nobody"]},
            },
            "servces": {},
        }
    )
    assert [place for place, _ in found] == [
        "servces",
        "services.a.imgae",
        "services.a.image",
        "services.a.labels.aliyun.scale",
        "services.b/c",
        "services.b/c.volumes",
        "services.d.depends_on[0]",
    ]


@pytest.mark.parametrize(
    ("content", "place", "words"),
    [
        ({"image": None}, "image", "needed"),
        ({"image": 1.0}, "image", "in quotes"),
        ({"image": " "}, "image", "empty"),
        ({"image": "a b"}, "image", "no blanks"),
        ({"image": "x" * 600}, "image", "at most 512"),
        ({"image": "app:${TAG:-1}"}, "image", "'${TAG:-1}'"),
        ({"command": ["sleep", 3600]}, "command[1]", "in quotes"),
        ({"command": "it's"}, "command", "no closing quotation"),
        ({"command": []}, "command", "names no program"),
        ({"command": {}}, "command", "not a map"),
        ({"command": "x" * 20000}, "command", "at most 16384"),
        ({"entrypoint": "echo $HOME"}, "entrypoint", "$$ for a dollar sign"),
        ({"environment": "A=1"}, "environment", "must be a map or a list"),
        ({"environment": 3}, "environment", "must be a map or a list"),
        ({"environment": ["HOME"]}, "environment[0]", "own environment is not passed on"),
        ({"environment": {"HOME": None}}, "environment.HOME", "own environment is not passed on"),
        ({"environment": ["A=1", "B=1", "A=2"]}, "environment[2]", "stands in [0] already"),
        ({"environment": [{"A": 1}]}, "environment[0]", "without dashes"),
        ({"environment": {"A": [1]}}, "environment.A", "not a list"),
        ({"environment": {"": "x"}}, "environment.", "not empty"),
        ({"environment": {"A=B": "x"}}, "environment.A=B", "no ="),
        ({"environment": ["=x"]}, "environment[0]", "not empty"),
        ({"environment": {"A": "${B}"}}, "environment.A", "variables are not filled in"),
        ({"working_dir": 3}, "working_dir", "must be text"),
        ({"external_links": "a.local"}, "external_links", "must be a list"),
        ({"external_links": ["a/b.c"]}, "external_links[0]", "'a/b.c'"),
        ({"stop_grace_period": 10}, "stop_grace_period", "with its unit"),
        ({"stop_grace_period": "10"}, "stop_grace_period", "with its unit"),
        ({"stop_grace_period": "-1s"}, "stop_grace_period", "from 0s"),
        ({"stop_grace_period": "25h"}, "stop_grace_period", "to 24h"),
        ({"stop_grace_period": "9" * 39 + "h"}, "stop_grace_period", "to 24h"),
        ({"stop_signal": "SIGKILL"}, "stop_signal", "SIGTERM"),
        ({"restart": "allways"}, "restart", "did you mean 'always'?"),
        ({"restart": ["no"]}, "restart", "must be always"),
        ({"expose": 80}, "expose", "must be a list"),
        ({"expose": ["http"]}, "expose[0]", "1 to 65535"),
        ({"scale": 0}, "scale", "from 1 to"),
        ({"deploy": {"replicas": -1}}, "deploy.replicas", "from 1 to"),
        ({"deploy": {"replcas": 1}}, "deploy.replcas", "did you mean 'replicas'?"),
        ({"deploy": 3}, "deploy", "must be a map"),
        ({"labels": "a=b"}, "labels", "must be a map or a list"),
        ({"labels": [{"aliyun.scale": 3}]}, "labels[0]", "without dashes"),
        ({"labels": {"com.example": {}}}, "labels.com.example", "not a map"),
        ({"depends_on": "db"}, "depends_on", "must be a list"),
        ({"depends_on": [3]}, "depends_on[0]", "must be text"),
        ({"healthcheck": "x"}, "healthcheck", "must be a map"),
        ({"healthcheck": {"tset": 1}}, "healthcheck.tset", "did you mean 'test'?"),
        ({"healthcheck": {"test": ["/c"]}}, "healthcheck.test", "begins with CMD"),
        ({"healthcheck": {"test": ["CMD"]}}, "healthcheck.test", "begins with CMD"),
        ({"healthcheck": {"test": 3}}, "healthcheck.test", "a list or text"),
        ({"healthcheck": {"interval": "0s"}}, "healthcheck.interval", "above 0s"),
        ({"healthcheck": {"retries": 0}}, "healthcheck.retries", "from 1"),
        ({"healthcheck": {"disable": "maybe"}}, "healthcheck.disable", "true or false"),
        (
            {"healthcheck": {"disable": True, "test": "x"}},
            "healthcheck.disable",
            "keep one",
        ),
        (
            {"healthcheck": {"test": "x"}, "labels": {"aliyun.probe.cmd": "y"}},
            "healthcheck",
            "among the labels",
        ),
        (
            {"healthcheck": {"test": "x"}, "labels": {"aliyun.probe.timeout_seconds": 1}},
            "healthcheck",
            "write them here",
        ),
        ({"x-gateway": []}, "x-gateway", "must be a map"),
        ({"x-gateway": {"endpoints": []}}, "x-gateway.endpoints", "names no address"),
        ({"x-gateway": {"endpoints": "a:1"}}, "x-gateway.endpoints", "must be a list"),
        ({"x-gateway": {"endpoints": ["a"]}}, "x-gateway.endpoints[0]", "host:port"),
        ({"x-gateway": {"endpoints": ["a:1", "A:1"]}}, "x-gateway.endpoints[1]", "already"),
        ({"x-gateway": {"endpoint": ["a:1"]}}, "x-gateway.endpoint", "did you mean 'endpoints'?"),
        ({"x-gatway": {}}, "x-gatway", "did you mean 'x-gateway'?"),
    ],
)
def test_a_value_that_is_wrong_is_named_with_the_right_form(
    content: dict[str, Any], place: str, words: str
) -> None:
    found, message = of_service(**content)
    assert found == place
    assert words in message


@pytest.mark.parametrize("key", keys.REFUSED)
def test_a_key_that_would_change_the_program_is_refused_by_name_with_a_way_out(key: str) -> None:
    place, message = of_service(**{key: ["x"]})
    assert place == key
    assert message == f"is not supported: {keys.REFUSED[key]}"


@pytest.mark.parametrize("nothing", [None, False, [], {}])
def test_a_refused_key_that_asks_for_nothing_is_no_problem(nothing: object) -> None:
    document = {"web": {"image": "x", "volumes": nothing, "privileged": nothing}}
    assert parse(document, application="a", domain="d.e", source="").warnings == ()


@pytest.mark.parametrize("key", keys.WITHOUT_EFFECT)
def test_a_key_without_effect_is_accepted_with_the_reason(key: str) -> None:
    document = {"services": {"web": {"image": "x", key: {"any": ["thing"]}}}}
    found = parse(document, application="a", domain="d.e", source="")
    assert found.warnings == (
        f"services.web.{key}: has no effect here: {keys.WITHOUT_EFFECT[key]}",
    )


@pytest.mark.parametrize("key", keys.DEPLOY_WITHOUT_EFFECT)
def test_the_rest_of_deploy_is_accepted_with_the_reason(key: str) -> None:
    document = {"web": {"image": "x", "deploy": {key: "global"}}}
    (warning,) = parse(document, application="a", domain="d.e", source="").warnings
    assert warning.startswith(f"web.deploy.{key}: has no effect here: ")


def test_a_misspelt_key_is_named_with_what_was_meant() -> None:
    assert of_service(enviroment={}) == ("enviroment", "unknown key; did you mean 'environment'?")
    place, message = of_service(qqqq=1)
    assert (place, "image, command" in message) == ("qqqq", True)


def test_services_that_stand_in_the_wrong_place_are_noticed() -> None:
    web = {"image": "x"}
    assert "did you mean 'services'?" in problem({"servces": {"web": web}})[1]
    assert problem({"services": {"a": web}, "web": web})[0] == "web"
    assert (
        problem({"services": {"a": web}, "x-gateway": {}})[1] == "x-gateway stands within a service"
    )
    assert "not supported" in problem({"include": ["x"], "web": web})[1]


LABELS = [
    ("aliyun.routing.port_80", "", "a host or prefix is expected"),
    ("aliyun.routing.port_80", None, "has no value"),
    ("aliyun.routing.port_80", True, "not true or false"),
    ("aliyun.routing.port_80", "true", "not true or false"),
    ("aliyun.routing.port_80", 8080, "neither an IPv4 address nor a host name"),
    ("aliyun.routing.port_80", ["web"], "not a list"),
    ("aliyun.routing.port_80", "a;;b", "a host or prefix is expected"),
    ("aliyun.routing.port_80", "https://a", "plain http"),
    ("aliyun.routing.port_80", "a.b:8080", "a.b:/8080"),
    ("aliyun.routing.port_80", "a.b/c", "a.b:/c"),
    ("aliyun.routing.port_80", "a.b:/c?d", "without query"),
    ("aliyun.routing.port_80", "a.b://c", "without a scheme"),
    ("aliyun.routing.port_80", "a.b:/x/../y", "dot segments"),
    ("aliyun.routing.port_80", "bücher", "xn--"),
    ("aliyun.routing.port_80", "a" * 64, "1 to 63"),
    ("aliyun.routing.port_80", ".".join(["a" * 60] * 5), "at most 253"),
    ("aliyun.routing.port_80", "a;" * 300, "at most 256"),
    ("aliyun.routing.port_80", "a.b;A.b:/", "is there twice"),
    ("aliyun.routing.port_80", "${HOST}", "variables are not filled in"),
    ("aliyun.routing.port_0", "a", "is no port"),
    ("aliyun.routing.port_080", "a", "is no port"),
    ("aliyun.routing.port_70000", "a", "is no port"),
    ("aliyun.routing.port_http", "a", "is no port"),
    ("aliyun.routing.port_", "a", "is no port"),
    ("aliyun.routing.coexist", "yes", "true or false"),
    ("aliyun.routing.coexist", 1, "true or false"),
    ("aliyun.routing.session_sticky", "", "true or false"),
    ("aliyun.scale", 0, f"from 1 to {SCALE_MAX}"),
    ("aliyun.scale", -3, f"from 1 to {SCALE_MAX}"),
    ("aliyun.scale", 10**30, f"from 1 to {SCALE_MAX}"),
    ("aliyun.scale", "three", "not 'three'"),
    ("aliyun.scale", 1.5, "not '1.5'"),
    ("aliyun.scale", "٣", f"from 1 to {SCALE_MAX}"),
    ("aliyun.scale", True, "not 'true'"),
    ("aliyun.probe.url", "container:80", "is no address"),
    ("aliyun.probe.url", "https://container", "http or tcp"),
    ("aliyun.probe.url", "http://localhost/x", "the word 'container'"),
    ("aliyun.probe.url", "tcp://container", "needs a port"),
    ("aliyun.probe.url", "tcp://container:1/x", "no path"),
    ("aliyun.probe.url", "http://container:0/", "is no port"),
    ("aliyun.probe.url", "http://container:99999/", "is no port"),
    ("aliyun.probe.url", "http://container:x/", "is no port"),
    ("aliyun.probe.url", "http://container/a b", "no blanks"),
    ("aliyun.probe.url", "http://container/#x", "fragment"),
    ("aliyun.probe.cmd", "", "names no program"),
    ("aliyun.probe.cmd", "it's", "no closing quotation"),
    ("aliyun.probe.timeout_seconds", 0, "above 0"),
    ("aliyun.probe.timeout_seconds", "2s", "a number of seconds"),
    ("aliyun.probe.timeout_seconds", "nan", "a number of seconds"),
    ("aliyun.probe.initial_delay_seconds", -1, "from 0"),
    ("aliyun.probe.initial_delay_seconds", 90000, "to 86400"),
    ("aliyun.depends", "a,,b", "joined by commas"),
    ("aliyun.depends", "a," * 2000, "at most 1000"),
    ("aliyun.depends", "web", "wait for one another"),
    ("aliyun.depends", "wbe", "did you mean 'web'?"),
]


@pytest.mark.parametrize(("name", "value", "words"), LABELS)
def test_a_label_that_is_wrong_is_named_with_the_right_form(
    name: str, value: object, words: str
) -> None:
    found = problems({"web": {"image": "x", "labels": {name: value}}})
    assert {place for place, _ in found} == {f"web.labels.{name}"}
    assert any(words in message for _, message in found), found


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("aliyun.scal", "aliyun.scale"),
        ("gateway.routing.coexists", "gateway.routing.coexist"),
        ("aliyun.routing.prot_8080", "aliyun.routing.port_8080"),
        ("aliyun.rolling_update", "aliyun.rolling_updates"),
        ("aliyun.Scale", "aliyun.scale"),
        ("gateway.depend", "gateway.depends"),
        ("aliyn.scale", "aliyun.scale"),
        ("gatway.routing.port_80", "gateway.routing.port_80"),
        ("Aliyun.probe.url", "aliyun.probe.url"),
        ("routing.port_80", "gateway.routing.port_80"),
        ("probe.url", "gateway.probe.url"),
    ],
)
def test_a_misspelt_label_is_an_error_that_names_the_right_one(wrong: str, right: str) -> None:
    assert f"did you mean '{right}'" in of_label(wrong, "x")


@pytest.mark.parametrize("name", ["gateway.", "aliyun.nothing", "gateway.global", "gateway.zzz"])
def test_a_label_of_ours_that_does_not_exist_is_an_error(name: str) -> None:
    assert of_label(name, "x").startswith(f"there is no label '{name}'")


ORIGINAL = [
    "rolling_updates",
    "rolling_updates.parallelism",
    "global",
    "latest_image",
    "lb.port_80",
    "auto_scaling.max_cpu",
    "logs",
    "log_store_access",
    "log_ttl_access",
    "custom_addon",
    "proxy.VIRTUAL_HOST",
]


@pytest.mark.parametrize("name", ORIGINAL)
def test_a_label_of_the_original_without_effect_is_accepted_with_a_warning(name: str) -> None:
    document = {"web": {"image": "x", "labels": {f"aliyun.{name}": "any"}}}
    (warning,) = parse(document, application="a", domain="d.e", source="").warnings
    assert warning.startswith(f"web.labels.aliyun.{name}: has no effect here: ")


def test_every_label_without_effect_is_tried_above() -> None:
    assert len(ORIGINAL) == len(labels.WITHOUT_EFFECT)


def test_both_prefixes_may_say_the_same_and_nothing_else() -> None:
    same = {"aliyun.scale": 3, "gateway.scale": "3"}
    found = parse({"web": {"image": "x", "labels": same}}, application="a", domain="d.e", source="")
    assert found.template.services[0].scale == 3
    for suffix, one, other in (("scale", 3, 4), ("routing.port_80", "a", "b")):
        both = {f"aliyun.{suffix}": one, f"gateway.{suffix}": other}
        places = [p for p, _ in problems({"web": {"image": "x", "labels": both}})]
        assert places == [f"web.labels.aliyun.{suffix}", f"web.labels.gateway.{suffix}"]


def test_a_port_twice_and_a_route_twice_are_told() -> None:
    port = "gateway.routing.port_80"
    assert of_service(labels=[f"{port}=a", f"{port}=b"])[0] == "labels[1]"
    place, message = of_service(labels={port: "web", "aliyun.routing.port_81": "web.localhost"})
    assert place == "labels.aliyun.routing.port_81"
    assert message == "the route 'web.localhost' is there twice, also for port 80; keep one"


def test_several_scales_that_differ_are_told_at_each_place() -> None:
    found = problems({"web": {"image": "x", "scale": 2, "deploy": {"replicas": 3}}})
    assert [place for place, _ in found] == ["web.scale", "web.deploy.replicas"]


def test_a_program_cannot_be_run_beside_endpoints() -> None:
    web = {"x-gateway": {"endpoints": ["a:1"]}}
    place, message = problem({"web": {**web, "labels": {"gateway.probe.cmd": "x"}}})
    assert (place, "http://container" in message) == ("web.labels.gateway.probe.cmd", True)
    assert problem({"web": {**web, "healthcheck": {"test": "x"}}})[0] == "web.healthcheck"


def test_an_endpoint_needs_one_of_several_routed_ports() -> None:
    ports = {"gateway.routing.port_80": "a", "gateway.routing.port_81": "b"}
    web = {"x-gateway": {"endpoints": ["h:80", "h:82"]}, "labels": ports}
    place, message = problem({"web": web})
    assert place == "web.x-gateway.endpoints"
    assert message.startswith("h:82 has none of the routed ports 80, 81;")


def test_services_that_contend_for_a_route_are_refused_at_each_place() -> None:
    def web(route: str) -> dict[str, Any]:
        return {"image": "x", "labels": {"aliyun.routing.port_80": route}}

    names = [f"s{i}" for i in range(9)]
    refusal = refused({name: web("web;other" if name == "s0" else "web") for name in names})
    assert refusal.code is Code.ROUTE_CONFLICT
    assert [e.field for e in refusal.errors] == [
        f"{n}.labels.aliyun.routing.port_80" for n in names
    ]
    assert refusal.errors[0].message.startswith(
        "the route 'web.localhost' is claimed by s1, s2, s3 and 5 more too;"
    )
    assert "s0, s1, s2 and 5 more" in refusal.errors[8].message
    assert "gateway.routing.coexist: true" in refusal.errors[0].message
    assert refused({"a": web("x"), "b": web("x"), "c": {}}).code is Code.INVALID


def test_services_that_wait_for_one_another_are_refused() -> None:
    def waits(*names: str) -> dict[str, Any]:
        return {"image": "x", "depends_on": list(names)}

    place, message = problem({"a": waits("b"), "b": waits("c"), "c": waits("a")})
    assert (place, message) == (
        "a.depends_on[0]",
        "services wait for one another: 'a' -> 'b' -> 'c' -> 'a'",
    )
    assert problem({"a": waits("a")})[0] == "a.depends_on[0]"
    two = problems({"a": waits("b", "c"), "b": waits("a"), "c": waits("a")})
    assert len(two) == 2


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ({"condition": "service_completed_successfully"}, "kept running"),
        ({"condition": "service_helthy"}, "did you mean 'service_healthy'"),
        ({"condition": 3}, "not the number 3"),
        ({"conditon": "service_healthy"}, "did you mean 'condition'?"),
        ("service_healthy", "must be a map"),
    ],
)
def test_a_condition_that_cannot_be_kept_is_refused(condition: object, words: str) -> None:
    web = {"image": "x", "depends_on": {"db": condition}}
    place, message = problem({"web": web, "db": {"image": "x"}})
    assert place.startswith("web.depends_on.db")
    assert words in message


def test_what_is_no_plain_value_is_refused() -> None:
    for value in (float("nan"), float("inf"), 10**41, {1: 2}, {None: 1}, (1,), b"x", object()):
        assert problem({"web": value})[0] == "web"
    assert "NUL" in problem({"web": {"image": "a\0b"}})[1]
    assert "surrogate" in problem({"web": {"image": "\ud800"}})[1]


def test_bombs_are_refused_quickly() -> None:
    deep: object = "x"
    for _ in range(10_000):
        deep = [deep]
    wide: object = "x"
    for _ in range(60):
        wide = [wide, wide]
    circle: list[object] = []
    circle.append(circle)
    large = [0] * 200_000
    begin = process_time()
    for bomb in (deep, wide, circle, large, {"web": {"image": deep}}):
        assert problems(bomb)
    assert process_time() - begin < 5


def test_problems_without_end_are_bounded() -> None:
    refusal = refused({f"s{i}": {} for i in range(5000)})
    assert len(refusal.errors) == SHOWN_MAX
    assert f"at least {KEPT_MAX} problems" in refusal.detail
    assert f"({KEPT_MAX - SHOWN_MAX} more not shown)" in refusal.detail
    documents = {f"s{i}": {"image": "x", "tty": True} for i in range(150)}
    warnings = parse(documents, application="a", domain="d.e", source="").warnings
    assert len(warnings) == SHOWN_MAX + 1
    assert warnings[-1] == "50 more warnings are not shown"


def test_a_thousand_services_are_read_in_a_moment() -> None:
    document = {
        f"s{i}": {
            "image": "app:1",
            "environment": {"A": i},
            "labels": {"aliyun.scale": 3, "aliyun.routing.port_80": f"s{i}"},
            "depends_on": [f"s{i - 1}"] if i else [],
        }
        for i in range(1000)
    }
    begin = process_time()
    found = parse(document, application="a", domain="d.e", source="")
    assert process_time() - begin < 0.8
    assert len(found.template.services) == 1000
    document["s0"]["depends_on"] = ["s999"]
    (cycle,) = problems(document)
    assert "'...'" in cycle[1]


def test_nothing_of_a_template_reaches_a_terminal_unescaped() -> None:
    assert "'web\\x1b[2J:/api'" in of_label("gateway.routing.port_80", "web\x1b[2J/api")
    assert "'\\x9bweb:/80'" in of_label("gateway.routing.port_80", "\x9bweb:80")
