"""How names may be spelt in what clients send: the rules of `gateway.core.spelling`."""

from __future__ import annotations

from gateway.core.spelling import (
    HOST_MAX,
    HTTPS,
    NAME_MAX,
    PATH_MAX,
    cookie_name,
    endpoint,
    host,
    path_prefix,
    plain_name,
    request_target,
    route_parts,
    server_name,
    service_name,
)

__all__ = [
    "HOST_MAX",
    "HTTPS",
    "NAME_MAX",
    "PATH_MAX",
    "cookie_name",
    "endpoint",
    "host",
    "path_prefix",
    "plain_name",
    "request_target",
    "route_parts",
    "server_name",
    "service_name",
]
