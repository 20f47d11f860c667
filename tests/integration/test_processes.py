"""Services of templates as local processes, by a whole gateway: started, replaced, drained, ended.

Programs are the demo's small servers and shell scripts; templates come over the API.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.runtime import marks
from tests.support.gateway import Gateway, Visitor, free_port
from tests.support.processes import is_alive, wait_until

PYTHON = sys.executable
PAGE = [PYTHON, "-P", "-m", "gateway.demo.service_a", "--version", "1.0"]
IMAGES: dict[str, dict[str, Any]] = {
    "page:1": {"command": ["${PYTHON}", *PAGE[1:], "--port", "${PORT}"]},
    "shell:1": {"command": ["sh", "-c", f"sleep 600 & {' '.join(PAGE)}; echo never"]},
    "missing:1": {"command": ["/nowhere/program"]},
    "ends:1": {"command": ["sh", "-c", "echo oh no; exit 3"]},
    "mute:1": {"command": ["sh", "-c", "echo up; exec sleep 600"]},
    "deaf:1": {"command": ["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"]},
    "loud:1": {
        "command": ["sh", "-c", "while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done"]
    },
    "env:1": {"command": ["sh", "-c", "env; exec sleep 600"], "environment": {"OF": "image"}},
    "free:1": {"command": ["sh", "-c", "exec sleep 600"], "allow_command": True},
}


class Applications:
    """Templates deployed to a gateway, and its processes."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.api = gateway.api

    def deploy(self, application: str, template: str, status: int = 201) -> Any:
        answer = self.api(
            "POST",
            f"applications/{application}/releases",
            raw=template.encode(),
            headers={"Content-Type": "application/yaml"},
        )
        assert answer.status == status, answer
        return answer.json

    def page(self, name: str, image: str = "page:1", scale: int = 1, more: str = "") -> None:
        """An application with one service that answers at `<name>.localhost`."""
        self.deploy(
            name,
            f"{name}:\n  image: {image}\n{more}  labels:\n    aliyun.scale: {scale}\n"
            f"    aliyun.routing.port_80: {name}\n",
        )

    def instances(self, service: str) -> dict[str, str]:
        """Ids and states."""
        answer = self.api("GET", f"services/{service}/instances")
        if answer.status == 404:
            return {}
        return {i["id"]: i["state"] for i in answer.json["instances"]}

    def wait_up(self, service: str, count: int = 1) -> list[str]:
        wait_until(
            lambda: list(self.instances(service).values()) == ["up"] * count,
            what=f"{count} of {service}",
        )
        return list(self.instances(service))

    def failures(self, application: str) -> list[dict[str, Any]]:
        answer = self.api.ok("GET", f"applications/{application}")
        (service,) = answer["release"]["services"]
        found: list[dict[str, Any]] = service["failures"]
        return found

    def remove(self, application: str) -> None:
        answer = self.api("DELETE", f"applications/{application}?force=true")
        assert answer.status in (200, 202), answer

    def lines(self, application: str) -> list[str]:
        found = self.api.ok("GET", f"applications/{application}/logs?lines=1000")
        return [line["line"] for line in found["lines"]]

    def pids(self, service: str) -> dict[int, str]:
        """All processes of a service's instances, by the mark they carry."""
        home = marks.home_of(self.gateway.state)
        return {m.pid: m.id for m in marks.marked(home) if m.id.startswith(f"{service}@")}

    def get(self, name: str) -> tuple[int, str]:
        answer = self.gateway.ask("public", host=f"{name}.localhost")
        return answer.status, answer.text


def configuration(**process: Any) -> dict[str, Any]:
    first = free_port() // 50 * 50
    process = {"images": IMAGES, "ports": [first, first + 200], "stop_grace": 5, **process}
    return {"providers": {"process": process}, "checks": {"interval": 0.3}}


@contextmanager
def running(folder: Path, **process: Any) -> Iterator[Applications]:
    with Gateway(folder, workers=1, **configuration(**process)) as gateway:
        try:
            yield Applications(gateway)
        finally:
            if gateway.process is not None and gateway.process.poll() is None:
                gateway.stop()
            left = [m.pid for m in marks.marked(marks.home_of(gateway.state))]
            for pid in left:
                os.kill(pid, signal.SIGKILL)
            assert not left, "a gateway that stopped left processes behind"


@pytest.fixture(scope="module")
def apps(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Applications]:
    """Of one gateway for all tests that leave it running; each has applications of its own."""
    with running(tmp_path_factory.mktemp("shared"), log_bytes=4096) as made:
        yield made


