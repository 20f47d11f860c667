# cython: language_level=3, annotation_typing=False
"""What a connection tells whoever uses it. Nothing here does anything.

An exchange uses a client's connection, an attempt one to an instance, a tunnel both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .upstream import UpstreamConnection


class ConnectionUser:
    """Whoever a connection was given to; each hears what concerns him."""

    __slots__ = ()

    # -- a client's connection

    def request_data(self, data: bytes) -> None:
        """Bytes the client sent."""
        raise NotImplementedError

    def client_eof(self) -> bool:
        """The client will send no more. True: it may still be written to."""
        raise NotImplementedError

    def client_lost(self) -> None:
        """The client's connection is gone."""
        raise NotImplementedError

    def client_writable(self, writable: bool) -> None:
        """The client takes more, or no more, for now."""
        raise NotImplementedError

    def expire(self) -> None:
        """The client's deadline has passed."""
        raise NotImplementedError

    def has_whole_request(self) -> bool:
        """Was all of the request read?"""
        raise NotImplementedError

    # -- a connection to an instance

    def upstream_ready(self, connection: UpstreamConnection) -> None:
        """The connection is open and yours."""
        raise NotImplementedError

    def upstream_failed(self, error: OSError) -> None:
        """The connection could not be made; nothing was sent."""
        raise NotImplementedError

    def upstream_data(self, data: bytes) -> None:
        """Bytes came."""
        raise NotImplementedError

    def upstream_eof(self) -> bool:
        """The instance will send no more. True: leave the sending side open."""
        raise NotImplementedError

    def upstream_lost(self, error: Exception | None) -> None:
        """The connection is gone; `error` when it did not end in order."""
        raise NotImplementedError

    def upstream_writable(self, writable: bool) -> None:
        """The instance takes more, or no more, for now."""
        raise NotImplementedError
