"""Releases on a real Docker Engine: what a template asks for is there, and nothing else is left.

Whatever goes wrong is told in words, and the old version serves on.
"""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.applications import Operator
from tests.support.containers import Containers, in_containers, web
from tests.support.docker_engine import BUSYBOX, Engine
from tests.support.gateway import Gateway, served_by, sleep
from tests.support.load import Load, judge
from tests.support.processes import wait_until

HOST = "shop.example"
LONG_S = 30.0


class Shop:
    """A gateway with the application `shop`, and its containers."""

    def __init__(self, docker: Engine, gateway: Gateway) -> None:
        self.docker = docker
        self.gateway = gateway
        self.operator = Operator(gateway, "shop")
        self.containers = Containers(docker, gateway)

    def deploy(self, template: dict[str, Any], query: str = "") -> str:
        return self.operator.deploy(template, query)

    def wait(self, release: str, phase: str) -> None:
        self.operator.wait(release, phase)

    def release(self, release: str) -> Any:
        return self.gateway.api.ok("GET", f"releases/{release}")

    def wait_waiting_for(self, release: str, words: str) -> None:
        """Until it is said that the release waits for this."""
        wait_until(
            lambda: words in (self.release(release)["waiting_for"] or ""),
            LONG_S,
            f"a release that waits for {words!r}: {self.release(release)['waiting_for']}",
        )

    def wait_containers(self, **wanted: int) -> None:
        wait_until(
            lambda: self.containers.are(**wanted), LONG_S, f"{wanted}: {self.containers.count()}"
        )

    def serves(self) -> str:
        return served_by(self.gateway.ask("public", host=HOST))

    def told(self, release: str) -> str:
        """Everything that is told of a release."""
        return "\n".join(entry["reason"] for entry in self.release(release)["timeline"])


@pytest.fixture
def shop(docker: Engine, tmp_path: Path) -> Iterator[Shop]:
    """The first version is deployed, in one container."""
    with in_containers(docker, tmp_path) as gateway:
        found = Shop(docker, gateway)
        found.wait(found.deploy({"web-v1": web(HOST)}), "confirmed")
        yield found


def test_a_release_starts_the_new_containers_and_removes_the_old_ones_without_a_lost_request(
    shop: Shop,
) -> None:
    with Load(shop.gateway.ports["public"], HOST, keeping=4, per_request=2) as load:
        release = shop.deploy({"web-v2": web(HOST, scale=2)})
        shop.wait(release, "pending_confirmation")
        shop.wait_containers(web_v1=1, web_v2=2)
        load.wait_answers(20)
        shop.operator.shift(release, 100)
        load.wait_answers(20)
        assert shop.serves() == "web-v2"
        shop.operator.decide(release, "confirm")
        shop.wait(release, "confirmed")
        load.wait_answers(20)
    verdict = judge(load.records, [])
    assert not verdict.failed, verdict
    assert shop.containers.are(web_v2=2)


def test_a_rollback_leaves_nothing_of_the_new_version(shop: Shop) -> None:
    release = shop.deploy({"web-v2": web(HOST, scale=2, volumes=["/scratch"])})
    shop.wait(release, "pending_confirmation")
    shop.operator.decide(release, "rollback")
    shop.wait(release, "rolled_back")
    assert shop.containers.are(web_v1=1)
    assert shop.docker("volume", "ls", "-q") == ""
    assert shop.serves() == "web-v1"


BAD = {
    "image missing": (
        {"image": "nowhere.invalid/no:1"},
        ["there is no image 'nowhere.invalid/no:1'"],
    ),
    "cannot be pulled": (
        {"image": "127.0.0.1:9/no:1", "pull_policy": "missing"},
        ["the image '127.0.0.1:9/no:1' cannot be pulled"],
    ),
    "no such program": (
        {"command": ["/no/such"], "init": False},
        ["cannot be started", "no such file", "see command and entrypoint"],
    ),
    "ends at once": (
        {"command": ["sh", "-c", "echo the disk is on fire; exit 3"]},
        ["ended with exit code 3", "the disk is on fire"],
    ),
    "nobody listens": (
        {"command": ["sh", "-c", "echo I prefer to sleep; exec sleep 1000"]},
        ["does not pass its check: Connect", "I prefer to sleep"],
    ),
    "never healthy": (
        {"healthcheck": {"test": ["CMD", "sh", "-c", "echo not today; exit 1"]}},
        ["the command ended with 1: not today"],
    ),
}


