"""What is started for a service, what a template may not ask for, and which ports it gets."""

from __future__ import annotations

import socket
import sys
from dataclasses import replace

import pytest
from msgspec import structs

from admin.providers.process import problems
from admin.providers.process.ports import NoFreePort, PortPool, is_free
from admin.providers.process.programs import NoProgram, definition_of, program_of
from gateway.core.model import Check, CheckKind, Claim, Endpoint, Launch, Service
from gateway.core.release import Template
from gateway.runtime.settings import (
    CertificateSettings,
    EntrypointSettings,
    ImageSettings,
    Settings,
    TlsSettings,
)
from tests.support.launching import IMAGE, a_service, some_settings

PORTS = {80: 20000, 443: 20001}
FREE = ImageSettings(("web", "--port", "${PORT}"), allow_command=True)


def command(launch: Launch, image: ImageSettings) -> tuple[str, ...]:
    settings = some_settings(images={IMAGE: image})
    return program_of(a_service("web", launch=launch), PORTS, settings, {}).command


def environment(launch: Launch, settings: Settings, **own: str) -> dict[str, str]:
    return dict(program_of(a_service("web", launch=launch), PORTS, settings, own).environment)


@pytest.mark.parametrize(
    ("launch", "started"),
    [
        (Launch(IMAGE), ("web", "--port", "20000")),
        (Launch(IMAGE, command=("other", "${PORT}", "$$")), ("other", "${PORT}", "$$")),
        (Launch(IMAGE, entrypoint=("tool",)), ("tool",)),
        (Launch(IMAGE, entrypoint=("tool",), command=("a", "b")), ("tool", "a", "b")),
        (Launch(IMAGE, entrypoint=(), command=()), ("web", "--port", "20000")),
    ],
)
def test_entrypoint_and_command_replace_the_program_where_that_is_allowed(
    launch: Launch, started: tuple[str, ...]
) -> None:
    assert command(launch, FREE) == started
    if launch != Launch(IMAGE):
        with pytest.raises(NoProgram, match="does not allow"):
            command(launch, structs.replace(FREE, allow_command=False))


def test_placeholders_are_filled_in() -> None:
    image = ImageSettings(("${PYTHON}", "-p${PORT}", "${PORT_80}/${PORT_443}", "$PORT", "$$"))
    assert command(Launch(IMAGE), image) == (sys.executable, "-p20000", "20000/20001", "$PORT", "$")
    with pytest.raises(NoProgram, match="no such container port"):
        command(Launch(IMAGE), ImageSettings(("x", "${PORT_8080}")))


def test_an_environment_is_put_together_in_this_order() -> None:
    image = ImageSettings(("web",), environment={"A": "image", "B": "image", "HOME": "/image"})
    launch = Launch(IMAGE, environment=(("B", "template"), ("PORT", "1"), ("TZ", "UTC")))
    own = {"PATH": "/bin", "HOME": "/root", "LC_TIME": "C", "AWS_SECRET": "s", "GATEWAY_CHILD": "x"}
    assert environment(launch, some_settings(images={IMAGE: image}), **own) == {
        "PATH": "/bin",
        "HOME": "/image",
        "LC_TIME": "C",
        "PYTHONUNBUFFERED": "1",
        "A": "image",
        "B": "template",
        "TZ": "UTC",
        "PORT": "20000",
        "PORT_80": "20000",
        "PORT_443": "20001",
    }


@pytest.mark.parametrize(
    ("listen", "url"),
    [
        ("127.0.0.1:8081", "http://127.0.0.1:8081"),
        ("0.0.0.0:81", "http://127.0.0.1:81"),
        (":81", "http://127.0.0.1:81"),
        ("[::]:81", "http://[::1]:81"),
        ("[fd00::1]:81", "http://[fd00::1]:81"),
        ("127.0.0.1:0", None),
    ],
)
def test_external_links_are_led_to_the_internal_entrypoint(listen: str, url: str | None) -> None:
    tls = TlsSettings((CertificateSettings("cert.pem"),))
    entrypoints = {
        "public": EntrypointSettings("0.0.0.0:80"),
        "tls": EntrypointSettings("127.0.0.1:97", internal=True, tls=tls),
        "balanced": EntrypointSettings("127.0.0.1:98", internal=True, proxy_protocol=True),
        "sent-on": EntrypointSettings("127.0.0.1:96", internal=True, redirect_https=443),
        "in": EntrypointSettings(listen, internal=True),
        "other": EntrypointSettings("127.0.0.1:99", internal=True),
    }
    settings = structs.replace(some_settings(), entrypoints=entrypoints)
    linked = Launch(IMAGE, external_links=("a.local",))
    found = environment(linked, settings)
    assert [found.get(name) for name in ("http_proxy", "HTTP_PROXY")] == [url, url]
    no_proxy = "localhost,127.0.0.1,::1" if url else None
    assert [found.get(name) for name in ("no_proxy", "NO_PROXY")] == [no_proxy, no_proxy]
    assert "http_proxy" not in environment(Launch(IMAGE), settings)
    own = replace(linked, environment=(("http_proxy", "http://mine"),))
    assert environment(own, settings)["http_proxy"] == "http://mine"
    off = structs.replace(some_settings(proxy_env=False), entrypoints=entrypoints)
    assert "http_proxy" not in environment(linked, off)


def test_a_folder_is_the_templates_then_the_images() -> None:
    image = structs.replace(FREE, working_dir="/image")
    settings = some_settings(images={IMAGE: image})
    service = a_service("web", launch=Launch(IMAGE, working_dir="/template"))
    assert program_of(service, PORTS, settings, {}).folder == "/template"
    assert program_of(a_service("web"), PORTS, settings, {}).folder == "/image"
    assert program_of(a_service("web"), PORTS, some_settings(), {}).folder is None


