"""What the Engine is asked to make for an instance: one document. Pure.

Restarting is the launcher's: the Engine is told to leave a container that ended as it
is, so that its end is seen and its last words are read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from gateway.core.container import Container, Mount, MountKind
from gateway.core.model import Check, CheckKind, Launch, Service
from gateway.runtime.settings import DockerSettings

BRIDGE = "bridge"
"""The network of containers that are on no other; containers have no names there."""

_HOST_CONFIG: Mapping[str, str] = {
    "mem_limit": "Memory",
    "mem_reservation": "MemoryReservation",
    "memswap_limit": "MemorySwap",
    "mem_swappiness": "MemorySwappiness",
    "shm_size": "ShmSize",
    "cpus": "NanoCpus",
    "cpu_shares": "CpuShares",
    "cpu_quota": "CpuQuota",
    "cpu_period": "CpuPeriod",
    "pids_limit": "PidsLimit",
    "oom_score_adj": "OomScoreAdj",
}
"""Limits by compose key."""


@dataclass(frozen=True, slots=True)
class Joining:
    """A network to join. `is_ours`: made when it is missing."""

    name: str
    aliases: tuple[str, ...] = ()
    is_ours: bool = False
    is_internal: bool = False


def networks_of(service: Service, docker: DockerSettings) -> tuple[Joining, ...]:
    """The networks of a service's containers, first the one that leads outside."""
    assert service.launch is not None
    assert service.launch.container is not None
    own = [
        Joining(
            n.name,
            tuple(dict.fromkeys((service.name, *n.aliases))),
            not n.is_external,
            n.is_internal,
        )
        for n in service.launch.container.networks
    ]
    own.sort(key=lambda one: one.is_internal)
    if docker.network is not None and docker.network not in (one.name for one in own):
        # The gateway itself is there.
        own.append(Joining(docker.network))
    return tuple(own) or (Joining(BRIDGE),)


def grace_of(launch: Launch, docker: DockerSettings) -> float:
    """From TERM to KILL, seconds."""
    return docker.stop_grace if launch.stop_grace_s is None else launch.stop_grace_s


def routed_ports(service: Service) -> tuple[int, ...]:
    """The container ports that requests and checks go to, the first routed one first."""
    ports = [claim.port for claim in service.claims]
    if service.check is not None:
        ports.append(service.check.port)
    return tuple(dict.fromkeys(port for port in ports if port is not None))


def document(
    service: Service,
    docker: DockerSettings,
    labels: Mapping[str, str],
    callers_address: str | None,
    published_on: str | None,
) -> dict[str, Any]:
    """The body of `POST /containers/create`.

    `callers_address` is where the links lead, `published_on` the address whose free ports
    stand for its own; None: for none of them.
    """
    launch = service.launch
    assert launch is not None
    assert launch.container is not None
    container = launch.container
    first = networks_of(service, docker)[0]
    ports = routed_ports(service)
    found: dict[str, Any] = {
        "Image": launch.image,
        "Cmd": _words(launch.command),
        "Entrypoint": _words(launch.entrypoint),
        "Env": [f"{name}={value}" for name, value in launch.environment],
        "WorkingDir": launch.working_dir or "",
        "User": container.user or "",
        "Hostname": container.hostname or "",
        "Domainname": container.domainname or "",
        "Tty": container.tty,
        "OpenStdin": container.stdin_open,
        "StopTimeout": ceil(grace_of(launch, docker)),
        "Labels": {**dict(container.labels), **labels},
        "ExposedPorts": {f"{port}/tcp": {} for port in ports},
        "HostConfig": _host_config(container, first.name, _hosts(launch, callers_address)),
        "NetworkingConfig": {"EndpointsConfig": {first.name: endpoint(first)}},
    }
    if published_on is not None:
        found["HostConfig"]["PortBindings"] = {
            f"{port}/tcp": [{"HostIp": published_on, "HostPort": ""}] for port in ports
        }
    if container.stop_signal is not None:
        found["StopSignal"] = container.stop_signal
    if _brings_check(service.check, container):
        # The gateway runs it; twice would be twice the work.
        found["Healthcheck"] = {"Test": ["NONE"]}
    return found


def endpoint(network: Joining) -> dict[str, Any]:
    """How a network is joined."""
    return {"Aliases": list(network.aliases)} if network.aliases else {}


def _words(words: Sequence[str] | None) -> list[str] | None:
    return None if words is None else list(words)


def _brings_check(check: Check | None, container: Container) -> bool:
    is_command = check is not None and check.kind is CheckKind.COMMAND
    return is_command or container.is_check_off


def _hosts(launch: Launch, callers_address: str | None) -> list[str]:
    assert launch.container is not None
    hosts = [f"{name}:{address}" for name, address in launch.container.extra_hosts]
    if callers_address is not None:
        hosts += [f"{name}:{callers_address}" for name in launch.external_links]
    return hosts


def _host_config(container: Container, network: str, hosts: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "NetworkMode": network,
        "RestartPolicy": {"Name": "no"},
        "ReadonlyRootfs": container.read_only,
        "ExtraHosts": hosts,
        "Dns": list(container.dns),
        "DnsOptions": list(container.dns_opt),
        "DnsSearch": list(container.dns_search),
        "CapAdd": list(container.cap_add),
        "CapDrop": list(container.cap_drop),
        "GroupAdd": list(container.group_add),
        "SecurityOpt": ["no-new-privileges"] if container.no_new_privileges else [],
        "Mounts": [_mount(one) for one in container.volumes if one.kind is not MountKind.TMPFS],
        "Tmpfs": {
            one.target: ",".join(filter(None, ("ro" if one.read_only else "", one.options)))
            for one in container.volumes
            if one.kind is MountKind.TMPFS
        },
        "Ulimits": [
            {"Name": name, "Soft": soft, "Hard": hard} for name, soft, hard in container.ulimits
        ],
        **{_HOST_CONFIG[key]: number for key, number in container.limits},
    }
    if container.init is not None:
        found["Init"] = container.init
    if container.cpuset is not None:
        found["CpusetCpus"] = container.cpuset
    if container.logging:
        given = dict(container.logging)
        found["LogConfig"] = {
            "Type": given.pop("driver"),
            "Config": {name.removeprefix("options."): value for name, value in given.items()},
        }
    return found


def _mount(mount: Mount) -> dict[str, Any]:
    return {
        "Type": mount.kind.value,
        "Source": mount.source,
        "Target": mount.target,
        "ReadOnly": mount.read_only,
    }
