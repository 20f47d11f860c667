"""What types cannot say about a configuration: addresses, names, places, and how they fit.

Pure: looks at no file and no network. Each check yields `(place, message)`.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterator

from gateway.core.hosts import is_ip

from . import placeholders
from .addresses import UNIX_PATH_MAX, Address, is_host_name, parse
from .docker_url import docker_url
from .forms import Place
from .settings import AdminAuth, ImageSettings, Reach, Settings

Found = Iterator[tuple[Place, str]]

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_ENTRYPOINT = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_RESERVED_ENTRYPOINTS = {"health", "admin"}
_MODE = re.compile(r"0?[0-7]{3}")
_VARIABLE = re.compile(r"[^=\0]+")
_GIVEN = re.compile(r"PORT(_\d+)?|GATEWAY_BACKEND")
"""Variables the gateway itself gives to the processes it starts."""
_NO_FILES = {"on", "yes", "true", "stderr", "no", "false", "none"}


def check(settings: Settings) -> dict[Place, str]:
    """Every problem of settings whose types are right; the first one of each place."""
    found: dict[Place, str] = {}
    for one in (
        _listeners,
        _tls,
        _admin,
        _names,
        _affinity,
        _proxies,
        _files,
        _ejection,
        _processes,
        _docker,
    ):
        for place, message in one(settings):
            found.setdefault(place, message)
    return found


def _listeners(settings: Settings) -> Found:
    if not settings.entrypoints:
        yield ("entrypoints",), "at least one entrypoint is needed"
    for name in settings.entrypoints:
        if name in _RESERVED_ENTRYPOINTS:
            yield ("entrypoints", name), f'"{name}" is the name of a section; choose another'
        elif not _ENTRYPOINT.fullmatch(name):
            yield (
                ("entrypoints", name),
                "a name is 1 to 63 of a-z, 0-9, - and _, and begins with a letter or digit",
            )
    texts: list[tuple[Place, str | None]] = [
        (("entrypoints", name, "listen"), e.listen) for name, e in settings.entrypoints.items()
    ]
    texts += [
        (("admin", "listen"), settings.admin.listen),
        (("health", "listen"), settings.health.listen),
    ]
    taken: list[tuple[Place, Address]] = []
    for place, text in texts:
        if text is None:
            continue
        try:
            address = parse(text)
        except ValueError as error:
            yield place, str(error)
            continue
        for other, held in taken:
            if address.overlaps(held):
                yield place, f"{text} overlaps {held} of {'.'.join(map(str, other))}"
                break
        taken.append((place, address))


def _tls(settings: Settings) -> Found:
    for name, entrypoint in settings.entrypoints.items():
        place: Place = ("entrypoints", name)
        tls = entrypoint.tls
        if tls is None:
            continue
        if entrypoint.redirect_https is not None:
            yield (
                (*place, "redirect_https"),
                "this entrypoint speaks https itself; redirects are for those with plain http",
            )
        for position, files in enumerate(tls.certificates):
            for key, path in (("cert", files.cert), ("key", files.key)):
                if path == "":
                    yield (
                        (*place, "tls", "certificates", position, key),
                        "the path of a PEM file is expected",
                    )
            if files in tls.certificates[:position]:
                yield (*place, "tls", "certificates", position), "stands further up already"
    if settings.upstream_tls.ca == "":
        yield ("upstream_tls", "ca"), "the path of a PEM file is expected, or null"


def _admin(settings: Settings) -> Found:
    admin = settings.admin
    if admin.auth is AdminAuth.NONE and admin.listen is not None:
        try:
            is_loopback = parse(admin.listen).is_loopback
        except ValueError:
            is_loopback = True  # reported as no address
        if not is_loopback:
            yield (
                ("admin", "auth"),
                f"none is allowed only on a loopback address, and admin.listen is {admin.listen}; "
                "use token, or listen on 127.0.0.1",
            )
    if not _MODE.fullmatch(admin.socket_mode):
        yield (
            ("admin", "socket_mode"),
            'an octal file mode in quotes is expected, for example "0660"',
        )
    elif int(admin.socket_mode, 8) & 0o600 != 0o600:
        yield ("admin", "socket_mode"), "the owner must be able to read and write"
    if admin.socket_group == "":
        yield ("admin", "socket_group"), "a group's name or number is expected, or null"
    if admin.socket == "":
        yield ("admin", "socket"), "a path is expected, or null for admin.sock in the state folder"
    elif (size := len(os.fsencode(settings.admin_socket))) > UNIX_PATH_MAX:
        place: Place = ("state_dir",) if admin.socket is None else ("admin", "socket")
        yield place, f"the socket's path has {size} bytes, at most {UNIX_PATH_MAX} are possible"


def _names(settings: Settings) -> Found:
    if not is_host_name(settings.domain) or settings.domain.endswith("."):
        yield ("domain",), f'"{settings.domain}" is no host name'


def _affinity(settings: Settings) -> Found:
    cookie = settings.affinity.cookie
    if not _TOKEN.fullmatch(cookie):
        yield (
            ("affinity", "cookie"),
            "a cookie's name is 1 to 128 letters, digits and !#$%&'*+-.^_`|~",
        )
    elif cookie.lower().startswith(("__host-", "__secure-")):
        yield (
            ("affinity", "cookie"),
            "browsers take __Host- and __Secure- names only over TLS; choose another name",
        )
    elif cookie.lower() == "x-gateway-service":
        yield ("affinity", "cookie"), "this name is the selector cookie's; choose another"


def _proxies(settings: Settings) -> Found:
    for position, text in enumerate(settings.trusted_proxies):
        try:
            ipaddress.ip_network(text)
        except ValueError as error:
            yield ("trusted_proxies", position), f"{error}; write 10.0.0.0/8 or a single address"
    for name, entrypoint in settings.entrypoints.items():
        if entrypoint.proxy_protocol and not settings.trusted_proxies:
            yield (
                ("entrypoints", name, "proxy_protocol"),
                "nobody could connect: name those who send the PROXY header in trusted_proxies",
            )


def _files(settings: Settings) -> Found:
    if not settings.state_dir or "\0" in settings.state_dir:
        yield ("state_dir",), "a folder is expected"
    store = settings.store
    if store is not None and store != "memory:":
        kind, _, path = store.partition(":")
        if kind != "sqlite" or not path or "\0" in path:
            yield ("store",), f'"{store}" is no store; write "memory:" or sqlite:PATH'
    log = settings.access_log
    if not log or "\0" in log or log.lower() in _NO_FILES:
        yield ("access_log",), f'"{log}" is no place for a log; write off, stdout or a file\'s path'


def _ejection(settings: Settings) -> Found:
    ejection = settings.ejection
    if ejection.max_seconds < ejection.seconds:
        yield ("ejection", "max_seconds"), f"less than ejection.seconds, {ejection.seconds:g}"


def _processes(settings: Settings) -> Found:
    process = settings.providers.process
    first, last = process.ports
    if not 1 <= first <= last <= 65535:
        yield (
            ("providers", "process", "ports"),
            "the first and the last port of a range are expected, 1 to 65535, "
            f"not {first} and {last}",
        )
    for name, image in process.images.items():
        place: Place = ("providers", "process", "images", name)
        if not name.strip() or not name.isprintable():
            yield place, "the name of an image is expected, as templates write it"
        for end, message in _image(image):
            yield (*place, *end), message


def _docker(settings: Settings) -> Found:
    docker = settings.providers.docker
    if docker is None:
        return
    place: Place = ("providers", "docker")
    try:
        docker_url(docker.socket)
    except ValueError as error:
        yield (*place, "socket"), str(error)
    if docker.network is not None and not docker.network.strip():
        yield (*place, "network"), "the name of a Docker network is expected, or null"
    host = docker.published_host
    if host is not None and not is_host_name(host) and not is_ip(host):
        yield (
            (*place, "published_host"),
            "an address or a host name is expected, without a port, or null",
        )
    if host is not None and docker.reach is Reach.NETWORK:
        yield (
            (*place, "published_host"),
            "has no effect: `reach: network` uses no published ports; drop one of the two",
        )
    if docker.network is not None and docker.reach is Reach.PUBLISHED:
        yield (
            (*place, "network"),
            "has no effect: `reach: published` uses no network; drop one of the two",
        )
    if docker.callers_address is not None and not is_ip(docker.callers_address):
        yield (*place, "callers_address"), "an IP address without a port is expected, or null"
    for key in ("allow_binds", "env_files"):
        for index, path in enumerate(getattr(docker, key)):
            if not path.startswith("/") or ".." in path.split("/"):
                yield (*place, key, index), "a path that begins with / and has no .. is expected"


def _image(image: ImageSettings) -> Found:
    if not image.command[0].strip():
        yield ("command", 0), "a program is expected"
    for position, word in enumerate(image.command):
        if "\0" in word:
            yield ("command", position), "a NUL character cannot be in a command"
        elif (problem := placeholders.problem_of(word)) is not None:
            yield ("command", position), problem
    for variable, value in image.environment.items():
        if not _VARIABLE.fullmatch(variable):
            yield ("environment", variable), "a variable's name is expected, without ="
        elif _GIVEN.fullmatch(variable):
            yield ("environment", variable), f"{variable} is set by the gateway itself"
        elif "\0" in value:
            yield ("environment", variable), "a NUL character cannot be in a variable"
    if image.working_dir is not None and (not image.working_dir or "\0" in image.working_dir):
        yield ("working_dir",), "a folder is expected, or null for the gateway's own"
