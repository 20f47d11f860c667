"""The gateway as a container: its image is built and run on a real Docker Engine, as an operator would."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.compiled import ROOT, finding
from tests.support.docker_engine import BUSYBOX, Engine
from tests.support.gateway import Answer, free_port
from tests.support.gateway_image import build_context
from tests.support.processes import wait_until

NAME = "gateway"
HOST = "shop.localhost"
STATE = "/var/lib/gateway/state"
PORT_LABEL = "gateway.routing.port_80"
SLOW_S = 1.0
# Answers at once, on /slow after a second, and says "begun" in its log when it has the request.
BACKEND = f"""
import http.server, time, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.path == "/slow":
            print("begun", flush=True)
            time.sleep({SLOW_S})
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("", 80), Handler).serve_forever()
"""


@dataclass(frozen=True)
class Contained:
    """A gateway in a container without any writable place but its volume."""

    docker: Engine
    image: str

    def run(self, *options: str) -> None:
        self.docker.run(
            self.image,
            name=NAME,
            options=[
                *("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges"),
                *("-v", "state:/var/lib/gateway", *options),
            ],
        )
        self.wait_ready()

    @property
    def address(self) -> str:
        (network,) = self.docker.inspect(NAME)["NetworkSettings"]["Networks"].values()
        found: str = network["IPAddress"]
        return found

    def get(self, port: int, path: str = "/", host: str = HOST) -> Answer:
        connection = http.client.HTTPConnection(self.address, port, timeout=10)
        try:
            connection.request("GET", path, headers={"Host": host})
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.headers), answer.read())
        finally:
            connection.close()

    def is_ready(self) -> bool:
        assert self.docker.inspect(NAME)["State"]["Running"], self.log
        with suppress(OSError, http.client.HTTPException):
            return self.get(8082, "/readyz").status == 200
        return False

    def wait_ready(self) -> None:
        wait_until(self.is_ready, 30, "a ready gateway")

    @property
    def log(self) -> str:
        result = self.docker.try_run("logs", NAME)
        return result.out + result.err

    def register(self, backend: str) -> None:
        """A service in another container, by the admin API's socket, as `docker exec` reaches it."""
        body = {"routes": [{"host": HOST}], "endpoints": [f"{self.docker.address_of(backend)}:80"]}
        code = (
            "import json, socket, http.client as h\n"
            f"c = h.HTTPConnection('localhost'); c.sock = socket.socket(socket.AF_UNIX); c.sock.connect('{STATE}/admin.sock')\n"
            f"c.request('PUT', '/api/v1/services/{backend}', {json.dumps(json.dumps(body))}, {{'Content-Type': 'application/json'}})\n"
            "print(c.getresponse().status)"
        )
        assert self.docker("exec", NAME, "python", "-c", code) in ("200", "201")
        wait_until(lambda: self.get(8080).status == 200, what="the service")

    def command(self, *words: str) -> str:
        """What the command line prints inside."""
        return self.docker("exec", NAME, "gateway", *words)

    def state(self) -> Any:
        return self.docker.inspect(NAME)["State"]


@pytest.fixture
def contained(docker: Engine, gateway_image: str) -> Contained:
    return Contained(docker, gateway_image)


def start_backend(docker: Engine, name: str = "shop-v1") -> None:
    docker.run(docker.python, "python", "-c", BACKEND, name=name)


@contextmanager
def under_way(contained: Contained) -> Iterator[list[Answer]]:
    """A slow request that the backend has begun; its answer is there afterwards."""
    answers: list[Answer] = []
    thread = threading.Thread(target=lambda: answers.append(contained.get(8080, "/slow")))
    thread.start()
    wait_until(lambda: "begun" in contained.docker("logs", "shop-v1"), what="the request")
    yield answers
    thread.join()


def test_it_runs_without_root_and_without_a_writable_place_but_its_volume(
    contained: Contained,
) -> None:
    docker = contained.docker
    contained.run()
    wait_until(lambda: contained.state()["Health"]["Status"] == "healthy", 30, "health")
    code = "import os, pathlib; print(os.getuid(), [p for p in ('/etc/x', '/tmp/x', '/opt/gateway/x', '/x') if os.access(pathlib.Path(p).parent, os.W_OK)])"
    assert docker("exec", NAME, "python", "-c", code) == "10001 []"
    users = [line.split()[1] for line in docker("top", NAME, "-eo", "pid,uid").splitlines()]
    assert len(users) > 3
    assert set(users) == {"UID", "10001"}
    assert f"data plane {finding().mode.value}" in contained.command("--version")
    start_backend(docker)
    contained.register("shop-v1")
    assert contained.get(8080).text == "hello"
    assert "shop.localhost" in contained.command("routes")
    assert "Traceback" not in contained.log and " error " not in contained.log, contained.log


def test_a_start_compiles_no_bytecode(contained: Contained) -> None:
    # What is missing in the image would be compiled at each start: seconds instead of one.
    code = "import sys, admin.main, gateway.runtime.worker; print([n for n, m in sys.modules.items() if (c := getattr(m, '__cached__', None)) and not __import__('os').path.exists(c)])"
    options = ["--rm", "--entrypoint", "python", contained.image, "-P", "-c", code]
    assert contained.docker("run", *options) == "[]"


