"""What a template may ask of the Docker Engine. Pure.

Whoever may start any container is root on the Engine's machine. So that whoever may
deploy is not, a template gets nothing of the machine that the configuration does not
name: no folders, no volumes and networks of others, no further capabilities. What is
never given (privileges, devices, name spaces of the machine) is refused when a template
is read (`gateway/core/templates/container_keys.py`).

A path may be mounted for writing only exactly as it is allowed: below it a container
could have put a link that leads anywhere, and the Engine follows links.
"""

from __future__ import annotations

from collections.abc import Iterator

from gateway.core.container import Container, Mount, MountKind
from gateway.core.errors import FieldError
from gateway.core.model import Service
from gateway.core.names import did_you_mean, quote
from gateway.core.release import Template
from gateway.runtime.settings import DockerSettings, Settings

READ_ONLY = ":ro"
ALL = "*"
NEVER = frozenset({"host", "none", "default"})
"""Names of networks that are none, but the machine's own network, or no network at all."""
USUAL_CAPABILITIES = frozenset(
    [
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "NET_RAW",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    ]
)
"""What every container has unless it is dropped."""

_SETTING = "the configuration's providers.docker"


def problems(template: Template, settings: Settings) -> list[FieldError]:
    """All that keeps services of a template from being started in containers.

    Places are `<service>.<key>`, without `services.` in front of them.
    """
    docker = settings.providers.docker
    return [
        FieldError(f"{service.name}.{key}", message)
        for service in template.services
        for key, message in (_of_service(service, docker) if docker is not None else ())
    ]


def _of_service(service: Service, docker: DockerSettings) -> Iterator[tuple[str, str]]:
    container = service.launch.container if service.launch is not None else None
    if container is None:
        return
    for mount in container.volumes:
        if (message := _mount(mount, docker)) is not None:
            yield "volumes", message
    yield from _names(container, docker)


def _mount(mount: Mount, docker: DockerSettings) -> str | None:
    if mount.kind is MountKind.BIND and not _may_bind(mount, docker.allow_binds):
        how = READ_ONLY if mount.read_only else ""
        return (
            f"a template may not mount {quote(mount.source)}: that folder of the machine is not "
            f"among allow_binds of {_SETTING} (it would be {quote(mount.source + how)})"
        )
    allowed = docker.allow_volumes
    if mount.is_external and mount.source not in allowed and ALL not in allowed:
        return (
            f"a template may not mount the volume {quote(mount.source)} of somebody else: it is "
            f"not among allow_volumes of {_SETTING}{did_you_mean(mount.source, allowed)}"
        )
    return None


def _may_bind(mount: Mount, allowed: tuple[str, ...]) -> bool:
    for entry in allowed:
        path = entry.removesuffix(READ_ONLY).rstrip("/") or "/"
        if mount.source == path and (mount.read_only or not entry.endswith(READ_ONLY)):
            return True
        below = f"{path.rstrip('/')}/"
        if entry.endswith(READ_ONLY) and mount.read_only and mount.source.startswith(below):
            return True
    return False


def _names(container: Container, docker: DockerSettings) -> Iterator[tuple[str, str]]:
    for network in container.networks:
        allowed = docker.allow_networks
        if network.name in NEVER:
            yield "networks", f"a container cannot be on the network {quote(network.name)} here"
            continue
        is_ours = network.name in (*allowed, docker.network)
        if network.is_external and not is_ours and ALL not in allowed:
            yield (
                "networks",
                f"a template may not join the network {quote(network.name)} of somebody else: it "
                f"is not among allow_networks of {_SETTING}{did_you_mean(network.name, allowed)}",
            )
    usual = USUAL_CAPABILITIES | {one.removeprefix("CAP_") for one in docker.allow_capabilities}
    if refused := [one for one in container.cap_add if one not in usual]:
        yield (
            "cap_add",
            f"a template may not add {', '.join(refused)}: not among allow_capabilities of "
            f"{_SETTING}",
        )
