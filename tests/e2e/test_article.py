"""The releases of the article, letter for letter: its templates, real processes, under load.

Two stories, each told with a confirmation and with a rollback: nginx v1 -> v2, and the
application hello, whose frontend is released first and then its backend.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import yaml

from tests.support import processes
from tests.support.article import (
    CONFIG,
    TEMPLATES,
    App,
    assert_backend_release,
    assert_frontend_release,
    assert_only,
    assert_refused,
    cli,
    colours,
    load,
    phases,
    run_cli,
    weights,
)
from tests.support.gateway import Answer, Gateway, Visitor, served_by
from tests.support.processes import wait_until

PORTS = (27_100, 27_299)

NGINX_1 = "Welcome to nginx! version 1.0 "
NGINX_2 = "Welcome to nginx! version 2.0 "


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with the demo's images."""
    demo = yaml.safe_load((CONFIG / "demo.yaml").read_text())
    config = {"checks": demo["checks"], "providers": demo["providers"]}
    config["providers"]["process"]["ports"] = PORTS
    with Gateway(tmp_path_factory.mktemp("article"), **config) as found:
        yield found
        wait_until(lambda: not programs(found), what="no process left of what was removed")


class LocalApp(App):
    """Its services are processes of this machine."""

    def processes(self, service: str) -> set[int]:
        """The processes of a service's instances."""
        running = programs(self.gateway)
        ports = [
            int(instance["address"].rpartition(":")[2])
            for instance in self.api.ok("GET", f"services/{service}/instances")["instances"]
        ]
        return {running[port] for port in ports}


def programs(gateway: Gateway) -> dict[int, int]:
    """The programs the gateway has launched: port to pid."""
    found = {}
    for pid in processes.children(gateway.supervisor):
        with suppress(OSError):
            if b"gateway.demo." in Path(f"/proc/{pid}/cmdline").read_bytes():
                environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
                port = next(v for v in environment if v.startswith(b"PORT="))
                found[int(port[5:])] = pid
    return found


@pytest.fixture
def nginx(gateway: Gateway) -> Iterator[LocalApp]:
    app = LocalApp(gateway, "nginx", "nginx.localhost")
    app.first("nginx-v1.yaml")
    yield app
    app.remove()


@pytest.fixture
def hello(gateway: Gateway) -> Iterator[LocalApp]:
    app = LocalApp(gateway, "hello", "serviceb.localhost")
    app.first("hello-1-initial.yaml")
    yield app
    app.remove()


def assert_gone(app: LocalApp, service: str, pids: set[int]) -> None:
    """Neither the service nor a process of it is left."""
    assert service not in app.services()
    assert app.api("GET", f"services/{app.name}%2F{service}").status == 404
    assert not [pid for pid in pids if processes.is_alive(pid)]


def test_nginx_is_released_and_confirmed(nginx: LocalApp) -> None:
    with nginx.browser() as old, nginx.browser() as slow, load(nginx) as clients:
        assert old.get().text.startswith(NGINX_1)
        assert slow.get().text.startswith(NGINX_1)

        answer = nginx.post("nginx-v2.yaml", "?strategy=blue-green")
        assert answer.status == 201, answer
        begun = answer.json
        assert begun["strategy"] == "blue-green"
        assert begun["phase"] == "releasing"
        assert begun["legal"] == ["shift", "rollback"]
        assert begun["warnings"] == []
        assert "nginx-v2" in begun["waiting_for"]
        assert colours(begun) == {"nginx-v2": "green", "nginx-v1": "blue"}
        assert weights(begun) == {"nginx.localhost": {"nginx-v1": 100, "nginx-v2": 0}}

        release = nginx.wait(begun["id"], "pending_confirmation")
        assert release["legal"] == ["shift", "confirm", "rollback"]
        assert [(s["name"], s["scale"], s["ready"]) for s in release["services"]] == [
            ("nginx-v2", 1, 1),
            ("nginx-v1", 1, 1),
        ]
        assert nginx.services() == {"nginx-v1": "blue", "nginx-v2": "green"}
        assert nginx.api.weights("nginx.localhost") == {"nginx-v1": 100, "nginx-v2": 0}
        assert nginx.newcomer().startswith(NGINX_1)
        shown = cli(nginx, "status", "nginx")
        assert "pending confirmation" in shown
        for service, colour in (("nginx-v1", "blue"), ("nginx-v2", "green")):
            assert any(service in line and colour in line for line in shown.splitlines()), shown

        # No other release can begin, and this one cannot be confirmed before it has traffic.
        refused = nginx.post("nginx-v1.yaml")
        assert_refused(
            refused, 409, "release_in_progress", begun["id"], "confirm it or roll it back"
        )
        assert refused.json["release"] == begun["id"]
        by_command = run_cli(nginx, "deploy", "nginx", "-f", str(TEMPLATES / "nginx-v1.yaml"))
        assert by_command.returncode == 1
        assert begun["id"] in by_command.stderr
        early = nginx.api("POST", "applications/nginx/confirm")
        assert_refused(early, 409, "no_traffic_on_new", "nginx-v2")
        half = nginx.api("PUT", "routes/nginx.localhost/weights", {"nginx-v1": 50, "nginx-v2": 50})
        assert_refused(half, 422, "strategy_forbids_weight", "blue-green")

        cli(nginx, "weights", "nginx.localhost", "nginx-v1=0", "nginx-v2=100")
        since = time.monotonic()
        for _ in range(4):  # the session is kept, on whichever worker
            old.forget_connection()
            assert old.get().text.startswith(NGINX_1)
        with nginx.browser() as new:
            answer = new.get()
            assert answer.text.startswith(NGINX_2)
            assert served_by(answer) == "nginx-v2"
        assert_only(clients, since, NGINX_2)

        gone = nginx.processes("nginx-v1")
        assert len(gone) == 1
        with in_flight(nginx, slow) as last:
            cli(nginx, "confirm", "nginx", "--wait")
        assert last[0].text.startswith(NGINX_1), "what nginx-v1 had begun it finished"
        assert nginx.services() == {"nginx-v2": None}
        assert nginx.api.weights("nginx.localhost") == {"nginx-v2": 100}
        assert_gone(nginx, "nginx-v1", gone)
        release = nginx.release(begun["id"])
        assert phases(release) == ["releasing", "pending_confirmation", "confirming", "confirmed"]
        assert release["legal"] == []
        assert old.get().text.startswith(NGINX_2)
        assert_only(clients, since, NGINX_2)


