"""What a service manager and the supervisor tell each other: sd_notify(3) and sd_listen_fds(3).

Both are a few lines over environment variables, a datagram socket and inherited
descriptors. Nobody is obliged to listen: without `NOTIFY_SOCKET` nothing is sent, and
a manager that does not take a message never holds the gateway up.

Invariant: the variables are taken out of the environment once, at the start. They are
meant for this process; children and backends that saw them could speak in its name.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Collection, Iterable, Mapping, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .errors import StartRefused

NOTIFY_SOCKET = "NOTIFY_SOCKET"
_WATCHDOG = ("WATCHDOG_USEC", "WATCHDOG_PID")
_LISTEN = ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")
FIRST_FD = 3
"""Handed sockets are the descriptors from here on."""


class Notifier:
    """Tells the service manager where the gateway stands.

    `variables` is what a program that takes this one's place needs to go on.
    """

    def __init__(
        self,
        address: str | None = None,
        watchdog_s: float | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self._address = address
        self.watchdog_s = watchdog_s
        """How often at least it wants to hear that this process is alive; None: never."""
        self.variables = dict(variables or {})
        self._beat_due_s = 0.0

    @classmethod
    def take(cls, environ: MutableMapping[str, str]) -> Notifier:
        """The one that the environment names; the variables are gone afterwards."""
        names = (NOTIFY_SOCKET, *_WATCHDOG)
        found = {n: v for n in names if (v := environ.pop(n, None)) is not None}
        address = found.get(NOTIFY_SOCKET)
        if address is None:
            return cls()
        return cls(address, _watchdog_s(found), found)

    def ready(self, status: str) -> None:
        """Up, or done with what `reloading` began."""
        self._send(f"READY=1\nSTATUS={status}\nMAINPID={os.getpid()}")

    def reloading(self, status: str) -> None:
        """The configuration or the program is being changed; `ready` ends it."""
        now_us = time.monotonic_ns() // 1000
        self._send(f"RELOADING=1\nMONOTONIC_USEC={now_us}\nSTATUS={status}")

    def stopping(self, status: str, longest_s: float) -> None:
        """On the way down, which may take so long."""
        allowed_us = int(longest_s * 1_000_000)
        self._send(f"STOPPING=1\nEXTEND_TIMEOUT_USEC={allowed_us}\nSTATUS={status}")

    def status(self, text: str) -> None:
        """A line for people."""
        self._send(f"STATUS={text}")

    def beat(self, now_s: float) -> None:
        """Alive. To be called often; is sent twice as often as is asked for."""
        if self.watchdog_s is not None and now_s >= self._beat_due_s:
            self._beat_due_s = now_s + self.watchdog_s / 2
            self._send("WATCHDOG=1")

    def _send(self, text: str) -> None:
        if self._address is None:
            return
        # A name that begins with @ is in the abstract namespace.
        address = "\0" + self._address[1:] if self._address[0] == "@" else self._address
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.sendto(text.encode(), address)


def _watchdog_s(found: Mapping[str, str]) -> float | None:
    text, pid = found.get("WATCHDOG_USEC", ""), found.get("WATCHDOG_PID")
    if not _is_number(text) or int(text) == 0 or pid not in (None, str(os.getpid())):
        return None
    return int(text) / 1_000_000


@dataclass(frozen=True, slots=True)
class Handed:
    """A listening socket that a service manager opened; `name` is its FileDescriptorName."""

    name: str
    sock: socket.socket


def take_sockets(environ: MutableMapping[str, str]) -> tuple[Handed, ...]:
    """The sockets meant for this process; the variables are gone afterwards.

    Raises `StartRefused` for what is no listening stream socket.
    """
    count, pid, names = (environ.pop(name, "") for name in _LISTEN)
    if pid != str(os.getpid()) or not _is_number(count):
        return ()
    named = names.split(":") if names else []
    handed: list[Handed] = []
    for number in range(int(count)):
        name = named[number] if number < len(named) else "unknown"
        handed.append(Handed(name, _listening(FIRST_FD + number, name)))
    return tuple(handed)


def _listening(fd: int, name: str) -> socket.socket:
    refusal = StartRefused(
        f"descriptor {fd} ({name}), handed over by the service manager, is no listening stream "
        "socket; use ListenStream= and Accept=no"
    )
    try:
        os.set_inheritable(fd, False)
        sock = socket.socket(fileno=fd)
    except OSError:
        raise refusal from None
    try:
        is_listening = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
    except OSError:
        is_listening = False
    if not is_listening or sock.type is not socket.SOCK_STREAM:
        sock.close()
        raise refusal
    sock.setblocking(False)
    return sock


class Offer:
    """Handed sockets, until each has found its place: by its name, else by its address.

    `names` are those of all places there are.
    """

    def __init__(self, handed: Iterable[Handed] = (), names: Collection[str] = ()) -> None:
        self._left = list(handed)
        self._names = names

    def take(self, name: str, is_there: Callable[[socket.socket], bool]) -> list[socket.socket]:
        """The TCP sockets called `name`, and nameless ones for which `is_there`."""

        def fits(one: Handed) -> bool:
            if one.sock.family not in (socket.AF_INET, socket.AF_INET6):
                return False
            return one.name == name or (one.name not in self._names and is_there(one.sock))

        return self._take(fits)

    def take_unix(self, name: str, path: Path) -> list[socket.socket]:
        """The Unix sockets called `name`, and nameless ones at `path`."""

        def fits(one: Handed) -> bool:
            if one.sock.family != socket.AF_UNIX:
                return False
            where = str(one.sock.getsockname())
            return one.name == name or (
                one.name not in self._names and os.path.abspath(where) == os.path.abspath(path)
            )

        return self._take(fits)

    def refuse_rest(self) -> None:
        """Raises `StartRefused` for sockets without a place: nobody would ever accept on them."""
        if self._left:
            what = ", ".join(f"{one.name} ({_where(one.sock)})" for one in self._left)
            raise StartRefused(
                f"the service manager handed over what has no place here: {what}; name each by "
                f"FileDescriptorName= ({', '.join(sorted(self._names))}), once, or remove it"
            )

    def close(self) -> None:
        """Give back what found no place."""
        for one in self._left:
            one.sock.close()

    def _take(self, fits: Callable[[Handed], bool]) -> list[socket.socket]:
        found = [one for one in self._left if fits(one)]
        self._left = [one for one in self._left if one not in found]
        return [one.sock for one in found]


def _where(sock: socket.socket) -> str:
    where = sock.getsockname()
    return ":".join(map(str, where[:2])) if isinstance(where, tuple) else str(where)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 18
