"""What the process provider cannot, or must not, start of a template. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gateway.core.errors import FieldError
from gateway.core.model import CheckKind, Service
from gateway.core.names import quote
from gateway.core.release import Template
from gateway.runtime.settings import Settings

from .programs import chosen_by_template, container_ports, unknown_image

PROBE = "probe.cmd"
"""The end of the place of a check that runs a command; a prefix may belong before it."""


def problems(template: Template, settings: Settings) -> list[FieldError]:
    """All that keeps the services of a template from being started here.

    Places are `<service>.<key>`, without `services.` in front of them; that of a
    probe's command is `<service>.labels.probe.cmd`.
    """
    found: list[FieldError] = []
    for service in template.services:
        found += (
            FieldError(f"{service.name}.{key}", m) for key, m in _of_service(service, settings)
        )
    found += _ports(template, settings)
    return found


def _of_service(service: Service, settings: Settings) -> Iterator[tuple[str, str]]:
    launch, images = service.launch, settings.providers.process.images
    runs_command = service.check is not None and service.check.kind is CheckKind.COMMAND
    if launch is None:
        if runs_command:
            yield f"labels.{PROBE}", "a command runs beside processes started here; use probe.url"
        return
    if launch.container is not None:
        return
    image = images.get(launch.image)
    if image is None:
        yield "image", unknown_image(launch.image, images)
        return
    allow = (
        "it would run on this machine what its author likes; the configuration allows that with "
        f"allow_command: true for the image {quote(launch.image)}"
    )
    if not image.allow_command:
        for key in chosen_by_template(launch):
            yield key, f"a template may not set {_WORDS.get(key, 'this variable')}: {allow}"
        if runs_command:
            yield f"labels.{PROBE}", f"a template may not bring a command to run: {allow}"


_WORDS = {"command": "the command", "entrypoint": "the program", "working_dir": "the folder"}


def _ports(template: Template, settings: Settings) -> Iterator[FieldError]:
    if (message := lack_of_ports(template.services, settings)) is not None:
        launched = [s for s in template.services if is_process(s)]
        yield FieldError(f"{max(launched, key=_ports_needed).name}.labels.scale", message)


def lack_of_ports(services: Iterable[Service], settings: Settings) -> str | None:
    """Why all instances of these services cannot run at once; None: there are ports enough."""
    first, last = settings.providers.process.ports
    total = sum(_ports_needed(s) for s in services if is_process(s))
    if total <= last - first + 1:
        return None
    return (
        f"all instances together need {total} ports, and providers.process.ports has "
        f"{last - first + 1}; lower the scale or widen the range"
    )


def is_process(service: Service) -> bool:
    """Are its instances started as local processes?"""
    return service.launch is not None and service.launch.container is None


def _ports_needed(service: Service) -> int:
    return service.scale * len(container_ports(service))
