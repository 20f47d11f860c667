"""What a template says of the container of an instance, beyond its program. Values only.

Only launchers of containers honour this; a service without it is a local process.
Every field is normalised: sizes are bytes, CPUs are billionths, names of networks and
volumes are those the engine knows. Absent values (None, empty) are the image's own or
the engine's. What a template may ask for is the configuration's to allow.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class PullPolicy(StrEnum):
    """When an image is fetched from its registry."""

    ALWAYS = "always"
    MISSING = "missing"
    NEVER = "never"


class MountKind(StrEnum):
    """What is mounted."""

    BIND = "bind"
    """A file or folder of the machine."""
    VOLUME = "volume"
    """A volume of the engine; without a name one of the container's own, gone with it."""
    TMPFS = "tmpfs"
    """Memory."""


@dataclass(frozen=True, slots=True)
class Mount:
    """One place in the container that is not the image's."""

    kind: MountKind
    target: str
    source: str = ""
    """The machine's path, or the volume's name."""
    read_only: bool = False
    options: str = ""
    """Of a tmpfs, as `size=1048576,mode=1770`."""
    is_external: bool = False
    """The volume belongs to somebody else; the configuration must allow it."""


@dataclass(frozen=True, slots=True)
class Network:
    """A network the container is on."""

    name: str
    aliases: tuple[str, ...] = ()
    is_external: bool = False
    """It belongs to somebody else: it is not made when it is missing."""
    is_internal: bool = False
    """It leads nowhere outside."""


@dataclass(frozen=True, slots=True)
class Container:
    """See the module."""

    pull_policy: PullPolicy = PullPolicy.MISSING
    platform: str | None = None
    user: str | None = None
    hostname: str | None = None
    domainname: str | None = None
    init: bool | None = None
    tty: bool = False
    stdin_open: bool = False
    read_only: bool = False
    volumes: tuple[Mount, ...] = ()
    """Of the keys `volumes` and `tmpfs`, sorted by target."""
    networks: tuple[Network, ...] = ()
    """Sorted by name; empty: the configuration's."""
    extra_hosts: tuple[tuple[str, str], ...] = ()
    dns: tuple[str, ...] = ()
    dns_opt: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    group_add: tuple[str, ...] = ()
    no_new_privileges: bool = False
    cpuset: str | None = None
    limits: tuple[tuple[str, int], ...] = ()
    """By compose key, sorted; `mem_limit` in bytes, `cpus` in billionths of one."""
    ulimits: tuple[tuple[str, int, int], ...] = ()
    """Name, soft, hard."""
    labels: tuple[tuple[str, str], ...] = ()
    """Those that are not the gateway's."""
    logging: tuple[tuple[str, str], ...] = ()
    """`driver` and its options; empty: the engine's."""
    stop_signal: str | None = None
    is_check_off: bool = False
    """The image's own check is not run: the template has another one, or wants none."""
