"""The releases of the article for real: its templates and images on a Docker Engine, under load.

The same stories as in test_article.py, told with containers: Flask programs that call one another through
the gateway under a `.local` name, port 80, and a static page.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.support.article import (
    TEMPLATES,
    App,
    assert_backend_release,
    assert_frontend_release,
    assert_only,
    cli,
    colours,
    load,
    phases,
    weights,
)
from tests.support.article_images import PAGES, build_hello, build_nginx
from tests.support.docker_engine import Engine
from tests.support.gateway import Gateway
from tests.support.load import Failure, Load, judge
from tests.support.processes import wait_until

OLD, NEW = PAGES.values()
CLIENTS = 8
PAUSE_S = 0.1
"""The article's programs are Flask's development server, twice for each request."""


@dataclass(frozen=True)
class ContainedApp(App):
    """An application whose services are containers."""

    soon_s: float = 60.0
    engine: Engine = field(kw_only=True)

    def containers(self, service: str) -> set[str]:
        """The ids of a service's containers that run."""
        mine = f"label=gateway.application={self.name}", f"label=gateway.service={service}"
        words = [word for text in mine for word in ("--filter", text)]
        return set(self.engine("ps", "-q", "--no-trunc", *words).split())

    def assert_gone(self, service: str) -> None:
        """Neither the service nor a container of it is left, running or not."""
        assert service not in self.services()
        assert self.engine.containers(f"label=gateway.service={service}") == []


