"""Between the gateway and the Engine: everything passes but events.

deaf = Deaf(docker.socket, docker.folder / "deaf.sock")
gateway with providers.docker.socket: unix://<deaf.path>
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


class Deaf:
    """A way to the Engine's socket that lets everything pass but events."""

    def __init__(self, target: Path, path: Path) -> None:
        self.path = path
        self._target = target
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen()
        self._threads: list[threading.Thread] = []
        self._begin(self._accept)

    def close(self) -> None:
        """To be called when nobody is connected any more."""
        self._listening.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._listening.close()
        self.path.unlink()

    def _begin(self, target: Callable[..., None], *arguments: object) -> threading.Thread:
        thread = threading.Thread(target=target, args=arguments)
        self._threads.append(thread)
        thread.start()
        return thread

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                self._begin(self._connect, self._listening.accept()[0])

    def _connect(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server:
            server.connect(str(self._target))
            asking = self._begin(self._relay, client, server, b"")
            self._relay(server, client, b'"Actor"')
            asking.join()

    def _relay(self, source: socket.socket, target: socket.socket, unheard: bytes) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if not unheard or unheard not in data:
                    target.sendall(data)
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
