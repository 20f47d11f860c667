"""The TCP listening sockets, made once by the supervisor and inherited by its children.

Workers get one SO_REUSEPORT socket per slot and entrypoint, so that the kernel
spreads connections evenly. SO_REUSEPORT also lets a *second gateway* of the
same user bind without a word and take half of the traffic; therefore each
address is first bound without it, which fails when anybody listens there.

Sockets listen from the start: while no worker is there, connections wait.
"""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .addresses import Address, parse
from .errors import StartRefused
from .systemd import Offer

BACKLOG = 4096
"""Connections that may wait; the kernel cuts it to net.core.somaxconn."""
_RETRY_S = 0.1
_ANY = ("0.0.0.0", "::")  # noqa: S104 - compared with


@dataclass(frozen=True, slots=True)
class Listener:
    """A listening socket of one worker slot for one entrypoint."""

    entrypoint: str
    slot: int
    sock: socket.socket


@dataclass(frozen=True, slots=True)
class Wanted:
    """A listen address and the configuration key it comes from."""

    name: str
    key: str
    listen: str


def open_listeners(
    wanted: Sequence[Wanted], slots: int, patience_s: float = 0.0, offer: Offer | None = None
) -> list[Listener]:
    """A socket per slot for each address, after probing all of them.

    What is on offer is taken instead of being opened. An address in use is tried again
    for `patience_s`. Raises `StartRefused`.
    """
    until = time.monotonic() + patience_s
    targets: list[tuple[Wanted, _Target]] = []
    listeners: list[Listener] = []
    for one in wanted:
        target = _resolve(parse(one.listen), one)
        if offer is not None and (taken := offer.take(one.name, target.is_of)):
            listeners += _spread(taken, one.name, slots)
        else:
            targets.append((one, target))
    try:
        for one, target in targets:
            if target.port != 0:
                _bound(one, target, shared=False, until=until).close()
        for one, target in targets:
            for slot in range(slots):
                sock = _bound(one, target, shared=True, until=until)
                # Port 0: the first slot gets a free port, the others share it.
                target = target.with_port(sock.getsockname()[1])
                listeners.append(Listener(one.name, slot, sock))
                _listen(sock, one)
    except StartRefused:
        for listener in listeners:
            listener.sock.close()
        raise
    return listeners


def _spread(taken: Sequence[socket.socket], entrypoint: str, slots: int) -> Iterator[Listener]:
    """Give each slot one, and each one to a slot: the kernel may choose any of them.

    Where there are fewer than slots, workers accept on the same one; how connections
    then divide among them is chance.
    """
    for number in range(max(len(taken), slots)):
        sock = taken[number % len(taken)]
        yield Listener(entrypoint, number % slots, sock if number < len(taken) else sock.dup())


def open_single(
    wanted: Wanted, patience_s: float = 0.0, offer: Offer | None = None
) -> socket.socket:
    """One listening socket that no other program can share. Raises `StartRefused`."""
    target = _resolve(parse(wanted.listen), wanted)
    if offer is not None and (taken := offer.take(wanted.name, target.is_of)):
        if len(taken) > 1:
            raise StartRefused(
                f"{wanted.key}: the service manager handed over more than one socket"
            )
        return taken[0]
    sock = _bound(wanted, target, shared=False, until=time.monotonic() + patience_s)
    _listen(sock, wanted)
    return sock


def bound_address(sock: socket.socket) -> Address:
    """Where a TCP socket is bound."""
    host, port = sock.getsockname()[:2]
    return Address(host, port)


@dataclass(frozen=True, slots=True)
class _Target:
    family: int
    host: str
    port: int
    is_dual: bool

    def is_of(self, sock: socket.socket) -> bool:
        """Is it bound here?"""
        host, port = sock.getsockname()[:2]
        is_same = host == self.host or (host in _ANY and self.host in _ANY)
        return bool(is_same and port == self.port)

    def with_port(self, port: int) -> _Target:
        return _Target(self.family, self.host, port, self.is_dual)


def _resolve(address: Address, wanted: Wanted) -> _Target:
    if address.host == "":
        if _has_ipv6():
            return _Target(socket.AF_INET6, "::", address.port, is_dual=True)
        return _Target(socket.AF_INET, "0.0.0.0", address.port, is_dual=False)  # noqa: S104
    try:
        found = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no host name"
        raise StartRefused(
            f"{wanted.key}: the name {address.host} cannot be resolved ({reason}); use an IP address"
        ) from None
    family, _, _, _, sockaddr = found[0]
    return _Target(family, str(sockaddr[0]), address.port, is_dual=False)


def _has_ipv6() -> bool:
    if not socket.has_ipv6:
        return False
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
            sock.bind(("::", 0))
    except OSError:
        return False
    return True


def _bound(wanted: Wanted, target: _Target, *, shared: bool, until: float) -> socket.socket:
    while True:
        try:
            return _bind(target, shared)
        except OSError as error:
            if error.errno == errno.EADDRINUSE and time.monotonic() < until:
                time.sleep(_RETRY_S)
                continue
            raise _refused(wanted, error) from None


def _bind(target: _Target, shared: bool) -> socket.socket:
    sock = socket.socket(target.family, socket.SOCK_STREAM)
    try:
        # REUSEADDR on all: connections of former workers (TIME_WAIT, or still being
        # finished) are no obstacle, a listening socket is.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if target.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if target.is_dual else 1)
        sock.setblocking(False)
        sock.bind((target.host, target.port))
    except OSError:
        sock.close()
        raise
    return sock


def _listen(sock: socket.socket, wanted: Wanted) -> None:
    try:
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise _refused(wanted, error) from None


def _refused(wanted: Wanted, error: OSError) -> StartRefused:
    match error.errno:
        case errno.EADDRINUSE:
            what = "is in use by another gateway or program; stop it, or choose another port"
        case errno.EACCES:
            what = "is not allowed for this user; ports below 1024 need CAP_NET_BIND_SERVICE"
        case errno.EADDRNOTAVAIL:
            what = "is no address of this machine; choose one it has, or 0.0.0.0"
        case _:
            what = f"cannot be listened on: {error.strerror}"
    return StartRefused(f"{wanted.key}: {wanted.listen} {what}")