def test_a_definition_is_told_by_everything_in_it() -> None:
    launches = [
        Launch(IMAGE),
        Launch("other"),
        Launch(IMAGE, command=("a",)),
        Launch(IMAGE, entrypoint=("a",)),
        Launch(IMAGE, environment=(("A", "b"),)),
        Launch(IMAGE, external_links=("a.local",)),
        Launch(IMAGE, working_dir="/"),
        Launch(IMAGE, stop_grace_s=1.0),
    ]
    assert len({definition_of(one) for one in launches}) == len(launches)
    assert definition_of(Launch(IMAGE, command=("a",))) == definition_of(launches[2])


# --- what a template may not ask for ----------------------------------------------------------


def found(*services: Service, settings: Settings | None = None) -> dict[str, str]:
    errors = problems(Template(services), settings or some_settings())
    assert len({e.field for e in errors}) == len(errors)
    return {e.field: e.message for e in errors}


def test_a_template_that_can_be_started_has_no_problems() -> None:
    by_hand = Service("app", "db", (), endpoints=(Endpoint("db.example", 5432),))
    assert found(a_service("web", scale=100), by_hand) == {}
    check = Check(CheckKind.COMMAND, command=("is-up",))
    free = a_service("free", launch=Launch(IMAGE, ("a",), ("b",), working_dir="/"), check=check)
    assert found(free, settings=some_settings(images={IMAGE: FREE})) == {}


def test_an_unknown_image_is_told_with_what_was_probably_meant() -> None:
    errors = found(a_service("web", image="demo/wep:1"), a_service("x", image="\x1b[2J"))
    assert "did you mean 'demo/web:1'?" in errors["web.image"]
    assert "providers.process.images of the configuration must name it" in errors["web.image"]
    assert "\x1b" not in errors["x.image"]


def test_a_template_may_not_bring_programs_of_its_own_unless_the_image_allows_it() -> None:
    launch = Launch(IMAGE, command=("rm",), entrypoint=("sudo",), working_dir="/root")
    check = Check(CheckKind.COMMAND, command=("rm",))
    errors = found(a_service("web", launch=launch, check=check))
    assert set(errors) == {
        "web.command",
        "web.entrypoint",
        "web.working_dir",
        "web.labels.probe.cmd",
    }
    for message in errors.values():
        assert "allow_command: true for the image 'demo/web:1'" in message


@pytest.mark.parametrize(
    "name",
    [
        *("PATH", "LD_PRELOAD", "BASH_ENV", "BASH_FUNC_ls%%", "PYTHONPATH", "PYTHONSTARTUP"),
        *("NODE_OPTIONS", "PERL5OPT", "RUBYOPT", "JAVA_TOOL_OPTIONS", "LUA_INIT_5_4"),
    ],
)
def test_a_template_may_not_bring_programs_in_by_the_environment_either(name: str) -> None:
    launch = Launch(IMAGE, environment=((name, "x"), ("MODE", "live")))
    errors = found(a_service("web", launch=launch))
    assert list(errors) == [f"web.environment.{name}"]
    assert "allow_command" in errors[f"web.environment.{name}"]
    with pytest.raises(NoProgram, match="does not allow"):
        environment(launch, some_settings())
    allowed = some_settings(images={IMAGE: FREE})
    assert found(a_service("web", launch=launch), settings=allowed) == {}
    assert environment(launch, allowed)[name] == "x"


@pytest.mark.parametrize("name", ["PYTHONUNBUFFERED", "MY_PATH", "path", "LDAP", "NODE_ENV", "PS1"])
def test_a_template_may_set_other_variables(name: str) -> None:
    assert found(a_service("web", launch=Launch(IMAGE, environment=((name, "x"),)))) == {}


def test_a_probe_command_needs_a_process_of_ours() -> None:
    check = Check(CheckKind.COMMAND, command=("is-up",))
    by_hand = Service("app", "db", (), endpoints=(Endpoint("db", 1),), check=check)
    assert "use probe.url" in found(by_hand)["db.labels.probe.cmd"]


def test_more_instances_than_ports_are_told_at_the_service_that_needs_most() -> None:
    two_ports = (Claim("a.example", port=80), Claim("b.example", port=81))
    services = [a_service("small"), a_service("big", scale=5, claims=two_ports)]
    errors = found(*services, settings=some_settings(ports=(20000, 20009)))
    assert list(errors) == ["big.labels.scale"]
    assert "need 11 ports, and providers.process.ports has 10" in errors["big.labels.scale"]
    assert found(*services, settings=some_settings(ports=(20000, 20010))) == {}


# --- ports ------------------------------------------------------------------------------------


def test_ports_are_given_in_turn_so_that_one_just_freed_comes_last() -> None:
    pool = PortPool(lambda port: True)
    limits = (10, 13)
    assert [pool.take(1, limits, ()) for _ in range(5)] == [[10], [11], [12], [13], [10]]
    assert pool.take(2, limits, {11}) == [12, 13]
    assert pool.take(1, (50, 51), ()) == [50]
    pool.go_on_after(12)
    assert pool.take(1, limits, ()) == [13]


def test_ports_that_are_taken_or_not_free_are_never_given() -> None:
    pool = PortPool(lambda port: port != 11)
    assert pool.take(2, (10, 13), {10}) == [12, 13]
    with pytest.raises(NoFreePort, match="no 2 free port"):
        pool.take(2, (10, 13), {12, 13})


def test_a_port_is_free_when_nobody_listens_there_on_any_address() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        sock.listen()
        assert not is_free(port)
    with socket.socket(socket.AF_INET6) as sock:
        sock.bind(("::", 0))
        sock.listen()
        assert not is_free(sock.getsockname()[1])
    assert is_free(port)
