"""`config/compose.yaml` starts the gateway and Prometheus on a real Docker Engine; with the proxy of the
Engine's socket it can do all it has to, and nothing is asked for that is refused.
"""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support import socket_proxy
from tests.support.article import TEMPLATES
from tests.support.article_images import GREETINGS, WORDS, build_hello, build_nginx
from tests.support.docker_compose import compose
from tests.support.docker_engine import BUSYBOX, Engine
from tests.support.docker_images import program_root
from tests.support.processes import wait_until

CONFIG = Path(__file__).parents[2] / "config"
PROXIED = ("compose.yaml", "compose.socket-proxy.yaml")
PROMETHEUS = "prom/prometheus:v3.5.0"
SOCKET_PROXY = "wollomatic/socket-proxy:1"


@dataclass(frozen=True)
class Composed:
    """What Compose makes of these files."""

    docker: Engine
    files: tuple[str, ...]

    @property
    def network(self) -> str:
        """The first three numbers of a network that no other engine has, nor this one's bridge."""
        first, second, third, _ = self.docker.address.split(".")
        return f"{first}.{second}.{int(third) + 1}"

    def __call__(self, *arguments: str) -> str:
        words = [*compose(), *(w for name in self.files for w in ("-f", str(CONFIG / name)))]
        done = subprocess.run(
            [*words, "--progress", "quiet", *arguments],
            env=self.docker.environment
            | {
                "DOCKER_GID": str(self.docker.socket.stat().st_gid),
                "DOCKER_SOCKET": str(self.docker.socket),
                "GATEWAY_NETWORK": self.network,
                "GATEWAY_PORT": "0",
                "PROMETHEUS_PORT": "0",
            },
            capture_output=True,
            text=True,
            timeout=110,
        )
        assert done.returncode == 0, done
        return done.stdout

    def get(self, port: int, path: str, host: str, at: str | None = None) -> tuple[int, str]:
        """What the gateway answers, or the container at that address."""
        connection = http.client.HTTPConnection(at or f"{self.network}.2", port, timeout=10)
        try:
            connection.request("GET", path, headers={"Host": host})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except OSError as error:
            return 0, str(error)
        finally:
            connection.close()

    def gateway(self, *words: str, stdin: str = "") -> str:
        """A command of the gateway, in its container."""
        return self.docker(
            "exec", "-i", "gateway-gateway-1", "gateway", *words, stdin=stdin.encode()
        )


@pytest.fixture
def images(docker_engine: Engine, gateway_image: str) -> Engine:
    docker_engine("tag", gateway_image, "gateway")
    program = Path(socket_proxy.__file__).read_text()
    docker_engine.build(
        SOCKET_PROXY,
        f'FROM {docker_engine.python}\nCOPY proxy.py /\nENTRYPOINT ["python", "/proxy.py"]\n',
        {"proxy.py": program},
    )
    build_nginx(docker_engine)
    build_hello(docker_engine)
    return docker_engine


@pytest.mark.parametrize("files", [("compose.yaml",), PROXIED], ids=["socket", "proxy"])
def test_compose_understands_the_files(docker_engine: Engine, files: tuple[str, ...]) -> None:
    found = json.loads(Composed(docker_engine, files)("config", "--format", "json"))
    gateway = found["services"]["gateway"]
    assert gateway["read_only"] and gateway["cap_drop"] == ["ALL"]
    sockets = [v for v in gateway["volumes"] if v["target"] == "/var/run/docker.sock"]
    assert bool(sockets) == (files != PROXIED)
    assert bool(gateway.get("group_add")) == (files != PROXIED)
    for service in found["services"].values():
        assert service["read_only"] and "privileged" not in service
        for port in service.get("ports", []):
            is_users = service is gateway
            assert is_users or port["host_ip"] == "127.0.0.1"


def test_without_the_group_of_the_socket_compose_says_how_to_find_it(docker_engine: Engine) -> None:
    environment = {k: v for k, v in docker_engine.environment.items() if k != "DOCKER_GID"}
    words = [*compose(), "-f", str(CONFIG / "compose.yaml"), "config"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True)
    assert done.returncode
    assert "stat -c %g /var/run/docker.sock" in done.stderr


