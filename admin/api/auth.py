"""Who is calling, and what they may do.

Three ways in: the Unix socket (the kernel names the peer), a bearer token on
TCP, and `auth: none` on loopback, where only the Host and Origin fields keep a
web page in the operator's own browser out (DNS rebinding).

Knows tokens only by their digests. Nothing here changes anything.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
import re
import secrets
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from aiohttp import web

from admin.audit import Actor
from gateway.core.errors import Code, Refused
from gateway.core.model import Role, Token
from gateway.runtime.settings import AdminAuth, AdminSettings

TOKEN_PREFIX = "gw_"  # noqa: S105 - what tokens begin with, so that leaks can be searched for
TOKEN_BYTES = 32
TOKEN_MAX = 512

_RANK = {Role.VIEWER: 0, Role.OPERATOR: 1, Role.ADMIN: 2}
_BEARER = re.compile(r"bearer +([A-Za-z0-9._~+/=-]+)\Z", re.IGNORECASE)
_UCRED = struct.Struct("iII")


def allows(role: Role, needed: Role) -> bool:
    """May the holder of `role` do what needs `needed`?"""
    return _RANK[role] >= _RANK[needed]


def make_token() -> str:
    """A new token's text: 256 random bits."""
    return TOKEN_PREFIX + secrets.token_urlsafe(TOKEN_BYTES)


def digest(text: str) -> str:
    """What is kept of a token. Plain SHA-256 does for 256 random bits; no guess can hit."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def find_token(tokens: Iterable[Token], text: str) -> Token | None:
    """The token of this text. Compares with every one, each in constant time."""
    wanted = digest(text)
    found: Token | None = None
    for token in tokens:
        if hmac.compare_digest(token.sha256, wanted):
            found = token
    return found


@dataclass(frozen=True, slots=True)
class Connection:
    """What is known of a caller's connection; `uid` is set on the Unix socket only."""

    unix: bool
    uid: int | None = None
    peer: str = ""
    local: str = ""
    """Addresses of both ends, TCP only."""


def connection_of(request: web.Request) -> Connection:
    """The facts of the connection a request came on."""
    transport = request.transport
    sock = transport.get_extra_info("socket") if transport is not None else None
    if sock is None:
        return Connection(unix=False)
    if sock.family == socket.AF_UNIX:
        return Connection(unix=True, uid=_peer_uid(sock.fileno()))
    return Connection(
        unix=False,
        peer=_address(transport.get_extra_info("peername")) if transport else "",
        local=_address(transport.get_extra_info("sockname")) if transport else "",
    )


def _peer_uid(fd: int) -> int | None:
    # Event loops hand out look-alikes of sockets; the descriptor is the real thing.
    sock = socket.socket(fileno=os.dup(fd))
    try:
        _, uid, _ = _UCRED.unpack(
            sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        )
    except OSError:
        return None
    finally:
        sock.close()
    return int(uid)


def _address(name: object) -> str:
    return str(name[0]) if isinstance(name, tuple) and name else ""


def authenticate(
    connection: Connection,
    settings: AdminSettings,
    tokens: Iterable[Token],
    *,
    authorization: str | None,
    host: str | None,
    origin: str | None,
) -> Actor:
    """Who this is. Raises `Refused` (unauthorized, forbidden)."""
    if connection.unix:
        return Actor("uid:unknown" if connection.uid is None else f"uid:{connection.uid}")
    if authorization is None and settings.auth is AdminAuth.NONE and is_loopback(connection.local):
        check_same_site(host, origin, settings.listen)
        return Actor(f"anonymous@{connection.peer}")
    if authorization is None:
        raise Refused(
            Code.UNAUTHORIZED,
            "send a token (Authorization: Bearer ...), or use the Unix socket, which needs none; "
            "`gateway token create` makes one",
        )
    match = _BEARER.match(authorization.strip()) if len(authorization) <= TOKEN_MAX else None
    token = find_token(tokens, match[1]) if match else None
    if token is None:
        raise Refused(
            Code.UNAUTHORIZED, "this token is not known (any more); ask an admin for a new one"
        )
    return Actor(f"token:{token.name}", token.role)


def check_same_site(host: str | None, origin: str | None, listen: str | None) -> None:
    """Refuse what a web page could make a browser send to an open loopback listener."""
    name = _hostname(host or "")
    own = _hostname(listen or "")
    if not name or not (name == "localhost" or is_loopback(name) or name == own):
        raise Refused(
            Code.FORBIDDEN,
            "without authentication this listener answers to its own loopback name only "
            "(localhost or 127.0.0.1), against DNS rebinding",
        )
    if origin is not None and origin.lower() != f"http://{(host or '').lower()}":
        raise Refused(
            Code.FORBIDDEN, "without authentication this listener refuses pages of other sites"
        )


def is_loopback(address: str) -> bool:
    """Is this an address of the loopback interface?"""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _hostname(authority: str) -> str:
    if re.search(r"[\s/@?#\\]", authority):
        return ""
    try:
        parts = urlsplit(f"//{authority}")
        _ = parts.port
        return parts.hostname or ""
    except ValueError:
        return ""


def require(actor: Actor, needed: Role) -> None:
    """Raise `Refused` (forbidden) if `actor` may not do what needs `needed`."""
    if not allows(actor.role, needed):
        raise Refused(
            Code.FORBIDDEN,
            f"this needs the role {needed.value}, {actor.name} is {actor.role.value}; "
            "ask an admin for a token that may",
        )
