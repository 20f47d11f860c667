"""`gateway demo` as a newcomer meets it: every line of its tour, and its end."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from gateway.core import templates
from gateway.runtime import configuration

README = Path(__file__).parents[2] / "README.md"
CONFIG = README.parent / "config" / "demo.yaml"
START_S = 60


class Demo:
    """A running demo in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process = start(folder)
        self.stops = read_tour(self.process)
        """The lines of each stop of the printed tour."""
        self.told = ""
        """What the last stop printed to standard error."""

    def stop(self, number: int, lines: int | None = None) -> list[str]:
        """Paste the (first) lines of a stop into one shell; what each printed."""
        mark = "-- next --"
        done = subprocess.run(
            ["/bin/bash", "-c", f"\necho '{mark}'\n".join(self.stops[number - 1][:lines])],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done
        self.told = done.stderr
        return done.stdout.split(f"{mark}\n")

    def interrupt(self) -> None:
        """Ctrl-C; everything must end."""
        children = children_of(self.process.pid)
        assert len(children) >= 6 + 1 + 2 + 1, "six programs, supervisor, two workers, control"
        self.process.send_signal(signal.SIGINT)
        _, err = self.process.communicate(timeout=30)
        assert (self.process.returncode, err) == (0, "")
        wait_gone(children)


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def configure(folder: Path) -> list[int]:
    """The demo's own configuration, on other ports."""
    ports = free_ports(3)
    config = yaml.safe_load(CONFIG.read_text())
    for section, port in zip(
        (*config["entrypoints"].values(), config["admin"]), ports, strict=True
    ):
        section["listen"] = f"127.0.0.1:{port}"
    (folder / "demo.yaml").write_text(yaml.safe_dump(config))
    return ports


def start(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "gateway", "demo", "-c", "demo.yaml"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )


def end(process: subprocess.Popen[str]) -> None:
    """Whatever a test has left of it."""
    process.terminate()
    process.communicate(timeout=30)


def read_tour(process: subprocess.Popen[str]) -> list[list[str]]:
    assert process.stdout
    assert process.stderr
    stops: list[list[str]] = []
    for line in process.stdout:
        if line.startswith("Ctrl-C"):
            return stops
        if re.match(r"# \d", line):
            stops.append([])
        elif stops and line.strip():
            stops[-1].append(line.strip())
    raise AssertionError(f"the demo ended: {process.stderr.read()}")


def children_of(pid: int) -> set[int]:
    """All descendants."""
    found: set[int] = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == pid:
            child = int(path.parent.name)
            found |= {child} | children_of(child)
    return found


def wait_gone(pids: set[int]) -> None:
    deadline = time.monotonic() + 20
    while alive := {pid for pid in pids if is_alive(pid)}:
        assert time.monotonic() < deadline, f"still there: {alive}"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    folder = tmp_path_factory.mktemp("demo")
    configure(folder)
    demo = Demo(folder)
    try:
        yield demo
        demo.interrupt()
    finally:
        end(demo.process)


def test_the_tour_works_line_by_line(demo: Demo) -> None:
    # one test, because the tour is one story: each stop starts from where the last one left
    nginx, hello, applications, status = demo.stop(1)
    assert nginx.startswith("Welcome to nginx! version 1.0 ")
    assert hello == "Hello world!\n"
    assert re.search(r"nginx +1/1", applications)
    assert re.search(r"hello +5/5", applications)
    assert {"serviceA-v1", "serviceB-v1"} <= set(status.split())

    assert demo.stop(2)[0].startswith("Welcome to nginx! version 1.0 ")

    deployed, status, weights, nginx = demo.stop(3)
    assert "pending confirmation" in deployed
    assert re.search(r"nginx-v1 .*blue", status)
    assert re.search(r"nginx-v2 .*green", status)
    assert json.loads(weights) == {"nginx-v1": 100, "nginx-v2": 0}
    assert nginx.startswith("Welcome to nginx! version 1.0 ")

    (refused,) = demo.stop(4)
    assert json.loads(refused)["code"] == "release_in_progress"

    put, browser, nginx = demo.stop(5)
    assert json.loads(put)["weights"] == {"nginx-v1": 0, "nginx-v2": 100}
    assert browser.startswith("Welcome to nginx! version 1.0 ")
    assert nginx.startswith("Welcome to nginx! version 2.0 ")

    confirmed, status, browser = demo.stop(6)
    assert "confirmed" in confirmed
    assert "nginx-v2" in status
    assert "nginx-v1" not in status
    assert browser.startswith("Welcome to nginx! version 2.0 ")

    deployed, shifted, old, rolled_back, new = demo.stop(7)
    assert "pending confirmation" in deployed
    assert "nginx-v1" in shifted
    assert old.startswith("Welcome to nginx! version 1.0 ")
    assert "rolled back" in rolled_back
    assert new.startswith("Welcome to nginx! version 2.0 ")

    _, status, before, _, after, confirmed = demo.stop(8)
    assert demo.told.count("coexist") == 1, "the route is shared without the label: a warning, once"
    for service, colour in (
        ("serviceA-v1", "yellow"),
        ("serviceB-v1", "blue"),
        ("serviceB-v2", "green"),
    ):
        assert re.search(rf"{service} .*{colour}", status)
    assert (before, after) == ("Hello world!\n", "Welcome to the world!\n")
    assert "confirmed" in confirmed

    _, _, after, confirmed, routes = demo.stop(9)
    assert after == "Welcome to the new world!\n"
    assert "confirmed" in confirmed
    assert "serviceA-v2" in routes
    assert "serviceA-v1" not in routes

    listed, history, logs, metrics = demo.stop(10)
    assert re.search(r"nginx-2 .*confirmed", listed)
    assert [release["phase"] for release in json.loads(history)["releases"]] == [
        "rolled_back",
        "confirmed",
        "confirmed",
    ]
    assert "service_b 2.0 listens on" in logs
    assert 'application="hello"' in metrics


def fences(page: Path, language: str) -> list[str]:
    """What stands in the page's blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.M | re.S)


def test_the_application_of_the_readme_is_one() -> None:
    config, template = fences(README, "yaml")
    images = configuration.parse(config).providers.process.images
    parsed = templates.parse(
        yaml.safe_load(template), application="shop", domain="localhost", source=template
    )
    assert parsed.warnings == ()
    (service,) = parsed.template.services
    assert service.launch
    assert service.launch.image in images
    assert (service.scale, service.coexist) == (2, True)
    assert [claim.route for claim in service.claims] == ["shop.localhost"]


def test_the_first_minute_of_the_readme_and_a_start_that_begins_anew(tmp_path: Path) -> None:
    public, _, admin = configure(tmp_path)
    first = Demo(tmp_path)
    try:
        first_minute = next(text for text in fences(README, "sh") if "nginx-v2.yaml" in text)
        text = (
            first_minute.replace(".venv/bin/gateway", f"{sys.executable} -m gateway")
            .replace("config/templates", str(CONFIG.parent / "templates"))
            .replace("127.0.0.1:8080", f"127.0.0.1:{public}")
        )
        done = subprocess.run(
            ["/bin/bash", "-ec", text],
            cwd=tmp_path,
            env=os.environ | {"GATEWAY_ADMIN": f"127.0.0.1:{admin}"},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done
        assert "Welcome to nginx! version 1.0" in done.stdout
        assert first.stop(1)[0].startswith("Welcome to nginx! version 2.0 ")
        first.stop(8, lines=1)  # a release in flight
        first.interrupt()
        again = Demo(tmp_path)
    finally:
        end(first.process)
    try:
        nginx, hello, applications, status = again.stop(1)
        assert nginx.startswith("Welcome to nginx! version 1.0 ")
        assert hello == "Hello world!\n"
        assert re.search(r"nginx +1/1", applications)
        assert not {"serviceA-v2", "serviceB-v2"} & set(status.split())
        again.interrupt()
    finally:
        end(again.process)


def test_an_application_that_does_not_come_up_is_said_why(tmp_path: Path) -> None:
    configure(tmp_path)
    place = tmp_path / "demo.yaml"
    config = yaml.safe_load(place.read_text())
    config["releases"]["deadline"] = 1.5
    for image in config["providers"]["process"]["images"].values():
        image["command"] = [*image["command"], "--version", "0.9"]
    place.write_text(yaml.safe_dump(config))
    out, err = (process := start(tmp_path)).communicate(timeout=START_S)
    assert process.returncode == 1, out + err
    assert "nginx did not come up: " in err
    assert "ended with exit code 2" in err
    assert "invalid choice: '0.9'" in err, "the last words of the program"


@pytest.mark.parametrize("entrypoint", [0, 1, 2])
def test_a_port_in_use_is_one_line_and_exit_code_2(tmp_path: Path, entrypoint: int) -> None:
    ports = configure(tmp_path)
    with socket.create_server(("127.0.0.1", ports[entrypoint])):
        process = start(tmp_path)
        out, err = process.communicate(timeout=START_S)
    assert process.returncode == 2, out + err
    assert len(err.splitlines()) == 1
    assert str(ports[entrypoint]) in err


def test_a_folder_that_cannot_be_written_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    configure(tmp_path)
    (tmp_path / ".demo").write_text("in the way")
    out, err = (process := start(tmp_path)).communicate(timeout=START_S)
    assert process.returncode == 2, out + err
    assert len(err.splitlines()) == 1
    assert ".demo" in err


def test_a_second_demo_leaves_the_first_alone(demo: Demo) -> None:
    log = demo.folder / ".demo" / "gateway.log"
    before = (demo.stop(1)[:2], log.read_text())
    out, err = start(demo.folder).communicate(timeout=START_S)
    assert "in use" in err, out
    assert len(err.splitlines()) == 1
    assert (demo.stop(1)[:2], log.read_text()) == before


def test_nothing_outlives_a_killed_demo(tmp_path: Path) -> None:
    configure(tmp_path)
    process = start(tmp_path)
    read_tour(process)
    children = children_of(process.pid)
    process.kill()
    process.communicate()
    wait_gone(children)
