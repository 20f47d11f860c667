"""Images are fetched when they are missing, with the credentials of Docker's own file, once."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.applications import Operator
from tests.support.containers import Containers, in_containers, web
from tests.support.docker_engine import Engine
from tests.support.gateway import Gateway
from tests.support.processes import wait_until
from tests.support.registry import Registry

HOST = "shop.example"
LONG_S = 30.0
SECRET = "hunter2hunter2"


@pytest.fixture
def registry() -> Iterator[Registry]:
    """One that wants a password."""
    with Registry("me", SECRET) as found:
        yield found


@pytest.fixture
def gateway(docker: Engine, registry: Registry, tmp_path: Path) -> Iterator[Gateway]:
    """A gateway that knows the password, for a while."""
    both = base64.b64encode(f"me:{SECRET}".encode()).decode()
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"auths": {registry.host: {"auth": both}}}))
    settings = {"registry_config": str(file)}
    with in_containers(docker, tmp_path / "gateway", docker_settings=settings) as found:
        yield found
        assert SECRET not in found.log
        assert both not in found.log


def steps(gateway: Gateway, release: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = gateway.api.ok("GET", f"releases/{release}")["services"][0][
        "steps"
    ]
    return found


def is_half_pulled(found: list[dict[str, Any]], count: int) -> bool:
    """Do so many instances wait for an image of which a part is there?"""
    told = [(s["stage"], " % of 2 MB" in s["detail"]) for s in found]
    return told == [("pulling", True)] * count


def test_an_image_is_pulled_once_for_all_instances_and_its_progress_is_told(
    docker: Engine, gateway: Gateway, registry: Registry, image: str
) -> None:
    shop = Operator(gateway, "shop")
    registry.gate.clear()
    release = shop.deploy({"web-v1": web(HOST, scale=3, image=image, pull_policy="always")})
    wait_until(lambda: is_half_pulled(steps(gateway, release), 3), LONG_S, "half of a pull")
    registry.gate.set()
    shop.wait(release, "confirmed")
    assert len([one for one in registry.asked if one == "shop:1"]) == 1
    assert Containers(docker, gateway).are(web_v1=3)


def test_a_replaced_instance_does_not_ask_the_registry_again(
    docker: Engine, gateway: Gateway, registry: Registry, image: str
) -> None:
    shop, containers = Operator(gateway, "shop"), Containers(docker, gateway)
    release = shop.deploy({"web-v1": web(HOST, image=image, pull_policy="always")})
    shop.wait(release, "confirmed")
    asked = list(registry.asked)
    (first,) = containers.ids("web-v1")
    docker("kill", first)
    wait_until(
        lambda: containers.are(web_v1=1) and first not in containers.ids("web-v1"),
        LONG_S,
        "another",
    )
    assert registry.asked == asked


def test_a_registry_that_does_not_know_us_is_told_and_the_right_password_helps(
    gateway: Gateway, image: str
) -> None:
    shop = Operator(gateway, "shop")
    file = Path(gateway.config["providers"]["docker"]["registry_config"])
    right = file.read_text()
    file.write_text("{}")
    release = shop.deploy({"web-v1": web(HOST, image=image, pull_policy="missing")})
    words = "cannot be pulled"
    wait_until(lambda: words in str(shop.release(release)["waiting_for"]), LONG_S, words)
    file.write_text(right)
    shop.wait(release, "confirmed")


def test_a_rollback_does_not_wait_for_a_pull(
    docker: Engine, gateway: Gateway, registry: Registry, image: str
) -> None:
    shop = Operator(gateway, "shop")
    shop.wait(shop.deploy({"web-v1": web(HOST)}), "confirmed")
    registry.gate.clear()
    release = shop.deploy({"web-v2": web(HOST, image=image, pull_policy="always")})
    wait_until(lambda: steps(gateway, release)[0]["stage"] == "pulling", LONG_S, "a pull")
    shop.decide(release, "rollback")
    shop.wait(release, "rolled_back")
    assert Containers(docker, gateway).are(web_v1=1)
