"""The configuration as values: every key, its default and its range, in one place.

Forms as `forms.py` reads them, ranges and all. `configuration.py` reads and checks a file
into `Settings`; children get the checked result as JSON (`to_json`, `from_json`).

Times are seconds, sizes bytes.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import orjson
from msgspec import Meta, Struct

from gateway.core.vocabulary import AtZero

from . import forms
from .forms import INT_MAX, Finite, Whole

Seconds = Annotated[float, Meta(gt=0, le=86400 * 365)]
Delay = Annotated[float, Meta(ge=0, le=86400)]
Count = Annotated[int, Meta(ge=1, le=10_000_000)]


class _Section(Struct, frozen=True, forbid_unknown_fields=True):
    """A part of it."""


class AdminAuth(StrEnum):
    """How the admin listener on TCP knows its callers."""

    TOKEN = "token"  # noqa: S105 - a mode, not a secret
    NONE = "none"


class CertificateSettings(_Section, frozen=True):
    """Files in PEM form: a certificate followed by its chain, and its private key."""

    cert: str
    key: str | None = None
    """None: in the same file."""


class HstsSettings(_Section, frozen=True):
    """Strict-Transport-Security (RFC 6797): browsers use nothing but https from then on."""

    max_age: Annotated[int, Meta(ge=0, le=86400 * 3650)] = 31536000
    include_subdomains: bool = False
    preload: bool = False


class TlsSettings(_Section, frozen=True):
    """What makes an entrypoint one for https."""

    certificates: Annotated[tuple[CertificateSettings, ...], Meta(min_length=1)]
    """The first one is for clients that name no host, or one that no certificate is for."""
    minimum: Literal["1.2", "1.3"] = "1.2"
    strict_sni: bool = False
    """Refuse the handshake with such clients instead."""
    hsts: HstsSettings | None = None


class EntrypointSettings(_Section, frozen=True):
    """A data-plane listener. `internal` ones also serve internal routes."""

    listen: str
    internal: bool = False
    tls: TlsSettings | None = None
    redirect_https: Annotated[int, Meta(ge=1, le=65535)] | None = None
    """Send clients to https on this port instead of serving them."""
    connections: Count | None = None
    """How many may be open; None: as many as `limits.connections` allows."""
    proxy_protocol: bool = False
    """Every connection begins with a PROXY header, and comes from `trusted_proxies`."""


class AdminSettings(_Section, frozen=True):
    """Where the admin API listens. `listen: null` leaves only the Unix socket."""

    listen: str | None = "127.0.0.1:8900"
    socket: str | None = None
    """None: `admin.sock` in the state folder."""
    socket_mode: str = "0600"
    socket_group: str | None = None
    auth: AdminAuth = AdminAuth.TOKEN


class HealthSettings(_Section, frozen=True):
    """A listener of the workers for `/healthz` and `/readyz`."""

    listen: str | None = None


class AffinitySettings(_Section, frozen=True):
    """Sticky sessions, for routes whose policy does not say otherwise."""

    enabled: bool = True
    cookie: Annotated[str, Meta(min_length=1)] = "GATEWAYSESSION"
    max_age: Annotated[int, Meta(ge=1, le=86400 * 400)] = 28800
    at_zero: AtZero = AtZero.DRAIN


class CheckSettings(_Section, frozen=True):
    """Active health checks, for services that do not say otherwise."""

    interval: Seconds = 2.0
    timeout: Seconds = 2.0
    rise: Count = 1
    fall: Count = 3


class EjectionSettings(_Section, frozen=True):
    """Passive health: how many failures in a row eject an instance, and for how long."""

    failures: Annotated[int, Meta(ge=0, le=10_000)] = 5
    """0 switches passive ejection off."""
    seconds: Seconds = 10.0
    max_seconds: Seconds = 300.0


class TimeoutSettings(_Section, frozen=True):
    """All timeouts, seconds."""

    connect: Seconds = 5.0
    response_header: Seconds = 60.0
    idle_stream: Seconds = 300.0
    tunnel: Seconds = 3600.0
    client_header: Seconds = 10.0
    tls_handshake: Seconds = 10.0
    client_body: Seconds = 60.0
    client_idle: Seconds = 75.0
    upstream_idle: Seconds = 4.0
    queue: Seconds = 5.0
    drain: Delay = 30.0
    lame_duck: Delay = 5.0


class LimitSettings(_Section, frozen=True):
    """Limits of the data plane; null: none."""

    head_bytes: Annotated[int, Meta(ge=1024, le=16 << 20)] = 65536
    headers: Annotated[int, Meta(ge=8, le=100_000)] = 128
    body_bytes: Annotated[int, Meta(ge=0, le=INT_MAX)] | None = None
    connections: Count | None = None
    connections_per_address: Count | None = None
    in_flight: Count | None = None
    """Requests an instance is given at a time."""
    queue: Annotated[int, Meta(ge=0, le=10_000_000)] = 100
    """Requests that wait for each service while all its instances have that many."""


class UpstreamTlsSettings(_Section, frozen=True):
    """TLS to instances."""

    ca: str | None = None
    """A file with the authorities whose certificates are accepted; None: the system's."""


