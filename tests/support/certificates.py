"""An authority for tests, certificates in files, and clients that verify them."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ssl
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import trustme
from msgspec import structs

from gateway.metrics.catalogue import LAYOUTS, Scope
from gateway.metrics.merge import Live, Merger
from gateway.runtime import certificates
from gateway.runtime.settings import (
    CertificateSettings,
    EntrypointSettings,
    GivenSettings,
    Settings,
    TlsSettings,
)

from .plane import Plane
from .wire import Peer, client

NAME = "a.test"


@functools.cache
def authority() -> trustme.CA:
    """The one that clients of tests believe in."""
    return trustme.CA()


def issue(
    folder: Path,
    *names: str,
    file: str | None = None,
    days: float = 30,
    ca: trustme.CA | None = None,
    key_type: trustme.KeyType = trustme.KeyType.ECDSA,
) -> CertificateSettings:
    """A certificate for these names in files of the folder, replacing those of the same `file`.

    With negative `days` it has expired so long ago.
    """
    end = datetime.now(UTC) + timedelta(days=days)
    begin = min(datetime.now(UTC), end) - timedelta(days=1)
    made = (ca or authority()).issue_cert(
        *names, not_before=begin, not_after=end, key_type=key_type
    )
    stem = file or names[0].replace("*", "any")
    cert, key = folder / f"{stem}.pem", folder / f"{stem}.key"
    cert.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
    key.write_bytes(made.private_key_pem.bytes())
    return CertificateSettings(str(cert), str(key))


@functools.cache
def usual() -> CertificateSettings:
    """For `NAME` and its subdomains, in a folder of its own."""
    return issue(Path(tempfile.mkdtemp()), NAME, f"*.{NAME}")


def with_tls(
    settings: Settings,
    *files: CertificateSettings,
    entrypoint: str = "public",
    redirect_https: int | None = None,
    **options: Any,
) -> GivenSettings:
    """The settings with TLS on an entrypoint, and what the files hold, as children get them."""
    one = settings.entrypoints[entrypoint]
    tls = TlsSettings(files or (usual(),), **options)
    changed = {**settings.entrypoints, entrypoint: structs.replace(one, tls=tls)}
    if redirect_https is not None:
        changed["internal"] = EntrypointSettings(
            "127.0.0.1:0", internal=True, redirect_https=redirect_https
        )
    return given(structs.replace(settings, entrypoints=changed))


def given(settings: Settings) -> GivenSettings:
    """With the contents of the files, as children get them."""
    keeper = certificates.Keeper()
    keeper.take(settings)
    return keeper.for_worker(settings)


def trusting(
    minimum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2,
    maximum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
    protocols: list[str] | None = None,
) -> ssl.SSLContext:
    """A client that believes in `authority`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority().configure_trust(context)
    context.minimum_version, context.maximum_version = minimum, maximum
    if protocols is not None:
        context.set_alpn_protocols(protocols)
    return context


def believing_anything() -> ssl.SSLContext:
    """A client that does not look."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def tls_client(
    port: int, name: str | None = NAME, context: ssl.SSLContext | None = None
) -> Peer:
    """A client connected by TLS to the port on loopback; name None: it asks for none, as with an address."""
    context = context or (trusting() if name is not None else believing_anything())
    reader, writer = await asyncio.open_connection(
        "127.0.0.1",
        port,
        ssl=context,
        server_hostname=name or "127.0.0.1",
        limit=1
        << 26,  # never paused: aiofastnet's TLS would not go on (`transports.resume_reading`)
    )
    return Peer(reader, writer)


def names_of(peer: Peer) -> set[str]:
    """The host names of the certificate a client was shown."""
    shown = peer.writer.get_extra_info("peercert")
    return {value for kind, value in shown["subjectAltName"] if kind == "DNS"}


def handshake_failures(plane: Plane, entrypoint: str = "public") -> int:
    """What the worker has counted."""
    merger = Merger([plane.metrics_fd])
    merger.refresh()
    live = Live(frozenset({0}), frozenset(), frozenset())
    cells = merger.totals(live)[Scope.ENTRYPOINT][entrypoint,]
    return cells[LAYOUTS[Scope.ENTRYPOINT].start["gateway_tls_handshake_failures_total"]]


class Cut(Exception):  # noqa: N818 - says what happened
    """The connection ended without the end of TLS: what came may be short."""


class RawTls:
    """A TLS client over a plain connection, so that a test can do what libraries do not."""

    def __init__(self, peer: Peer, name: str = NAME, context: ssl.SSLContext | None = None) -> None:
        self.peer = peer
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = (context or trusting()).wrap_bio(
            self._incoming, self._outgoing, server_hostname=name
        )

    def hello(self) -> bytes:
        """The first message, to be sent in whatever way."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()
        return self._outgoing.read()

    async def handshake(self) -> None:
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._receive()
            else:
                await self._flush()
                return

    async def send(self, data: bytes) -> None:
        self.tls.write(data)
        await self._flush()

    async def send_end(self) -> None:
        """The end of TLS, while the connection stays open."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.unwrap()
        await self._flush()

    async def read(self) -> bytes:
        """Some bytes; b"" at the end of TLS. Raises `Cut`."""
        while True:
            try:
                return self.tls.read(65536)
            except ssl.SSLWantReadError:
                await self._receive()
            except ssl.SSLZeroReturnError:
                return b""

    async def read_to_end(self) -> bytes:
        """Everything up to the end of TLS. Raises `Cut`."""
        whole = b""
        while data := await self.read():
            whole += data
        return whole

    async def read_until(self, end: bytes) -> bytes:
        whole = b""
        while end not in whole:
            data = await self.read()
            assert data, whole
            whole += data
        return whole

    async def _flush(self) -> None:
        if self._outgoing.pending:
            await self.peer.send(self._outgoing.read())

    async def _receive(self) -> None:
        data = await asyncio.wait_for(self.peer.reader.read(65536), 5)
        if not data:
            raise Cut
        self._incoming.write(data)


async def raw_tls(port: int, name: str = NAME, context: ssl.SSLContext | None = None) -> RawTls:
    """A client on loopback whose handshake has ended."""
    raw = RawTls(await client(port), name, context)
    await raw.handshake()
    return raw
