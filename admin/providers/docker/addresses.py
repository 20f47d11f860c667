"""Where the instances in containers are reached.

`reached` is pure: whether the gateway is on a network is asked of a function (`is_near`).

By the container's own address if the gateway is on one of its networks: on the Engine's
own machine it is on all bridges, in a container of its own on the networks it was given.
Else by the ports that the container publishes. What can be reached by neither is told,
port by port, with the way out.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_interface

from gateway.core.names import quote
from gateway.runtime.docker_url import docker_url
from gateway.runtime.settings import DockerSettings, Reach

from .containers import Attachment, Container, Publication

ANY = ("", "0.0.0.0", "::")  # noqa: S104 - compared with, not bound to


@dataclass(frozen=True, slots=True)
class Way:
    """How containers are reached, as the configuration says it."""

    reach: Reach = Reach.AUTO
    network: str | None = None
    published_host: str = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a container is reached. `ports`: container port to real port, absent: the same.

    `missing` are the ports that cannot be reached, and why not.
    """

    host: str
    ports: Mapping[int, int] = field(default_factory=dict)
    missing: Mapping[int, str] = field(default_factory=dict)


def published_host(docker: DockerSettings) -> str:
    """The host on whose ports containers are published, as the gateway calls it."""
    return docker.published_host or docker_url(docker.socket).host or "127.0.0.1"


def address_of(publication: Publication, published_host: str) -> str:
    """Where a published port is reached: on its own address, if it has one."""
    return published_host if publication.host_ip in ANY else publication.host_ip


def reached(
    container: Container,
    ports: Sequence[int],
    way: Way,
    is_near: Callable[[Attachment], bool],
    others: Mapping[str, Container],
) -> Place | str:
    """Where these ports of a container are; text: why none of them can be reached.

    `others` are all containers by id: one may share the network of another.
    """
    if container.network_mode.startswith("container:"):
        shared = others.get(container.network_mode.removeprefix("container:"))
        if shared is None or shared.network_mode.startswith("container:"):
            return "it shares the network of a container that does not run"
        container = shared
    if container.network_mode == "host" and not container.attachments:
        return Place(way.published_host)
    if way.reach is not Reach.PUBLISHED:
        own = _own_address(container, way, is_near)
        if own is not None:
            return Place(own)
        if way.reach is Reach.NETWORK:
            return _no_network(container, way)
    return _published(container, ports, way)


def _own_address(
    container: Container, way: Way, is_near: Callable[[Attachment], bool]
) -> str | None:
    # IPv4 first: a bridge with IPv6 mostly has both, and fewer programs listen on the latter.
    known = sorted(container.attachments, key=lambda a: ":" in a.address)
    if way.network is not None:
        known = [a for a in known if a.network == way.network]
    near = next((a for a in known if is_near(a)), None)
    if near is None and way.reach is Reach.NETWORK:
        near = next(iter(known), None)  # there may be a route that is not ours to know
    return None if near is None else near.address


def _published(container: Container, ports: Sequence[int], way: Way) -> Place | str:
    found: dict[int, Publication] = {}
    for publication in container.publications:
        found.setdefault(publication.container_port, publication)
    missing = [port for port in ports if port not in found]
    if len(missing) == len(ports):
        return _nowhere(container, ports, way)
    hosts = {address_of(found[port], way.published_host): None for port in ports if port in found}
    host = next(iter(hosts))
    why = {port: _nowhere(container, (port,), way) for port in missing}
    for port in ports:
        if port in found and address_of(found[port], way.published_host) != host:
            why[port] = (
                f"port {port} is published on another address than the container's other routed "
                f"ports ({host}): publish them on the same"
            )
    return Place(host, {p: found[p].host_port for p in ports if p not in why}, why)


def _nowhere(container: Container, ports: Sequence[int], way: Way) -> str:
    words = " and ".join(map(str, ports)) or "none"
    many = "s" if len(ports) > 1 else ""
    unpublished = f"port{many} {words} {'are' if many else 'is'} not published"
    if way.reach is Reach.PUBLISHED:
        return f"{unpublished}: publish {'them' if many else 'it'}, or drop reach: published"
    networks = _names(a.network for a in container.attachments)
    if not networks:
        return f"it is on no network, and {unpublished}"
    return (
        f"the gateway is not on its network ({networks}), and {unpublished}: connect the gateway "
        "to the network, or publish the port"
    )


def _no_network(container: Container, way: Way) -> str:
    networks = _names(a.network for a in container.attachments) or "none"
    if way.network is not None:
        return (
            f"it is not on the network {quote(way.network)} of providers.docker.network, but on: "
            f"{networks}"
        )
    return "it is on no network"


def _names(networks: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(networks))


def is_near(attachment: Attachment) -> bool:
    """Is this machine (or this container) on the network of the attachment?

    That is so when the address from which packets would go there is in the same network.
    Nothing is sent.
    """
    try:
        network = ip_interface(f"{attachment.address}/{attachment.prefix}").network
        family = socket.AF_INET if network.version == 4 else socket.AF_INET6
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((attachment.address, 9))
            return ip_address(probe.getsockname()[0].partition("%")[0]) in network
    except (OSError, ValueError):
        return False