@pytest.mark.parametrize(("wrong", "words"), BAD.values(), ids=BAD.keys())
def test_what_does_not_come_up_is_told_with_its_last_words_and_rolled_back(
    shop: Shop, wrong: dict[str, Any], words: list[str]
) -> None:
    release = shop.deploy({"web-v2": {**web(HOST, scale=2), **wrong}}, "?deadline=2.5")
    shop.wait(release, "rolled_back")
    told = shop.told(release)
    for word in words:
        assert word in told, told
    assert shop.containers.are(web_v1=1)
    assert shop.serves() == "web-v1"
    good = shop.deploy({"web-v3": web(HOST)})
    shop.wait(good, "pending_confirmation")


def test_a_network_of_somebody_else_that_is_missing_is_named(
    docker: Engine, tmp_path: Path
) -> None:
    with in_containers(docker, tmp_path, docker_settings={"allow_networks": ["edge"]}) as gateway:
        shop = Shop(docker, gateway)
        template = {
            "services": {"web-v1": web(HOST, networks=["edge"])},
            "networks": {"edge": {"external": True}},
        }
        release = shop.deploy(template)
        shop.wait_waiting_for(release, "there is no network 'edge'")
        docker("network", "create", "edge")
        shop.wait(release, "confirmed")


def test_a_container_that_is_removed_or_killed_by_hand_is_replaced(shop: Shop) -> None:
    release = shop.deploy({"web-v2": web(HOST, scale=2)})
    shop.wait(release, "pending_confirmation")
    for how in (("rm", "-f"), ("kill",), ("stop", "-t", "0")):
        (first, *_) = shop.containers.ids("web-v2")
        shop.docker(*how, first)
        wait_until(partial(_is_gone, shop, first), LONG_S, f"{how}: gone")
        shop.wait_containers(web_v1=1, web_v2=2)
        wait_until(lambda: shop.release(release)["services"][0]["ready"] == 2, LONG_S, "two ready")
    shop.operator.shift(release, 100)
    shop.operator.decide(release, "confirm")
    shop.wait(release, "confirmed")
    assert shop.containers.are(web_v2=2)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_daemon_that_is_gone_is_told_and_the_release_goes_on_when_it_is_back(
    shop: Shop, how: signal.Signals
) -> None:
    # With KILL the containers run on without it; with TERM they stop with it.
    shop.docker.stop(how)
    release = shop.deploy({"web-v2": web(HOST)})
    shop.wait_waiting_for(release, "the Docker Engine")
    shop.docker.start()
    shop.wait(release, "pending_confirmation")
    shop.wait_containers(web_v1=1, web_v2=1)
    shop.operator.shift(release, 100)
    shop.docker.stop(how)
    shop.operator.decide(release, "confirm?force=true")
    if how is signal.SIGKILL:
        shop.wait_waiting_for(release, "the processes of web-v1 to stop")
    shop.docker.start()
    shop.wait(release, "confirmed")
    shop.wait_containers(web_v2=1)
    wait_until(lambda: shop.gateway.get("public", host=HOST) == 200, LONG_S, "an answer")
    assert shop.serves() == "web-v2"


def test_a_control_process_killed_at_any_moment_leaves_neither_doubles_nor_orphans(
    shop: Shop,
) -> None:
    draw = random.Random(7)
    for version, ending, end in (
        ("web-v2", "confirm?force=true", "confirmed"),
        ("web-v3", "rollback", "rolled_back"),
    ):
        release = shop.deploy({version: web(HOST, scale=3)})
        sleep(draw.uniform(0.0, 0.6))
        shop.gateway.kill_control()
        shop.wait(release, "pending_confirmation")
        shop.operator.decide(release, ending)
        sleep(draw.uniform(0.0, 0.4))
        shop.gateway.kill_control()
        shop.wait(release, end)
        shop.wait_containers(web_v2=3)


def _is_gone(shop: Shop, container: str) -> bool:
    return container not in shop.containers.ids("web-v2")


def test_containers_outlive_the_gateway_and_are_taken_up_again(shop: Shop) -> None:
    before = shop.containers.ids("web-v1")
    shop.gateway.stop()
    assert shop.containers.ids("web-v1") == before
    assert shop.containers.are(web_v1=1)
    shop.gateway.start()
    wait_until(lambda: shop.gateway.get("public", host=HOST) == 200, LONG_S, "an answer")
    assert shop.containers.ids("web-v1") == before


def test_what_ended_while_nobody_looked_is_replaced_at_the_next_start(shop: Shop) -> None:
    before = shop.containers.ids("web-v1")
    shop.gateway.stop()
    shop.docker("kill", *before)
    shop.gateway.start()
    wait_until(lambda: shop.gateway.get("public", host=HOST) == 200, LONG_S, "an answer")
    shop.wait_containers(web_v1=1)
    assert shop.containers.ids("web-v1") != before


