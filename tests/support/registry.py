"""A small registry of images on loopback, which an Engine on this machine can pull from.

    with Registry(user="me", password="secret") as registry:
        registry.push(docker, "busybox:test", "app:1")     # pulled as registry.name("app:1")

It speaks as much of the distribution protocol as a pull takes, asks for a password if it
has one, and holds back the contents of images while `gate` is closed.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import subprocess
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from .docker_engine import Engine

_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_CONFIG = "application/vnd.docker.container.image.v1+json"
_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
_CHUNK = 64 << 10


class Registry:
    """See the module."""

    def __init__(self, user: str = "", password: str = "") -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.asked: list[str] = []
        """Manifests that were asked for by those who may."""
        self._blobs: dict[str, bytes] = {}
        self._manifests: dict[str, bytes] = {}
        both = f"{user}:{password}".encode()
        self._auth = f"Basic {base64.b64encode(both).decode()}" if user else None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="registry")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.gate.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def host(self) -> str:
        """As it stands in the name of an image."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    def name(self, image: str) -> str:
        """The whole name of an image that was pushed."""
        return f"{self.host}/{image}"

    def push(self, docker: Engine, image: str, name: str) -> None:
        """Have an image of the Engine, under another name."""
        command = ["docker", "save", image]
        saved = subprocess.run(command, env=docker.environment, capture_output=True).stdout
        with tarfile.open(fileobj=io.BytesIO(saved)) as archive:
            entry = json.load(_file(archive, "manifest.json"))[0]
            config = _file(archive, entry["Config"]).read()
            layers = [gzip.compress(_file(archive, one).read(), 0) for one in entry["Layers"]]
        manifest = {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": self._blob(config, _CONFIG),
            "layers": [self._blob(layer, _LAYER) for layer in layers],
        }
        body = json.dumps(manifest).encode()
        repository, _, tag = name.partition(":")
        self._manifests[f"{repository}/{tag}"] = body
        self._manifests[f"{repository}/{_digest(body)}"] = body

    def _blob(self, data: bytes, kind: str) -> dict[str, Any]:
        self._blobs[_digest(data)] = data
        return {"mediaType": kind, "size": len(data), "digest": _digest(data)}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        registry = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                self.do_GET()

            def do_GET(self) -> None:
                if registry._auth not in (None, self.headers.get("Authorization")):
                    challenge = {"WWW-Authenticate": 'Basic realm="registry"'}
                    return self._answer(401, b"{}", challenge)
                parts = self.path.strip("/").split("/")
                if parts == ["v2"]:
                    return self._answer(200, b"{}")
                *repository, kind, reference = parts[1:]
                if kind == "manifests":
                    registry.asked.append(f"{'/'.join(repository)}:{reference}")
                    body = registry._manifests.get(f"{'/'.join(repository)}/{reference}")
                    headers = {"Content-Type": _MANIFEST}
                else:
                    body, headers = registry._blobs.get(reference), {}
                if body is None:
                    return self._answer(404, b'{"errors": [{"code": "MANIFEST_UNKNOWN"}]}')
                return self._answer(200, body, {**headers, "Docker-Content-Digest": _digest(body)})

            def _answer(
                self, code: int, body: bytes, headers: dict[str, str] | None = None
            ) -> None:
                self.send_response(code)
                for key, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                    self.send_header(key, value)
                self.end_headers()
                if self.command == "HEAD":
                    return
                half = len(body) // 2 if len(body) > _CHUNK else 0
                self.wfile.write(body[:half])
                self.wfile.flush()
                if half:
                    registry.gate.wait()
                self.wfile.write(body[half:])

            def log_message(self, *_: object) -> None:
                pass

        return Handler


def _file(archive: tarfile.TarFile, name: str) -> Any:
    found = archive.extractfile(name)
    assert found is not None
    return found


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
