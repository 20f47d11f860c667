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
from dataclasses import dataclass
from pathlib import Path

import pytest

START_S = 60


@dataclass(frozen=True)
class Demo:
    process: subprocess.Popen[str]
    folder: Path
    stops: list[list[str]]
    """The lines of each stop of the printed tour."""

    def stop(self, number: int) -> list[str]:
        """Paste the lines of a stop into one shell; what each printed."""
        mark = "-- next --"
        done = subprocess.run(
            ["/bin/bash", "-c", f"\necho '{mark}'\n".join(self.stops[number - 1])],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.split(f"{mark}\n")


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def configure(folder: Path) -> list[int]:
    ports = free_ports(3)
    (folder / "demo.yaml").write_text(
        f"""
        entrypoints:
          public: {{listen: "127.0.0.1:{ports[0]}"}}
          internal: {{listen: "127.0.0.1:{ports[1]}", internal: true}}
        admin: {{listen: "127.0.0.1:{ports[2]}", auth: none}}
        state_dir: .demo
        workers: 2
        timeouts: {{lame_duck: 0, drain: 5}}
        """
    )
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
    process = start(folder)
    assert process.stdout
    assert process.stderr
    try:
        yield Demo(process, folder, read_tour(process))
        children = children_of(process.pid)
        assert len(children) >= 5 + 1 + 2 + 1, "five backends, supervisor, two workers, control"
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        wait_gone(children)
        assert process.stderr.read() == ""
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()
        process.stderr.close()


def test_the_tour_works_line_by_line(demo: Demo) -> None:
    # one test, because the tour is one story: each stop starts from where the last one left
    pages, api = demo.stop(1)
    versions = [line.split()[0] for line in pages.splitlines()]
    assert len(versions) == 20
    # 9 to 1 in every round of 10 on each worker; two workers share the connections unevenly
    assert 1 <= versions.count("page-v2") <= 3
    assert set(versions) == {"page-v1", "page-v2"}
    assert json.loads(api)["service"] == "api-v1"

    shown, put, routes = demo.stop(2)
    assert json.loads(shown) == {"page-v1": 90, "page-v2": 10}
    assert json.loads(put)["weights"] == {"page-v1": 100, "page-v2": 0}
    assert re.search(r"page\.localhost +page-v1 +100 +100 %", routes)

    browser = demo.stop(3)[0].splitlines()
    assert len(browser) == 3
    instance = {line.split(",")[0] for line in browser}
    assert len(instance) == 1, "a browser keeps its instance"
    assert browser[0].startswith("page-v1 ")

    _, old, new = demo.stop(4)
    assert old.split(",")[0] in instance
    assert new.startswith("page-v2 ")

    _, drained, moved, shown, resumed = demo.stop(5)
    assert json.loads(drained)["drained"] is True
    assert moved.startswith("page-v1 ")
    assert moved.split(",")[0] not in instance
    assert "draining" in shown
    assert "applied by 2 of 2 workers" in resumed

    preview, explained, selected = demo.stop(6)
    assert preview.startswith("page-v1 ")
    assert re.search(r"^service +-/page-v2$", explained, re.M)
    assert re.search(r"^service +-/page-v1$", selected, re.M)

    (metrics,) = demo.stop(7)
    assert 'application="-"' in metrics
    assert 'service="page-v1"' in metrics


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
    before = (demo.stop(6)[1], log.read_text())
    out, err = start(demo.folder).communicate(timeout=START_S)
    assert "in use" in err, out
    assert len(err.splitlines()) == 1
    assert (demo.stop(6)[1], log.read_text()) == before


def test_nothing_outlives_a_killed_demo(tmp_path: Path) -> None:
    configure(tmp_path)
    process = start(tmp_path)
    read_tour(process)
    children = children_of(process.pid)
    process.kill()
    process.communicate()
    wait_gone(children)
