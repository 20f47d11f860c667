"""Releases on a real Docker Engine: what a template asks for is there, and nothing else is left.

What may go wrong meanwhile is in test_docker_faults.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.contained_shop import HOST, LONG_S, Shop
from tests.support.containers import in_containers, web
from tests.support.docker_engine import BUSYBOX, Engine
from tests.support.load import Load, judge
from tests.support.processes import wait_until


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


def test_an_application_is_gone_when_its_containers_are(docker: Engine, tmp_path: Path) -> None:
    # It takes longer to end than the call that removes it waits.
    slow = "trap 'sleep 6; exit 0' TERM; echo ok >/index.html; httpd -f -p 80 -h / & wait"
    with in_containers(docker, tmp_path) as gateway:
        shop = Shop(docker, gateway)
        shop.wait(
            shop.deploy({"web-v1": web(HOST, says=slow, init=False, stop_grace_period="9s")}),
            "confirmed",
        )
        assert gateway.api("DELETE", "applications/shop?force=true").status == 202
        wait_until(
            lambda: gateway.api("GET", "applications/shop").status == 404, LONG_S, "it is gone"
        )
        assert shop.containers.all() == []
        shop.wait(shop.deploy({"web-v1": web(HOST)}), "confirmed")