@contextmanager
def in_flight(app: App, browser: Visitor) -> Iterator[list[Answer]]:
    """A request that is under way while the context lasts; its answer is there afterwards."""
    answers: list[Answer] = []
    thread = threading.Thread(target=lambda: answers.append(browser.get("/?slow=1")))
    thread.start()
    wait_until(lambda: app.gateway.metric("gateway_in_flight_requests", service="nginx-v1") > 0)
    yield answers
    thread.join()


def test_nginx_is_released_and_rolled_back(nginx: LocalApp) -> None:
    kept = nginx.processes("nginx-v1")
    with load(nginx) as clients:
        out = cli(nginx, "deploy", "nginx", "-f", str(TEMPLATES / "nginx-v2.yaml"), "--wait")
        assert "pending confirmation" in out
        release = nginx.show()["release"]
        assert release["phase"] == "pending_confirmation"
        gone = nginx.processes("nginx-v2")
        nginx.api.set_weights("nginx.localhost", **{"nginx-v1": 0, "nginx-v2": 100})
        with nginx.browser() as pinned:
            assert pinned.get().text.startswith(NGINX_2)

            answer = nginx.api("POST", f"releases/{release['id']}/rollback")
            assert answer.status in (200, 202), answer
            since = time.monotonic()
            assert nginx.api.weights("nginx.localhost")["nginx-v1"] == 100
            assert pinned.get().text.startswith(NGINX_1), "pins to what is rolled back end"
        release = nginx.wait(release["id"], "rolled_back")
        assert phases(release) == [
            "releasing",
            "pending_confirmation",
            "rolling_back",
            "rolled_back",
        ]
        assert nginx.services() == {"nginx-v1": None}
        assert nginx.api.weights("nginx.localhost") == {"nginx-v1": 100}
        assert_gone(nginx, "nginx-v2", gone)
        assert nginx.processes("nginx-v1") == kept, "what stays is not restarted"
        assert_only(clients, since, NGINX_1)


