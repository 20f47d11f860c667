"""One certificate (ECDSA P-256) that all servers of a benchmark show, and a client that believes in it."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True, slots=True)
class Certificate:
    """Files in PEM."""

    chain: Path
    key: Path
    authority: Path

    def client(self) -> ssl.SSLContext:
        """For clients that resume nothing."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_verify_locations(self.authority)
        return context

    @property
    def setting(self) -> dict[str, object]:
        """As an entrypoint of the gateway wants it."""
        return {"certificates": [{"cert": str(self.chain), "key": str(self.key)}]}


def certificate(folder: Path, *hosts: str) -> Certificate:
    """Make one for these hosts, in `folder`."""
    authority = trustme.CA()
    made = authority.issue_cert(*hosts)
    found = Certificate(folder / "chain.pem", folder / "key.pem", folder / "authority.pem")
    found.chain.write_bytes(b"".join(one.bytes() for one in made.cert_chain_pems))
    found.key.write_bytes(made.private_key_pem.bytes())
    found.authority.write_bytes(authority.cert_pem.bytes())
    return found
