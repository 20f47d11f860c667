"""Certificates, keys and authorities: read from their files, checked, and kept.

The supervisor reads them and children get what stands in them. So all workers
show the same, a worker that starts anew has the last good ones although the
files may be broken now, and no worker needs to be allowed to read a key.

Files are looked at by their dates and sizes, once a second, and read when they have
changed and have then been left alone for a second: whoever replaces certificate
and key does that in two steps.

Invariant: what is kept has been loaded by the TLS library, the key belonging to
the certificate. What cannot be, or has expired while the one before has not, is
told once and changes nothing.
"""

from __future__ import annotations

import logging
import os
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from msgspec import structs

from . import small_files, tls_contexts
from .forms import Place
from .settings import Certificate, CertificateSettings, GivenSettings, Settings

log = logging.getLogger("gateway.certificates")

FILE_MAX = 1 << 20
LOOK_S = 1.0
_HANDSHAKE_TURNS = 3
"""The client's hello and its end, with the server's flight in between, in either version."""
_PARTIAL_CHAIN = 0x80000
_NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_*, as OpenSSL's x509_vfy.h has them."""

T = TypeVar("T")
Signature = tuple[tuple[int, int, int] | None, ...]
"""Date, size and inode of each file; None: there is none."""


class Unusable(Exception):  # noqa: N818 - says what was found
    """Files that hold no usable certificate; `field` is the key of the file at fault."""

    def __init__(self, field: Literal["cert", "key", "ca"], message: str) -> None:
        super().__init__(message)
        self.field = field
        self.message = message


def read_certificate(files: CertificateSettings) -> Certificate:
    """What stands in the files. Raises `Unusable`."""
    chain = _read(files.cert, "cert")
    if "-----BEGIN CERTIFICATE-----" not in chain:
        raise Unusable(
            "cert", f"{files.cert} holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)"
        )
    key = chain if files.key is None else _read(files.key, "key")
    place = files.key or files.cert
    if "PRIVATE KEY-----" not in key:
        hint = "" if files.key else "; give the key's own file with `key`"
        raise Unusable("key", f"{place} holds no private key in PEM form{hint}")
    if "ENCRYPTED" in key:
        raise Unusable("key", f"the key in {place} is encrypted; store it without a password")
    try:
        found = _shown(tls_contexts.server_context(chain, key), chain)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            message = f"the key in {place} does not belong to the certificate in {files.cert}"
            raise Unusable("key", message) from None
        message = f"{files.cert} and its key cannot be used: {_in_words(error)}"
        raise Unusable("cert", message) from None
    return Certificate(
        files=files,
        chain=chain,
        private_key=key,
        names=_names(found),
        not_before=ssl.cert_time_to_seconds(found["notBefore"]),
        not_after=ssl.cert_time_to_seconds(found["notAfter"]),
    )


def _shown(server: ssl.SSLContext, chain: str) -> dict[str, Any]:
    """The certificate as a client sees it who believes in it and in nothing else.

    The standard library reads certificates of peers only. So it is shown to one, which
    also proves that a handshake with it works, whatever the time. Raises `ssl.SSLError`.
    """
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= _PARTIAL_CHAIN | _NO_CHECK_TIME
    client.load_verify_locations(cadata=chain)
    upwards, downwards = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = (
        client.wrap_bio(downwards, upwards),
        server.wrap_bio(upwards, downwards, server_side=True),
    )
    for _ in range(_HANDSHAKE_TURNS):
        for side in sides:
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()
    return sides[0].getpeercert() or {}


def _names(found: Mapping[str, Any]) -> tuple[str, ...]:
    names = [v for k, v in found.get("subjectAltName", ()) if k in ("DNS", "IP Address")]
    if not names:  # hosts stood here before RFC 2818; a name is better than none
        names = [v for part in found["subject"] for k, v in part if k == "commonName"]
    return tuple(name.lower() for name in names)


def read_authorities(path: str) -> str:
    """The PEM text in a file with authorities. Raises `Unusable`."""
    text = _read(path, "ca")
    try:
        tls_contexts.client_context(text, verify=True)
    except ssl.SSLError:
        message = f"{path} holds no certificates in PEM form (-----BEGIN CERTIFICATE-----)"
        raise Unusable("ca", message) from None
    return text


def problems(settings: Settings) -> dict[Place, str]:
    """What is wrong with the files a configuration names."""
    found: dict[Place, str] = {}
    for place, files in _places(settings):
        try:
            read_certificate(files)
        except Unusable as error:
            found[*place, error.field] = error.message
    if settings.upstream_tls.ca is not None:
        try:
            read_authorities(settings.upstream_tls.ca)
        except Unusable as error:
            found["upstream_tls", "ca"] = error.message
    return found


def untimely(settings: Settings, now: float) -> dict[Place, str]:
    """Certificates that are not valid now. Not among `problems`: they do not keep a gateway down."""
    found: dict[Place, str] = {}
    for place, files in _places(settings):
        try:
            message = not_valid_at(read_certificate(files), now)
        except Unusable:
            continue
        if message is not None:
            found[*place, "cert"] = message
    return found


