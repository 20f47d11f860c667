"""What is started for a service: command, folder and environment. Pure.

A template chooses among the images of the configuration. It may bring `command`,
`entrypoint`, `working_dir` and variables that load code only where the image's
settings allow it: else whoever may deploy could run anything on this machine.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from gateway.core.model import Launch, Service
from gateway.core.names import did_you_mean, quote
from gateway.runtime import placeholders
from gateway.runtime.addresses import parse as parse_address
from gateway.runtime.settings import EntrypointSettings, Settings

from .loading import code_variables

INHERITED = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR")
"""What of the gateway's own environment backends get, `LC_*` besides; nothing else of it."""
NO_PROXY = "localhost,127.0.0.1,::1"

NO_CONTAINER_PORT = 0
"""Stands for the port of a service that has none."""

Ports = Mapping[int, int]
"""Container port to real port; the first one is the instance's own."""


@dataclass(frozen=True, slots=True)
class Program:
    """All that is needed to start an instance."""

    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: str | None = None
    """None: the gateway's own."""


class NoProgram(Exception):  # noqa: N818 - says what happened
    """Nothing can be started for a service; the text says why and what to do."""


def container_ports(service: Service) -> tuple[int, ...]:
    """The container ports each instance has, first the one in `PORT`; never empty."""
    ports = [claim.port for claim in service.claims]
    if service.check is not None:
        ports.append(service.check.port)
    known = tuple(dict.fromkeys(port for port in ports if port is not None))
    return known or (NO_CONTAINER_PORT,)


def definition_of(launch: Launch) -> str:
    """Equal for equal definitions: a process of another one is not this service's.

    It outlives the gateway's version, in the supervisor's table: what is hashed, and in
    which order, is not to change.
    """
    meaning = (
        launch.image,
        launch.command,
        launch.entrypoint,
        launch.environment,
        launch.external_links,
        launch.working_dir,
        launch.stop_grace_s,
    )
    return hashlib.sha256(json.dumps(meaning).encode()).hexdigest()[:16]


def unknown_image(image: str, known: Iterable[str]) -> str:
    """What to say about an image that stands for nothing."""
    return (
        f"nothing is known to start for the image {quote(image)}{did_you_mean(image, known)}; "
        "providers.process.images of the configuration must name it, or providers.docker be there "
        "to start containers of it"
    )


def program_of(
    service: Service, ports: Ports, settings: Settings, own_environment: Mapping[str, str]
) -> Program:
    """What to start for an instance with these ports. Raises `NoProgram`."""
    launch, images = service.launch, settings.providers.process.images
    if launch is None:
        raise NoProgram("the service has no image")
    image = images.get(launch.image)
    if image is None:
        raise NoProgram(unknown_image(launch.image, images))
    if (chosen := chosen_by_template(launch)) and not image.allow_command:
        raise NoProgram(f"the image {quote(launch.image)} does not allow {' and '.join(chosen)}")
    values = {f"PORT_{container}": str(port) for container, port in ports.items() if container}
    values["PORT"] = str(next(iter(ports.values())))

    def value_of(name: str) -> str:
        if name == placeholders.PYTHON:
            return sys.executable
        if name not in values:
            raise NoProgram(
                f"the command of the image {quote(launch.image)} asks for ${{{name}}}, "
                "and the service has no such container port"
            )
        return values[name]

    return Program(
        command=_by_template(launch)
        or tuple(placeholders.fill(word, value_of) for word in image.command),
        environment={
            **_inherited(own_environment),
            "PYTHONUNBUFFERED": "1",
            **(_proxy(settings) if launch.external_links else {}),
            **image.environment,
            **dict(launch.environment),
            **values,
        },
        folder=launch.working_dir or image.working_dir,
    )


def chosen_by_template(launch: Launch) -> tuple[str, ...]:
    """The keys with which a template wants something else to run than the image's program."""
    keys = ("command", "entrypoint", "working_dir")
    variables = code_variables(name for name, _ in launch.environment)
    return (
        *(key for key in keys if getattr(launch, key) is not None),
        *(f"environment.{name}" for name in variables),
    )


def _by_template(launch: Launch) -> tuple[str, ...]:
    """Entrypoint and command as Docker joins them, word for word; () for the image's own."""
    return (*(launch.entrypoint or ()), *(launch.command or ()))


def _inherited(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in environment.items()
        if name in INHERITED or name.startswith("LC_")
    }


def _is_for_programs(entrypoint: EntrypointSettings) -> bool:
    """May a program talk to it as to a proxy?"""
    is_plain = entrypoint.tls is None and not entrypoint.proxy_protocol
    return entrypoint.internal and is_plain and entrypoint.redirect_https is None


def _proxy(settings: Settings) -> dict[str, str]:
    """Variables that lead a program's calls to the first internal entrypoint of plain http."""
    internal = next((e for e in settings.entrypoints.values() if _is_for_programs(e)), None)
    if internal is None or not settings.providers.process.proxy_env:
        return {}
    address = parse_address(internal.listen)
    if not address.port:
        return {}  # any free one: known to nobody before the start
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)  # noqa: S104
    url = f"http://[{host}]:{address.port}" if ":" in host else f"http://{host}:{address.port}"
    return {"http_proxy": url, "HTTP_PROXY": url, "no_proxy": NO_PROXY, "NO_PROXY": NO_PROXY}
