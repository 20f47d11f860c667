"""Templates whose services run in containers: every key of compose is honoured or refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.core.container import Container, Mount, MountKind, Network, PullPolicy
from gateway.core.model import Launch, Service
from gateway.core.templates import Outcome, container_keys, keys, read

HEAVY = {"HEAVY": "1", "QUOTED": "a # b", "LITERAL": "$HOME", "DOLLAR": "$5"}
ENV_FILE = """\ufeff# comment
export HEAVY=1   # why

QUOTED="a # b"
LITERAL='$HOME'
DOLLAR=$$5
"""


def env_files(path: str) -> str:
    """The only file there is."""
    if path == "/etc/app.env":
        return ENV_FILE
    if path == "/etc/bad.env":
        return "NAME\nsecret value\nA=${B}\nB='x' y\n"
    if path.startswith("/etc"):
        raise FileNotFoundError(path)
    raise ValueError("not in a folder the configuration allows")


def outcome(document: object) -> Outcome:
    return read(
        document,
        application="app",
        domain="localhost",
        runs_in_container=lambda image: image.startswith("box"),
        env_files=env_files,
    )


def service(top: dict[str, Any] | None = None, **content: Any) -> Service:
    """A service `web` in a container."""
    found = outcome({"services": {"web": {"image": "box:1", **content}}, **(top or {})})
    assert found.problems == ()
    assert found.warnings == ()
    return found.services[0].service


def container(top: dict[str, Any] | None = None, **content: Any) -> Container:
    launch = service(top, **content).launch
    assert isinstance(launch, Launch)
    assert launch.container is not None
    return launch.container


def problems(top: dict[str, Any] | None = None, **content: Any) -> dict[str, str]:
    found = outcome({"services": {"web": {"image": "box:1", **content}}, **(top or {})})
    return {".".join(map(str, p.place[2:] or p.place)): p.message for p in found.problems}


def problem(key: str, value: object) -> str:
    """The only problem of a key; its place begins with the key."""
    content: dict[str, Any] = {key: value}
    (found,) = problems(None, **content).items()
    assert found[0].split(".")[0] == key
    return found[1]


def test_every_key_of_compose_files_is_in_one_group_for_containers() -> None:
    groups = (container_keys.UNDERSTOOD, container_keys.WITHOUT_EFFECT, container_keys.REFUSED)
    everything = {**groups[0], **groups[1], **groups[2]}
    assert len(everything) == sum(map(len, groups))
    assert everything.keys() == {*keys.WITHOUT_EFFECT, *keys.REFUSED}


@pytest.mark.parametrize("key", container_keys.REFUSED)
def test_what_is_refused_is_refused_by_name_and_says_why(key: str) -> None:
    value: object = True if key in ("privileged", "use_api_socket", "oom_kill_disable") else ["x"]
    assert container_keys.REFUSED[key] in problem(key, value)


@pytest.mark.parametrize("key", container_keys.UNDERSTOOD)
def test_a_service_that_is_no_container_gets_none_of_it_silently(key: str) -> None:
    found = outcome({"web": {"image": "app:1", key: ["x"]}})
    places = [p.place for p in found.problems]
    assert ("web", key) in places or any(w.startswith(f"web.{key}: ") for w in found.warnings)
    launch = found.services[0].service.launch
    assert launch is not None
    assert launch.container is None


def test_a_misspelt_key_names_what_may_have_been_meant() -> None:
    assert "did you mean 'mem_limit'" in problem("memlimit", "1g")
    assert "did you mean 'no-new" not in problem("security_opt", ["seccomp:unconfined"])


def test_a_service_without_any_of_these_keys_has_the_engines_defaults() -> None:
    assert container() == Container()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"user": 1000}, Container(user="1000")),
        ({"user": "app:staff"}, Container(user="app:staff")),
        ({"init": True}, Container(init=True)),
        ({"read_only": True, "tty": True}, Container(read_only=True, tty=True)),
        ({"hostname": "web", "platform": "linux/arm64/v8"}, None),
        ({"pull_policy": "if_not_present"}, Container()),
        ({"pull_policy": "always"}, Container(pull_policy=PullPolicy.ALWAYS)),
        ({"cap_add": ["cap_net_admin"], "cap_drop": ["ALL"]}, None),
        ({"group_add": [44, "audio"]}, Container(group_add=("44", "audio"))),
        ({"security_opt": ["no-new-privileges:true"]}, Container(no_new_privileges=True)),
        ({"cpuset": "0-1,3"}, Container(cpuset="0-1,3")),
        ({"stop_signal": "int"}, Container(stop_signal="SIGINT")),
        ({"stop_signal": 15}, Container(stop_signal="15")),
        ({"stop_signal": "SIGRTMIN+3"}, Container(stop_signal="SIGRTMIN+3")),
        ({"labels": {"team": "a", "n": 1}}, Container(labels=(("n", "1"), ("team", "a")))),
        ({"dns": "10.0.0.2", "dns_search": ["a.b"]}, None),
        (
            {"logging": {"driver": "local", "options": {"max-file": 3}}},
            Container(logging=(("driver", "local"), ("options.max-file", "3"))),
        ),
        (
            {"extra_hosts": ["a=10.0.0.7", "b:::1", "c:host-gateway"]},
            Container(extra_hosts=(("a", "10.0.0.7"), ("b", "::1"), ("c", "host-gateway"))),
        ),
        ({"extra_hosts": {"a": "10.0.0.7"}}, Container(extra_hosts=(("a", "10.0.0.7"),))),
        (
            {"ulimits": {"nofile": {"soft": 1, "hard": 2}, "nproc": 7}},
            Container(ulimits=(("nofile", 1, 2), ("nproc", 7, 7))),
        ),
    ],
)
def test_what_compose_files_say_becomes_a_container(
    content: dict[str, Any], expected: Container | None
) -> None:
    found = container(**content)
    assert found == expected if expected is not None else found != Container()


def test_limits_are_bytes_and_billionths_and_have_two_spellings() -> None:
    short = container(mem_limit="512m", cpus=0.5, pids_limit=100, shm_size=4096, memswap_limit=-1)
    assert dict(short.limits) == {
        "mem_limit": 512 << 20,
        "cpus": 500_000_000,
        "pids_limit": 100,
        "shm_size": 4096,
        "memswap_limit": -1,
    }
    resources = {"limits": {"cpus": "0.50", "memory": "512M", "pids": 100}}
    long = container(deploy={"resources": resources}, shm_size="4k", memswap_limit=-1)
    assert long.limits == short.limits
    both = problems(deploy={"resources": resources}, mem_limit="1g")
    assert "mem_limit" in both["deploy.resources.limits.memory"]
    assert "512m" in problem("mem_limit", "much")
    assert "number of CPUs" in problem("cpus", "all")


def test_volumes_of_the_template_are_the_applications() -> None:
    top = {"volumes": {"data": None, "theirs": {"external": True}, "named": {"name": "x"}}}
    found = container(
        top,
        volumes=[
            "data:/data",
            "/srv/web/./conf:/etc/web:ro",
            "/cache",
            {"type": "volume", "source": "theirs", "target": "/theirs", "read_only": True},
            {"type": "tmpfs", "target": "/run/x", "tmpfs": {"size": "1m", "mode": 0o1770}},
            "named:/named",
        ],
        tmpfs="/tmp:size=64m",
    )
    assert found.volumes == (
        Mount(MountKind.VOLUME, "/cache"),
        Mount(MountKind.VOLUME, "/data", "app_data"),
        Mount(MountKind.BIND, "/etc/web", "/srv/web/conf", read_only=True),
        Mount(MountKind.VOLUME, "/named", "x", is_external=True),
        Mount(MountKind.TMPFS, "/run/x", options="size=1048576,mode=1770"),
        Mount(MountKind.VOLUME, "/theirs", "theirs", read_only=True, is_external=True),
        Mount(MountKind.TMPFS, "/tmp", options="size=64m"),
    )


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ("./conf:/etc/web", "whole path"),
        ("~/conf:/etc/web", "whole path"),
        ("/srv/../etc:/etc/web", "without .."),
        ("data:/data", "there is no volume 'data'"),
        ("/srv:etc", "no place in the container"),
        ("/srv:/", "the container's own"),
        ("/srv:/etc/../..", "no place in the container"),
        ("/srv:/etc:rw,shared", "unknown option 'shared'"),
        ("a:b:c:d", "too many colons"),
        ({"type": "npipe", "target": "/x"}, "bind, volume or tmpfs"),
        ({"type": "bind", "target": "/x"}, "needs a source"),
        (
            {"type": "bind", "source": "/a", "target": "/x", "bind": {"propagation": "shared"}},
            "not",
        ),
        ({"type": "bind", "sorce": "/a", "source": "/b", "target": "/x"}, "did you mean 'source'"),
        (7, "must be text"),
    ],
)
def test_a_mount_that_cannot_be_meant_says_what_is_wrong(item: object, words: str) -> None:
    assert words in problem("volumes", [item])


def test_a_volume_with_a_driver_of_its_own_could_be_anything_and_is_refused() -> None:
    bind = {"driver_opts": {"type": "none", "o": "bind", "device": "/"}}
    found = problems({"volumes": {"data": bind}}, volumes=["data:/data"])
    assert "mount the folder itself" in found["driver_opts"]


def test_networks_of_the_template_are_the_applications() -> None:
    top = {"networks": {"back": {"internal": True}, "front": {"name": "edge", "external": True}}}
    found = container(
        top, networks={"back": {"aliases": ["db", "a"]}, "front": None, "default": {}}
    )
    assert found.networks == (
        Network("app_back", ("a", "db"), is_internal=True),
        Network("edge", is_external=True),
    )
    assert "did you mean 'back'" in str(problems(top, networks=["bakc"]))
    assert "cannot have one address" in str(
        problems(top, networks={"back": {"ipv4_address": "10.0.0.3"}})
    )


def test_top_keys_are_still_without_effect_where_nothing_is_a_container() -> None:
    found = outcome({"services": {"web": {"image": "app:1"}}, "volumes": {"data": None}})
    assert any(w.startswith("volumes: has no effect") for w in found.warnings)


def test_files_of_variables_are_read_and_the_environment_goes_before() -> None:
    launch = service(env_file=["/etc/app.env"], environment={"HEAVY": "2"}).launch
    assert launch is not None
    assert dict(launch.environment) == {**HEAVY, "HEAVY": "2"}
    launch = service(env_file=[{"path": "/etc/none.env", "required": False}]).launch
    assert launch is not None
    assert launch.environment == ()


def test_a_bad_file_of_variables_is_told_by_line_and_never_shown() -> None:
    found = outcome({"web": {"image": "box:1", "env_file": "/etc/bad.env"}})
    messages = [p.message for p in found.problems]
    assert len(messages) == 4
    assert [f"line {n}" in m for n, m in enumerate(messages, 1)] == [True] * 4
    assert "secret" not in str(messages)
    assert "no such file" in problem("env_file", "/etc/none.env")
    assert "not in a folder" in problem("env_file", "secrets.env")


def test_a_restart_and_a_grace_are_read_as_for_every_service() -> None:
    launch = service(restart="unless-stopped", stop_grace_period="1m30s").launch
    assert launch is not None
    assert launch.stop_grace_s == 90


@pytest.mark.parametrize(
    "value", [None, 7, True, "x", ["x"], [None], {"x": {}}, [{"a": "b"}], [[]]]
)
@pytest.mark.parametrize("option", ["size", "mode"])
def test_whatever_stands_behind_an_option_of_memory_is_read_or_refused(
    option: str, value: object
) -> None:
    mount = {"type": "tmpfs", "target": "/run", "tmpfs": {option: value}}
    outcome({"services": {"web": {"image": "box:1", "volumes": [mount]}}})


@pytest.mark.parametrize(
    "value", [None, 7, True, "x", ["x"], [None], {"x": {}}, [{"a": "b"}], [[]]]
)
@pytest.mark.parametrize("key", container_keys.UNDERSTOOD)
def test_whatever_stands_behind_a_key_is_read_or_refused(key: str, value: object) -> None:
    outcome(
        {"services": {"web": {"image": "box:1", key: value}}, "volumes": value, "networks": value}
    )
