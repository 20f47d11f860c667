"""The certificates of an entrypoint as TLS contexts, and which one is for whom.

There is a context for each certificate, chosen by the name in the client's
first message before a transport is made. Not `SSLContext.sni_callback`: [measured]
aiofastnet 1.2 hands OpenSSL connections that Python's callback knows nothing of,
and the process ends with a segmentation fault.

A connection keeps the identity it began with: certificates that are replaced
concern new connections only.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import TYPE_CHECKING

from gateway.runtime.tls_contexts import server_context

from .client_hello import TLS_1_2, TLS_1_3

if TYPE_CHECKING:
    from gateway.runtime.settings import Certificate, CertificateSettings, HstsSettings, TlsSettings

    from .client_hello import Hello

_SPOKEN = frozenset({b"http/1.1", b"http/1.0"})

_VERSIONS = {"1.2": TLS_1_2, "1.3": TLS_1_3}

# RFC 8446, 6 and B.2: a fatal alert, as it stands before anything is encrypted.
_ALERT = b"\x15\x03\x03\x00\x02\x02%c"
UNRECOGNIZED_NAME = _ALERT % 112
NO_APPLICATION_PROTOCOL = _ALERT % 120
PROTOCOL_VERSION = _ALERT % 70
DECODE_ERROR = _ALERT % 50
HANDSHAKE_FAILURE = _ALERT % 40


class Identity:
    """A certificate, ready to be shown to clients."""

    __slots__ = ("_names", "certificate", "context")

    def __init__(self, certificate: Certificate, minimum: str) -> None:
        """Raises `ssl.SSLError` when certificate and key are none."""
        self.certificate = certificate
        self.context = server_context(certificate.chain, certificate.private_key, minimum)
        self._names = frozenset(map(_as_host, certificate.names))

    def covers(self, host: bytes) -> bool:
        """Is it valid for this host, as routes know hosts (RFC 9110, 4.3.4; RFC 9525, 6.3)?"""
        names = self._names
        if host in names:
            return True
        if host[:1] == b"[":  # clients spell IPv6 addresses as they like
            return _as_host(host.decode("ascii", "replace")) in names
        return b"*" + host[host.find(b".") :] in names if b"." in host else False


class ServerTls:
    """All identities of an entrypoint. Immutable."""

    __slots__ = ("_first", "_identities", "_is_strict", "_minimum")

    def __init__(
        self,
        settings: TlsSettings,
        certificates: Mapping[CertificateSettings, Certificate],
        before: ServerTls | None = None,
    ) -> None:
        """`before`: what there was; its identities are kept where nothing changed.

        Certificates that are not in `certificates` are left out. Raises `ssl.SSLError`.
        """
        self._minimum = settings.minimum
        self._is_strict = settings.strict_sni
        kept: dict[Certificate, Identity] = {}
        if before is not None and before._minimum == settings.minimum:
            kept = {i.certificate: i for i in before._identities}
        wanted = [certificates[c] for c in settings.certificates if c in certificates]
        self._identities: tuple[Identity, ...] = tuple(
            kept.get(c) or Identity(c, settings.minimum) for c in wanted
        )
        self._first = self._identities[0] if self._identities else None

    def choose(self, hello: Hello) -> Identity | bytes:
        """The identity for a client, or the alert that refuses it.

        [measured] aiofastnet 1.2 closes without one when OpenSSL refuses a handshake.
        """
        if hello.version < _VERSIONS[self._minimum]:
            return PROTOCOL_VERSION
        if hello.protocols is not None and _SPOKEN.isdisjoint(hello.protocols):
            return NO_APPLICATION_PROTOCOL  # RFC 7301, 3.2: never guess what else it speaks
        if hello.name is not None:
            for identity in self._identities:
                if identity.covers(hello.name):
                    return identity
        if self._first is None:
            return HANDSHAKE_FAILURE
        return UNRECOGNIZED_NAME if self._is_strict else self._first

    def covers(self, host: bytes) -> bool:
        """Is any certificate valid for this host?"""
        return any(identity.covers(host) for identity in self._identities)


class ClientTls:
    """What a client's connection is known by after its handshake has begun."""

    __slots__ = ("_all", "_asked", "_checked", "identity")

    def __init__(self, identity: Identity, asked: bytes | None, all_of_them: ServerTls) -> None:
        self.identity = identity
        self._asked = asked
        self._all = all_of_them
        self._checked: bytes | None = None

    def is_for(self, host: bytes) -> bool:
        """May a request for `host` come over this connection (RFC 9110, 7.4)?

        Yes, if the certificate is valid for it. If it is not, but the client asked for
        this very host, we have no better one, and whether this one does is for the client
        to judge. A client that asked for no host is sent away only if another certificate
        would have been right.
        """
        if host == self._checked:  # as always, but for the first request
            return True
        right = (
            self.identity.covers(host)
            or host == self._asked
            or (self._asked is None and not self._all.covers(host))
        )
        if right:
            self._checked = host
        return right


def hsts_field(settings: HstsSettings | None) -> bytes:
    """The line that answers get (RFC 6797, 6.1), or nothing."""
    if settings is None:
        return b""
    return b"Strict-Transport-Security: max-age=%d%s%s\r\n" % (
        settings.max_age,
        b"; includeSubDomains" if settings.include_subdomains else b"",
        b"; preload" if settings.preload else b"",
    )


def has_hsts(fields: bytes) -> bool:
    """Does one of these lines say it already?"""
    return b"\r\nstrict-transport-security:" in b"\r\n" + fields.lower()


def _as_host(name: str) -> bytes:
    """A name of a certificate as routes spell hosts."""
    try:
        address = ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return name.lower().encode("ascii", "replace")
    return b"[%s]" % str(address).encode() if address.version == 6 else str(address).encode()
