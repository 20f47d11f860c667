"""Making a container for an instance, and its end: image, networks, the container, its start.

Each step may be taken again by somebody who comes anew. All raise `EngineError`, with
words for people.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping

from admin.providers.launching.progress import Stage
from gateway.core.container import PullPolicy
from gateway.core.hosts import is_ip
from gateway.core.model import Service
from gateway.core.names import quote
from gateway.runtime.settings import DockerSettings, Reach

from .actions import Actions, own_address
from .addresses import published_host
from .create import document, grace_of, networks_of
from .credentials import auth_header, config_file
from .engine import Engine, EngineError, EngineGone
from .labels import OWNER
from .ownership import labels_of
from .pulling import Pulls


class Maker:
    """See the module. `settings` gives the provider's present ones."""

    def __init__(
        self,
        engine: Engine,
        owner: str,
        settings: Callable[[], DockerSettings],
        environment: Mapping[str, str],
    ) -> None:
        self._engine = engine
        self._actions = Actions(engine, owner)
        self._owner = owner
        self._settings = settings
        self._environment = environment
        self._pulls = Pulls(engine, self._credentials)

    def pulled(self, service: Service) -> str:
        """How far the pull of its image is; empty: not known."""
        launch = service.launch
        if launch is None or launch.container is None:
            return ""
        return self._pulls.words(launch.image, launch.container.platform) or ""

    async def have_image(
        self, service: Service, is_first: bool, note: Callable[[Stage], None]
    ) -> None:
        """Have its image on the Engine. Not `is_first`: an instance is replaced.

        Such a one does not depend on a registry that is there.
        """
        assert service.launch is not None
        assert service.launch.container is not None
        image, container = service.launch.image, service.launch.container
        is_wanted = container.pull_policy is PullPolicy.ALWAYS and is_first
        if not is_wanted and await self._pulls.is_there(image):
            return
        if container.pull_policy is PullPolicy.NEVER:
            raise EngineError(
                f"there is no image {quote(image)} on the Docker Engine, and pull_policy is never"
            )
        note(Stage.PULLING)
        try:
            await self._pulls.pull(image, container.platform)
        except EngineGone:
            raise
        except EngineError as error:
            raise EngineError(f"the image {quote(image)} cannot be pulled: {error}") from None

    async def create(self, service: Service, slot: int, name: str, definition: str) -> str:
        """Make it; its id. Raises `NameTaken` too."""
        assert service.launch is not None
        docker = self._settings()
        grace_s = grace_of(service.launch, docker)
        labels = labels_of(self._owner, service, slot, definition, grace_s)
        callers = await self._callers_address(service, docker)
        published = await _published_on(docker)
        asked = document(service, docker, labels, callers, published)
        return await self._actions.create(name, asked)

    async def start(self, container: str, service: Service) -> None:
        """Put it on its networks and start it."""
        joined = await self._actions.networks_of(container)
        for network in networks_of(service, self._settings()):
            if network.name not in joined:
                await self._actions.join(container, network)
        await self._actions.start(container)

    async def stop(self, container: str, grace_s: float) -> None:
        """End its program; see `Actions.stop`."""
        await self._actions.stop(container, grace_s)

    async def remove(self, container: str) -> None:
        """Remove it, running or not, with its own volumes."""
        await self._actions.remove(container)

    async def id_of_ours(self, name: str) -> str | None:
        """The id of the container of this name, if it is the gateway's. Raises `NoSuchThing`."""
        found = await self._engine.inspect(name)
        with self._engine.reading():
            is_ours = (found["Config"]["Labels"] or {}).get(OWNER) == self._owner
            return str(found["Id"]) if is_ours else None

    async def close(self) -> None:
        """Give up what is pulled."""
        await self._pulls.close()

    async def _credentials(self, image: str) -> str | None:
        file = config_file(self._settings().registry_config, self._environment)
        return await auth_header(file, image)

    async def _callers_address(self, service: Service, docker: DockerSettings) -> str | None:
        """Where the program finds the gateway; its networks are there after this."""
        networks = [await self._actions.ensure_network(n) for n in networks_of(service, docker)]
        if service.launch is None or not service.launch.external_links:
            return None
        if docker.callers_address is not None:
            return docker.callers_address
        found = next((a for n in networks if (a := own_address(n)) is not None), None)
        if found is None:
            names = ", ".join(str(n.get("Name")) for n in networks)
            raise EngineError(
                f"its external_links lead nowhere, as the gateway is not on its network ({names}): "
                "connect the gateway, or set providers.docker.callers_address"
            )
        return found


async def _published_on(docker: DockerSettings) -> str | None:
    """On which address of the Engine's machine ports are published; the Engine takes no names."""
    if docker.reach is not Reach.PUBLISHED:
        return None
    host = published_host(docker)
    if is_ip(host):
        return host
    try:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise EngineError(
            f"the host on which its ports are to be published, {quote(host)}, cannot be resolved: "
            f"{error.strerror}; providers.docker.published_host says which"
        ) from None
    # IPv4 first: a program in a container listens on that in most cases.
    return str(min(found, key=lambda one: one[0] is not socket.AF_INET)[4][0])