def test_what_was_made_and_not_started_is_started_by_the_next_control_process(shop: Shop) -> None:
    # The Engine cannot be had to stop between the two, so the moment is made by hand.
    (made,) = shop.containers.ids("web-v1")
    given = shop.docker.inspect(made)
    shop.gateway.stop()
    shop.docker("rm", "-f", made)
    body = {**given["Config"], "HostConfig": given["HostConfig"]}
    answer = shop.docker.api("POST", f"/containers/create?name={given['Name'].strip('/')}", body)
    assert answer.code == 201, answer
    shop.gateway.start()
    wait_until(lambda: shop.gateway.get("public", host=HOST) == 200, LONG_S, "an answer")
    shop.wait_containers(web_v1=1)
    assert shop.containers.ids("web-v1")[0] in answer.out


def test_a_container_with_our_labels_that_we_did_not_make_is_left_alone(shop: Shop) -> None:
    (ours,) = shop.containers.ids("web-v1")
    shop.docker("commit", ours, "copy:1")
    theirs = shop.docker.run("copy:1", "sleep", "1000", name="theirs")
    (first,) = shop.containers.ids("web-v1")[:1]
    shop.gateway.kill_control()
    shop.gateway.wait_ready()
    release = shop.deploy({"web-v2": web(HOST)})
    shop.wait(release, "pending_confirmation")
    assert theirs in shop.containers.ids("web-v1")
    assert shop.docker.inspect(theirs)["State"]["Running"]
    assert first


def test_a_foreign_container_of_the_same_name_is_named_as_what_is_in_the_way(shop: Shop) -> None:
    (ours,) = shop.containers.ids("web-v1")
    name = shop.docker.inspect(ours)["Name"].strip("/")
    shop.gateway.stop()
    shop.docker("rm", "-f", ours)
    shop.docker.run(BUSYBOX, "sleep", "1000", name=name)
    shop.gateway.start()
    where = "applications/shop"
    wait_until(
        lambda: f"the name '{name}' is taken" in str(shop.gateway.api.ok("GET", where)),
        LONG_S,
        "words about the name",
    )
    shop.docker("rm", "-f", name)
    wait_until(lambda: shop.gateway.get("public", host=HOST) == 200, LONG_S, "an answer")


def test_fewer_instances_end_without_a_lost_request(shop: Shop) -> None:
    shop.gateway.api.ok("PATCH", "services/web-v1", {"scale": 3})
    shop.wait_containers(web_v1=3)
    with Load(shop.gateway.ports["public"], HOST, keeping=4, per_request=2) as load:
        load.wait_answers(20)
        shop.gateway.api.ok("PATCH", "services/web-v1", {"scale": 1})
        shop.wait_containers(web_v1=1)
        load.wait_answers(20)
    verdict = judge(load.records, [])
    assert not verdict.failed, verdict


def test_a_program_is_told_to_end_and_killed_after_its_grace(shop: Shop) -> None:
    polite = "trap 'echo bye; exit 0' TERM INT; while :; do sleep 0.05; done"
    stubborn = "trap '' TERM; echo never; while :; do sleep 0.05; done"
    template = {
        "polite": web(says=polite, init=False, stop_signal="SIGINT"),
        "stubborn": web(says=stubborn, init=False, stop_grace_period="1s"),
        "web-v1": web(HOST),
    }
    release = shop.deploy(template)
    shop.wait(release, "pending_confirmation")
    shop.operator.decide(release, "rollback")
    shop.wait(release, "rolled_back")
    assert shop.containers.are(web_v1=1)
    lines = shop.gateway.api.ok("GET", "applications/shop/logs")["lines"]
    assert [one["line"] for one in lines if one["service"] == "polite"] == ["bye"]
    assert [one["line"] for one in lines if one["service"] == "stubborn"] == ["never"]


def test_callers_reach_the_gateway_under_local_names_on_port_80(
    docker: Engine, tmp_path: Path
) -> None:
    inside = {"listen": f"{docker.address}:80", "internal": True}
    gateway = in_containers(docker, tmp_path)
    gateway.config["entrypoints"]["inside"] = inside
    with gateway:
        shop = Shop(docker, gateway)
        template = {
            "a-v1": web("a.local"),
            "b-v1": web("b.example", external_links=["a.local"]),
        }
        shop.wait(shop.deploy(template), "confirmed")
        (caller,) = shop.containers.ids("b-v1")
        answer = docker("exec", caller, "wget", "-q", "-S", "-O", "-", "http://a.local/")
        assert answer == "ok"


