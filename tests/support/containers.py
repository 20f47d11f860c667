"""Applications in containers of a real Engine: small web servers, and looking at what runs.

with in_containers(docker, folder) as gateway:
    shop = Operator(gateway, "shop")
    release = shop.deploy({"web-v1": web("shop.example", scale=2)})
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from admin.providers.docker.ownership import FILE

from .docker_engine import BUSYBOX, Engine
from .gateway import Gateway

SERVES = "mkdir -p /www && echo ok >/www/index.html && exec httpd -f -p 80 -h /www"
OWNER = "gateway.owner"


def web(
    route: str = "", *, scale: int = 1, says: str = SERVES, image: str = BUSYBOX, **more: Any
) -> dict[str, Any]:
    """A service of a template; `says` is its shell script. `route` empty: on none."""
    labels: dict[str, object] = {"gateway.scale": scale, **more.pop("labels", {})}
    if route:
        labels |= {"gateway.routing.port_80": route, "gateway.routing.coexist": True}
    return {
        "image": image,
        "command": ["sh", "-c", says],
        "pull_policy": "never",
        "stop_grace_period": "2s",
        "init": True,
        "labels": labels,
        **more,
    }


def in_containers(docker: Engine, folder: Path, **config: Any) -> Gateway:
    """A gateway that has this Engine; `docker_settings` go to the provider."""
    settings = {"socket": docker.url, **config.pop("docker_settings", {})}
    providers = {"docker": settings}
    return Gateway(
        folder, **{"providers": providers, "checks": {"interval": 0.2, "fall": 2}, **config}
    )


class Containers:
    """The containers of one gateway, as the Engine has them."""

    def __init__(self, docker: Engine, gateway: Gateway) -> None:
        self._docker = docker
        self._gateway = gateway

    def all(self) -> list[dict[str, Any]]:
        """Every one of them, running or not."""
        owner = (self._gateway.state / FILE).read_text().strip()
        filters = json.dumps({"label": [f"{OWNER}={owner}"]})
        found: list[dict[str, Any]] = json.loads(
            self._docker.api(
                "GET", f"/containers/json?all=1&filters={filters}".replace(" ", "")
            ).out
        )
        return found

    def count(self) -> Counter[str]:
        """How many there are, running or not, by service."""
        return Counter(one["Labels"]["gateway.service"] for one in self.all())

    def ids(self, service: str) -> list[str]:
        """Ids of those of a service."""
        return [o["Id"] for o in self.all() if o["Labels"]["gateway.service"] == service]

    def are(self, **wanted: int) -> bool:
        """Exactly these, and all run? Dashes of names are underscores."""
        found = self.all()
        names = {name.replace("_", "-"): count for name, count in wanted.items()}
        return self.count() == names and all(one["State"] == "running" for one in found)
