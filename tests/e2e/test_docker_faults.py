"""Whatever goes wrong with a real Docker Engine in a release: it is told in words, and what serves serves on.

After each of these confirm and rollback work, and neither doubles nor orphans are left.
"""

from __future__ import annotations

import random
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.applications import Operator
from tests.support.contained_shop import HOST, LONG_S, Shop
from tests.support.containers import in_containers, web
from tests.support.deaf import Deaf
from tests.support.docker_engine import BUSYBOX, Engine
from tests.support.gateway import sleep
from tests.support.processes import wait_until

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


def _daemon_comes_back(shop: Shop, release: str, end: str, stays: str) -> None:
    """The release goes on to its end; one container of one version is left, and serves."""
    # What ran on without the daemon it ends when it comes back (no `live-restore`).
    shop.docker.start()
    shop.wait(release, end)
    shop.wait_containers(**{stays.replace("-", "_"): 1})
    shop.wait_answers()
    assert shop.serves() == stays


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
    _daemon_comes_back(shop, release, "confirmed", "web-v2")


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
    shop.wait_answers()
    assert shop.containers.ids("web-v1") == before


def test_what_ended_while_nobody_looked_is_replaced_at_the_next_start(shop: Shop) -> None:
    before = shop.containers.ids("web-v1")
    shop.gateway.stop()
    shop.docker("kill", *before)
    shop.gateway.start()
    shop.wait_answers()
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
    shop.wait_answers()
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
    shop.wait_answers()


def test_weights_and_decisions_work_while_the_daemon_is_gone(shop: Shop) -> None:
    release = shop.deploy({"web-v2": web(HOST)})
    shop.wait(release, "pending_confirmation")
    shop.docker.stop(signal.SIGKILL)
    shop.operator.shift(release, 100)
    wait_until(lambda: shop.serves() == "web-v2", LONG_S, "the new version")
    shop.operator.shift(release, 0)
    wait_until(lambda: shop.serves() == "web-v1", LONG_S, "the old version")
    shop.operator.decide(release, "rollback")
    shop.wait_waiting_for(release, "the processes of web-v2 to stop")
    assert shop.serves() == "web-v1"
    _daemon_comes_back(shop, release, "rolled_back", "web-v1")


def test_a_release_may_be_rolled_back_while_it_waits_for_a_daemon_that_is_gone(shop: Shop) -> None:
    shop.docker.stop(signal.SIGKILL)
    release = shop.deploy({"web-v2": web(HOST, scale=2)})
    shop.wait_waiting_for(release, "the Docker Engine")
    shop.operator.decide(release, "rollback")
    assert shop.serves() == "web-v1"
    _daemon_comes_back(shop, release, "rolled_back", "web-v1")


@pytest.mark.parametrize(
    ("verb", "end", "leaves", "stays"),
    [
        ("confirm?force=true", "confirmed", "web-v1", "web-v2"),
        ("rollback", "rolled_back", "web-v2", "web-v1"),
    ],
)
def test_a_container_that_is_removed_by_hand_while_it_is_told_to_stop_is_stopped(
    docker: Engine, tmp_path: Path, verb: str, end: str, leaves: str, stays: str
) -> None:
    # They do not listen to the signal, so that there is time to be quicker than their grace.
    stubborn = web(HOST, stop_signal="SIGWINCH", stop_grace_period="1m")
    with in_containers(docker, tmp_path) as gateway:
        shop = Shop(docker, gateway)
        shop.wait(shop.deploy({"web-v1": stubborn}), "confirmed")
        release = shop.deploy({"web-v2": stubborn})
        shop.wait(release, "pending_confirmation")
        shop.operator.decide(release, verb)
        shop.wait_waiting_for(release, f"the processes of {leaves} to stop")
        docker("rm", "-f", *shop.containers.ids(leaves))
        shop.wait(release, end)
        assert shop.containers.are(**{stays.replace("-", "_"): 1})
        assert shop.serves() == stays


def test_what_no_event_told_of_is_replaced_and_released_all_the_same(
    docker: Engine, tmp_path: Path
) -> None:
    deaf = Deaf(docker.socket, docker.folder / "deaf.sock")
    settings = {"socket": f"unix://{deaf.path}", "refresh": 0.3}
    try:
        with in_containers(docker, tmp_path, docker_settings=settings) as gateway:
            shop = Shop(docker, gateway)
            shop.wait(shop.deploy({"web-v1": web(HOST)}), "confirmed")
            for verb, end in (("rollback", "rolled_back"), ("confirm?force=true", "confirmed")):
                release = shop.deploy({"web-v2": web(HOST)})
                shop.wait(release, "pending_confirmation")
                (killed,) = shop.containers.ids("web-v2")
                docker("kill", killed)
                wait_until(partial(_is_gone, shop, killed), LONG_S, "it is replaced")
                shop.wait_containers(web_v1=1, web_v2=1)
                shop.operator.decide(release, verb)
                shop.wait(release, end)
            assert shop.containers.are(web_v2=1)
    finally:
        deaf.close()


def test_an_application_that_claims_the_host_of_another_one_starts_nothing(shop: Shop) -> None:
    labels = {"gateway.routing.port_80": HOST}
    other = Operator(shop.gateway, "other")
    answer = other.post({"web-v9": web(labels=labels)})
    assert answer.status == 409, answer
    assert HOST in answer.json["detail"]
    assert "coexist" in answer.json["detail"]
    assert shop.containers.are(web_v1=1)
    assert shop.serves() == "web-v1"


def test_a_gateway_killed_in_every_phase_goes_on_with_the_release_and_leaves_nothing(
    shop: Shop,
) -> None:
    draw = random.Random("gateway")
    for version, verb, end in (
        ("web-v2", "rollback", "rolled_back"),
        ("web-v2", "confirm?force=true", "confirmed"),
    ):
        release = shop.deploy({version: web(HOST, scale=2)})
        sleep(draw.uniform(0.0, 0.6))
        _kill_and_start(shop)
        shop.wait(release, "pending_confirmation")
        shop.wait_containers(web_v1=1, web_v2=2)
        shop.operator.decide(release, verb)
        sleep(draw.uniform(0.0, 0.4))
        _kill_and_start(shop)
        shop.wait(release, end)
    shop.wait_containers(web_v2=2)
    shop.wait_answers()
    assert shop.serves() == "web-v2"


def _kill_and_start(shop: Shop) -> None:
    """kill -9 of the supervisor, and a new start, as soon as an operator could."""
    gateway = shop.gateway
    gateway.kill(gateway.supervisor)
    assert gateway.process is not None
    gateway.process.wait()
    gateway.start()


def test_a_container_that_is_taken_off_its_network_is_replaced(shop: Shop) -> None:
    (first,) = shop.containers.ids("web-v1")
    shop.docker("network", "disconnect", "bridge", first)
    wait_until(lambda: first not in shop.containers.ids("web-v1"), LONG_S, "it is replaced")
    shop.wait_containers(web_v1=1)
    shop.wait_answers()
    (failure,) = shop.operator.show()["services"][0]["failures"]
    assert "has no address" in failure["what"]