@pytest.fixture(scope="module")
def gateway(docker_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    build_nginx(docker_engine)
    build_hello(docker_engine)
    config: dict[str, Any] = {
        # Where containers find the machine; programs call http://servicea.local, without a port.
        "entrypoints": {"internal": {"listen": f"{docker_engine.address}:80", "internal": True}},
        "checks": {"interval": 0.5},
        "providers": {"docker": {"socket": docker_engine.url}},
    }
    found = Gateway(tmp_path_factory.mktemp("article"), **config)
    found.config["entrypoints"]["public"] = {"listen": f"127.0.0.1:{found.ports['public']}"}
    with found:
        yield found
    docker_engine.clear()


@pytest.fixture
def nginx(gateway: Gateway, docker_engine: Engine) -> Iterator[ContainedApp]:
    app = ContainedApp(gateway, "nginx", "nginx.localhost", engine=docker_engine)
    app.first("nginx-v1.yaml")
    yield app
    app.remove()


@pytest.fixture
def hello(gateway: Gateway, docker_engine: Engine) -> Iterator[ContainedApp]:
    app = ContainedApp(gateway, "hello", "serviceb.localhost", engine=docker_engine)
    app.first("hello-1-initial.yaml")
    yield app
    app.remove()


def test_nginx_is_released_and_confirmed(nginx: ContainedApp) -> None:
    with nginx.browser() as old, load(nginx) as clients:
        assert old.get().text == OLD
        out = cli(nginx, "deploy", "nginx", "-f", str(TEMPLATES / "nginx-v2.yaml"), "--wait")
        assert "pending confirmation" in out
        release = nginx.show()["release"]
        assert colours(release) == {"nginx-v2": "green", "nginx-v1": "blue"}
        assert weights(release) == {"nginx.localhost": {"nginx-v1": 100, "nginx-v2": 0}}
        assert nginx.newcomer() == OLD
        cli(nginx, "weights", "nginx.localhost", "nginx-v1=0", "nginx-v2=100")
        since = time.monotonic()
        assert old.get().text == OLD, "a session is kept"
        with nginx.browser() as new:
            assert new.get().text == NEW
        assert_only(clients, since, NEW)
        cli(nginx, "confirm", "nginx", "--wait")
        assert nginx.services() == {"nginx-v2": None}
        nginx.assert_gone("nginx-v1")
        assert phases(nginx.release(release["id"]))[-1] == "confirmed"
        assert old.get().text == NEW
        assert_only(clients, since, NEW)


def test_nginx_is_released_and_rolled_back(nginx: ContainedApp) -> None:
    kept = nginx.containers("nginx-v1")
    with load(nginx) as clients:
        cli(nginx, "deploy", "nginx", "-f", str(TEMPLATES / "nginx-v2.yaml"), "--wait")
        cli(nginx, "shift", "nginx", "100")
        assert nginx.newcomer() == NEW
        cli(nginx, "rollback", "nginx", "--wait")
        since = time.monotonic()
        assert nginx.services() == {"nginx-v1": None}
        nginx.assert_gone("nginx-v2")
        assert nginx.containers("nginx-v1") == kept
        assert_only(clients, since, OLD)


def test_the_frontend_of_hello_and_then_its_backend_are_released_and_confirmed(
    hello: ContainedApp,
) -> None:
    assert hello.newcomer() == "Hello world!"
    with load(hello, PAUSE_S) as clients:
        answer = hello.post("hello-2-frontend-release.yaml", "?strategy=blue-green")
        assert answer.status == 201, answer
        assert_frontend_release(answer.json)
        hello.wait(answer.json["id"], "pending_confirmation")
        assert hello.newcomer() == "Hello world!"
        kept, gone = hello.containers("serviceA-v1"), hello.containers("serviceB-v1")
        assert (len(kept), len(gone)) == (3, 2)
        cli(hello, "shift", "hello", "100")
        since = time.monotonic()
        assert hello.newcomer() == "Welcome to the world!"
        assert_only(clients, since, "Welcome to the world!")
        cli(hello, "confirm", "hello", "--wait")
        assert hello.services() == {"serviceA-v1": None, "serviceB-v2": None}
        hello.assert_gone("serviceB-v1")
        assert hello.containers("serviceA-v1") == kept, "yellow is not touched"

        template = str(TEMPLATES / "hello-3-backend-release.yaml")
        cli(hello, "deploy", "hello", "-f", template, "--wait")
        assert_backend_release(hello.show()["release"])
        kept = hello.containers("serviceB-v2")
        assert hello.newcomer() == "Welcome to the world!"
        cli(hello, "weights", "servicea.local", "serviceA-v1=0", "serviceA-v2=100")
        since = time.monotonic()
        assert hello.newcomer() == "Welcome to the new world!"
        assert_only(clients, since, "Welcome to the new world!")
        cli(hello, "confirm", "hello", "--wait")
        assert hello.services() == {"serviceA-v2": None, "serviceB-v2": None}
        hello.assert_gone("serviceA-v1")
        assert hello.containers("serviceB-v2") == kept
        assert_only(clients, since, "Welcome to the new world!")


def test_the_frontend_of_hello_and_then_its_backend_are_released_and_rolled_back(
    hello: ContainedApp,
) -> None:
    with load(hello, PAUSE_S) as clients:
        template = str(TEMPLATES / "hello-2-frontend-release.yaml")
        cli(hello, "deploy", "hello", "-f", template, "--wait")
        cli(hello, "shift", "hello", "100")
        assert hello.newcomer() == "Welcome to the world!"
        cli(hello, "rollback", "hello", "--wait")
        since = time.monotonic()
        assert hello.services() == {"serviceA-v1": None, "serviceB-v1": None}
        hello.assert_gone("serviceB-v2")
        assert_only(clients, since, "Hello world!")

        cli(hello, "deploy", "hello", "-f", template, "--wait")
        cli(hello, "confirm", "hello", "--force", "--wait")
        template = str(TEMPLATES / "hello-3-backend-release.yaml")
        cli(hello, "deploy", "hello", "-f", template, "--wait")
        kept = hello.containers("serviceA-v1")
        cli(hello, "weights", "servicea.local", "serviceA-v1=0", "serviceA-v2=100")
        assert hello.newcomer() == "Welcome to the new world!"
        cli(hello, "rollback", "hello", "--wait")
        since = time.monotonic()
        assert hello.services() == {"serviceA-v1": None, "serviceB-v2": None}
        hello.assert_gone("serviceA-v2")
        assert hello.containers("serviceA-v1") == kept
        assert_only(clients, since, "Welcome to the world!")


def test_a_container_that_is_killed_is_replaced_at_the_cost_of_what_it_was_working_on(
    hello: ContainedApp,
) -> None:
    before = hello.containers("serviceB-v1")
    victim = min(before)
    with load_of(hello) as clients:
        clients.wait_answers(40)
        start = time.monotonic()
        hello.engine("kill", victim)
        end = time.monotonic()
        wait_until(
            lambda: len(hello.containers("serviceB-v1") - {victim}) == 2,
            hello.soon_s,
            "its replacement",
        )
        wait_until(lambda: ups(hello, "serviceB-v1") == 2, hello.soon_s, "it is up")
        clients.wait_answers(40)
    verdict = judge(clients.records)
    for record in verdict.failed:
        assert record.failure is Failure.STATUS and record.status == 502, record
        assert record.start <= end and record.end >= start, "under way when it was killed"
    assert len(verdict.failed) <= CLIENTS


def ups(app: App, service: str) -> int:
    """How many of a service's instances take requests."""
    instances = app.api.ok("GET", f"services/{app.name}%2F{service}/instances")["instances"]
    return sum(instance["state"] == "up" for instance in instances)


def load_of(app: App) -> Load:
    # Who was about to connect to what was killed goes elsewhere before `timeouts.connect`, 5 s.
    port = app.gateway.ports["public"]
    return Load(port, app.host, keeping=CLIENTS - 2, per_request=2, pause_s=PAUSE_S)
