"""The pure parts of the Docker launcher: what is asked of the Engine, and what it says back."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from admin.providers.docker import endings, placing
from admin.providers.docker.actions import own_address
from admin.providers.docker.addresses import published_host
from admin.providers.docker.containers import Attachment, DockerHealth, Publication, Run
from admin.providers.docker.containers import Container as Listed
from admin.providers.docker.create import document, networks_of
from admin.providers.docker.credentials import auth_header, config_file, registry_of
from admin.providers.docker.engine import EngineError, EngineRefused
from admin.providers.docker.following import Frames
from admin.providers.docker.ownership import (
    FILE,
    container_name,
    definition_of,
    labels_of,
    owned,
    owner_of,
)
from admin.providers.docker.pulling import Pull
from admin.providers.launching.progress import Stage, Step, all_steps
from admin.providers.process.programs import definition_of as definition_of_process
from admin.store.documents import Kind, state_of
from gateway.core.container import Container, Mount, MountKind, Network
from gateway.core.model import Check, CheckKind, Claim, Launch, Service, ServiceId
from gateway.runtime.settings import DockerSettings, Reach

CONTAINER = Container()
LAUNCH = Launch("shop:1", container=CONTAINER)
SERVICE = Service("app", "web", (Claim("a.example", "/", 80),), launch=LAUNCH)
SID = ServiceId("app/web")


def listed(slot: int = 0, owner: str = "me", **more: Any) -> Listed:
    definition = definition_of(LAUNCH)
    return Listed(
        **{
            "id": "0123456789abcdef",
            "name": container_name(owner, SID, slot, definition),
            "image": "shop:1",
            "run": Run.RUNNING,
            "labels": labels_of(owner, SERVICE, slot, definition, 2.5),
            **more,
        }
    )


def of(**container: Any) -> Service:
    return replace(SERVICE, launch=replace(LAUNCH, container=replace(CONTAINER, **container)))


def asked(
    service: Service = SERVICE, address: str | None = None, published_on: str | None = None
) -> dict[str, Any]:
    labels = {"gateway.owner": "me"}
    return document(service, DockerSettings(), labels, address, published_on)


# --- ownership -------------------------------------------------------------------------


def test_a_container_is_known_again_by_what_it_carries() -> None:
    found = owned(listed(slot=3), "me")
    assert found is not None
    assert (found.service, found.slot, found.grace_s) == (SID, 3, 2.5)
    assert found.definition == definition_of(LAUNCH)
    assert found.instance == "web@0123456789ab"


def test_a_container_is_ours_only_with_our_mark_and_the_name_that_follows_from_it() -> None:
    assert owned(listed(owner="other"), "me") is None
    assert owned(listed(name="app-web-0-12345678"), "me") is None
    labels = labels_of("me", SERVICE, 0, definition_of(LAUNCH), 1)
    for key in labels:
        assert owned(listed(labels={k: v for k, v in labels.items() if k != key}), "me") is None
    assert owned(listed(labels={**labels, "gateway.slot": "x"}), "me") is None
    assert owned(listed(labels={**labels, "gateway.slot": "1"}), "me") is None


def test_names_are_readable_and_lead_to_one_container_only() -> None:
    names = [
        container_name(owner, ServiceId(service), slot, definition)
        for owner in ("me", "you")
        for service in ("a-b/c", "a/b-c", "_/-x", f"{'x' * 128}/{'y' * 128}")
        for slot in (0, 1)
        for definition in ("d1", "d2")
    ]
    assert len(set(names)) == len(names)
    assert all(name[0].isalnum() and len(name) < 160 for name in names)
    assert container_name("me", SID, 2, "d").startswith("app-web-2-")


def test_a_definition_is_the_same_as_long_as_it_says_the_same() -> None:
    # The values are in containers and tables that outlive the gateway's version.
    assert definition_of(LAUNCH) == "437773ee9e230888"
    full = Container(user="7", volumes=(Mount(MountKind.VOLUME, "/data", "app_data"),))
    assert definition_of(replace(LAUNCH, container=full)) == "d5ab2159ae85e111"
    process = Launch("shop:1", ("a",), None, (("A", "b"),), ("x.local",), "/x", 5.0)
    assert definition_of_process(process) == "a0c09247a0c61565"


def test_every_difference_makes_another_definition() -> None:
    different = [
        LAUNCH,
        replace(LAUNCH, image="shop:2"),
        replace(LAUNCH, command=()),
        replace(LAUNCH, command=("a", "b")),
        replace(LAUNCH, command=("a b",)),
        replace(LAUNCH, environment=(("A", "1"),)),
        replace(LAUNCH, container=Container(user="1")),
        replace(LAUNCH, container=Container(hostname="1")),
        replace(LAUNCH, container=Container(cap_add=("A",))),
        replace(LAUNCH, container=Container(cap_drop=("A",))),
    ]
    assert len({definition_of(one) for one in different}) == len(different)


def test_a_gateway_keeps_its_id_in_its_state_folder(tmp_path: Path) -> None:
    first = owner_of(tmp_path)
    assert len(first) == 16
    assert owner_of(tmp_path) == first
    (tmp_path / FILE).write_text("")  # cut off by a full disk
    assert len(owner_of(tmp_path)) == 16


def test_services_that_were_stored_before_there_were_containers_still_open() -> None:
    old = {
        "application": "app",
        "name": "web",
        "claims": [],
        "launch": {"image": "shop:1", "environment": [["A", "b"]], "stop_grace_s": None},
    }
    state = state_of(1, [(Kind.SERVICE, "app/web", json.dumps(old).encode())])
    launch = state.services[SID].launch
    assert launch == Launch("shop:1", environment=(("A", "b"),))
    assert launch.container is None


# --- what is asked of the Engine -------------------------------------------------------


def test_a_container_is_never_restarted_by_the_engine_and_never_privileged() -> None:
    host = asked()["HostConfig"]
    assert host["RestartPolicy"] == {"Name": "no"}
    assert "Privileged" not in host
    assert host["NetworkMode"] == "bridge"


def test_what_the_template_leaves_open_is_the_images() -> None:
    found = asked()
    assert (found["Cmd"], found["Entrypoint"], found["User"]) == (None, None, "")
    assert "Healthcheck" not in found
    assert "StopSignal" not in found
    assert found["StopTimeout"] == 10


def test_the_check_of_the_image_is_off_where_the_gateway_runs_another_in_the_container() -> None:
    command = replace(SERVICE, check=Check(CheckKind.COMMAND, command=("true",)))
    assert asked(command)["Healthcheck"] == {"Test": ["NONE"]}
    assert asked(of(is_check_off=True))["Healthcheck"] == {"Test": ["NONE"]}
    assert "Healthcheck" not in asked(replace(SERVICE, check=Check(CheckKind.HTTP)))


def test_links_lead_to_the_gateway() -> None:
    launch = replace(LAUNCH, external_links=("b.local", "c.local"))
    service = replace(SERVICE, launch=launch)
    assert asked(service, "10.0.0.1")["HostConfig"]["ExtraHosts"] == [
        "b.local:10.0.0.1",
        "c.local:10.0.0.1",
    ]


def test_networks_that_lead_outside_come_first_and_the_gateways_own_is_joined_too() -> None:
    inner, outer = Network("app_a", is_internal=True), Network("app_b", ("db",))
    found = networks_of(of(networks=(inner, outer)), DockerSettings(network="edge"))
    assert [(n.name, n.aliases, n.is_ours) for n in found] == [
        ("app_b", ("web", "db"), True),
        ("app_a", ("web",), True),
        ("edge", (), False),
    ]
    assert [n.name for n in networks_of(SERVICE, DockerSettings())] == ["bridge"]


def test_ports_are_published_only_where_that_is_how_instances_are_reached() -> None:
    assert "PortBindings" not in asked()["HostConfig"]
    found = asked(published_on="10.0.0.9")
    assert found["HostConfig"]["PortBindings"] == {
        "80/tcp": [{"HostIp": "10.0.0.9", "HostPort": ""}]
    }


# --- what it says back -----------------------------------------------------------------


def test_an_instance_is_where_its_service_is_reached() -> None:
    places = (Attachment("other", "10.1.0.2", 16), Attachment("edge", "10.2.0.2", 16))
    one = owned(listed(attachments=places), "me")
    assert one is not None
    found = placing.instance_of(one, SERVICE, DockerSettings(network="edge"))
    assert found is not None
    assert (found.host, found.port, found.ports) == ("10.2.0.2", 80, {})
    published = (Publication(80, "127.0.0.1", 32768),)
    one = owned(listed(publications=published), "me")
    assert one is not None
    assert placing.instance_of(one, SERVICE, DockerSettings()) is None
    # On the address it has, whatever the configuration says by now.
    settings = DockerSettings(reach=Reach.PUBLISHED, published_host="10.0.0.9")
    found = placing.instance_of(one, SERVICE, settings)
    assert found is not None
    assert (found.host, found.port, found.ports) == ("127.0.0.1", 32768, {80: 32768})


def test_one_that_was_made_before_ports_were_published_is_reached_as_before() -> None:
    one = owned(listed(attachments=(Attachment("bridge", "10.1.0.2", 16),)), "me")
    assert one is not None
    found = placing.instance_of(one, SERVICE, DockerSettings(reach=Reach.PUBLISHED))
    assert found is not None
    assert (found.host, found.port, found.ports) == ("10.1.0.2", 80, {})


@pytest.mark.parametrize(
    ("settings", "host"),
    [
        (DockerSettings(), "127.0.0.1"),
        (DockerSettings(socket="tcp://docker.example:2375"), "docker.example"),
        (DockerSettings(socket="tcp://10.0.0.8:2375", published_host="10.0.0.9"), "10.0.0.9"),
    ],
)
def test_published_ports_are_on_the_engines_machine(settings: DockerSettings, host: str) -> None:
    assert published_host(settings) == host


def test_an_instance_on_a_network_without_ipv4_is_reached_by_ipv6() -> None:
    both = (Attachment("edge", "fd00::2", 64), Attachment("edge", "10.2.0.2", 16))
    for attachments, host in ((both, "10.2.0.2"), (both[:1], "fd00::2")):
        one = owned(listed(attachments=attachments), "me")
        assert one is not None
        found = placing.instance_of(one, SERVICE, DockerSettings())
        assert found is not None
        assert found.host == host


def test_of_a_port_that_is_published_twice_the_first_one_is_taken_as_for_found_containers() -> None:
    twice = (Publication(80, "0.0.0.0", 32768), Publication(80, "::", 32769))
    one = owned(listed(publications=twice), "me")
    assert one is not None
    found = placing.instance_of(one, SERVICE, DockerSettings(reach=Reach.PUBLISHED))
    assert found is not None
    assert found.ports == {80: 32768}


@pytest.mark.parametrize(
    ("container", "words"),
    [
        (listed(), None),
        (listed(health=DockerHealth.HEALTHY), None),
        (listed(health=DockerHealth.STARTING), "not passed yet"),
        (listed(health=DockerHealth.UNHEALTHY), "fails"),
        (listed(run=Run.PAUSED), "paused"),
    ],
)
def test_what_the_engine_has_against_a_container_is_told(
    container: Listed, words: str | None
) -> None:
    found = placing.ailment(container)
    assert (found is None) if words is None else (words in str(found))


@pytest.mark.parametrize(
    ("state", "words", "lived_s"),
    [
        ({"ExitCode": 3}, "ended with exit code 3 after 1.5 s", 1.5),
        ({"ExitCode": 137}, "was killed by SIGKILL after 1.5 s", 1.5),
        ({"ExitCode": 255}, "ended with exit code 255 after 1.5 s", 1.5),
        ({"ExitCode": 137, "OOMKilled": True}, "more memory than mem_limit", 1.5),
        (
            {"ExitCode": 127, "Error": "no such file"},
            "exit code 127 after 1.5 s: no such file",
            1.5,
        ),
        ({"ExitCode": "x", "StartedAt": 7, "FinishedAt": None}, "ended after 0.0 s", 0.0),
        ({"ExitCode": 127, "StartedAt": "0001-01-01T00:00:00Z"}, "after 0.0 s", 0.0),
    ],
)
def test_an_end_is_told_in_words(state: dict[str, Any], words: str, lived_s: float) -> None:
    times = {
        "StartedAt": "2026-01-02T03:04:05.5Z",
        "FinishedAt": "2026-01-02T03:04:07.000000001Z",
    }
    found = endings.ending_of({"State": {**times, **state}})
    assert words in found.words
    assert found.lived_s == pytest.approx(lived_s)
    assert endings.ending_of({}).lived_s == 0.0


def test_what_the_engine_refuses_comes_with_what_to_do() -> None:
    assert "see command and entrypoint" in endings.advice(
        EngineError('exec: "x": executable file not found')
    )
    for text in ("something else", "failed to update store: open : no such file or directory"):
        assert endings.advice(EngineError(text)) == text


def frame(kind: int, text: bytes) -> bytes:
    return bytes([kind, 0, 0, 0]) + len(text).to_bytes(4, "big") + text


def test_output_is_the_same_however_its_stream_is_cut() -> None:
    lines = [b"2026-01-02T03:04:05.123456789Z one\n", b"2026-01-02T03:04:06Z \xff two\n"]
    stream = frame(1, lines[0]) + frame(2, lines[1])
    expected = [(1767323045123456789, b"one\n"), (1767323046000000000, b"\xff two\n")]
    for size in (1, 3, 7, len(stream)):
        frames = Frames(has_terminal=False)
        cut = [stream[i : i + size] for i in range(0, len(stream), size)]
        assert [entry for part in cut for entry in frames.take(part)] == expected
        frames = Frames(has_terminal=True)
        plain = b"".join(lines)
        cut = [plain[i : i + size] for i in range(0, len(plain), size)]
        assert [entry for part in cut for entry in frames.take(part)] == expected


def test_a_stream_that_is_not_the_engines_is_refused() -> None:
    with pytest.raises(ValueError, match="framing"):
        list(Frames(has_terminal=False).take(b"HTTP/1.1 200 OK\r\n"))


def test_a_pull_tells_how_far_it_is_over_all_layers() -> None:
    pull = Pull("shop:1")
    assert pull.words == ""
    pull.note({"status": "Pulling from shop", "id": "1"})
    for layer, current in (("a", 5_000_000), ("b", 10_000_000)):
        detail = {"current": current, "total": 20_000_000}
        pull.note({"status": "Downloading", "id": layer, "progressDetail": detail})
    assert pull.words == "37 % of 40 MB"
    pull.note({"status": "Pull complete", "id": "a", "progressDetail": {}})
    pull.note({"status": "Downloading", "id": 7, "progressDetail": "x"})
    assert pull.words == "75 % of 40 MB"
    with pytest.raises(EngineRefused, match="denied"):
        pull.note({"error": "denied"})


def test_the_address_of_this_machine_on_a_network_is_found_without_sending() -> None:
    assert own_address({"IPAM": {"Config": [{"Subnet": "127.0.0.0/8"}]}}) == "127.0.0.1"
    assert own_address({"IPAM": {"Config": [{"Subnet": "203.0.113.0/24"}]}}) is None
    assert own_address({"IPAM": {"Config": None}}) is None
    assert own_address({"IPAM": {"Config": [{}, {"Subnet": "x"}]}}) is None


def test_instances_that_are_not_begun_wait() -> None:
    known = [Step(2, Stage.READY), Step(0, Stage.PULLING, "1 %")]
    assert all_steps(known, 4, "why") == (
        Step(0, Stage.PULLING, "1 %"),
        Step(1, Stage.WAITING, "why"),
        Step(2, Stage.READY),
        Step(3, Stage.WAITING, "why"),
    )
    assert len(all_steps(known, 1, "")) == 2


# --- credentials -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "registry"),
    [
        ("shop", "https://index.docker.io/v1/"),
        ("me/shop:1", "https://index.docker.io/v1/"),
        ("docker.io/me/shop", "https://index.docker.io/v1/"),
        ("registry.example/shop", "registry.example"),
        ("localhost/shop", "localhost"),
        ("127.0.0.1:5000/a/b@sha256:00", "127.0.0.1:5000"),
    ],
)
def test_the_registry_of_an_image_is_found(image: str, registry: str) -> None:
    assert registry_of(image) == registry


def header(file: Path, image: str) -> Any:
    found = asyncio.run(auth_header(file, image))
    return None if found is None else json.loads(base64.urlsafe_b64decode(found))


def test_credentials_come_from_dockers_own_file(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    both = base64.b64encode(b"me:pass:word").decode()
    auths = {
        "registry.example": {"auth": both},
        "https://index.docker.io/v1/": {"identitytoken": "t"},
        "https://old.example/v1/": {"username": "u", "password": "p"},
        "broken.example": {"auth": "%%%"},
        "odd.example": 7,
    }
    file.write_text(json.dumps({"auths": auths}))
    assert header(file, "registry.example/a") == {
        "username": "me",
        "password": "pass:word",
        "serveraddress": "registry.example",
    }
    assert header(file, "shop")["identitytoken"] == "t"
    assert header(file, "old.example/a")["password"] == "p"
    for image in ("broken.example/a", "odd.example/a", "unknown.example/a"):
        assert header(file, image) is None
    for text in ("", "[]", "{", '{"auths": []}', "[" * 10_000):
        file.write_text(text)
        assert header(file, "registry.example/a") is None
    assert header(tmp_path / "none.json", "shop") is None


def test_helpers_are_asked_for_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helper = tmp_path / "docker-credential-test"
    helper.write_text(
        '#!/bin/sh\nread -r where\n[ "$where" = no.example ] && { echo none; exit 1; }\n'
        'echo "{\\"Username\\": \\"$1\\", \\"Secret\\": \\"$where\\"}"\n'
    )
    helper.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"credHelpers": {"registry.example": "test"}, "credsStore": "gone"}))
    assert header(file, "registry.example/a") == {
        "username": "get",
        "password": "registry.example",
        "serveraddress": "registry.example",
    }
    assert header(file, "other.example/a") is None  # a helper that is not there
    file.write_text(json.dumps({"credsStore": "test"}))
    assert header(file, "other.example/a")["password"] == "other.example"
    assert header(file, "no.example/a") is None
    file.write_text(json.dumps({"credsStore": "../../bin/sh"}))
    assert header(file, "other.example/a") is None


def test_the_file_is_where_docker_has_it() -> None:
    assert config_file("/x.json", {"HOME": "/h"}) == Path("/x.json")
    assert config_file(None, {"HOME": "/h"}) == Path("/h/.docker/config.json")
    assert config_file(None, {"HOME": "/h", "DOCKER_CONFIG": "/d"}) == Path("/d/config.json")