def test_an_order_of_starts_is_kept_and_probes_run_in_the_container(shop: Shop) -> None:
    slow = "sleep 1; touch /ready; exec sleep 1000"
    template = {
        "db": web(says=slow, labels={"gateway.probe.cmd": "test -e /ready"}),
        "web-v2": web(HOST, depends_on={"db": {"condition": "service_healthy"}}),
    }
    release = shop.deploy(template)
    shop.wait_waiting_for(release, "web-v2")
    shop.wait(release, "pending_confirmation")
    times = {o["Labels"]["gateway.service"]: o["Created"] for o in shop.containers.all()}
    assert times["web-v2"] > times["db"]


def test_the_check_of_an_image_counts(shop: Shop) -> None:
    shop.docker.build(
        "checked:1", f"FROM {BUSYBOX}\nHEALTHCHECK --interval=100ms CMD test -e /well\n"
    )
    release = shop.deploy({"web-v2": web(HOST, image="checked:1")})
    shop.wait_waiting_for(release, "the check that its image brings")
    (container,) = shop.containers.ids("web-v2")
    shop.docker("exec", container, "touch", "/well")
    shop.wait(release, "pending_confirmation")


def test_everything_that_a_template_says_is_in_the_container(
    docker: Engine, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (tmp_path / "app.env").write_text("FROM_FILE=1\nBOTH=file\n")
    settings = {"allow_binds": [str(data)], "env_files": [str(tmp_path)]}
    more: dict[str, Any] = {
        "environment": {"BOTH": "template"},
        "env_file": "app.env",
        "user": "7:8",
        "working_dir": "/tmp",
        "hostname": "web",
        "read_only": True,
        "tmpfs": ["/www:mode=1777", "/run"],
        "volumes": ["named:/named", f"{data}:/data:ro", "/own"],
        "networks": {"back": {"aliases": ["db"]}, "front": None},
        "extra_hosts": ["mail=10.9.8.7"],
        "cap_drop": ["ALL"],
        "cap_add": ["NET_BIND_SERVICE"],
        "security_opt": ["no-new-privileges:true"],
        "deploy": {"resources": {"limits": {"cpus": "0.5", "memory": "32m", "pids": 50}}},
        "ulimits": {"nofile": 1000},
        "sysctls": {},
        "restart": "unless-stopped",
        "stop_signal": "SIGINT",
        "logging": {"driver": "json-file", "options": {"max-size": "1m"}},
    }
    says = "echo ok >/www/index.html && exec httpd -f -p 8080 -h /www"
    service = web(says=says, labels={"gateway.routing.port_8080": HOST, "team": "a"}, **more)
    template = {
        "services": {"web-v1": service},
        "volumes": {"named": None},
        "networks": {"back": {"internal": True}, "front": None},
    }
    with in_containers(docker, tmp_path / "gateway", docker_settings=settings) as gateway:
        shop = Shop(docker, gateway)
        shop.wait(shop.deploy(template), "confirmed")
        assert shop.gateway.get("public", host=HOST) == 200
        (one,) = shop.containers.ids("web-v1")
        found = docker.inspect(one)
        config, host = found["Config"], found["HostConfig"]
        assert {"FROM_FILE=1", "BOTH=template"} <= set(config["Env"])
        assert (config["User"], config["WorkingDir"], config["Hostname"]) == ("7:8", "/tmp", "web")
        assert config["Labels"]["team"] == "a"
        assert (config["StopSignal"], config["StopTimeout"]) == ("SIGINT", 2)
        assert host["RestartPolicy"]["Name"] == "no"
        assert (host["Memory"], host["NanoCpus"], host["PidsLimit"]) == (32 << 20, 500_000_000, 50)
        assert (host["CapAdd"], host["CapDrop"]) == (["NET_BIND_SERVICE"], ["ALL"])
        assert host["ReadonlyRootfs"]
        assert host["SecurityOpt"] == ["no-new-privileges"]
        assert host["ExtraHosts"] == ["mail:10.9.8.7"]
        assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "1m"}}
        mounts = {
            m["Destination"]: (m["Type"], m.get("Name", ""), m["RW"]) for m in found["Mounts"]
        }
        assert mounts["/named"] == ("volume", "shop_named", True)
        assert mounts["/data"] == ("bind", "", False)
        assert mounts["/own"][0] == "volume"
        networks = found["NetworkSettings"]["Networks"]
        assert networks.keys() == {"shop_back", "shop_front"}
        assert {"web-v1", "db"} <= set(networks["shop_back"]["Aliases"])
        assert docker("network", "inspect", "-f", "{{.Internal}}", "shop_back") == "true"