@contextmanager
def asking(apps: Applications, name: str) -> Iterator[list[tuple[int, str]]]:
    """A client with a new connection for each request, all the while; gives what went wrong."""
    failures: list[tuple[int, str]] = []
    is_over = threading.Event()

    def ask() -> None:
        while not is_over.is_set():
            answer = apps.get(name)
            if answer[0] != 200:
                failures.append(answer)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield failures
    finally:
        is_over.set()
        thread.join()


def test_instances_are_started_answer_and_what_they_write_can_be_read(apps: Applications) -> None:
    apps.page("one", scale=2)
    instances = apps.wait_up("one", 2)
    assert len(set(instances)) == 2
    assert apps.get("one") == (200, "world!")
    assert set(apps.pids("one").values()) == set(instances)
    assert {f"service_a 1.0 listens on {i.split('@')[1]}" for i in instances} <= set(
        apps.lines("one")
    )
    apps.remove("one")
    wait_until(lambda: not apps.pids("one"), what="the end of all processes")
    assert apps.lines("one").count("stopped") == 2  # kept, to the last line


def test_an_instance_that_dies_is_replaced_while_the_others_serve(apps: Applications) -> None:
    apps.page("dies", scale=2)
    before = apps.wait_up("dies", 2)
    apps.get("dies")
    pid, dead = next(iter(apps.pids("dies").items()))
    with asking(apps, "dies") as failures:
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: dead not in apps.instances("dies"), what="another instance")
        apps.wait_up("dies", 2)
    assert len(failures) <= 1, failures  # the request it was just answering
    assert set(apps.instances("dies")) - set(before)


@pytest.mark.parametrize(
    ("image", "what", "output"),
    [
        ("missing:1", "cannot be started: No such file or directory: '/nowhere/program'", []),
        ("ends:1", "ended with exit code 3 after", ["oh no"]),
    ],
)
def test_a_program_that_does_not_come_up_says_why(
    apps: Applications, image: str, what: str, output: list[str]
) -> None:
    name = image.split(":")[0]
    apps.page(name, image)
    wait_until(lambda: len(apps.failures(name)) >= 3, what="three tries")
    failure = apps.failures(name)[0]
    assert failure["what"].startswith(what)
    assert failure["output"] == output
    assert apps.get(name)[0] == 503
    apps.remove(name)


def test_a_program_that_never_listens_says_why_it_is_not_healthy(apps: Applications) -> None:
    apps.page("mute", "mute:1")
    wait_until(lambda: apps.instances("mute"), what="an instance")
    (instance,) = apps.api.ok("GET", "services/mute/instances")["instances"]
    wait_until(
        lambda: (
            apps.api.ok("GET", "services/mute/instances")["instances"][0]["problem"]
            == "Connection refused"
        )
    )
    assert instance["id"] in apps.pids("mute").values()
    (failure,) = apps.failures("mute")
    assert failure["what"] == "does not pass its check: Connection refused"
    assert failure["output"] == ["up"]
    apps.remove("mute")
    wait_until(lambda: not apps.pids("mute"), what="its end")


def test_a_program_that_ignores_term_is_killed_after_its_grace_time(apps: Applications) -> None:
    apps.page("deaf", "deaf:1", more="  stop_grace_period: 300ms\n")
    wait_until(lambda: apps.pids("deaf"), what="its start")
    apps.remove("deaf")
    wait_until(lambda: not apps.pids("deaf"), what="its end")
    assert apps.gateway.said("has not ended in time: killed")


def test_a_shell_script_takes_all_it_started_with_it(apps: Applications) -> None:
    apps.page("shell", "shell:1")
    apps.wait_up("shell")
    assert len(apps.pids("shell")) == 3
    apps.remove("shell")
    wait_until(lambda: not apps.pids("shell"), what="the end of all of it")


def test_output_stays_bounded_while_a_program_floods_it(apps: Applications) -> None:
    apps.page("loud", "loud:1")
    wait_until(lambda: apps.gateway.said("the older half of"), what="a trimmed file")
    (file,) = (apps.gateway.state / "logs" / "loud" / "loud").iterdir()
    wait_until(lambda: file.read_bytes().startswith(b"-- "), what="its first line")
    assert set(apps.lines("loud")[1:]) == {"x" * 34}
    apps.remove("loud")


