"""A gateway beside containers that others started: found, routed, drained, and what goes wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.deaf import Deaf
from tests.support.docker_compose import Project, serving
from tests.support.docker_engine import BUSYBOX, Engine
from tests.support.gateway import Gateway, served_by
from tests.support.load import Load
from tests.support.processes import wait_until

HTTPD = ("sh", "-c", "mkdir /w && echo hello > /w/index.html; exec httpd -f -p 80 -h /w")


@pytest.fixture
def gateway(docker: Engine, tmp_path: Path) -> Iterator[Gateway]:
    with gateway_beside(docker, tmp_path) as found:
        yield found


def gateway_beside(docker: Engine, folder: Path, **settings: object) -> Gateway:
    return Gateway(
        folder / "gateway",
        workers=1,
        providers={"docker": {"socket": docker.url, **settings}},
        checks={"interval": 0.3, "fall": 2},
    )


def labels(project: str, service: str, **routing: str) -> dict[str, str]:
    """As Compose gives them, with `gateway.routing.` in front of the last ones."""
    return {
        "com.docker.compose.project": project,
        "com.docker.compose.service": service,
        **{f"gateway.routing.{name}": value for name, value in routing.items()},
    }


def start(docker: Engine, project: str, **routing: str) -> str:
    """A container of `project`'s service `web` with a small web server."""
    return docker.run(BUSYBOX, *HTTPD, labels=labels(project, "web", **routing))


def instances(gateway: Gateway, service: str) -> list[Any]:
    answer = gateway.api("GET", f"services/{quote(service, safe='')}/instances")
    found: list[Any] = answer.json["instances"] if answer.status == 200 else []
    return found


def wait_up(gateway: Gateway, service: str, count: int = 1) -> None:
    def is_up() -> bool:
        return [i["state"] for i in instances(gateway, service)].count("up") == count

    wait_until(is_up, what=f"{count} instances of {service}")
    # Any write waits for the workers to have what was published before it.
    gateway.api("PUT", "routes/barrier.example", {})


def problems(gateway: Gateway) -> list[tuple[str, str, str]]:
    found = gateway.api.ok("GET", "problems")["problems"]
    return [(p["route"], p["service"], p["reason"]) for p in found]


def services_of(gateway: Gateway, host: str, count: int = 40) -> Counter[str]:
    return Counter(served_by(gateway.ask("internal", host=host)) for _ in range(count))


@pytest.mark.timeout(180)
def test_compose_projects_that_share_a_route_are_routed_without_a_call_and_keep_their_weights(
    docker: Engine, tmp_path: Path
) -> None:
    def web(**routing: str) -> Mapping[str, Any]:
        given = {f"aliyun.routing.{name}": value for name, value in routing.items()}
        return {"image": docker.python, "command": list(serving(5000)), "labels": given}

    one = Project(docker, tmp_path / "1", "one", web=web(port_5000="shop.local"))
    two = Project(docker, tmp_path / "2", "two", web=web(port_5000="shop.local", coexist="true"))
    with gateway_beside(docker, tmp_path) as gateway:
        one.up("--scale", "web=2")
        wait_up(gateway, "one/web", 2)
        two.up()
        wait_up(gateway, "two/web")
        assert gateway.api.weights("shop.local") == {"one/web": 100, "two/web": 0}
        assert gateway.get("internal", host="shop.local") == 200
        gateway.api.set_weights("shop.local", **{"one/web": 25, "two/web": 75})
        bodies = Counter(gateway.ask("internal", host="shop.local").text for _ in range(40))
        assert sorted(bodies.values()) == [5, 5, 30]

        before = {i["id"] for i in instances(gateway, "two/web")}
        two.down()
        wait_until(lambda: not instances(gateway, "two/web"), what="nothing of two/web")
        gone = gateway.api.ok("GET", "services/two%2Fweb")["discovered"]
        assert gone["gone_since"] is not None
        two.up()
        wait_up(gateway, "two/web")
        assert not before & {i["id"] for i in instances(gateway, "two/web")}
        two.up("--force-recreate")
        wait_up(gateway, "two/web")
        gateway.stop()
        gateway.start()
        wait_up(gateway, "one/web", 2)
        assert gateway.api.weights("shop.local") == {"one/web": 25, "two/web": 75}
        assert problems(gateway) == []


