"""Instances by the ports that their containers publish, for a gateway that is on none of their networks.

The Engine is a real one: on the gateway's machine, reached over TCP as that of another
machine, and with the gateway in a container of it.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

from tests.support.contained_shop import HOST, Shop
from tests.support.containers import in_containers, web
from tests.support.docker_engine import Engine
from tests.support.gateway import Gateway
from tests.support.load import Load, judge
from tests.support.processes import wait_until
from tests.support.socket_proxy import relay

PUBLISHED: dict[str, Any] = {"reach": "published"}


@contextmanager
def over_tcp(docker: Engine) -> Iterator[str]:
    """The Engine as one of another machine has it: the URL at which it is reached."""

    def serve(client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as engine:
            engine.connect(str(docker.socket))
            back = threading.Thread(target=relay, args=(engine, client), daemon=True)
            back.start()
            relay(client, engine)
            back.join()

    def accept() -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = server.accept()
                threading.Thread(target=serve, args=(client,), daemon=True).start()

    with socket.create_server((docker.address, 0)) as server:
        threading.Thread(target=accept, daemon=True).start()
        yield f"tcp://{docker.address}:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)


def places(gateway: Gateway) -> list[str]:
    """Where the instances are."""
    services = gateway.api.ok("GET", "services")["services"]
    return sorted(i["address"] for one in services for i in one["instances"])


def published(docker: Engine, containers: list[str]) -> list[str]:
    """Where the Engine publishes port 80 of them."""
    return sorted(docker("port", one, "80/tcp") for one in containers)


def test_a_release_goes_by_published_ports_without_a_lost_request(
    docker: Engine, tmp_path: Path
) -> None:
    with in_containers(docker, tmp_path, docker_settings=PUBLISHED) as gateway:
        shop = Shop(docker, gateway)
        shop.wait(shop.deploy({"web-v1": web(HOST, scale=2)}), "confirmed")
        found = published(docker, shop.containers.ids("web-v1"))
        assert places(gateway) == found
        assert all(place.startswith("127.0.0.1:") for place in found)
        with Load(gateway.ports["public"], HOST, keeping=4, per_request=2) as load:
            release = shop.deploy({"web-v2": web(HOST, scale=2)})
            shop.wait(release, "pending_confirmation")
            shop.operator.shift(release, 100)
            load.wait_answers(20)
            shop.operator.decide(release, "confirm")
            shop.wait(release, "confirmed")
            load.wait_answers(20)
        verdict = judge(load.records, [])
        assert not verdict.failed, verdict
        assert shop.serves() == "web-v2"

        # One that is replaced has another port.
        old = shop.containers.ids("web-v2")
        docker("kill", old[0])
        wait_until(lambda: len(new := shop.containers.ids("web-v2")) == 2 and old[0] not in new, 20)
        wait_until(
            lambda: places(gateway) == published(docker, shop.containers.ids("web-v2")),
            20,
            "the new port",
        )


def test_an_engine_over_tcp_publishes_on_its_own_address_and_callers_find_the_gateway(
    docker: Engine, tmp_path: Path
) -> None:
    with over_tcp(docker) as url:
        settings = {"socket": url, **PUBLISHED, "callers_address": docker.address}
        gateway = in_containers(docker, tmp_path, docker_settings=settings)
        inside = {"listen": f"{docker.address}:80", "internal": True}
        gateway.config["entrypoints"]["inside"] = inside
        with gateway:
            shop = Shop(docker, gateway)
            services = {
                "a-v1": web("a.local"),
                "web-v1": web(HOST, networks=["back"], external_links=["a.local"]),
            }
            template = {"services": services, "networks": {"back": None}}
            shop.wait(shop.deploy(template), "confirmed")
            found = [*shop.containers.ids("a-v1"), *shop.containers.ids("web-v1")]
            assert places(gateway) == published(docker, found)
            assert all(place.startswith(f"{docker.address}:") for place in places(gateway))
            assert gateway.get("public", host=HOST) == 200
            (caller,) = shop.containers.ids("web-v1")
            assert f"{docker.address}\ta.local" in docker("exec", caller, "cat", "/etc/hosts")
            assert docker("exec", caller, "wget", "-q", "-O", "-", "http://a.local/") == "ok"


def test_a_gateway_in_a_container_of_its_own_network_reaches_them_by_the_name_of_the_machine(
    docker: Engine, gateway_image: str, tmp_path: Path
) -> None:
    docker("network", "create", "own")
    config = {
        "entrypoints": {"public": {"listen": "0.0.0.0:8080"}},
        "health": {"listen": "0.0.0.0:8082"},
        "providers": {"docker": PUBLISHED | {"published_host": "host.docker.internal"}},
    }
    file = tmp_path / "gateway.yaml"
    file.write_text(json.dumps(config))
    docker.run(
        gateway_image,
        name="gateway",
        options=[
            *("--network", "own", "--add-host", f"host.docker.internal:{docker.address}"),
            *("--group-add", str(docker.socket.stat().st_gid)),
            *("-v", f"{docker.socket}:/var/run/docker.sock"),
            *("-v", f"{file}:/etc/gateway/container.yaml:ro"),
        ],
    )
    wait_until(
        lambda: docker.inspect("gateway")["State"]["Health"]["Status"] == "healthy", 30, "health"
    )
    template = yaml.safe_dump({"services": {"web-v1": web(HOST, scale=2)}}).encode()
    words = ("exec", "-i", "gateway", "gateway", "deploy", "shop", "-f", "-", "--wait")
    docker(*words, stdin=template)
    containers = docker("ps", "-q", "--filter", "label=gateway.service=web-v1").split()
    assert len(containers) == 2
    assert all(one.startswith(f"{docker.address}:") for one in published(docker, containers))
    at = docker.address_of("gateway", "own")
    with socket.create_connection((at, 8080), 10) as client:
        client.sendall(f"GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
        assert client.recv(64).startswith(b"HTTP/1.1 200 ")
