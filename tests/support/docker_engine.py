"""A real Docker Engine for tests: private, without a registry, gone when the tests are.

    def test_something(docker: Engine) -> None:
        docker.run(BUSYBOX, "httpd", "-f", "-p", "80", labels={"gateway.routing.port_80": "shop"})

`docker` (tests/conftest.py) is one engine for the whole session, started when the first test asks; what
a test made in it is removed after the test. The machine reaches containers at their bridge
addresses, containers reach it at `engine.address`.
"""

from __future__ import annotations

import functools
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import docker_images
from .docker_images import BUSYBOX, PYTHON
from .dockerd import daemon_pid
from .mounts import why_not as why_no_mounts
from .processes import is_alive, wait_until

__all__ = ["BUSYBOX", "PYTHON", "Engine", "Result", "why_not"]

START_S = STOP_S = 30.0
CALL_S = 60.0


@functools.cache
def why_not() -> str | None:
    """Why there can be no engine here, before it was tried."""
    if os.geteuid() != 0:
        return "only root can run a Docker daemon"
    for program in ("dockerd", "docker", "unshare"):
        if shutil.which(program) is None:
            return f"{program} is not installed (Debian, Ubuntu: docker.io, util-linux)"
    if docker_images.busybox() is None:
        return "busybox is not installed (Debian, Ubuntu: busybox-static)"
    return why_no_mounts()


class NoEngineError(Exception):
    """The daemon does not come up on this machine."""


@dataclass(frozen=True)
class Result:
    """What a command gave."""

    code: int
    out: str
    err: str


