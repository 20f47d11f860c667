"""Docker Compose on the tests' Docker Engine, and programs for containers to run."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from .docker_engine import CALL_S, Engine

SERVER = """
import os, signal, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path.startswith("/slow"):
            time.sleep(1)
        if self.path == "/stop":
            threading.Thread(target=server.shutdown).start()
        body = os.environ["HOSTNAME"].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass

class Server(ThreadingHTTPServer):
    daemon_threads = False  # what is under way is answered before the end
    request_queue_size = 128

server = Server(("", int(sys.argv[1])), Handler)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever()
server.server_close()
"""
"""Answers with its container's name; on TERM it takes no more and ends what it has begun."""


def serving(port: int = 80) -> tuple[str, ...]:
    """The command of a container with `SERVER`."""
    return ("python", "-c", SERVER, str(port))


@cache
def compose() -> tuple[str, ...]:
    """How Compose is called here; skips the test where there is none."""
    own = Path(sys.executable).with_name("docker-compose")
    found = str(own) if own.exists() else shutil.which("docker-compose")
    if found is not None:
        return (found,)
    if shutil.which("docker") is not None:
        plugin = subprocess.run(["docker", "compose", "version"], capture_output=True)
        if plugin.returncode == 0:
            return ("docker", "compose")
    pytest.skip("Docker Compose is not installed")


class Project:
    """A Compose project in a folder of its own."""

    def __init__(self, docker: Engine, folder: Path, name: str, **services: Mapping[str, Any]):
        self._docker = docker
        self._folder = folder
        self.name = name
        folder.mkdir(parents=True, exist_ok=True)
        self.write(**services)

    def write(self, **services: Mapping[str, Any]) -> None:
        """Write its file (JSON is YAML); nothing is pulled."""
        content = {k: {"pull_policy": "never", **v} for k, v in services.items()}
        text = json.dumps({"services": content}).replace("$", "$$")
        (self._folder / "compose.yaml").write_text(text)

    def __call__(self, *arguments: str) -> str:
        """`docker compose ARGUMENTS`."""
        words = [*compose(), "--project-name", self.name, "--progress", "quiet", *arguments]
        done = subprocess.run(
            words,
            cwd=self._folder,
            capture_output=True,
            env=self._docker.environment,
            timeout=CALL_S,
            text=True,
        )
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    def up(self, *arguments: str) -> None:
        self("up", "--detach", *arguments)

    def down(self) -> None:
        self("down", "--timeout", "5")