def test_a_container_that_is_stopped_gets_no_new_work_and_no_request_fails(
    docker: Engine, gateway: Gateway
) -> None:
    given = labels("shop", "web", port_80="shop.local")
    first, second = (docker.run(docker.python, *serving(), labels=given) for _ in range(2))
    wait_up(gateway, "shop/web", 2)
    with Load(gateway.ports["internal"], "shop.local", path="/slow", late_s=5.0) as load:
        load.wait_answers(40)
        docker("stop", "--time", "20", first)
        stopped = time.monotonic()
        load.wait_answers(40)
    assert [r for r in load.records if r.failure is not None] == []
    assert docker.inspect(first)["State"]["ExitCode"] == 0
    wait_until(lambda: len(instances(gateway, "shop/web")) == 1)
    (left,) = instances(gateway, "shop/web")
    assert left["id"] == f"web@{second[:12]}"
    assert any(r.start > stopped for r in load.records)


def test_a_container_that_is_told_to_stop_is_draining_until_it_ends(
    docker: Engine, gateway: Gateway
) -> None:
    given = labels("shop", "web", port_80="shop.local")
    # It does not care for TERM, so it is there for the whole grace time.
    stubborn = docker.run(BUSYBOX, "sh", "-c", "trap '' TERM; httpd -f -p 80", labels=given)
    other = docker.run(BUSYBOX, *HTTPD, labels=given)
    wait_up(gateway, "shop/web", 2)
    docker("kill", "--signal", "HUP", other)  # that is not how it is stopped
    docker("kill", "--signal", "TERM", stubborn)

    def states() -> dict[str, str]:
        return {i["id"][4:]: i["state"] for i in instances(gateway, "shop/web")}

    wait_until(lambda: states() == {stubborn[:12]: "draining", other[:12]: "up"})
    gateway.kill_control()  # the Engine remembers that it was told
    wait_until(lambda: states() == {stubborn[:12]: "draining", other[:12]: "up"})
    docker("kill", stubborn)
    wait_until(lambda: states() == {other[:12]: "up"})
    docker("pause", other)
    wait_until(lambda: states() == {other[:12]: "draining"})
    docker("unpause", other)
    wait_until(lambda: states() == {other[:12]: "up"})


def test_a_container_removed_by_hand_is_gone_at_once_and_costs_its_own_requests_only(
    docker: Engine, gateway: Gateway
) -> None:
    given = labels("shop", "web", port_80="shop.local")
    first, _ = (docker.run(docker.python, *serving(), labels=given) for _ in range(2))
    wait_up(gateway, "shop/web", 2)
    with Load(gateway.ports["internal"], "shop.local") as load:
        load.wait_answers(100)
        docker("rm", "--force", first)
        wait_until(lambda: len(instances(gateway, "shop/web")) == 1)
        gone = time.monotonic()
        load.wait_answers(100)
    failed = [r for r in load.records if r.failure is not None]
    assert all(r.start < gone for r in failed)
    assert len(failed) <= load.keeping + load.per_request


def test_the_engine_may_go_and_come_back(docker: Engine, gateway: Gateway) -> None:
    start(docker, "shop", port_80="shop.local")
    wait_up(gateway, "shop/web")
    assert gateway.metric("gateway_provider_up", provider="docker") == 1
    docker.stop(signal.SIGKILL)  # its containers go on
    wait_until(lambda: gateway.metric("gateway_provider_up", provider="docker") == 0)
    assert len(instances(gateway, "shop/web")) == 1
    assert gateway.get("internal", host="shop.local") == 200
    (provider,) = gateway.api.ok("GET", "problems")["providers"]
    assert provider["up"] is False
    assert "is gone" in gateway.log
    # What it said last counts for a control process too that has never heard it.
    with Load(gateway.ports["internal"], "shop.local", keeping=4, per_request=2) as load:
        load.wait_answers(10)
        gateway.kill_control()
        load.wait_answers(10)
        assert [i["state"] for i in instances(gateway, "shop/web")] == ["up"]
    assert {r.status for r in load.records} == {200}
    docker.start()
    # Without live-restore the Engine ends what ran: that is a real report, though an empty one.
    wait_until(lambda: gateway.metric("gateway_provider_up", provider="docker") == 1)
    wait_until(lambda: not instances(gateway, "shop/web"), what="an empty report")
    assert gateway.api.weights("shop.local") == {"web": 100}
    start(docker, "shop", port_80="shop.local")
    wait_up(gateway, "shop/web")


