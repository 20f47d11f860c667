"""TLS contexts: how the gateway shows itself to clients, and whom it believes.

Made of PEM texts, in the one place that says what is spoken: TLS 1.2 and later,
HTTP/1.1 on top, no renegotiation, no compression. Ciphers are those of the
standard library: forward secret ones with authenticated encryption first.
"""

from __future__ import annotations

import _ssl
import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio

PROTOCOL = "http/1.1"

_MINIMUM = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


class _Context(ssl.SSLContext):
    """Says its options as a number: aiofastnet asks each connection's context for them, and
    making a member of an enum of it takes longer than all else it asks."""

    if not TYPE_CHECKING:
        options = _ssl._SSLContext.options


def server_context(chain: str, private_key: str, minimum: str = "1.2") -> ssl.SSLContext:
    """A context that shows this certificate. Raises `ssl.SSLError`."""
    context = _context(ssl.PROTOCOL_TLS_SERVER, minimum)
    with _in_memory(chain) as chain_path, _in_memory(private_key) as key_path:
        context.load_cert_chain(chain_path, key_path, _no_password)
    return context


def client_context(authorities: str | None, *, verify: bool) -> ssl.SSLContext:
    """A context for connections to instances. Raises `ssl.SSLError`.

    `authorities`: PEM of whom to believe, None: the system's. Not `verify`: anybody.
    """
    context = _context(ssl.PROTOCOL_TLS_CLIENT, "1.2")
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif authorities is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        context.load_verify_locations(cadata=authorities)
    return context


class ClientContexts:
    """The contexts for instances, each made when it is first needed."""

    def __init__(self, authorities: str | None = None) -> None:
        self.authorities = authorities
        self._made: dict[bool, ssl.SSLContext] = {}

    def get(self, verify: bool) -> ssl.SSLContext:
        """The one that verifies, or the one that does not. Raises `ssl.SSLError`."""
        if verify not in self._made:
            self._made[verify] = client_context(self.authorities, verify=verify)
        return self._made[verify]


def why(error: OSError) -> str:
    """What went wrong with a TLS connection, in the words of people."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {(error.reason or 'for no known reason').replace('_', ' ').lower()}"
    return error.strerror or str(error)


def be_quiet_about_handshakes(loop: asyncio.AbstractEventLoop) -> None:
    """A peer that hangs up in the middle of a handshake is no event for the log.

    asyncio, uvloop and aiofastnet all tell the loop's exception handler of it, as they
    pass a class where an instance is looked for.
    """
    handler = loop.get_exception_handler()

    def handle(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if context.get("exception") is ConnectionResetError:
            return
        if handler is not None:
            handler(loop, context)
        else:
            loop.default_exception_handler(context)

    loop.set_exception_handler(handle)


def _context(kind: int, minimum: str) -> ssl.SSLContext:
    context = _Context(kind)
    context.minimum_version = _MINIMUM[minimum]
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols([PROTOCOL])
    return context


@contextmanager
def _in_memory(pem: str) -> Iterator[str]:
    """A path for what OpenSSL takes from files only; nothing is written to a disk."""
    fd = os.memfd_create("gateway-pem", os.MFD_CLOEXEC)
    try:
        with open(fd, "wb", closefd=False) as file:
            file.write(pem.encode("latin-1"))
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)


def _no_password() -> str:
    """Without this OpenSSL would ask on the terminal."""
    return ""
