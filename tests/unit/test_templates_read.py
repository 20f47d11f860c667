"""Templates as they are sent: text to services that the configuration has programs for."""

from __future__ import annotations

import json

import pytest

from admin.templates import examine, read_template, read_text
from gateway.core.errors import Code, Refused
from gateway.core.release import Template
from gateway.runtime.settings import ImageSettings, ProcessSettings, ProviderSettings, Settings

YAML = "application/yaml"
JSON = "application/json"
SETTINGS = Settings(
    domain="example.org",
    providers=ProviderSettings(
        process=ProcessSettings(
            images={
                "app:1": ImageSettings(command=("app",)),
                "free:1": ImageSettings(command=("free",), allow_command=True),
            },
            ports=(20000, 20003),
        )
    ),
)


def read(text: str | bytes, content_type: str = YAML) -> Template:
    body = text if isinstance(text, bytes) else text.encode()
    return read_template(body, content_type, "shop", SETTINGS).template


def problems(text: str | bytes, content_type: str = YAML) -> list[tuple[str, str]]:
    with pytest.raises(Refused) as caught:
        read(text, content_type)
    assert caught.value.code is Code.INVALID
    return [(e.field, e.message) for e in caught.value.errors]


def test_yaml_and_json_are_read_alike_and_the_text_is_kept() -> None:
    yaml = "web:\n  image: app:1\n  labels: {gateway.routing.port_80: web}\n"
    text = json.dumps({"web": {"image": "app:1", "labels": {"gateway.routing.port_80": "web"}}})
    one, other = read(yaml), read(text, JSON)
    assert one.services == other.services
    assert (one.source, other.source) == (yaml, text)
    (web,) = one.services
    assert (web.application, web.claims[0].host) == ("shop", "web.example.org")


def test_a_mark_at_the_beginning_of_the_file_is_no_part_of_it() -> None:
    assert read(b"\xef\xbb\xbfweb: {image: 'app:1'}").source.startswith("web")


def test_problems_name_place_and_line() -> None:
    found = problems("services:\n  web:\n    image: app:1\n    labels:\n      aliyun.scal: 3\n")
    ((place, message),) = found
    assert place == "services.web.labels.aliyun.scal"
    assert message.endswith("? (line 5)")


@pytest.mark.parametrize(
    ("text", "content_type", "words"),
    [
        (b"a: [", YAML, "line 1, column 5"),
        (b"a: {b: 1, b: 2}", YAML, "there twice"),
        (b"a: !!python/object:os.system x", YAML, "is not allowed"),
        (b"a: &a [*a]", YAML, "contains itself"),
        (b"\xff", YAML, "not UTF-8"),
        (b"a: 1\n---\nb: 1\n", YAML, "second document"),
        (b"{", JSON, "not JSON"),
        (b"[" * 100_000, JSON, "nested deeper"),
        (b"\xff", JSON, "not UTF-8"),
    ],
)
def test_a_text_that_cannot_be_read_is_refused_as_such(
    text: bytes, content_type: str, words: str
) -> None:
    ((place, message),) = problems(text, content_type)
    assert (place, words in message) == ("body", True), message


def test_keys_given_twice_in_json_are_refused() -> None:
    assert problems(b'{"web": {"image": "app:1", "image": "app:2"}}', JSON) == [
        ("web.image", "given twice; which one is meant?")
    ]


def test_an_empty_text_names_no_service() -> None:
    assert problems("")[0][1].startswith("no service")


def test_an_image_without_a_program_is_refused_where_it_stands() -> None:
    ((place, message),) = problems("services:\n  web.v1:\n    image: app:2\n")
    assert place == "services.web.v1.image"
    assert "did you mean 'app:1'" in message
    assert "providers.process.images" in message
    assert message.endswith("(line 3)")


def test_where_nothing_is_started_no_image_is_needed() -> None:
    (web,) = read("web: {x-gateway: {endpoints: ['a:1']}}").services
    assert web.launch is None


def test_what_cannot_be_started_is_told_beside_what_is_misspelt() -> None:
    found = problems(
        "web:\n  image: app:2\n  imgae: x\nweb.b:\n  image: app:1\n  command: rm -rf /\n"
        "  labels: {aliyun.probe.cmd: x}\nc:\n  image: app:1\n  healthcheck: {test: x}\n"
    )
    assert [place for place, _ in found] == [
        "web.imgae",
        "web.image",
        "web.b.command",
        "web.b.labels.aliyun.probe.cmd",
        "c.healthcheck",
    ]


def test_there_must_be_ports_enough_for_all_instances() -> None:
    text = "web:\n  image: app:1\n  {}\n  labels: {{gateway.routing.port_80: web}}\n"
    assert read(text.format("scale: 4")).services[0].scale == 4
    for key, place in (
        ("scale: 5", "web.scale"),
        ("deploy: {replicas: 5}", "web.deploy.replicas"),
    ):
        ((found, message),) = problems(text.format(key))
        assert found == place
        assert "providers.process.ports has 4" in message


def test_variables_that_the_launcher_sets_are_warned_of() -> None:
    text = "web: {image: 'app:1', environment: [PORT=1, PORT_80=2, PORT_81=3], "
    text += "labels: {gateway.routing.port_80: web}}"
    warnings = read_template(text.encode(), YAML, "shop", SETTINGS).warnings
    assert [w.partition(":")[0] for w in warnings] == [
        "web.environment.PORT",
        "web.environment.PORT_80",
    ]


def test_what_is_right_is_told_beside_what_is_not() -> None:
    text = read_text(b"a: {image: 'app:1', tty: true}\nb: {}\n", YAML)
    found = examine(text, "shop", SETTINGS)
    assert [s.name for s in found.template.services] == ["a"]
    assert [(p.place, p.line) for p in found.problems] == [("b.image", 2)]
    assert len(found.warnings) == 1