class ReleaseSettings(_Section, frozen=True):
    """Defaults of releases."""

    deadline: Seconds = 300.0
    on_deadline: Literal["rollback", "hold"] = "rollback"


class RetentionSettings(_Section, frozen=True):
    """How much history the store keeps."""

    audit: Count = 10_000
    releases: Count = 200
    """Releases that are over."""


class ImageSettings(_Section, frozen=True):
    """What the process provider runs for an image.

    In `command`, `${PORT}` is the instance's port, `${PORT_80}` the one that stands for
    container port 80 and `${PYTHON}` the gateway's own interpreter; `environment` comes
    before the template's.
    """

    command: Annotated[tuple[str, ...], Meta(min_length=1)]
    environment: dict[str, str] = {}
    working_dir: str | None = None
    allow_command: bool = False
    """May templates run programs of their own choice under this image's name?"""


class ProcessSettings(_Section, frozen=True):
    """The process provider: services as local processes."""

    images: dict[str, ImageSettings] = {}
    """Image name to what to run."""
    ports: tuple[Whole, Whole] = (20000, 29999)
    """The first and the last port instances may be given."""
    proxy_env: bool = True
    """Lead calls to `external_links` through the gateway by `http_proxy`."""
    stop_grace: Delay = 10.0
    """From TERM to KILL, for services whose template does not say."""
    log_bytes: Annotated[int, Meta(ge=4096, le=INT_MAX)] = 10 << 20
    """How long the output file of an instance may grow; its older half goes then."""


class Reach(StrEnum):
    """By which address the instances in containers are reached."""

    AUTO = "auto"
    """By the container's own where the gateway is on one of its networks, else by published ports."""
    NETWORK = "network"
    PUBLISHED = "published"


class DockerSettings(_Section, frozen=True):
    """The Docker provider: services as containers of one Docker Engine."""

    socket: str = "unix:///var/run/docker.sock"
    """`unix://PATH` or `tcp://HOST:PORT`."""
    network: str | None = None
    """Of a container on several networks, the one to reach it by; None: the first that leads there."""
    reach: Reach = Reach.AUTO
    published_host: str | None = None
    """Where published ports are; None: 127.0.0.1, or the host of a `tcp://` socket."""
    refresh: Seconds = 10.0
    """How often all containers are looked at, besides whenever something happens."""
    forget: Seconds = 604800.0
    """How long a service without containers keeps its place on its routes."""
    callers_address: str | None = None
    """Where containers find the internal entrypoint; None: the gateway's address on their network."""
    registry_config: str | None = None
    """Docker's file with the credentials of registries; None: `~/.docker/config.json`."""
    stop_grace: Delay = 10.0
    """From TERM to KILL, for services whose template does not say."""
    log_bytes: Annotated[int, Meta(ge=4096, le=INT_MAX)] = 10 << 20
    """How much of a container's output is kept; its older half goes then."""
    allow_binds: tuple[str, ...] = ()
    """Paths of the Engine's machine that templates may mount; with `:ro` at the end, and all
    below it, only for reading."""
    allow_volumes: tuple[str, ...] = ()
    """Volumes that belong to nobody's template and may be mounted; `*`: all."""
    allow_networks: tuple[str, ...] = ()
    """Networks that belong to nobody's template and may be joined; `*`: all."""
    allow_capabilities: tuple[str, ...] = ()
    """Capabilities beyond Docker's own set that templates may ask for."""
    env_files: tuple[str, ...] = ()
    """Folders of the gateway's machine whose files templates may name as `env_file`."""


