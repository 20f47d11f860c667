"""Where a Docker Engine listens, as `DOCKER_HOST` writes it. Pure.

A Unix socket, or plain TCP (a socket proxy beside the gateway). TLS and ssh are not
spoken: a tunnel or a proxy does that.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from gateway.core.hosts import is_ip

from .addresses import UNIX_PATH_MAX, is_host_name

_INSTEAD = "; write unix:///var/run/docker.sock or tcp://127.0.0.1:2375"
_REFUSED = {
    "https": "TLS to the Docker Engine is not supported: lead there by a local proxy or tunnel",
    "ssh": "ssh to the Docker Engine is not supported: ssh -L makes a local socket of it",
    "npipe": "named pipes are Windows's, and the gateway runs on Linux",
    "fd": "fd:// is for the Docker Engine itself; name the socket that it listens on",
}


@dataclass(frozen=True, slots=True)
class DockerUrl:
    """A Unix socket's `path`, or `host` and `port`."""

    path: str | None = None
    host: str | None = None
    port: int = 2375

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix://{self.path}"
        host = self.host or ""
        return f"tcp://[{host}]:{self.port}" if ":" in host else f"tcp://{host}:{self.port}"


def docker_url(text: str) -> DockerUrl:
    """Read one. Raises `ValueError` in words for the one who wrote it."""
    if text.startswith("/"):
        raise ValueError(f"a URL is expected; write unix://{text}")
    scheme, separator, rest = text.partition("://")
    if scheme in _REFUSED:
        raise ValueError(_REFUSED[scheme] + _INSTEAD)
    if not separator or scheme not in ("unix", "tcp", "http"):
        raise ValueError(f"a URL with unix:// or tcp:// is expected{_INSTEAD}")
    if scheme == "unix":
        return _of_path(rest)
    try:
        parts = urlsplit(f"tcp://{rest}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or not (is_host_name(host) or is_ip(host)):
        raise ValueError(f"a host and a port are expected after {scheme}://{_INSTEAD}")
    if parts.path.strip("/") or parts.query or parts.fragment or parts.username is not None:
        raise ValueError(f"nothing but a host and a port is expected after {scheme}://{_INSTEAD}")
    if port is None:
        raise ValueError(f"the port is missing, 2375 in most cases: {scheme}://{host}:2375")
    return DockerUrl(host=host, port=port)


def _of_path(path: str) -> DockerUrl:
    if not path.startswith("/"):
        raise ValueError("an absolute path is expected after unix://" + _INSTEAD)
    if "\0" in path or len(path.encode()) > UNIX_PATH_MAX:
        raise ValueError(f"this is no path of a socket, at most {UNIX_PATH_MAX} bytes long")
    return DockerUrl(path=path)
