"""Where a container of ours is reached as an instance, and what is wrong with it. Pure."""

from __future__ import annotations

from gateway.core.model import Instance, Service
from gateway.runtime.settings import DockerSettings, Reach

from .addresses import address_of, published_host
from .containers import Container, DockerHealth, Publication, Run
from .create import networks_of, routed_ports
from .ownership import Owned


def instance_of(one: Owned, service: Service, docker: DockerSettings) -> Instance | None:
    """The instance; None: it has no address yet.

    One that was made before ports were published is reached as before.
    """
    ports = routed_ports(service)
    found: dict[int, Publication] = {}
    for publication in one.container.publications:
        found.setdefault(publication.container_port, publication)
    if docker.reach is Reach.PUBLISHED and ports and found:
        if any(port not in found for port in ports):
            return None
        host = address_of(found[ports[0]], published_host(docker))
        real = {port: found[port].host_port for port in ports}
        return Instance(one.instance, one.service, host, real[ports[0]], real)
    address = _address(one.container, service, docker)
    if address is None:
        return None
    return Instance(one.instance, one.service, address, ports[0] if ports else 0)


def _address(container: Container, service: Service, docker: DockerSettings) -> str | None:
    # IPv4 before IPv6, as fewer programs listen on the latter.
    by_network: dict[str, str] = {}
    for attachment in sorted(container.attachments, key=lambda a: ":" in a.address):
        by_network.setdefault(attachment.network, attachment.address)
    wanted = [n.name for n in networks_of(service, docker)]
    if docker.network is not None:
        wanted.insert(0, docker.network)
    found = next((by_network[name] for name in wanted if name in by_network), None)
    return found or next(iter(by_network.values()), None)


def ailment(container: Container) -> str | None:
    """What the Engine has against a container that runs."""
    if container.run is Run.PAUSED:
        return "its container is paused (docker unpause)"
    if container.health is DockerHealth.UNHEALTHY:
        return "the check that its image brings fails (docker inspect shows why)"
    if container.health is DockerHealth.STARTING:
        return "the check that its image brings has not passed yet"
    return None