class ProviderSettings(_Section, frozen=True):
    """Who says where instances are."""

    process: ProcessSettings = ProcessSettings()
    docker: DockerSettings | None = None
    """None: no Docker."""


class Settings(_Section, frozen=True):
    """The whole configuration. Relative paths are relative to the working folder."""

    entrypoints: dict[str, EntrypointSettings] = msgspec.field(
        default_factory=lambda: {
            "public": EntrypointSettings(listen="0.0.0.0:8080"),
            "internal": EntrypointSettings(listen="127.0.0.1:8081", internal=True),
        }
    )
    admin: AdminSettings = AdminSettings()
    health: HealthSettings = HealthSettings()
    state_dir: str = "state"
    workers: Annotated[int, Meta(ge=1, le=1024)] | Literal["auto"] = "auto"
    domain: str = "localhost"
    store: str | None = None
    """None: `sqlite:` and `gateway.db` in the state folder."""
    affinity: AffinitySettings = AffinitySettings()
    checks: CheckSettings = CheckSettings()
    ejection: EjectionSettings = EjectionSettings()
    timeouts: TimeoutSettings = TimeoutSettings()
    limits: LimitSettings = LimitSettings()
    upstream_tls: UpstreamTlsSettings = UpstreamTlsSettings()
    releases: ReleaseSettings = ReleaseSettings()
    retention: RetentionSettings = RetentionSettings()
    providers: ProviderSettings = ProviderSettings()
    trusted_proxies: tuple[str, ...] = ()
    access_log: str = "off"
    """`off`, `stdout` or a file."""
    served_by: bool = True
    """Tell clients the service in `X-Served-By`."""
    transport: Literal["aiofastnet", "uvloop"] = "aiofastnet"

    @property
    def admin_socket(self) -> Path:
        """Path of the admin API's Unix socket."""
        return Path(self.admin.socket or Path(self.state_dir) / "admin.sock")

    @property
    def store_url(self) -> str:
        """`memory:` or `sqlite:PATH`."""
        return self.store or f"sqlite:{Path(self.state_dir) / 'gateway.db'}"

    @property
    def snapshot_file(self) -> Path:
        """Where the last published snapshot stands."""
        return Path(self.state_dir) / "snapshot.json"


RESTART_ONLY = frozenset(
    {"entrypoints", "admin", "health", "state_dir", "workers", "store", "transport"}
)
"""Top-level keys that a HUP cannot change; a file that changes one is refused as a whole."""

RESTART_IN_DOCKER = frozenset({"socket"})
"""The same of `providers.docker`, as is whether it is there."""

HUP_IN_ENTRYPOINTS = frozenset({"tls", "redirect_https", "connections", "proxy_protocol"})
"""Of an entrypoint, what a HUP can change all the same."""


class Certificate(_Section, frozen=True):
    """What stands in the files of a `CertificateSettings`, checked. Times are since the epoch.

    `chain` and `private_key` are PEM. `names` are lower case: host names, `*.suffix`,
    addresses. `problem` says why what stands in the files now was not taken instead.
    """

    files: CertificateSettings
    chain: str
    private_key: str
    names: tuple[str, ...]
    not_before: Finite
    not_after: Finite
    problem: str | None = None

    def __repr__(self) -> str:
        return f"Certificate({self.files.cert!r}, {self.names!r})"


class GivenSettings(Settings, frozen=True):
    """The settings as children get them: with the contents of the files they name."""

    certificates: tuple[Certificate, ...] = ()
    """Of all entrypoints, each file once. The control process gets them without keys."""
    authorities: str | None = None
    """PEM of `upstream_tls.ca`."""


def to_json(settings: Settings) -> bytes:
    """The form children get their settings in."""
    return msgspec.json.encode(settings)


def from_json(data: bytes | str) -> Settings:
    """The inverse of `to_json`. Raises `ValueError` for what another version may have written."""
    content = orjson.loads(data)
    form = GivenSettings if "certificates" in content else Settings
    settings, problems = forms.read(form, content)
    if settings is None or problems:
        raise ValueError(forms.summary(problems))
    return settings