def not_valid_at(certificate: Certificate, now: float) -> str | None:
    """Why a certificate is not valid at that time; None: it is."""
    path = certificate.files.cert
    if now > certificate.not_after:
        return f"the certificate in {path} expired on {_date(certificate.not_after)}"
    if now < certificate.not_before:
        return f"the certificate in {path} is not valid before {_date(certificate.not_before)}"
    return None


class Keeper:
    """The last good contents of all files. Times of `look` are of the monotonic clock."""

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self._certificates: dict[CertificateSettings, _Kept[Certificate]] = {}
        self._authorities: _Kept[str] | None = None
        self._looked_s = 0.0

    def take(self, settings: Settings) -> None:
        """Read all files of these settings now."""
        wanted = dict.fromkeys(files for _, files in _places(settings))
        self._certificates = {f: self._certificates.get(f) or self._new(f) for f in wanted}
        ca = settings.upstream_tls.ca
        if ca is None:
            self._authorities = None
        elif self._authorities is None or self._authorities.paths != (ca,):
            self._authorities = _Kept((ca,), lambda _: read_authorities(ca))
        for kept in self._all():
            kept.read()

    def look(self, now_s: float) -> bool:
        """Read what has changed, if it is time to; is anything different now?"""
        if now_s - self._looked_s < LOOK_S:
            return False
        self._looked_s = now_s
        return sum(kept.look() for kept in self._all()) > 0  # each is to look

    def for_worker(self, settings: Settings) -> GivenSettings:
        """The settings with certificates and keys."""
        certificates = [k.value for k in self._certificates.values() if k.value is not None]
        return self._given(settings, certificates)

    def for_control(self, settings: Settings) -> GivenSettings:
        """The settings with what may be told of certificates: no keys."""
        told = [
            structs.replace(k.value, chain="", private_key="", problem=k.problem)
            for k in self._certificates.values()
            if k.value is not None
        ]
        return self._given(settings, told)

    def _given(self, settings: Settings, certificates: Sequence[Certificate]) -> GivenSettings:
        values = {name: getattr(settings, name) for name in Settings.__struct_fields__}
        authorities = self._authorities.value if self._authorities is not None else None
        return GivenSettings(**values, certificates=tuple(certificates), authorities=authorities)

    def _new(self, files: CertificateSettings) -> _Kept[Certificate]:
        paths = (files.cert,) if files.key is None else (files.cert, files.key)

        def read(before: Certificate | None) -> Certificate:
            certificate = read_certificate(files)
            message = not_valid_at(certificate, self._wall())
            if message is not None:
                if before is not None and not_valid_at(before, self._wall()) is None:
                    raise Unusable("cert", message)
                log.warning("%s", message)
            return certificate

        return _Kept(paths, read)

    def _all(self) -> Iterator[_Kept[Certificate] | _Kept[str]]:
        yield from self._certificates.values()
        if self._authorities is not None:
            yield self._authorities


@dataclass(slots=True)
class _Kept(Generic[T]):
    """Files and what was last read of them; `_read(before)` raises `Unusable`."""

    paths: tuple[str, ...]
    _read: Callable[[T | None], T]
    value: T | None = None
    problem: str | None = None
    """Why what is there now was not taken."""
    _taken: Signature = ()
    _seen: Signature = ()

    def read(self) -> bool:
        """Take what is there now; is anything different?"""
        self._taken = self._seen = _signature(self.paths)
        before, problem = self.value, None
        try:
            self.value = self._read(before)
        except Unusable as error:
            problem = error.message
        if self.value != before and before is not None:
            log.info("read again: %s", " and ".join(self.paths))
        if problem is not None and problem != self.problem:
            log.error("not taken, the one before stays in use: %s", problem)
        is_different = self.value != before or problem != self.problem
        self.problem = problem
        return is_different

    def look(self) -> bool:
        """Take what is there if it has changed, but not since the last look."""
        now, before = _signature(self.paths), self._seen
        self._seen = now
        return now != self._taken and now == before and self.read()


def _places(settings: Settings) -> Iterator[tuple[Place, CertificateSettings]]:
    for name, entrypoint in settings.entrypoints.items():
        if entrypoint.tls is not None:
            for position, files in enumerate(entrypoint.tls.certificates):
                yield ("entrypoints", name, "tls", "certificates", position), files


def _signature(paths: Sequence[str]) -> Signature:
    found: list[tuple[int, int, int] | None] = []
    for path in paths:
        try:
            status = os.stat(path)
        except (OSError, ValueError):
            found.append(None)
        else:
            found.append((status.st_mtime_ns, status.st_size, status.st_ino))
    return tuple(found)


def _read(path: str, field: Literal["cert", "key", "ca"]) -> str:
    try:
        data = small_files.read(path, FILE_MAX)
    except OSError as error:
        raise Unusable(field, f"{path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise Unusable(field, "this is no path of a file") from None
    if len(data) > FILE_MAX:
        raise Unusable(field, f"{path} has more than {FILE_MAX >> 20} MiB")
    return data.decode("latin-1")


def _in_words(error: ssl.SSLError) -> str:
    return (error.reason or "it is damaged").replace("_", " ").lower()


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))
