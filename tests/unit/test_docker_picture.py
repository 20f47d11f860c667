"""From a list of containers to services, instances and problems."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin.providers.docker.addresses import Place, Way, is_near, reached
from admin.providers.docker.containers import (
    Attachment,
    Container,
    DockerHealth,
    Publication,
    Run,
)
from admin.providers.docker.labels import Descriptions
from admin.providers.docker.picture import Picture, picture
from gateway.core.model import Check, CheckKind, Claim, InstanceId, ServiceId
from gateway.core.observed import Trouble
from gateway.runtime.settings import Reach

WEB = ServiceId("shop/web")


def container(number: int = 1, **changes: Any) -> Container:
    labels = {
        "com.docker.compose.project": "shop",
        "com.docker.compose.service": "web",
        **changes.pop("labels", {"aliyun.routing.port_80": "shop.local"}),
    }
    given: dict[str, Any] = {
        "id": f"{number:064x}"[::-1],
        "name": f"shop-web-{number}",
        "image": "shop:1",
        "run": Run.RUNNING,
        "created": float(number),
        "network_mode": "shop_default",
        "attachments": (Attachment("shop_default", f"172.18.0.{number + 1}", 24),),
        **changes,
    }
    return Container(labels=labels, **given)


def seen(*containers: Container, stopping: tuple[str, ...] = (), **way: Any) -> Picture:
    near = way.pop("near", True)
    return picture(containers, stopping, "apps.example", Way(**way), lambda _: near)


def troubles(found: Picture) -> list[tuple[str, Trouble]]:
    return [(p.route, p.reason) for p in found.problems]


# --- labels --------------------------------------------------------------------------------


def test_compose_s_labels_give_the_names_and_ours_the_routes() -> None:
    found = seen(container(1), container(2))
    (service,) = found.services
    assert service.id == WEB
    assert service.claims == (Claim("shop.local", port=80),)
    assert [i.host for i in found.instances[WEB]] == ["172.18.0.2", "172.18.0.3"]
    assert [i.id for i in found.instances[WEB]] == ["web@100000000000", "web@200000000000"]
    assert found.problems == ()


def test_the_same_labels_as_in_templates_mean_the_same() -> None:
    labels = {
        "gateway.routing.port_8080": "shop:/api;http://other.example",
        "gateway.routing.coexist": "true",
        "gateway.routing.session_sticky": "false",
        "gateway.probe.url": "http://container:8080/up",
        "gateway.probe.timeout_seconds": "3",
        "aliyun.logs": "stdout",
        "traefik.enable": "true",
    }
    (service,) = seen(container(labels=labels)).services
    assert service.claims == (
        Claim("shop.apps.example", "/api", 8080, sticky=False),
        Claim("other.example", "/", 8080, sticky=False),
    )
    assert service.coexist
    assert service.check == Check(CheckKind.HTTP, "/up", port=8080, timeout_s=3.0)


def test_the_labels_of_a_container_are_read_again_only_when_they_may_say_something_else() -> None:
    known = Descriptions()
    before = known.of([container(1), container(2)], "apps.example")
    other = container(2, labels={"gateway.routing.port_80": "other"})
    after = known.of([container(1), other, container(3)], "apps.example")
    assert after[0] is before[0]
    assert [c.host for d in after[1:] for c in d.service.claims] == [
        "other.apps.example",
        "shop.local",
    ]
    (elsewhere,) = known.of([other], "else.example")
    assert elsewhere.service.claims[0].host == "other.else.example"
    (again,) = known.of([container(1)], "else.example")
    assert again is not before[0]  # nothing is kept of those that were gone


def test_containers_without_compose_are_called_by_label_or_by_their_name() -> None:
    routed = {"gateway.routing.port_80": "a.local"}
    bare = Container("1" * 64, "web1", "x", Run.RUNNING, labels=routed)
    named = Container(
        "2" * 64,
        "x",
        "x",
        Run.RUNNING,
        labels={**routed, "gateway.application": "shop", "gateway.service": "web-v2"},
    )
    assert [s.id for s in seen(bare, named).services] == ["docker/web1", "shop/web-v2"]


@pytest.mark.parametrize(
    "labels",
    [
        {},
        {"com.example.team": "x", "gateway.rating": "5", "aliyun.logs": "stdout"},
        {"gateway.routing.port_80": "a.local", "gateway.owner": "me"},
        {"gateway.routing.port_80": "a.local", "com.docker.compose.oneoff": "True"},
    ],
)
def test_who_asks_for_no_route_and_whom_the_gateway_started_is_left_alone(
    labels: dict[str, str],
) -> None:
    found = seen(container(labels=labels))
    assert found == Picture()


@pytest.mark.parametrize("run", [r for r in Run if r not in (Run.RUNNING, Run.PAUSED)])
def test_who_does_not_run_is_not_there(run: Run) -> None:
    assert seen(container(run=run)) == Picture()


@pytest.mark.parametrize(
    ("name", "value", "route", "words"),
    [
        ("gateway.routing.port_81", "two words", "two words", "two words"),
        ("gateway.routing.port_81", "good.local;bad..host", "bad..host", "bad..host"),
        ("gateway.routing.port_0", "a.local", "a.local", "is no port"),
        ("gateway.routing.prot_81", "a.local", "gateway.routing.prot_81", "did you mean"),
        ("gatway.routing.port_81", "a.local", "a.local", "did you mean"),
        ("routing.port_81", "a.local", "a.local", "begin with gateway."),
        ("gateway.routing.coexist", "yes", "shop.local", "true or false"),
        ("gateway.probe.url", "ftp://container", "shop.local", "http or tcp"),
    ],
)
def test_a_wrong_label_is_a_problem_of_its_route_and_nothing_else_is_lost(
    name: str, value: str, route: str, words: str
) -> None:
    found = seen(container(labels={"aliyun.routing.port_80": "shop.local", name: value}))
    (problem,) = found.problems
    assert (problem.route, problem.reason) == (route, Trouble.INVALID_LABEL)
    assert (problem.service, problem.where) == (WEB, f"shop-web-1: {name}")
    assert words in problem.message
    assert Claim("shop.local", port=80) in found.services[0].claims
    assert len(found.instances[WEB]) == 1


def test_a_container_with_nothing_but_a_misspelt_label_is_not_passed_over() -> None:
    found = seen(container(labels={"aliyun.ruting.port_80": "shop.local"}))
    assert [p.reason for p in found.problems] == [Trouble.INVALID_LABEL]
    assert "did you mean 'aliyun.routing.port_80'" in found.problems[0].message


def test_a_name_that_cannot_be_one_is_a_problem_of_each_route() -> None:
    named = {"gateway.routing.port_80": "a.local;b.local", "gateway.service": "my shop"}
    found = seen(container(labels=named))
    assert found.services == ()
    assert troubles(found) == [
        ("a.local", Trouble.INVALID_NAME),
        ("b.local", Trouble.INVALID_NAME),
    ]
    assert "gateway.service" in found.problems[0].message


def test_a_route_that_an_image_asks_for_is_taken_away_by_an_empty_label() -> None:
    labels = {"gateway.routing.port_80": "", "aliyun.routing.port_81": "shop.local"}
    found = seen(container(labels=labels))
    assert found.problems == ()
    assert [c.route for c in found.services[0].claims] == ["shop.local"]
    assert seen(container(labels={"gateway.routing.port_80": " "})).services == ()


@pytest.mark.parametrize("name", ["\x1b[2Jevil\n", "x" * 100_000, "a/b", "\u202e"])
@pytest.mark.parametrize("route", ["a.local", "no!route", None])
def test_a_name_that_cannot_be_one_goes_nowhere_and_is_shown_harmless(
    name: str, route: str | None
) -> None:
    # Labels may be those of an image: whoever made it is a stranger.
    label = {"gateway.routing.prt_80": "x"} if route is None else {"gateway.routing.port_80": route}
    for key in ("gateway.service", "com.docker.compose.project"):
        found = seen(container(labels={**label, key: name}))
        assert (found.services, found.instances) == ((), {})
        assert Trouble.INVALID_NAME in [p.reason for p in found.problems]
        for problem in found.problems:
            for text in (problem.route, problem.service, problem.message, problem.where):
                assert text.isprintable()
                assert len(text) < 1000


def test_of_containers_that_differ_the_newest_counts_and_the_others_are_told() -> None:
    old = container(1, labels={"gateway.routing.port_80": "old.local;both.local"})
    new = container(2, labels={"gateway.routing.port_8080": "both.local"})
    found = seen(new, old)
    assert found.services[0].claims == (Claim("both.local", port=8080),)
    assert troubles(found) == [
        ("old.local", Trouble.LABELS_DIFFER),
        ("both.local", Trouble.LABELS_DIFFER),
    ]
    assert all(p.where == "shop-web-1" for p in found.problems)


def test_services_come_in_the_order_of_their_oldest_container() -> None:
    def of(project: str, number: int) -> Container:
        labels = {"com.docker.compose.project": project, "gateway.routing.port_80": "a.local"}
        return container(number, labels=labels)

    found = seen(of("b", 5), of("a", 3), of("b", 2), of("c", 4))
    assert [s.application for s in found.services] == ["b", "a", "c"]


# --- state of containers ---------------------------------------------------------------------


def test_who_is_told_to_stop_or_is_paused_gets_no_new_work_but_is_still_there() -> None:
    going, paused, staying = container(1), container(2, run=Run.PAUSED), container(3)
    found = seen(going, paused, staying, stopping=(going.id,))
    assert len(found.instances[WEB]) == 3
    assert found.retiring == {"web@100000000000", "web@200000000000"}


def test_docker_s_own_health_counts() -> None:
    found = seen(
        container(1, health=DockerHealth.STARTING),
        container(2, health=DockerHealth.UNHEALTHY),
        container(3, health=DockerHealth.HEALTHY),
        container(4),
    )
    assert {i: why.split()[-1] for i, why in found.ailing.items()} == {
        InstanceId("web@100000000000"): "yet",
        InstanceId("web@200000000000"): "why)",
    }


# --- addresses -------------------------------------------------------------------------------

A, B = Attachment("a", "172.18.0.2", 24), Attachment("b", "172.19.0.2", 24)
V6 = Attachment("a", "fd00::2", 64)
PUBLISHED = (Publication(80, "0.0.0.0", 18080), Publication(80, "::", 18080))


def where(one: Container, ports: tuple[int, ...] = (80,), **way: Any) -> Place | str:
    near = way.pop("near", ("a", "b"))
    return reached(one, ports, Way(**way), lambda at: at.network in near, {})


def test_the_container_s_own_address_is_taken_where_the_gateway_is_on_the_network() -> None:
    both = container(attachments=(V6, A, B))
    assert where(both) == Place("172.18.0.2")
    assert where(both, near=("b",)) == Place("172.19.0.2")
    assert where(both, network="b") == Place("172.19.0.2")
    assert where(container(attachments=(V6,))) == Place("fd00::2")


def test_else_published_ports_are_taken() -> None:
    one = container(attachments=(A,), publications=PUBLISHED)
    assert where(one, near=()) == Place("127.0.0.1", {80: 18080})
    assert where(one, near=(), published_host="10.0.0.9") == Place("10.0.0.9", {80: 18080})
    assert where(one, reach=Reach.PUBLISHED) == Place("127.0.0.1", {80: 18080})
    own = container(publications=(Publication(80, "10.1.1.1", 8080),))
    assert where(own, reach=Reach.PUBLISHED) == Place("10.1.1.1", {80: 8080})


def test_without_either_it_is_said_what_to_do() -> None:
    one = container(attachments=(A,))
    assert "not on its network (a), and port 80 is not published" in str(where(one, near=()))
    assert "or drop reach: published" in str(where(one, reach=Reach.PUBLISHED))
    assert "not on the network 'x'" in str(where(one, network="x", reach=Reach.NETWORK))
    assert "it is on no network" in str(where(container(attachments=())))


def test_a_network_that_is_asked_for_is_believed() -> None:
    one = container(attachments=(A, B))
    assert where(one, near=(), reach=Reach.NETWORK) == Place("172.18.0.2")
    assert where(one, near=("b",), reach=Reach.NETWORK) == Place("172.19.0.2")


def test_the_host_s_network_and_that_of_another_container() -> None:
    on_host = container(network_mode="host", attachments=())
    assert where(on_host) == Place("127.0.0.1")
    other = container(2)
    sharing = container(network_mode=f"container:{other.id}", attachments=())
    place = reached(sharing, (80,), Way(), lambda _: True, {other.id: other})
    assert place == Place("172.18.0.3")
    assert "does not run" in str(reached(sharing, (80,), Way(), lambda _: True, {}))


def test_a_port_that_is_not_published_is_a_problem_of_its_routes_only() -> None:
    labels = {"gateway.routing.port_80": "a.local", "gateway.routing.port_81": "b.local"}
    found = seen(container(labels=labels, publications=PUBLISHED), near=False)
    assert troubles(found) == [("b.local", Trouble.NO_ADDRESS)]
    assert found.services[0].claims == (Claim("a.local", port=80),)
    (instance,) = found.instances[WEB]
    assert (instance.host, instance.port, dict(instance.ports)) == (
        "127.0.0.1",
        18080,
        {80: 18080},
    )


def test_who_cannot_be_reached_keeps_its_routes_and_is_no_instance() -> None:
    found = seen(container(), near=False)
    assert found.services[0].claims == (Claim("shop.local", port=80),)
    assert found.instances == {WEB: ()}
    assert troubles(found) == [("shop.local", Trouble.NO_ADDRESS)]


def test_the_machine_is_on_its_own_networks_and_on_no_other() -> None:
    assert is_near(Attachment("x", "127.0.0.5", 8))
    assert not is_near(Attachment("x", "203.0.113.7", 24))
    assert not is_near(Attachment("x", "no address", 24))


TEXTS = st.text(max_size=20)
LABELS = st.dictionaries(
    st.sampled_from(
        [
            "gateway.routing.port_80",
            "aliyun.routing.port_80",
            "gateway.routing.port_",
            "gateway.routing.coexist",
            "gateway.probe.url",
            "gateway.probe.cmd",
            "gateway.service",
            "gateway.application",
            "aliyun.scale",
            "routing.port_1",
        ]
    )
    | TEXTS,
    st.sampled_from(["a.local", "a.local;b", "true", ""]) | TEXTS,
)


@given(st.lists(LABELS, max_size=4), st.booleans())
def test_no_label_breaks_anything_and_nothing_wrong_is_passed_over(
    labels: list[dict[str, str]], near: bool
) -> None:
    found = seen(*(container(n, labels=one) for n, one in enumerate(labels)), near=near)
    for service in found.services:
        ports = {c.port for c in service.claims}
        for instance in found.instances.get(service.id, ()):
            assert ports
            assert instance.service == service.id
    assert set(found.containers) == {i.id for some in found.instances.values() for i in some}
