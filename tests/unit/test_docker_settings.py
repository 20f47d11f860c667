"""The settings of the Docker provider: what is refused, what needs a restart."""

from __future__ import annotations

import pytest

from gateway.runtime.configuration import BadConfiguration, Problem, parse, refused_changes
from gateway.runtime.docker_url import docker_url
from gateway.runtime.settings import DockerSettings, Reach


def problems(docker: str) -> list[Problem]:
    with pytest.raises(BadConfiguration) as caught:
        parse(f"providers: {{docker: {docker}}}")
    return list(caught.value.problems)


def test_docker_is_off_unless_the_key_is_there() -> None:
    assert parse("").providers.docker is None
    assert parse("providers: {docker: null}").providers.docker is None
    assert parse("providers: {docker: {}}").providers.docker == DockerSettings()


@pytest.mark.parametrize(
    ("docker", "place", "words"),
    [
        ('{socket: "/var/run/docker.sock"}', "socket", "write unix:///var/run/docker.sock"),
        ('{socket: "unix://run/x"}', "socket", "absolute path"),
        ('{socket: "unix:///' + "x" * 200 + '"}', "socket", "at most 107"),
        ('{socket: "https://h:1"}', "socket", "TLS to the Docker Engine is not supported"),
        ('{socket: "ssh://h"}', "socket", "ssh -L"),
        ('{socket: "npipe:////./pipe/x"}', "socket", "Windows"),
        ('{socket: "fd://"}', "socket", "name the socket"),
        ('{socket: "tcp://"}', "socket", "a host and a port"),
        ('{socket: "tcp://h"}', "socket", "the port is missing"),
        ('{socket: "tcp://h:99999"}', "socket", "a host and a port"),
        ('{socket: "tcp://a:b@h:1"}', "socket", "nothing but a host"),
        ('{socket: "tcp://h:1/v1"}', "socket", "nothing but a host"),
        ('{socket: "docker"}', "socket", "unix:// or tcp://"),
        ("{network: ' '}", "network", "the name of a Docker network"),
        ("{published_host: 'h:1'}", "published_host", "without a port"),
        ("{published_host: h, reach: network}", "published_host", "has no effect"),
        ("{network: n, reach: published}", "network", "has no effect"),
        ("{reach: bridge}", "reach", "auto"),
        ("{refresh: 0}", "refresh", "greater than 0"),
        ("{sockt: x}", "sockt", 'did you mean "socket"?'),
    ],
)
def test_what_cannot_work_is_refused_at_its_place(docker: str, place: str, words: str) -> None:
    (problem,) = problems(docker)
    assert problem.place == f"providers.docker.{place}"
    assert words in problem.message


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("unix:///run/d.sock", "unix:///run/d.sock"),
        ("tcp://127.0.0.1:2375", "tcp://127.0.0.1:2375"),
        ("http://proxy:2375/", "tcp://proxy:2375"),
        ("tcp://[::1]:2375", "tcp://[::1]:2375"),
    ],
)
def test_addresses_are_read_as_docker_host_writes_them(text: str, shown: str) -> None:
    assert str(docker_url(text)) == shown


def test_the_socket_needs_a_restart_and_all_else_does_not() -> None:
    off, on = parse(""), parse("providers: {docker: {}}")
    moved = parse('providers: {docker: {socket: "tcp://h:1"}}')
    changed = parse("providers: {docker: {reach: published, refresh: 1}}")
    assert refused_changes(off, on) == ("providers.docker",)
    assert refused_changes(on, off) == ("providers.docker",)
    assert refused_changes(on, moved) == ("providers.docker.socket",)
    assert refused_changes(on, changed) == ()
    assert changed.providers.docker is not None
    assert changed.providers.docker.reach is Reach.PUBLISHED
