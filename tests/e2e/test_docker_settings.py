"""The settings of the Docker provider change while the gateway serves; and the provider is taken away."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.support.deaf import Deaf
from tests.support.docker_engine import BUSYBOX, Engine
from tests.support.gateway import Gateway
from tests.support.processes import wait_until

HOST = "shop.local"
HTTPD = ("sh", "-c", "mkdir /w && echo hello > /w/index.html; exec httpd -f -p 80 -h /w")
LABELS = {
    "com.docker.compose.project": "shop",
    "com.docker.compose.service": "web",
    "gateway.routing.port_80": HOST,
}


def gateway_with(folder: Path, **docker: object) -> Gateway:
    return Gateway(
        folder / "gateway",
        workers=1,
        providers={"docker": docker},
        checks={"interval": 0.2, "fall": 2},
    )


def hang_up(gateway: Gateway, says: str = "configuration read again", **docker: object) -> None:
    """Have other settings of the provider read by the running gateway."""
    gateway.config["providers"] = {"docker": docker} if docker else {}
    gateway.write_config()
    said = gateway.said(says)
    gateway.kill(gateway.supervisor, signal.SIGHUP)
    gateway.wait_said(says, said)


def addresses(gateway: Gateway) -> list[str]:
    """Of the instances that get traffic."""
    path = f"services/{quote('shop/web', safe='')}/instances"
    answer = gateway.api("GET", path)
    found = answer.json["instances"] if answer.status == 200 else []
    return [one["address"] for one in found if one["state"] == "up"]


def service(gateway: Gateway) -> Any:
    return gateway.api.ok("GET", f"services/{quote('shop/web', safe='')}")


def wait_served(gateway: Gateway) -> None:
    wait_until(lambda: gateway.get("internal", host=HOST) == 200, what="an answer")


def test_a_container_is_reached_by_another_network_without_a_failed_request(
    docker: Engine, tmp_path: Path
) -> None:
    for name in ("first", "second"):
        docker("network", "create", name)
    container = docker.run(BUSYBOX, *HTTPD, labels=LABELS, options=("--network", "first"))
    docker("network", "connect", "second", container)
    at = {name: f"{docker.address_of(container, name)}:80" for name in ("first", "second")}
    with gateway_with(tmp_path, socket=docker.url, network="first") as gateway:
        wait_until(lambda: addresses(gateway) == [at["first"]], what=f"{at}")
        wait_served(gateway)
        statuses: list[int] = []
        is_over = threading.Event()

        def ask() -> None:
            while not is_over.is_set():
                statuses.append(gateway.get("internal", host=HOST))

        asking = threading.Thread(target=ask)
        asking.start()
        try:
            for name in ("second", "first"):
                hang_up(gateway, socket=docker.url, network=name)
                wait_until(lambda: addresses(gateway) == [at[name]], what=f"{name} of {at}")  # noqa: B023
                seen = len(statuses)
                wait_until(lambda: len(statuses) > seen + 5, what="requests")  # noqa: B023
        finally:
            is_over.set()
            asking.join()
        assert set(statuses) == {200}


def test_how_often_all_containers_are_looked_at_changes_at_once(
    docker: Engine, tmp_path: Path
) -> None:
    deaf = Deaf(docker.socket, docker.folder / "deaf-settings.sock")  # no event tells of anything
    socket = f"unix://{deaf.path}"
    try:
        with gateway_with(tmp_path, socket=socket, refresh=3600.0) as gateway:
            hang_up(gateway, socket=socket, refresh=0.2)
            docker.run(BUSYBOX, *HTTPD, labels=LABELS)
            wait_served(gateway)
    finally:
        deaf.close()


def test_what_was_found_keeps_its_place_without_the_provider_and_may_be_deleted(
    docker: Engine, tmp_path: Path
) -> None:
    docker.run(BUSYBOX, *HTTPD, labels=LABELS)
    gateway = gateway_with(tmp_path, socket=docker.url)
    with gateway:
        wait_served(gateway)
        # As long as it runs it goes on as it was.
        hang_up(gateway, "a change of providers.docker needs a restart")
        assert gateway.get("internal", host=HOST) == 200
    with gateway:
        wait_until(lambda: service(gateway)["discovered"]["gone_since"] is not None, what="a mark")
        assert gateway.get("internal", host=HOST) == 503
        assert gateway.api.weights(HOST) == {"web": 100}
    gateway.config["providers"] = {"docker": {"socket": docker.url}}
    with gateway:  # it is there again, and nothing was lost
        wait_served(gateway)
        assert gateway.api.weights(HOST) == {"web": 100}
    gateway.config["providers"] = {}
    with gateway:
        wait_until(lambda: service(gateway)["discovered"]["gone_since"] is not None, what="a mark")
        assert gateway.api("DELETE", f"services/{quote('shop/web', safe='')}").status == 200
        assert gateway.get("internal", host=HOST) == 404