class Engine:
    """See the module."""

    def __init__(self) -> None:
        # Not pytest's folder: the path of a socket has to be short.
        self.folder = Path(tempfile.mkdtemp(prefix="gwd"))
        self.socket = self.folder / "docker.sock"
        self._keeper = subprocess.Popen(
            [sys.executable, "-m", "tests.support.dockerd", str(self.folder)],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._keeper.stdout is not None
        words = self._keeper.stdout.readline().split()
        if not words:
            self._keeper.wait()
            raise NoEngineError("no bridge can be made")
        self.bridge, self.address, self.network = words[1:]
        """The default bridge, the machine's address on it, and where containers' addresses are."""
        try:
            self.start()
            self._load(BUSYBOX, docker_images.busybox_root())
        except BaseException:
            self.close()
            raise

    # -- the daemon

    @property
    def url(self) -> str:
        """As DOCKER_HOST says it."""
        return f"unix://{self.socket}"

    @property
    def log(self) -> str:
        with suppress(FileNotFoundError):
            return (self.folder / "dockerd.log").read_text(errors="replace")
        return ""

    @property
    def pid(self) -> int | None:
        """The daemon's, while it runs."""
        return daemon_pid(self._keeper.pid)

    def start(self) -> None:
        """Start the daemon, again after it was stopped or killed; waits until it answers."""
        assert self._keeper.stdin is not None
        # A dead process that nobody has waited for yet would be taken for one that runs.
        for left in ("docker.pid", "exec/containerd/containerd.pid"):
            (self.folder / left).unlink(missing_ok=True)
        self._keeper.stdin.write("start\n")
        self._keeper.stdin.flush()
        wait_until(lambda: self.pid is not None, what="dockerd")
        try:
            wait_until(lambda: self.pid is None or self.is_up(), START_S, "the Docker daemon")
        except AssertionError as error:
            raise NoEngineError(self.log[-2000:]) from error
        if self.pid is None:
            raise NoEngineError(f"dockerd ended at once: {self.log[-2000:]}")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End the daemon: containers stop with it on TERM; KILL leaves them running."""
        if (pid := self.pid) is not None:
            os.kill(pid, number)
            wait_until(lambda: not is_alive(pid), STOP_S, "the end of the Docker daemon")

    def freeze(self) -> None:
        """The daemon does nothing until `thaw`; its socket still takes connections."""
        assert self.pid is not None
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.pid is not None
        os.kill(self.pid, signal.SIGCONT)

    def is_up(self) -> bool:
        """Does the daemon answer?"""
        try:
            return self.api("GET", "/_ping", timeout_s=2.0).code == 200
        except OSError:
            return False

    def close(self) -> None:
        """The end of everything; blocks until nothing is left."""
        self._keeper.communicate()

    # -- asking it

    @property
    def environment(self) -> dict[str, str]:
        """For programs that talk to it; the user's own settings and credentials play no part."""
        return os.environ | {
            "DOCKER_HOST": self.url,
            "DOCKER_CONFIG": str(self.folder / "config"),
            "DOCKER_BUILDKIT": "0",  # the builder every engine has
        }

    def try_run(self, *arguments: str, stdin: bytes | None = None) -> Result:
        """`docker ARGUMENTS`, which may fail."""
        done = subprocess.run(
            ["docker", *arguments],
            input=stdin,
            capture_output=True,
            env=self.environment,
            timeout=CALL_S,
        )
        return Result(done.returncode, done.stdout.decode().strip(), done.stderr.decode().strip())

    def __call__(self, *arguments: str, stdin: bytes | None = None) -> str:
        """What `docker ARGUMENTS` prints."""
        result = self.try_run(*arguments, stdin=stdin)
        assert result.code == 0, (arguments, result)
        return result.out

    def api(self, method: str, path: str, body: Any = None, timeout_s: float = CALL_S) -> Result:
        """A call of the Engine's API; the code is the HTTP status."""
        connection = _Connection(self.socket, timeout_s)
        try:
            data = None if body is None else json.dumps(body)
            connection.request(method, path, data, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return Result(response.status, response.read().decode(), "")
        finally:
            connection.close()

    # -- images

    @functools.cached_property
    def python(self) -> str:
        """The image `PYTHON`, made when first asked for; that takes some seconds."""
        self._load(PYTHON, docker_images.python_root())
        return PYTHON

    def _load(self, name: str, root: bytes) -> None:
        changes = ["--change", 'CMD ["sh"]', "--change", "ENV PYTHONUNBUFFERED=1"]
        self("import", *changes, "-", name, stdin=root)

    def build(
        self,
        name: str,
        dockerfile: str,
        files: Mapping[str, str | bytes | Path] | None = None,
        **arguments: str,
    ) -> str:
        """`docker build` from a context of these files and folders; gives the name."""
        with tempfile.TemporaryDirectory(prefix="gwb") as folder:
            context = Path(folder)
            for path, what in {"Dockerfile": dockerfile, **(files or {})}.items():
                at = context / path
                at.parent.mkdir(parents=True, exist_ok=True)
                if isinstance(what, Path):
                    (shutil.copytree if what.is_dir() else shutil.copy2)(what, at)
                else:
                    at.write_bytes(what if isinstance(what, bytes) else what.encode())
            return self.build_folder(name, context, **arguments)

    def build_folder(self, name: str, context: Path, **arguments: str) -> str:
        """`docker build` of a folder with a Dockerfile."""
        said = [word for k, v in arguments.items() for word in ("--build-arg", f"{k}={v}")]
        self("build", "-q", "--network=none", "-t", name, *said, str(context))
        return name

    # -- containers

    def run(
        self,
        image: str,
        *command: str,
        name: str | None = None,
        labels: Mapping[str, str] | None = None,
        options: Sequence[str] = (),
    ) -> str:
        """`docker run -d`; gives the container's id."""
        words = ["run", "-d", *options]
        words += ["--name", name] if name is not None else []
        words += [w for k, v in (labels or {}).items() for w in ("--label", f"{k}={v}")]
        return self(*words, image, *command)

    def inspect(self, container: str) -> Any:
        """All the engine knows of a container."""
        return json.loads(self("inspect", "--type", "container", container))[0]

    def address_of(self, container: str, network: str = "bridge") -> str:
        """Its address on a network; empty while it does not run."""
        found: str = self.inspect(container)["NetworkSettings"]["Networks"][network]["IPAddress"]
        return found

    def containers(self, *filters: str) -> list[str]:
        """Names, running or not, oldest first; e.g. `label=com.docker.compose.project=shop`."""
        said = [word for text in filters for word in ("--filter", text)]
        return self("ps", "-a", "--format", "{{.Names}}", *said).split()[::-1]

    def clear(self) -> None:
        """Remove all containers, networks and volumes; images stay."""
        if (pid := self.pid) is None:
            self.start()
        else:
            os.kill(pid, signal.SIGCONT)
        if containers := self("ps", "-aq").split():
            self("rm", "-fv", *containers)
        self("network", "prune", "-f")
        if volumes := self("volume", "ls", "-q").split():
            self("volume", "rm", "-f", *volumes)


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("docker", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
