"""What is to be started for a service: its image, program, environment and links."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from gateway.core.model import Launch
from gateway.core.names import quote
from gateway.core.spelling import host

from . import values
from .container import Declared, read_container
from .env_files import EnvFiles, read_env_files
from .plain import Map, Value
from .problems import Findings, Place

IMAGE_MAX = 512


def read_launch(content: Map, place: Place, is_launched: bool, findings: Findings) -> Launch | None:
    """What is to be started. `not is_launched`: read only to find what is wrong with it."""
    image = _image(content, place, is_launched, findings)
    command = content.get("command")
    entrypoint = content.get("entrypoint")
    environment = content.get("environment")
    links = content.get("external_links")
    folder = content.get("working_dir")
    grace = content.get("stop_grace_period")
    found = Launch(
        image=image or "",
        command=None if command is None else values.command(command, (*place, "command"), findings),
        entrypoint=None
        if entrypoint is None
        else values.command(entrypoint, (*place, "entrypoint"), findings),
        environment=()
        if environment is None
        else _environment(environment, (*place, "environment"), findings),
        external_links=()
        if links is None
        else _external_links(links, (*place, "external_links"), findings),
        working_dir=None
        if folder is None
        else values.text(folder, (*place, "working_dir"), findings),
        stop_grace_s=None
        if grace is None
        else values.duration(grace, (*place, "stop_grace_period"), findings, or_zero=True),
    )
    return found if image is not None else None


def read_launch_in_container(
    content: Map,
    place: Place,
    labels: Mapping[str, str],
    declared: Declared,
    env_files: EnvFiles,
    findings: Findings,
) -> Launch | None:
    """What is to be started in a container. `labels` are those that are not the gateway's."""
    launch = read_launch(content, place, True, findings)
    container = read_container(content, place, labels, declared, findings)
    variables = read_env_files(content.get("env_file"), (*place, "env_file"), env_files, findings)
    if launch is None:
        return None
    environment = tuple(sorted({**variables, **dict(launch.environment)}.items()))
    return replace(launch, environment=environment, container=container)


def _image(content: Map, place: Place, is_needed: bool, findings: Findings) -> str | None:
    where = (*place, "image")
    if content.get("image") is None:
        if is_needed and not content.get("build"):
            findings.add(
                where, "needed: what is to be run? Or give x-gateway.endpoints, if it runs already"
            )
        return None
    image = values.text(content["image"], where, findings)
    if image is not None and (
        len(image) > IMAGE_MAX or not image.isprintable() or any(c.isspace() for c in image)
    ):
        findings.add(
            where, f"an image's name has at most {IMAGE_MAX} characters and no blanks among them"
        )
        return None
    return image


def _environment(value: Value, place: Place, findings: Findings) -> tuple[tuple[str, str], ...]:
    """Variables by name, sorted."""
    found: dict[str, str] = {}
    for name, item, where in values.pairs(value, place, findings):
        if not name or "=" in name:
            findings.add(where, "the name of a variable is not empty and has no =")
        elif item is None:
            findings.add(
                where,
                f"{quote(name)} has no value, and the gateway's own environment is not passed "
                f"on; write the value, or '' for an empty one",
            )
        elif (given := values.scalar(item, where, findings)) is not None:
            found[name] = given.text
            if given.is_float:
                findings.warn(
                    where,
                    f"without quotes this is a number, and passed as {given.text}; put it in "
                    "quotes to pass it as it is written",
                )
    return tuple(sorted(found.items()))


def _external_links(value: Value, place: Place, findings: Findings) -> tuple[str, ...]:
    """Hosts that are called through the gateway, sorted: what the program calls them."""
    found: set[str] = set()
    for given in values.texts(value, place, findings, '["servicea.local"]'):
        name, colon, alias = given.text.strip().partition(":")
        try:
            hosts = [host(part) for part in ((name, alias) if colon else (name,))]
        except ValueError as error:
            findings.add(given.place, f"{quote(given.text)}: {error}")
            continue
        if colon and hosts[0] != hosts[1]:
            findings.warn(
                given.place,
                f"the program calls {quote(hosts[1])}, so that must be the host of a route",
            )
        if "." not in hosts[-1]:
            findings.warn(
                given.place,
                f"no route can have the host {quote(hosts[-1])}: it would be published under "
                "the domain; link to a name with a dot, for example servicea.local",
            )
        found.add(hosts[-1])
    return tuple(sorted(found))
