# cython: language_level=3, annotation_typing=False
"""Session affinity: what a cookie's token looks like, and cookies in a header.

A token is opaque to the client and says nothing to anybody without the key:

    1 k ssssssssssssssss iiiiiiiiiiiiiiii
    | | |                keyed digest of what stands before and the instance, likewise
    | | keyed digest of (route, service), 12 bytes as base64url
    | id of the key
    format

Tokens are never decoded. Whoever holds the key computes those of all instances
beforehand and looks up what a client sends; what is not there (forged, stale,
of another route, of a dropped key) does not exist. The service's part is looked
up by itself when the whole is unknown: an instance that is gone leaves its
clients on its service.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Iterator, Sequence
from hashlib import blake2b

from gateway.core.vocabulary import AffinityKey, InstanceId, RouteId, ServiceId

HOME_LENGTH = 18
"""Length of a token's first part, which stands for the service."""
TOKEN_LENGTH = 34
_DIGEST_BYTES = 12
_FORMAT = "1"
_INTERPRETED = __file__.endswith(".py")


class Keyring:
    """Makes tokens with every key that is accepted; the first one signs."""

    __slots__ = ("_signers",)

    def __init__(self, keys: Sequence[AffinityKey]) -> None:
        self._signers = tuple(_Signer(key) for key in keys)

    @property
    def is_empty(self) -> bool:
        """No key: no affinity."""
        return not self._signers

    def homes(self, route: RouteId, service: ServiceId) -> tuple[bytes, ...]:
        """The first part of the tokens of a service on a route, by every key.

        The signing key's comes first; empty if there is no key.
        """
        return tuple([s.home(route, service) for s in self._signers])

    def tokens(self, homes: Sequence[bytes], instance: InstanceId) -> tuple[bytes, ...]:
        """The tokens of an instance of the service that `homes` are of, by every key."""
        return tuple(
            [s.token(home, instance) for s, home in zip(self._signers, homes, strict=True)]
        )


class _Signer:
    """One key, ready to digest."""

    __slots__ = ("_home", "_pin", "_prefix")

    def __init__(self, key: AffinityKey) -> None:
        secret = blake2b(key.secret.encode()).digest()  # any secret becomes a key of full length
        self._prefix = (_FORMAT + key.id).encode()
        self._home = blake2b(key=secret, digest_size=_DIGEST_BYTES, person=b"service")
        self._pin = blake2b(key=secret, digest_size=_DIGEST_BYTES, person=b"instance")

    def home(self, route: str, service: str) -> bytes:
        digest = self._home.copy()
        digest.update(f"{len(route)}:{route}{service}".encode())  # unambiguous for any names
        return self._prefix + urlsafe_b64encode(digest.digest())

    def token(self, home: bytes, instance: str) -> bytes:
        digest = self._pin.copy()
        digest.update(home + instance.encode())  # `home` stands for route and service
        return home + urlsafe_b64encode(digest.digest())


def find(header: bytes, part: bytes, at: int) -> int:
    """Where `part` (not empty) is first in header[at:]; -1 if nowhere."""
    if _INTERPRETED:
        return header.find(part, at)
    p = header
    wanted = part
    length = len(part)
    end = len(header) - length + 1
    while at < end:
        place = memchr(p + at, wanted[0], end - at)  # type: ignore[name-defined,operator]  # noqa: F821
        if not place:
            return -1
        at = place - p
        if memcmp(place, wanted, length) == 0:  # type: ignore[name-defined]  # noqa: F821
            return at
        at += 1
    return -1


def find_cookie(header: bytes, name: bytes) -> Iterator[bytes]:
    """The values of every cookie called `name`, in order; quotes around a value are dropped.

    Linear in the header's length, whatever a client puts in.
    """
    key = name + b"="
    at = header.find(key)
    while at >= 0:
        begin = at + len(key)
        if _begins_cookie(header, at):
            end = header.find(b";", begin)
            value = (header[begin:] if end < 0 else header[begin:end]).strip()
            if len(value) > 1 and value[:1] == b'"' == value[-1:]:
                value = value[1:-1]
            yield value
        at = header.find(key, begin)


def strip_cookie(header: bytes, name: bytes) -> bytes | None:
    """`header` without the cookies called `name`; None if no cookie is left."""
    at = find(header, name, 0)
    if at < 0:
        return header or None
    p = header
    size = len(header)
    begin = at
    while begin > 0 and (p[begin - 1] == 32 or p[begin - 1] == 9):
        begin -= 1
    end = at + len(name)
    is_one = (begin == 0 or p[begin - 1] == 59) and end < size and p[end] == 61
    if not is_one or find(header, name, end) >= 0:
        kept = [c for c in header.split(b";") if c.partition(b"=")[0].strip() != name]
        return b";".join(kept).strip(b"; \t") or None
    # As browsers write it: a cookie among others.
    while end < size and p[end] != 59:
        end += 1
    if begin and end < size:
        return (p[:begin] + p[end + 1 : size]).strip(b"; \t") or None
    first, last = end, size
    if end == size:
        first, last = 0, begin
    while first < last and _is_between(p[first]):
        first += 1
    while first < last and _is_between(p[last - 1]):
        last -= 1
    return p[first:last] or None


def _is_between(byte: int) -> bool:
    """May it stand between two cookies?"""
    return byte == 59 or byte == 32 or byte == 9


def _begins_cookie(header: bytes, at: int) -> bool:
    """Is there nothing but blanks between `at` and the `;` or the beginning before it?"""
    at -= 1
    while at >= 0 and header[at] in b" \t":
        at -= 1
    return at < 0 or header[at] == 0x3B  # ;
