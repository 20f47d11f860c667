"""The Docker Engine the tests run on: it does what tests count on, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import urllib.request
from pathlib import Path

import pytest

from tests.support import dockerd
from tests.support.docker_engine import BUSYBOX, Engine, NoEngineError
from tests.support.processes import is_alive, wait_until
from tests.support.wheels import repack

SERVE = ("sh", "-c", "echo hello >/tmp/index.html; exec httpd -f -p 80 -h /tmp")


def read(address: str) -> bytes:
    with urllib.request.urlopen(f"http://{address}/", timeout=5) as answer:
        body: bytes = answer.read()
        return body


def answers(address: str) -> bool:
    try:
        return read(address) == b"hello\n"
    except OSError:
        return False


def test_a_container_is_reached_at_its_address_and_removed_after_the_test(docker: Engine) -> None:
    container = docker.run(BUSYBOX, *SERVE, name="shop", labels={"a.b": "c"})
    wait_until(lambda: answers(docker.address_of("shop")), what="httpd")
    assert docker.inspect(container)["Config"]["Labels"]["a.b"] == "c"
    docker.clear()
    assert docker.containers() == []


def test_a_container_reaches_the_machine(docker: Engine, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("hello")
    with subprocess.Popen(
        ["busybox", "httpd", "-f", "-p", f"{docker.address}:28399", "-h", str(tmp_path)],
    ) as server:
        command = f"until wget -q -O- http://{docker.address}:28399/; do :; done"
        assert docker("run", "--rm", BUSYBOX, "sh", "-c", command) == "hello"
        server.kill()


def test_images_are_built_of_the_python_that_runs_the_tests(docker: Engine, tmp_path: Path) -> None:
    # Also where that Python is a distribution's, which wants no packages but its own.
    repack("idna", tmp_path)
    image = docker.build(
        "gateway-test/app:1",
        "ARG BASE\nFROM ${BASE}\nCOPY app.py wheels /\nRUN python -m pip install --no-index /*.whl\n",
        {
            "app.py": "import idna, ssl, ctypes, sqlite3, sys; print(sys.version)",
            "wheels": tmp_path,
        },
        BASE=docker.python,
    )
    version = docker("run", "--rm", image, "python", "/app.py")
    assert version == __import__("sys").version


def test_the_daemon_can_be_stopped_killed_and_frozen(docker: Engine) -> None:
    docker.run(BUSYBOX, *SERVE, name="shop", options=["--init"])
    docker.stop(signal.SIGKILL)
    assert not docker.is_up()
    docker.start()
    assert docker.containers() == ["shop"]
    docker.freeze()
    with pytest.raises(OSError, match="timed out"):
        docker.api("GET", "/_ping", timeout_s=0.2)
    docker.thaw()
    docker.stop()
    docker.start()
    assert docker.is_up()


def leftovers(engine: Engine) -> list[str]:
    """What of an engine is still there."""
    mounts = Path("/proc/self/mounts").read_text()
    networks = [str(address) for _, address in dockerd._addresses()]
    return [
        *(["folder"] if engine.folder.exists() else []),
        *(["mount"] if str(engine.folder) in mounts else []),
        *(["bridge"] if Path(f"/sys/class/net/{engine.bridge}").exists() else []),
        *(["network"] if engine.address in networks else []),
        *map(str, dockerd.CONTROL_GROUPS.rglob(engine.bridge)),
    ]


@pytest.mark.parametrize("is_killed", [False, True], ids=["closed", "its user killed"])
def test_nothing_is_left_of_an_engine(docker_engine: Engine, is_killed: bool) -> None:
    try:
        engine = Engine()
    except NoEngineError as error:  # a second one at the same time
        pytest.fail(str(error))
    engine.run(BUSYBOX, *SERVE, name="shop")
    engine("network", "create", "own")
    engine("run", "-d", "--network", "own", BUSYBOX, *SERVE)
    daemon, keeper = engine.pid, engine._keeper
    assert daemon is not None
    assert leftovers(engine)
    assert keeper.stdin is not None and keeper.stdout is not None
    if is_killed:  # all its user's files are closed, nothing else happens
        keeper.stdin.close()
        keeper.wait(30)
        keeper.stdout.close()
    else:
        engine.close()
    assert not is_alive(daemon)
    assert leftovers(engine) == []
    assert docker_engine.is_up(), "others are not touched"
    assert docker_engine.address != engine.address
    assert os.listdir(docker_engine.folder)
