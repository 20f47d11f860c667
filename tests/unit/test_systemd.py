"""The unit files say what this program does; what a manager says is read with care."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

from gateway.cli.main import cli
from gateway.runtime.configuration import load
from gateway.runtime.settings import Settings
from gateway.runtime.supervisor import EXIT_REFUSED, SIGNALS
from gateway.runtime.systemd import Notifier, take_sockets

ROOT = Path(__file__).parents[2]
SERVICE, SOCKET = ROOT / "config" / "gateway.service", ROOT / "config" / "gateway.socket"
LINE = re.compile(r"(?P<key>[A-Za-z]+)=(?P<value>.*)")

Unit = dict[str, dict[str, list[str]]]


def parsed(path: Path) -> Unit:
    """Sections of keys with all their values; whatever is no unit file fails."""
    unit: Unit = {}
    section: dict[str, list[str]] | None = None
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line or line.startswith(("#", ";")):
            continue
        if line.startswith("[") and line.endswith("]"):
            section = unit.setdefault(line[1:-1], defaultdict(list))
            continue
        found = LINE.fullmatch(line)
        assert found is not None, f"{path.name}:{number}: {line}"
        assert section is not None, f"{path.name}:{number}: before any section"
        section[found["key"]].append(found["value"])
    return unit


def test_the_service_is_told_what_the_program_does() -> None:
    unit = parsed(SERVICE)
    assert set(unit) == {"Unit", "Service", "Install"}
    service = unit["Service"]
    once = {key: values[0] for key, values in service.items() if len(values) == 1}
    assert set(once) == set(service), "a key twice"
    assert (once["Type"], once["NotifyAccess"]) == ("notify", "main")
    assert once["KillMode"] == "mixed", "TERM to backends would end them before the drain"
    assert once["RestartPreventExitStatus"] == str(EXIT_REFUSED)
    assert once["ExecReload"].endswith("kill -HUP $MAINPID")
    timeouts = Settings().timeouts
    assert float(once["TimeoutStopSec"]) > timeouts.lame_duck + timeouts.drain
    assert float(once["WatchdogSec"]) >= 10
    for key in ("NoNewPrivileges", "PrivateTmp", "ProtectHome", "PrivateDevices"):
        assert once[key] == "yes"
    assert once["ProtectSystem"] == "strict"
    assert {"AF_UNIX", "AF_INET", "AF_INET6"} == set(once["RestrictAddressFamilies"].split())


def test_its_command_is_one_of_this_program() -> None:
    (command,) = parsed(SERVICE)["Service"]["ExecStart"]
    python, *words = shlex.split(command)
    assert Path(python).is_absolute()
    assert words[:4] == ["-P", "-m", "gateway", "run"]
    run = cli.get_command(None, "run")  # type: ignore[arg-type]
    assert run is not None
    options = run.make_context("run", ["-c", str(ROOT / "config" / "gateway.yaml")]).params
    assert options["config"] is not None
    assert words[4] == "-c"


def test_the_sockets_are_named_like_entrypoints_of_the_shipped_configuration() -> None:
    unit = parsed(SOCKET)
    (name,) = unit["Socket"]["FileDescriptorName"]
    assert name in load(ROOT / "config" / "gateway.yaml").entrypoints
    assert unit["Socket"]["Service"] == [SERVICE.name]
    assert "Accept" not in unit["Socket"], "whole connections, not one process for each"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_finds_no_fault_with_them(tmp_path: Path) -> None:
    for path in (SERVICE, SOCKET):
        text = path.read_text().replace("/opt/gateway/current/bin/python", "/bin/sh")
        (tmp_path / path.name).write_text(text)
    paths = [str(tmp_path / path.name) for path in (SERVICE, SOCKET)]
    verify = ["systemd-analyze", "verify", "--man=no", *paths]
    found = subprocess.run(verify, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stderr) == (0, "")
    security = ["systemd-analyze", "security", "--offline=yes", "--threshold=25", "--no-pager"]
    found = subprocess.run([*security, paths[0]], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout[-300:]


def test_every_signal_and_the_unit_files_stand_in_the_page_for_operators() -> None:
    page = (ROOT / "docs" / "operation.md").read_text()
    told = set(re.findall(r"`([A-Z0-9]+)`", page.partition("## Upgrade")[0]))
    obeyed = {number.name.removeprefix("SIG") for number in SIGNALS}
    assert told >= obeyed - {"CHLD"}
    for words in ("config/gateway.service", "config/gateway.socket", "Type=notify"):
        assert words in page
    for key in ("KillMode=mixed", "RestartPreventExitStatus=2"):
        assert key in page
        assert key in SERVICE.read_text()


def test_variables_are_taken_once_and_those_of_another_process_are_not_meant() -> None:
    environ = {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "1", "A": "b"}
    notifier = Notifier.take(environ)
    assert environ == {"A": "b"}
    assert notifier.watchdog_s is None
    assert set(notifier.variables) == {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}
    environ = {**notifier.variables, "WATCHDOG_PID": str(os.getpid())}
    assert Notifier.take(environ).watchdog_s == 2.0
    assert Notifier.take({"WATCHDOG_USEC": "2000000"}).watchdog_s is None
    environ = {"LISTEN_PID": "1", "LISTEN_FDS": "3", "LISTEN_FDNAMES": "a:b:c"}
    assert take_sockets(environ) == ()
    assert environ == {}


@pytest.mark.parametrize("count", ["", "-1", "x", "9" * 30])
def test_a_count_that_is_none_means_no_sockets(count: str) -> None:
    assert take_sockets({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": count}) == ()
