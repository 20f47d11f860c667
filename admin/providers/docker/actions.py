"""What the launcher has the Engine do with containers and networks, one call each.

Every one may be asked again: what is done already is no error. All raise `EngineError`.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from math import ceil
from typing import Any

import aiohttp

from .create import Joining, endpoint
from .engine import CONNECT_S, WORK_S, Engine, EngineRefused, NoSuchThing
from .labels import OWNER

_BEYOND_GRACE_S = 30.0
"""How long the Engine may take to stop a container once its grace is over."""


class NameTaken(EngineRefused):
    """There is a container of this name."""


class Actions:
    """See the module."""

    def __init__(self, engine: Engine, owner: str) -> None:
        self._engine = engine
        self._owner = owner

    async def create(self, name: str, document: Mapping[str, Any]) -> str:
        """Make a container; its id. Raises `NameTaken`."""
        try:
            with self._engine.reading(for_work=True) as docker:
                made = await docker.containers.create(dict(document), name=name)
                return str(made.id)
        except EngineRefused as refused:
            if refused.status == 409:
                raise NameTaken(409, str(refused)) from None
            raise

    async def start(self, container: str) -> None:
        """Start it; one that runs is left alone."""
        with self._engine.asking(for_work=True) as docker:
            await docker.containers.container(container).start()

    async def stop(self, container: str, grace_s: float) -> None:
        """TERM (or its own signal), after the grace KILL; gives when it has ended."""
        limits = aiohttp.ClientTimeout(
            total=grace_s + _BEYOND_GRACE_S, sock_connect=CONNECT_S, sock_read=None
        )
        try:
            with self._engine.asking() as docker:
                one = docker.containers.container(container)
                await one.stop(t=ceil(grace_s), timeout=limits)
        except NoSuchThing:
            return

    async def remove(self, container: str) -> None:
        """Remove it with its own volumes, running or not."""
        try:
            with self._engine.asking(for_work=True) as docker:
                limits = aiohttp.ClientTimeout(total=WORK_S, sock_connect=CONNECT_S)
                one = docker.containers.container(container)
                await one.delete(force=True, v=True, timeout=limits)
        except NoSuchThing:
            return
        except EngineRefused as refused:
            if refused.status != 409:  # it is being removed already
                raise

    async def ensure_network(self, network: Joining) -> Mapping[str, Any]:
        """All about a network, made if it is ours and missing."""
        try:
            return await self._network(network.name)
        except NoSuchThing:
            if not network.is_ours:
                raise EngineRefused(
                    404,
                    f"there is no network {network.name!r}: make it (docker network create "
                    f"{network.name}), or change the template or providers.docker.network",
                ) from None
        try:
            with self._engine.reading() as docker:
                await docker.networks.create(
                    {
                        "Name": network.name,
                        "CheckDuplicate": True,
                        "Driver": "bridge",
                        "Internal": network.is_internal,
                        "Labels": {OWNER: self._owner},
                    }
                )
        except EngineRefused as refused:
            if refused.status != 409:  # somebody was quicker
                raise
        return await self._network(network.name)

    async def _network(self, name: str) -> Mapping[str, Any]:
        with self._engine.reading() as docker:
            return dict(await (await docker.networks.get(name)).show())

    async def join(self, container: str, network: Joining) -> None:
        """Put a container on one more network; it may be there already."""
        await self.ensure_network(network)
        body = {"Container": container, "EndpointConfig": endpoint(network)}
        try:
            with self._engine.reading() as docker:
                await (await docker.networks.get(network.name)).connect(body)
        except EngineRefused as refused:
            if "already exists" not in str(refused):
                raise

    async def networks_of(self, container: str) -> frozenset[str]:
        """The networks that a container is on, or will be on once it is started."""
        found = await self._engine.inspect(container)
        with self._engine.reading():
            return frozenset(found["NetworkSettings"]["Networks"] or {})


def own_address(network: Mapping[str, Any]) -> str | None:
    """The address of this machine, or of this container, on a network; None: it is not there.

    Nothing is sent: the system is asked from which address packets would go there.
    """
    management = network.get("IPAM")
    config = management.get("Config") if isinstance(management, dict) else None
    known = config if isinstance(config, list) else []
    for subnet in (one.get("Subnet") for one in known if isinstance(one, dict)):
        try:
            inside = ip_network(str(subnet))
            family = socket.AF_INET if inside.version == 4 else socket.AF_INET6
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((str(inside.broadcast_address - 1), 9))
                own = probe.getsockname()[0].partition("%")[0]
        except (OSError, ValueError, TypeError):
            continue
        if ip_address(own) in inside:
            return str(own)
    return None