def test_an_engine_that_is_restarted_gives_its_containers_back(
    docker: Engine, gateway: Gateway
) -> None:
    given = labels("shop", "web", port_80="shop.local")
    for _ in range(2):
        docker.run(BUSYBOX, *HTTPD, labels=given, options=("--restart", "always"))
    start(docker, "blog", port_80="shop.local", coexist="true")
    wait_up(gateway, "shop/web", 2)
    wait_up(gateway, "blog/web")
    gateway.api.set_weights("shop.local", **{"shop/web": 60, "blog/web": 40})
    docker.stop()
    wait_until(lambda: gateway.metric("gateway_provider_up", provider="docker") == 0)
    docker.start()
    wait_up(gateway, "shop/web", 2)
    wait_until(lambda: not instances(gateway, "blog/web"), what="nothing of blog/web")
    assert gateway.api.weights("shop.local") == {"shop/web": 60, "blog/web": 40}
    assert services_of(gateway, "shop.local", 10) == {"web": 10}  # blog's part spills over
    assert gateway.metric("gateway_provider_up", provider="docker") == 1


def test_an_engine_that_does_not_answer_holds_up_nothing(docker: Engine, gateway: Gateway) -> None:
    start(docker, "shop", port_80="shop.local")
    wait_up(gateway, "shop/web")
    docker.freeze()
    try:
        gateway.kill_control()
        assert [i["state"] for i in instances(gateway, "shop/web")] == ["up"]
        assert gateway.get("internal", host="shop.local") == 200
        assert gateway.api.set_weights("shop.local", web=50)
    finally:
        docker.thaw()
    start(docker, "shop", port_80="shop.local")
    wait_up(gateway, "shop/web", 2)


def test_what_no_event_told_of_is_found_all_the_same(docker: Engine, tmp_path: Path) -> None:
    deaf = Deaf(docker.socket, docker.folder / "deaf.sock")
    try:
        socket_url = f"unix://{deaf.path}"
        with gateway_beside(docker, tmp_path, socket=socket_url, refresh=0.3) as gateway:
            started = start(docker, "shop", port_80="shop.local")
            wait_up(gateway, "shop/web")
            docker("rm", "--force", started)
            wait_until(lambda: not instances(gateway, "shop/web"), what="nothing of shop/web")
    finally:
        deaf.close()


def test_invalid_labels_are_shown_as_problems_of_their_route_and_the_others_are_served(
    docker: Engine, gateway: Gateway
) -> None:
    start(docker, "shop", port_80="shop.local;no..host", prot_81="x.local", coexist="yes")
    wait_up(gateway, "shop/web")
    assert gateway.get("internal", host="shop.local") == 200
    assert sorted(problems(gateway)) == [
        ("gateway.routing.prot_81", "shop/web", "invalid_label"),
        ("no..host", "shop/web", "invalid_label"),
        ("shop.local", "shop/web", "invalid_label"),
    ]
    shown = gateway.api.ok("GET", "services/web")["problems"]
    assert len(shown) == 3
    (of_route,) = gateway.api.ok("GET", "routes/shop.local")["problems"]
    assert "true or false" in of_route["message"]
    metric = {"route": "no..host", "reason": "invalid_label"}
    assert gateway.metric("gateway_route_invalid", **metric) == 1
    said = command(gateway, "problems")
    assert "no..host" in said
    assert "prot_81" in said
    assert "gateway problems" in command(gateway, "routes")


