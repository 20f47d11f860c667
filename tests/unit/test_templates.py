"""Templates become services: both forms, every understood key, the five of the article."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.core.model import Check, CheckKind, Claim, Endpoint, Launch, Service
from gateway.core.templates import Parsed, parse
from gateway.runtime import yaml_loader

TEMPLATES = Path(__file__).parents[2] / "config" / "templates"
REGISTRY = "registry-internal.cn-hangzhou.aliyuncs.com/ringtail"


def parsed(document: object) -> Parsed:
    return parse(document, application="app", domain="localhost", source="")


def of_yaml(text: str) -> Parsed:
    return parse(yaml_loader.load(text).value, application="app", domain="localhost", source=text)


def service(**content: Any) -> Service:
    """The service of a template with one, which raises no warning."""
    found = parsed({"web": {"image": "app:1", **content}})
    assert found.warnings == ()
    return found.template.services[0]


def labelled(**values: Any) -> Service:
    return service(labels={f"gateway.{k}": v for k, v in values.items()})


def warned(**content: Any) -> str:
    """The only warning of a service, behind its place."""
    (warning,) = parsed({"web": {"image": "app:1", **content}}).warnings
    assert warning.startswith("web")
    return warning


def launch(**content: Any) -> Launch:
    found = service(**content).launch
    assert found is not None
    return found


def service_a(version: int, coexist: bool) -> Service:
    return Service(
        "app",
        f"serviceA-v{version}",
        (Claim("servicea.local", "/", 5000),),
        coexist=coexist,
        launch=Launch(f"{REGISTRY}/demo-service-a:{version}.0"),
        scale=3,
    )


def service_b(version: int, coexist: bool) -> Service:
    return Service(
        "app",
        f"serviceB-v{version}",
        (Claim("serviceb.localhost", "/", 5001),),
        coexist=coexist,
        launch=Launch(
            f"{REGISTRY}/demo-service-b:{version}.0",
            environment=(("dep_endpoint", "http://servicea.local"),),
            external_links=("servicea.local",),
        ),
        scale=2,
    )


def nginx(version: int, coexist: bool) -> Service:
    return Service(
        "app",
        f"nginx-v{version}",
        (Claim("nginx.localhost", "/", 80),),
        coexist=coexist,
        launch=Launch(f"registry.aliyuncs.com/ringtail/nginx:{version}.0"),
    )


@pytest.mark.parametrize(
    ("name", "services"),
    [
        ("hello-1-initial", (service_a(1, False), service_b(1, False))),
        ("hello-2-frontend-release", (service_a(1, False), service_b(2, False))),
        ("hello-3-backend-release", (service_a(2, True), service_b(2, True))),
        ("nginx-v1", (nginx(1, False),)),
        ("nginx-v2", (nginx(2, True),)),
    ],
)
def test_the_templates_of_the_article_are_understood_to_the_letter(
    name: str, services: tuple[Service, ...]
) -> None:
    text = (TEMPLATES / f"{name}.yaml").read_text()
    found = of_yaml(text)
    assert found.template.services == services
    assert found.template.source == text
    assert found.warnings == ()


def test_services_stand_under_services_or_at_the_top() -> None:
    services = {"web": {"image": "app:1"}, "db": {"image": "db:1"}}
    at_top = parsed(services)
    below = parsed({"services": services})
    assert [s.name for s in below.template.services] == ["web", "db"]
    assert at_top.template == below.template


def test_other_keys_at_the_top_are_accepted_with_a_warning() -> None:
    for form in ({"services": {"web": {"image": "app:1"}}}, {"web": {"image": "app:1"}}):
        found = parsed(
            {"version": "3.9", "name": "shop", "networks": {"front": None}, "x-mine": 1, **form}
        )
        assert len(found.template.services) == 1
        assert [w.partition(":")[0] for w in found.warnings] == ["version", "name", "networks"]


def test_a_service_may_have_the_name_of_a_key_of_compose_files() -> None:
    found = parsed({"networks": {"image": "app:1"}, "x-web": {"image": "app:1"}})
    assert [s.name for s in found.template.services] == ["networks", "x-web"]


def test_routes_are_published_and_ordered_by_port() -> None:
    found = service(
        labels={
            "aliyun.routing.port_81": "http://Shop.Example:api/",
            "aliyun.routing.port_80": "web ; *.shop.example:/a/b; [::1]:/x; 10.0.0.1",
        }
    )
    assert found.claims == (
        Claim("web.localhost", "/", 80),
        Claim("*.shop.example", "/a/b", 80),
        Claim("[::1]", "/x", 80),
        Claim("10.0.0.1", "/", 80),
        Claim("shop.example", "/api", 81),
    )


def test_sessions_are_kept_unless_the_label_says_otherwise() -> None:
    assert service(labels={"gateway.routing.port_80": "web"}).claims[0].sticky
    loose = service(
        labels={"gateway.routing.port_80": "web;b.c", "gateway.routing.session_sticky": "False"}
    )
    assert [c.sticky for c in loose.claims] == [False, False]


def test_the_scale_has_three_spellings_that_may_agree() -> None:
    assert service().scale == 1
    assert labelled(scale=3).scale == 3
    assert labelled(scale="3").scale == 3
    assert service(scale=4).scale == 4
    assert service(deploy={"replicas": 1000}).scale == 1000
    assert service(deploy={"mode": "replicated"}).scale == 1
    assert service(scale=2, deploy={"replicas": 2}, labels={"aliyun.scale": "2"}).scale == 2


@pytest.mark.parametrize(
    ("labels", "check"),
    [
        (
            {"url": "http://container:8080/ping?a=b"},
            Check(CheckKind.HTTP, path="/ping?a=b", port=8080),
        ),
        ({"url": "http://container"}, Check(CheckKind.HTTP, path="/", port=80)),
        ({"url": "http://container?a"}, Check(CheckKind.HTTP, path="/?a", port=80)),
        ({"url": "tcp://container:3306"}, Check(CheckKind.TCP, port=3306)),
        (
            {"cmd": "/check.sh --name 'a b'"},
            Check(CheckKind.COMMAND, command=("/check.sh", "--name", "a b")),
        ),
        (
            {"url": "tcp://container:1", "timeout_seconds": "2.5", "initial_delay_seconds": 0},
            Check(CheckKind.TCP, port=1, timeout_s=2.5),
        ),
        ({"timeout_seconds": 3, "initial_delay_seconds": 4}, Check(timeout_s=3, initial_delay_s=4)),
        ({"initial_delay_seconds": 0}, None),
        ({}, None),
    ],
)
def test_probes_become_checks(labels: dict[str, Any], check: Check | None) -> None:
    probes = {f"aliyun.probe.{name}": value for name, value in labels.items()}
    assert service(labels={"aliyun.routing.port_80": "web", **probes}).check == check


@pytest.mark.parametrize(
    ("healthcheck", "check"),
    [
        ({"test": ["CMD", "/c", "x"]}, Check(CheckKind.COMMAND, command=("/c", "x"))),
        (
            {"test": ["CMD-SHELL", "a | b"]},
            Check(CheckKind.COMMAND, command=("/bin/sh", "-c", "a | b")),
        ),
        ({"test": "a $$PORT"}, Check(CheckKind.COMMAND, command=("/bin/sh", "-c", "a $PORT"))),
        ({"test": ["NONE"]}, Check(CheckKind.RUNNING)),
        ({"disable": True}, Check(CheckKind.RUNNING)),
        ({"disable": False, "interval": "1m30s"}, Check(interval_s=90)),
        (
            {
                "test": ["CMD", "/c"],
                "interval": "10s",
                "timeout": "500ms",
                "retries": "4",
                "start_period": "1h",
            },
            Check(
                CheckKind.COMMAND,
                command=("/c",),
                interval_s=10,
                timeout_s=0.5,
                fall=4,
                initial_delay_s=3600,
            ),
        ),
        ({}, None),
    ],
)
def test_a_healthcheck_becomes_a_check(healthcheck: dict[str, Any], check: Check | None) -> None:
    routed = {"gateway.routing.port_80": "web"}
    assert service(labels=routed, healthcheck=healthcheck).check == check


def test_without_probe_and_route_a_service_is_well_as_long_as_it_runs() -> None:
    assert service().check == Check(CheckKind.RUNNING)
    assert service(healthcheck={"interval": "1s"}).check == Check(CheckKind.RUNNING)


def test_a_disabled_healthcheck_leaves_the_probe_alone() -> None:
    found = service(
        healthcheck={"disable": True}, labels={"gateway.probe.url": "tcp://container:1"}
    )
    assert found.check == Check(CheckKind.TCP, port=1)


def test_whom_a_service_waits_for_is_joined_and_sorted() -> None:
    others = {name: {"image": "x"} for name in ("a", "b", "c")}
    for value in (["c", "a"], {"c": None, "a": {"condition": "service_started"}}):
        web = {"image": "app:1", "labels": {"aliyun.depends": "b, a"}, "depends_on": value}
        found = parsed({"web": web, **others})
        assert found.template.services[0].depends == ("a", "b", "c")
        assert found.warnings == ()


@pytest.mark.parametrize("key", ["command", "entrypoint"])
def test_a_program_is_a_list_or_cut_into_words(key: str) -> None:
    for value in ("run --name 'a b' ''", ["run", "--name", "a b", ""]):
        assert getattr(launch(**{key: value}), key) == ("run", "--name", "a b", "")
    assert getattr(launch(**{key: None}), key) is None
    assert getattr(launch(**{key: ["sh", "-c", "echo $${PORT} $$ $5 a$"]}), key)[2] == (
        "echo ${PORT} $ $5 a$"
    )


def test_environment_is_a_map_or_a_list_of_text_in_its_yaml_form() -> None:
    as_map = launch(environment={"B": True, "A": 3, "D": "", "C": "x=y", "E": "$$1"})
    as_list = launch(environment=["C=x=y", "A=3", "B=true", "D=", "E=$$1"])
    assert as_map == as_list
    assert as_map.environment == (("A", "3"), ("B", "true"), ("C", "x=y"), ("D", ""), ("E", "$1"))


def test_a_fraction_without_quotes_is_passed_with_a_warning() -> None:
    warning = warned(environment={"VERSION": 1.10})
    assert warning.startswith("web.environment.VERSION: ")
    assert "passed as 1.1;" in warning


def test_external_links_are_hosts_as_the_program_calls_them() -> None:
    assert launch(external_links=["b.local", "A.local:a.local"]).external_links == (
        "a.local",
        "b.local",
    )
    assert "'rest.local'" in warned(external_links=["a.local:rest.local"])
    assert "no route can have the host 'db'" in warned(external_links=["db"])


def test_the_rest_of_a_launch() -> None:
    found = launch(
        working_dir="/srv/app", stop_grace_period="1m30.5s", stop_signal="SIGTERM", expose=[80, "9"]
    )
    assert (found.working_dir, found.stop_grace_s) == ("/srv/app", 90.5)
    assert launch(stop_grace_period="0s").stop_grace_s == 0
    assert launch(expose=["8000-8010/tcp"]).image == "app:1"


@pytest.mark.parametrize("value", ["always", "unless-stopped"])
def test_instances_are_kept_running_as_asked(value: str) -> None:
    assert launch(restart=value)


@pytest.mark.parametrize("value", ["no", False, "on-failure", "on-failure:3"])
def test_instances_are_kept_running_otherwise_with_a_warning(value: Any) -> None:
    assert "kept running" in warned(restart=value)


def on_endpoints(ports: dict[str, str], *endpoints: str, **content: Any) -> Parsed:
    return parsed(
        {
            "web": {
                "x-gateway": {"endpoints": list(endpoints)},
                "labels": {f"gateway.routing.port_{p}": r for p, r in ports.items()},
                **content,
            }
        }
    )


def test_endpoints_are_addresses_where_nothing_is_started() -> None:
    found = on_endpoints({"80": "web"}, "b:2", "a:1")
    assert found.warnings == ()
    (web,) = found.template.services
    assert web.launch is None
    assert web.endpoints == (Endpoint("a", 1), Endpoint("b", 2))
    assert web.claims == (Claim("web.localhost", "/", None),)
    assert web.check is None


def test_of_several_routed_ports_each_is_reached_at_its_own_number() -> None:
    (web,) = on_endpoints({"80": "web", "81": "b.c"}, "a:80").template.services
    assert [c.port for c in web.claims] == [80, 81]


def test_a_probe_of_the_only_routed_port_asks_the_endpoint_itself() -> None:
    content = {"labels": {"gateway.routing.port_80": "w", "gateway.probe.url": "http://container"}}
    (web,) = on_endpoints({}, "a:1", **content).template.services
    assert web.check == Check(CheckKind.HTTP, port=None)


def test_what_would_be_started_beside_endpoints_has_no_effect() -> None:
    found = on_endpoints({"80": "web"}, "a:1", image="app:1", scale=3, command="x")
    (warning,) = found.warnings
    assert warning.startswith("web: image, command, scale without effect")
    (web,) = found.template.services
    assert (web.launch, web.scale) == (None, 1)


def test_services_with_one_of_them_unmarked_share_a_route() -> None:
    def web(*more: str) -> dict[str, Any]:
        return {"image": "x", "labels": ["gateway.routing.port_80=web.localhost", *more]}

    mark = "gateway.routing.coexist=true"
    found = parsed({"a": web(), "b": web(mark), "c": web(mark)})
    assert [s.coexist for s in found.template.services] == [False, True, True]


def test_labels_of_others_pass_without_a_word() -> None:
    others = {
        "com.example.team": "web",
        "traefik.http.routers.web.rule": "Host(`a`)",
        "maintainer": None,
        "scale": 3,
        "com.example.routing.port_80": "x",
    }
    assert service(labels=others).claims == ()
    assert service(labels=[f"{k}={v}" for k, v in others.items()]).scale == 1
