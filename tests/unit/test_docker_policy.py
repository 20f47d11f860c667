"""What a template may ask of the Docker Engine, and which launcher a service goes to."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import orjson
import pytest

from admin.providers.docker.env_files import env_file
from admin.templates import examine, read_text
from gateway.runtime.configuration import BadConfiguration, parse
from gateway.runtime.settings import Settings

ALLOWING = """
providers:
  process: {images: {"local:1": {command: [python]}}}
  docker:
    network: edge
    allow_binds: [/srv/data, "/srv/themes:ro"]
    allow_volumes: [shared]
    allow_networks: [partners]
    allow_capabilities: [NET_ADMIN]
"""


def found(settings: Settings, top: dict[str, Any] | None = None, **content: Any) -> list[str]:
    """`place: message` of all problems and warnings of a service `web`."""
    document = {"services": {"web": {"image": "box:1", **content}}, **(top or {})}
    text = read_text(orjson.dumps(document), "application/json")
    outcome = examine(text, "app", settings)
    return [f"{p.place}: {p.message}" for p in outcome.problems] + list(outcome.warnings)


@pytest.mark.parametrize(
    "mount",
    [
        "/srv/data:/data",
        "/srv/data:/data:ro",
        "/srv/data/.:/data",
        "/srv/themes:/t:ro",
        "/srv/themes/a/b:/t:ro",
        "/only/mine",
    ],
)
def test_a_folder_that_is_allowed_may_be_mounted(mount: str) -> None:
    assert found(parse(ALLOWING), volumes=[mount]) == []


@pytest.mark.parametrize(
    "mount",
    [
        "/:/host",
        "/srv:/data",
        "/srv/data2:/data",
        "/srv/data/below:/data",
        "/srv/data/below:/data:ro",
        "/srv/themes:/t",
        "/srv/themes/a:/t",
        "/srv/themesx:/t:ro",
        "/var/run/docker.sock:/var/run/docker.sock",
    ],
)
def test_any_other_folder_of_the_machine_is_refused_with_the_setting(mount: str) -> None:
    (one,) = found(parse(ALLOWING), volumes=[mount])
    assert one.startswith("services.web.volumes: a template may not mount")
    assert "allow_binds" in one


def test_nothing_of_the_machine_is_allowed_by_default() -> None:
    settings = parse("providers: {docker: {}}")
    external: dict[str, Any] = {"external": True}
    top = {"volumes": {"v": external}, "networks": {"n": external}}
    problems = found(
        settings, top, volumes=["/srv:/a", "v:/b"], networks=["n"], cap_add=["SYS_ADMIN", "CHOWN"]
    )
    places = [p.split(":")[0].removeprefix("services.web.") for p in problems]
    assert places == ["volumes", "volumes", "networks", "cap_add"]
    assert "CHOWN" not in problems[-1]


def test_what_belongs_to_others_is_used_where_the_configuration_names_it() -> None:
    external: dict[str, Any] = {"external": True}
    top = {
        "volumes": {"shared": external},
        "networks": {"partners": external, "edge": external},
    }
    settings = parse(ALLOWING)
    content = {
        "volumes": ["shared:/s"],
        "networks": ["partners", "edge"],
        "cap_add": ["NET_ADMIN"],
    }
    assert found(settings, top, **content) == []
    (one,) = found(settings, {"volumes": {"x": {"name": "share"}}}, volumes=["x:/s"])
    assert "did you mean 'shared'" in one


@pytest.mark.parametrize("name", ["host", "none", "default"])
def test_the_network_of_the_machine_is_never_to_be_had(name: str) -> None:
    settings = parse("providers: {docker: {allow_networks: ['*', host]}}")
    top = {"networks": {"x": {"external": True, "name": name}}}
    (one,) = found(settings, top, networks=["x"])
    assert f"cannot be on the network '{name}'" in one
    problems = found(settings, network_mode="host", pid="host", privileged=True)
    assert len(problems) == 3


def test_images_of_the_process_provider_stay_its_own() -> None:
    problems = found(parse(ALLOWING), image="local:1", volumes=["/only/mine"], mem_limit="1g")
    assert any(p.startswith("services.web.volumes: is not supported") for p in problems)
    assert any("mem_limit: has no effect here" in p for p in problems)


def test_without_docker_an_unknown_image_names_both_ways() -> None:
    (one,) = found(parse("{}"))
    assert "providers.process.images" in one
    assert "providers.docker" in one


def test_callers_on_port_80_are_warned_when_nobody_listens_there() -> None:
    (one,) = found(parse(ALLOWING), external_links=["a.local"])
    assert "port 80" in one
    entrypoints = "\nentrypoints: {inside: {listen: '0.0.0.0:80', internal: true}}\n"
    assert found(parse(ALLOWING + entrypoints), external_links=["a.local"]) == []


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("allow_binds: [srv]", "allow_binds[0]"),
        ("allow_binds: [/srv/../etc]", "allow_binds[0]"),
        ("env_files: ['.']", "env_files[0]"),
        ("callers_address: servicea.local", "callers_address"),
        ("alow_binds: []", "alow_binds"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_refused_at_its_place(text: str, place: str) -> None:
    with pytest.raises(BadConfiguration) as caught:
        parse(f"providers: {{docker: {{{text}}}}}")
    assert [p.place for p in caught.value.problems] == [f"providers.docker.{place}"]


def test_files_of_variables_come_from_allowed_folders_only(tmp_path: Path) -> None:
    folder, other = tmp_path / "env", tmp_path / "other"
    for one in (folder, other):
        one.mkdir()
        (one / "a.env").write_text(f"FROM={one.name}\n")
    (folder / "link.env").symlink_to(other / "a.env")
    (folder / "bad.env").write_bytes(b"\xff")
    folders = [str(folder)]
    assert env_file("a.env", folders) == "FROM=env\n"
    assert env_file(str(folder / "a.env"), folders) == "FROM=env\n"
    assert env_file("../other/a.env", [*folders, str(other)]) == "FROM=other\n"
    with pytest.raises(FileNotFoundError):
        env_file("none.env", folders)
    for path, words in {
        "../other/a.env": "only files in",
        "link.env": "only files in",
        str(other / "a.env"): "only files in",
        "bad.env": "not UTF-8",
        ".": "cannot be read",
        "x" * 300: "cannot be read",
    }.items():
        with pytest.raises(ValueError, match=words):
            env_file(path, folders)
    with pytest.raises(ValueError, match="env_files"):
        env_file("a.env", [])


def test_a_folder_named_as_a_file_of_variables_leaves_nothing_open(tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")
    for _ in range(10):
        with pytest.raises(ValueError, match="cannot be read"):
            env_file(".", [str(tmp_path)])
    assert os.listdir("/proc/self/fd") == before