def command(gateway: Gateway, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "gateway", *words],
        env={**os.environ, "GATEWAY_ADMIN": str(gateway.state / "admin.sock"), "COLUMNS": "300"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done
    return done.stdout


def test_a_label_for_a_port_that_nothing_listens_on_is_a_problem_of_that_route(
    docker: Engine, gateway: Gateway
) -> None:
    start(docker, "shop", port_80="shop.local", port_81="more.local")
    start(docker, "blog", port_8080="blog.local")
    wait_up(gateway, "shop/web")
    wanted = {
        ("more.local", "shop/web", "port_closed"),
        ("blog.local", "blog/web", "port_closed"),
    }
    wait_until(lambda: set(problems(gateway)) == wanted, what="two problems")
    assert gateway.get("internal", host="shop.local") == 200
    (blog,) = instances(gateway, "blog/web")
    assert "refused" in blog["problem"].lower()


def test_of_two_services_that_claim_a_host_the_first_keeps_it_until_it_is_gone(
    docker: Engine, gateway: Gateway
) -> None:
    first = start(docker, "one", port_80="shop.local")
    wait_up(gateway, "one/web")
    start(docker, "two", port_80="shop.local;two.local")
    wait_up(gateway, "two/web")
    assert gateway.api.weights("shop.local") == {"web": 100}
    assert problems(gateway) == [("shop.local", "two/web", "route_conflict")]
    (told,) = gateway.api.ok("GET", "routes/shop.local")["problems"]
    assert "held by one/web" in told["message"]
    refused = gateway.api("DELETE", "services/one%2Fweb")
    assert (refused.status, refused.json["code"]) == (409, "in_use")
    docker("rm", "--force", first)
    wait_until(lambda: not instances(gateway, "one/web"), what="nothing of one/web")
    gateway.api("DELETE", "services/one%2Fweb")  # or half a minute later, by itself
    wait_until(lambda: problems(gateway) == [], what="no problem")
    assert gateway.api.weights("shop.local") == {"web": 100}
    assert gateway.api.ok("GET", "routes/shop.local")["services"][0]["id"] == "two/web"


def test_docker_s_own_health_check_decides_too(docker: Engine, gateway: Gateway) -> None:
    container = docker.run(
        BUSYBOX,
        *HTTPD,
        labels=labels("shop", "web", port_80="shop.local"),
        options=("--health-cmd", "test -e /tmp/ok", "--health-interval", "0.2s"),
    )

    def problem() -> str:
        return " ".join(i["problem"] or "" for i in instances(gateway, "shop/web"))

    wait_until(lambda: "has not passed yet" in problem(), what="a container that is starting")
    assert gateway.get("internal", host="shop.local") == 503
    docker("exec", container, "touch", "/tmp/ok")
    wait_up(gateway, "shop/web")
    docker("exec", container, "rm", "/tmp/ok")
    wait_until(lambda: "Docker's own health check fails" in problem(), what="an ailing container")
    assert gateway.get("internal", host="shop.local") == 503


def test_a_command_of_the_labels_is_run_in_the_container(docker: Engine, gateway: Gateway) -> None:
    given = labels("shop", "web", port_80="shop.local")
    given["gateway.probe.cmd"] = "test -e /tmp/ok"
    container = docker.run(BUSYBOX, *HTTPD, labels=given)
    wait_until(lambda: [i["health"] for i in instances(gateway, "shop/web")] == ["unhealthy"])
    (instance,) = instances(gateway, "shop/web")
    assert instance["problem"] == "the command ended with 1"
    docker("exec", container, "touch", "/tmp/ok")
    wait_up(gateway, "shop/web")


def test_published_ports_are_used_where_that_is_asked_for(docker: Engine, tmp_path: Path) -> None:
    with gateway_beside(docker, tmp_path, reach="published") as gateway:
        docker.run(
            BUSYBOX,
            *HTTPD,
            labels=labels("shop", "web", port_80="shop.local"),
            options=("--publish", "127.0.0.1::80"),
        )
        start(docker, "blog", port_80="blog.local")
        wait_up(gateway, "shop/web")
        (instance,) = instances(gateway, "shop/web")
        assert instance["address"].startswith("127.0.0.1:")
        assert gateway.get("internal", host="shop.local") == 200
        assert problems(gateway) == [("blog.local", "blog/web", "no_address")]
        assert gateway.get("internal", host="blog.local") == 503


def test_a_container_that_ends_at_once_and_is_restarted_for_ever_harms_nobody_else(
    docker: Engine, gateway: Gateway
) -> None:
    start(docker, "shop", port_80="shop.local")
    wait_up(gateway, "shop/web")
    flapping = labels("flap", "web", port_80="flap.local")
    again = ("--restart", "always", "--name", "flap")
    docker.run(BUSYBOX, "sleep", "0.3", labels=flapping, options=again)
    wait_until(lambda: gateway.get("internal", host="flap.local") == 503, what="its route")
    with Load(gateway.ports["internal"], "shop.local", keeping=2, per_request=1) as load:
        before = docker.inspect("flap")["RestartCount"]
        wait_until(lambda: docker.inspect("flap")["RestartCount"] >= before + 2, what="restarts")
    assert [r for r in load.records if r.failure is not None] == []
    assert load.records
    assert gateway.get("internal", host="flap.local") == 503
    details = [e["detail"] for e in gateway.api.ok("GET", "audit")["entries"]]
    assert sum("flap/web" in text for text in details) == 1, details