def test_a_backend_has_a_clean_environment_and_the_way_to_internal_services(
    apps: Applications,
) -> None:
    apps.deploy(
        "env",
        "env:\n  image: env:1\n  environment: {MINE: 1}\n  external_links: [servicea.local]\n"
        "  labels: {aliyun.routing.port_80: env}\n",
    )
    wait_until(lambda: "MINE=1" in apps.lines("env"), what="its environment")
    found = dict(line.split("=", 1) for line in apps.lines("env"))
    internal = f"http://127.0.0.1:{apps.gateway.ports['internal']}"
    assert found["http_proxy"] == found["HTTP_PROXY"] == internal
    assert found["no_proxy"] == "localhost,127.0.0.1,::1"
    assert found["OF"] == "image"
    assert found["PORT"] == found["PORT_80"] == next(iter(apps.instances("env"))).split(":")[1]
    assert not [name for name in found if name.startswith(("GATEWAY_CHILD", "PYTEST", "VIRTUAL"))]
    apps.remove("env")


def test_a_command_checks_an_instance_where_the_configuration_allows_it(
    apps: Applications,
) -> None:
    template = (
        'checked:\n  image: {image}\n  labels:\n    aliyun.probe.cmd: test -n "$$PORT"\n'
        "    aliyun.routing.port_80: checked\n"
    )
    apps.deploy("checked", template.format(image="free:1"))
    apps.wait_up("checked")
    refused = apps.deploy("other", template.format(image="page:1"), 422)
    assert "allow_command" in str(refused["errors"])
    apps.remove("checked")


def test_scaling_down_lets_requests_under_way_end(apps: Applications) -> None:
    apps.page("less", scale=2)
    apps.wait_up("less", 2)
    visitors = [Visitor(apps.gateway.ports["public"], "less.localhost") for _ in range(4)]
    answers: list[int] = []

    def ask(visitor: Visitor) -> None:
        with visitor:
            answers.append(visitor.get("/?slow=1").status)

    threads = [threading.Thread(target=ask, args=(v,)) for v in visitors]
    for thread in threads:
        thread.start()
    wait_until(
        lambda: (
            sum(i["in_flight"] for i in apps.api.ok("GET", "services/less/instances")["instances"])
            == 4
        ),
        what="requests under way",
    )
    assert apps.api("PATCH", "services/less", {"scale": 1}).status == 200
    wait_until(lambda: "draining" in apps.instances("less").values(), what="one that retires")
    for thread in threads:
        thread.join()
    assert answers == [200] * 4
    apps.wait_up("less", 1)
    wait_until(lambda: len(apps.pids("less")) == 1, what="the end of one")
    apps.remove("less")


def test_a_new_image_in_the_configuration_is_known_after_hup(apps: Applications) -> None:
    template = "later:\n  image: later:1\n  labels: {aliyun.routing.port_80: later}\n"
    assert "later:1" in str(apps.deploy("later", template, 422)["errors"])
    apps.gateway.config["providers"]["process"]["images"] = {**IMAGES, "later:1": IMAGES["page:1"]}
    apps.gateway.write_config()
    apps.gateway.kill(apps.gateway.supervisor, signal.SIGHUP)
    apps.gateway.wait_said("configuration read again")
    apps.deploy("later", template)
    apps.wait_up("later")
    apps.remove("later")


def test_a_new_control_process_changes_no_traffic_and_no_process(apps: Applications) -> None:
    apps.page("same", scale=2)
    apps.wait_up("same", 2)
    before = apps.pids("same")
    with asking(apps, "same") as failures:
        apps.gateway.kill_control()
        apps.wait_up("same", 2)
    assert failures == []
    assert apps.pids("same") == before
    apps.remove("same")


def test_kills_while_processes_are_started_make_neither_doubles_nor_gaps(
    apps: Applications,
) -> None:
    apps.page("many", "mute:1", scale=12)
    apps.gateway.kill_control()
    wait_until(lambda: apps.pids("many"), what="a first process")
    apps.gateway.kill_control()
    wait_until(lambda: len(apps.instances("many")) == 12, what="12 instances")
    assert sorted(apps.pids("many").values()) == sorted(apps.instances("many"))
    apps.remove("many")
    wait_until(lambda: not apps.pids("many"), what="their end")


def test_after_a_killed_supervisor_the_next_start_has_each_process_once(tmp_path: Path) -> None:
    with running(tmp_path) as apps:
        apps.page("web", scale=2)
        apps.page("deaf", "deaf:1", more="  stop_grace_period: 100ms\n")
        apps.page("shell", "shell:1")
        apps.wait_up("web", 2)
        apps.wait_up("shell")
        before = {**apps.pids("web"), **apps.pids("deaf"), **apps.pids("shell")}
        assert len(before) >= 6
        assert apps.gateway.process is not None
        apps.gateway.kill(apps.gateway.supervisor)
        apps.gateway.process.wait()
        apps.gateway.start()
        assert not [pid for pid in before if is_alive(pid)]
        apps.wait_up("web", 2)
        apps.wait_up("shell")
        assert apps.get("web") == (200, "world!")
        assert len(apps.pids("web")) == 2
