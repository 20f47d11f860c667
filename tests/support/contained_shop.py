"""An application `shop` in containers of a real Engine: to release, look at and ask.

    with in_containers(docker, folder) as gateway:
        shop = Shop(docker, gateway)
        shop.wait(shop.deploy({"web-v1": web(HOST)}), "confirmed")

`shop` (tests/e2e/conftest.py) is one whose first version is deployed, in one container.
"""

from __future__ import annotations

from typing import Any

from .applications import Operator
from .containers import Containers
from .docker_engine import Engine
from .gateway import Gateway, served_by
from .processes import wait_until

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
            lambda: f"a release that waits for {words!r}: {self.release(release)['waiting_for']}",
        )

    def wait_containers(self, **wanted: int) -> None:
        wait_until(
            lambda: self.containers.are(**wanted),
            LONG_S,
            lambda: f"{wanted}: {self.containers.count()}",
        )

    def serves(self) -> str:
        return served_by(self.gateway.ask("public", host=HOST))

    def wait_answers(self) -> None:
        """Until somebody answers its clients."""
        wait_until(lambda: self.gateway.get("public", host=HOST) == 200, LONG_S, "an answer")

    def told(self, release: str) -> str:
        """Everything that is told of a release."""
        return "\n".join(entry["reason"] for entry in self.release(release)["timeline"])