def test_a_wheel_of_other_sources_is_not_taken_for_these(docker: Engine) -> None:
    with build_context() as context:
        with (context / "admin" / "main.py").open("a") as file:
            file.write("# changed since\n")
        arguments = {"BASE": docker.python, "DATA_PLANE": finding().mode.value}
        said = [word for k, v in arguments.items() for word in ("--build-arg", f"{k}={v}")]
        done = docker.try_run("build", "--network=none", *said, str(context))
    assert done.code != 0
    assert "of other sources than these (/src/admin/main.py)" in done.out + done.err


def test_docker_stop_lets_it_finish_what_is_under_way_and_it_ends_with_success(
    contained: Contained,
) -> None:
    contained.run()
    start_backend(contained.docker)
    contained.register("shop-v1")
    with under_way(contained) as answers:
        start = time.monotonic()
        contained.docker("stop", NAME)  # with the grace that Docker gives by itself
        assert time.monotonic() - start < 10
    assert [answer.text for answer in answers] == ["hello"]
    state = contained.state()
    assert (state["ExitCode"], state["OOMKilled"]) == (0, False), contained.log


def test_hup_takes_another_configuration_without_a_restart(
    contained: Contained, tmp_path: Path
) -> None:
    folder = tmp_path / "config"
    folder.mkdir()
    config = folder / "container.yaml"
    config.write_text((ROOT / "config" / "container.yaml").read_text())
    folder.chmod(0o755)  # its user is nobody here
    contained.run("-v", f"{folder}:/etc/gateway:ro")
    start_backend(contained.docker)
    contained.register("shop-v1")
    assert contained.get(8080).headers["X-Served-By"] == "shop-v1"
    started = contained.state()["StartedAt"]

    config.write_text(config.read_text() + "served_by: false\n")
    contained.docker("kill", "-s", "HUP", NAME)
    wait_until(lambda: "X-Served-By" not in contained.get(8080).headers, what="the new one")
    assert contained.state()["StartedAt"] == started

    config.write_text("entrypoint: {}\n")
    contained.docker("kill", "-s", "HUP", NAME)
    wait_until(lambda: "entrypoints" in contained.log, what="what is wrong with it")
    assert contained.get(8080).text == "hello"


def test_killed_and_started_again_it_knows_what_it_knew(contained: Contained) -> None:
    contained.run()
    start_backend(contained.docker)
    contained.register("shop-v1")
    contained.command("weights", HOST, "shop-v1=7")
    contained.docker("kill", NAME)
    contained.docker("start", NAME)
    contained.wait_ready()
    wait_until(lambda: contained.get(8080).status == 200, what="the route")
    assert "7" in contained.command("weights", HOST)

    # Another container with the same volume: a new version of the image, say.
    contained.docker("rm", "-f", NAME)
    contained.run()
    wait_until(lambda: contained.get(8080).status == 200, what="the route")


def test_what_is_wrong_with_its_configuration_it_says_and_ends(contained: Contained) -> None:
    result = contained.docker.try_run(*("run", "--rm", contained.image, "run", "-c", "/nowhere"))
    assert result.code == 2
    assert "/nowhere" in result.err and "Traceback" not in result.err


def test_a_program_beside_it_is_reached_by_its_name_on_a_network(contained: Contained) -> None:
    contained.docker("network", "create", "shop")
    contained.run("--network", "shop")
    url = f"http://{NAME}:8082/readyz"
    words = ("run", "--rm", "--network", "shop", BUSYBOX, "wget", "-q", "-O-", url)
    assert "ready" in contained.docker(*words)


def test_on_the_network_of_the_machine_it_finds_containers_on_every_bridge(
    contained: Contained, tmp_path: Path
) -> None:
    docker = contained.docker
    docker("network", "create", "shop")
    docker.run(docker.python, "python", "-c", BACKEND, labels={PORT_LABEL: "one"})
    docker.run(
        *(docker.python, "python", "-c", BACKEND),
        labels={PORT_LABEL: "two"},
        options=["--network", "shop"],
    )
    public, health = free_port(), free_port()
    config = tmp_path / "gateway.yaml"
    config.write_text(
        json.dumps(
            {
                "entrypoints": {"public": {"listen": f"127.0.0.1:{public}"}},
                "admin": {"listen": None},
                "health": {"listen": f"127.0.0.1:{health}"},
                "providers": {"docker": {}},
            }
        )
    )
    docker.run(
        contained.image,
        options=[
            *("--network", "host", "--read-only", "--cap-drop=ALL"),
            *("--group-add", str(docker.socket.stat().st_gid)),
            *("-v", f"{docker.socket}:/var/run/docker.sock"),
            *("-v", f"{config}:/etc/gateway/container.yaml:ro"),
        ],
    )
    wait_until(lambda: status("127.0.0.1", health, "localhost", "/readyz") == 200, 30, "it")
    for host in ("one.localhost", "two.localhost"):
        wait_until(lambda host=host: status("127.0.0.1", public, host) == 200, what=host)  # type: ignore[misc]


def status(address: str, port: int, host: str, path: str = "/") -> int:
    """0: nobody answered."""
    connection = http.client.HTTPConnection(address, port, timeout=10)
    try:
        connection.request("GET", path, headers={"Host": host})
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()