def test_the_frontend_of_hello_and_then_its_backend_are_released_and_confirmed(
    hello: LocalApp,
) -> None:
    assert hello.newcomer() == "Hello world!"
    with load(hello) as clients:
        # the frontend: serviceB
        answer = hello.post("hello-2-frontend-release.yaml", "?strategy=blue-green")
        assert answer.status == 201, answer
        assert_frontend_release(answer.json)
        first = answer.json["id"]
        hello.wait(first, "pending_confirmation")
        assert hello.newcomer() == "Hello world!"
        assert hello.services() == {
            "serviceA-v1": "yellow",
            "serviceB-v1": "blue",
            "serviceB-v2": "green",
        }
        kept, gone = hello.processes("serviceA-v1"), hello.processes("serviceB-v1")
        assert (len(kept), len(gone)) == (3, 2)
        cli(hello, "shift", "hello", "100")
        since = time.monotonic()
        assert hello.api.weights("serviceb.localhost") == {"serviceB-v1": 0, "serviceB-v2": 100}
        assert hello.api.weights("servicea.local") == {"serviceA-v1": 100}
        assert hello.newcomer() == "Welcome to the world!"
        assert_only(clients, since, "Welcome to the world!")
        assert hello.api("POST", f"releases/{first}/confirm").status in (200, 202)
        hello.wait(first, "confirmed")
        assert hello.services() == {"serviceA-v1": None, "serviceB-v2": None}
        assert_gone(hello, "serviceB-v1", gone)
        assert hello.processes("serviceA-v1") == kept, "yellow is not touched"

        # the backend: serviceA, which no user calls
        out = cli(
            hello,
            "deploy",
            "hello",
            "-f",
            str(TEMPLATES / "hello-3-backend-release.yaml"),
            "--wait",
        )
        assert "pending confirmation" in out
        release = hello.show()["release"]
        assert_backend_release(release)
        assert hello.newcomer() == "Welcome to the world!"
        kept, gone = hello.processes("serviceB-v2"), hello.processes("serviceA-v1")
        hello.api.set_weights("servicea.local", **{"serviceA-v1": 0, "serviceA-v2": 100})
        since = time.monotonic()
        assert hello.newcomer() == "Welcome to the new world!"
        assert_only(clients, since, "Welcome to the new world!")
        cli(hello, "confirm", "hello", "--wait")
        assert hello.release(release["id"])["phase"] == "confirmed"
        assert hello.services() == {"serviceA-v2": None, "serviceB-v2": None}
        assert_gone(hello, "serviceA-v1", gone)
        assert hello.processes("serviceB-v2") == kept
        assert_only(clients, since, "Welcome to the new world!")


def test_the_frontend_of_hello_and_then_its_backend_are_released_and_rolled_back(
    hello: LocalApp,
) -> None:
    with load(hello) as clients:
        answer = hello.post("hello-2-frontend-release.yaml")
        assert_frontend_release(answer.json)
        hello.wait(answer.json["id"], "pending_confirmation")
        gone = hello.processes("serviceB-v2")
        shifted = hello.api("POST", f"releases/{answer.json['id']}/shift", {"new": 100})
        assert shifted.status == 200, shifted
        assert hello.newcomer() == "Welcome to the world!"
        cli(hello, "rollback", "hello", "--wait")
        since = time.monotonic()
        assert hello.release(answer.json["id"])["phase"] == "rolled_back"
        assert hello.services() == {"serviceA-v1": None, "serviceB-v1": None}
        assert_gone(hello, "serviceB-v2", gone)
        assert_only(clients, since, "Hello world!")

        # The frontend again, to stay: by force, without a switch before.
        template = str(TEMPLATES / "hello-2-frontend-release.yaml")
        cli(hello, "deploy", "hello", "-f", template, "--wait")
        cli(hello, "confirm", "hello", "--force", "--wait")
        assert hello.services() == {"serviceA-v1": None, "serviceB-v2": None}
        assert hello.newcomer() == "Welcome to the world!"

        answer = hello.post("hello-3-backend-release.yaml")
        assert_backend_release(answer.json)
        hello.wait(answer.json["id"], "pending_confirmation")
        kept, gone = hello.processes("serviceA-v1"), hello.processes("serviceA-v2")
        assert len(gone) == 3
        cli(hello, "weights", "servicea.local", "serviceA-v1=0", "serviceA-v2=100")
        assert hello.newcomer() == "Welcome to the new world!"
        assert hello.api("POST", "applications/hello/rollback").status in (200, 202)
        since = time.monotonic()
        assert_only(clients, since, "Welcome to the world!")
        hello.wait(answer.json["id"], "rolled_back")
        assert hello.services() == {"serviceA-v1": None, "serviceB-v2": None}
        assert hello.api.weights("servicea.local") == {"serviceA-v1": 100}
        assert_gone(hello, "serviceA-v2", gone)
        assert hello.processes("serviceA-v1") == kept


def test_what_cannot_be_released_is_refused_with_a_way_out_and_changes_nothing(
    nginx: LocalApp,
) -> None:
    before = (nginx.show(), nginx.api.routes())
    text = (TEMPLATES / "nginx-v1.yaml").read_text()

    redefined = nginx.post(text.replace("nginx:1.0", "nginx:2.0"))
    assert_refused(redefined, 422, "service_redefined", "nginx-v1", "name")

    assert_refused(nginx.post(text), 422, "nothing_to_release")

    other = App(nginx.gateway, "other", nginx.host)
    conflict = other.post(text.replace("nginx-v1", "page"))
    assert_refused(conflict, 409, "route_conflict", "nginx.localhost", "nginx-v1", "coexist")
    assert other.api("GET", "applications/other").status == 404

    unknown = nginx.post(text.replace("nginx:1.0", "nginx:9.0"))
    assert_refused(unknown, 422, "invalid")
    (error,) = unknown.json["errors"]
    assert error["field"] == "nginx-v1.image"
    assert "providers.process.images" in error["message"]

    assert (nginx.show(), nginx.api.routes()) == before
    assert nginx.newcomer().startswith(NGINX_1)
    assert json.dumps(nginx.show()["release"]) == "null"