@pytest.fixture
def prometheus(docker_engine: Engine) -> None:
    binary = shutil.which("prometheus")
    if binary is None:
        pytest.skip("prometheus is not installed (Debian, Ubuntu: apt install prometheus)")
    docker_engine("import", "-", "gateway-test/prometheus:1", stdin=program_root(Path(binary)))
    docker_engine.build(
        PROMETHEUS,
        "FROM gateway-test/prometheus:1\n"
        "RUN mkdir -p /prometheus && chown 65534:65534 /prometheus\n"
        "USER 65534\nVOLUME /prometheus\nWORKDIR /prometheus\n"
        f'ENTRYPOINT ["{binary}"]\n'
        'CMD ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"]\n',
    )


def test_it_starts_the_gateway_and_prometheus_which_collects_its_metrics(
    docker: Engine, images: Engine, prometheus: None
) -> None:
    composed = Composed(docker, ("compose.yaml",))
    composed("up", "-d", "--wait-timeout", "60")
    at = docker.address_of("gateway-prometheus-1", "gateway")

    def target() -> Any:
        status, text = composed.get(9090, "/api/v1/targets", "localhost", at)
        return next(iter(json.loads(text)["data"]["activeTargets"]), {}) if status == 200 else {}

    wait_until(lambda: target().get("health") == "up", 30, "a scrape")
    assert_finds(composed)
    # Once more: what there is stays, and the token is a new one that counts.
    composed("up", "-d", "--force-recreate", "token")
    last = target()["lastScrape"]
    wait_until(lambda: (t := target()).get("lastScrape") != last and t["health"] == "up", 30)
    composed("down", "-v", "--timeout", "30")
    assert docker.containers() == []


def test_through_the_socket_proxy_it_finds_starts_checks_and_stops_containers(
    docker: Engine, images: Engine
) -> None:
    composed = Composed(docker, PROXIED)
    composed("up", "-d", "gateway")
    wait_until(lambda: composed.get(8082, "/readyz", "localhost")[0] == 200, 30, "a ready gateway")
    assert_finds(composed)
    assert_releases(composed)
    assert_reached_by_its_local_name(composed)
    refused = [line for line in composed("logs", "socket-proxy").splitlines() if "refused" in line]
    assert refused == []
    composed("down", "-v", "--timeout", "30")


def assert_finds(composed: Composed) -> None:
    """It finds a container that somebody else started."""
    composed.docker.run(
        BUSYBOX,
        *("sh", "-c", "echo found >/tmp/index.html; exec httpd -f -p 80 -h /tmp"),
        name="found",
        labels={"gateway.routing.port_80": "found", "gateway.probe.cmd": "test -f /tmp/index.html"},
        options=["--network", "gateway", "--init"],
    )
    wait_until(lambda: composed.get(8080, "/", "found.localhost")[0] == 200, 20, "what was found")
    composed.docker("rm", "-f", "found")


def assert_releases(composed: Composed) -> None:
    """It starts containers, beside one another, and stops them."""
    text = (TEMPLATES / "nginx-v1.yaml").read_text()
    composed.gateway("deploy", "nginx", "-f", "-", "--wait", stdin=text)
    assert composed.get(8080, "/", "nginx.localhost")[1].startswith("Welcome to nginx! version 1.0")
    text = (TEMPLATES / "nginx-v2.yaml").read_text()
    composed.gateway("deploy", "nginx", "-f", "-", "--wait", stdin=text)
    composed.gateway("shift", "nginx", "100")
    composed.gateway("confirm", "nginx", "--wait")
    assert composed.get(8080, "/", "nginx.localhost")[1].startswith("Welcome to nginx! version 2.0")
    composed.gateway("logs", "nginx")
    composed.gateway("remove", "nginx", "--wait")


def assert_reached_by_its_local_name(composed: Composed) -> None:
    """What it started calls http://servicea.local, port 80 of the gateway's container on their network."""
    text = (TEMPLATES / "hello-1-initial.yaml").read_text()
    composed.gateway("deploy", "hello", "-f", "-", "--wait", stdin=text)
    status, page = composed.get(8080, "/", "serviceb.localhost")
    assert (status, page) == (200, GREETINGS["1.0"] + WORDS["1.0"])
    composed.gateway("remove", "hello", "--wait")
