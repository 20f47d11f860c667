"""The settings of the process provider: programs for images, ports, placeholders."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from gateway.runtime import placeholders
from gateway.runtime.configuration import BadConfiguration, Problem, parse


def problems(process: str) -> list[Problem]:
    with pytest.raises(BadConfiguration) as caught:
        parse(f"providers: {{process: {process}}}")
    return list(caught.value.problems)


def image(text: str) -> str:
    return f'{{images: {{"a/b:1": {text}}}}}'


@pytest.mark.parametrize(
    ("process", "place", "words"),
    [
        ("{ports: [5, 2]}", "ports", "first and the last port"),
        ("{ports: [0, 2]}", "ports", "1 to 65535"),
        ("{ports: [1, 65536]}", "ports", "1 to 65535"),
        ("{ports: [1]}", "ports[1]", "a value is needed here"),
        ("{ports: [1, 2, 3]}", "ports", "a list of at most 2"),
        ("{log_bytes: 1}", "log_bytes", "at least 4096"),
        ('{images: {"": {command: [x]}}}', "images.", "name of an image"),
        (image("{command: []}"), "images.a/b:1.command", "a list of at least 1"),
        (image("{command: x}"), "images.a/b:1.command", "a list"),
        (image("{command: [' ']}"), "images.a/b:1.command[0]", "a program is expected"),
        (image('{command: [x, "${PROT}"]}'), "images.a/b:1.command[1]", 'mean "${PORT}"?'),
        (image('{command: [x, "${PORT_0}"]}'), "images.a/b:1.command[1]", "unknown name"),
        (image('{command: [x, "${PORT_70000}"]}'), "images.a/b:1.command[1]", "unknown name"),
        (image('{command: [x, "${HOME}"]}'), "images.a/b:1.command[1]", "write $${HOME}"),
        (image('{command: [x, "${HOME"]}'), "images.a/b:1.command[1]", "without its }"),
        (image('{command: [x, "a\\0"]}'), "images.a/b:1.command[1]", "NUL"),
        (image("{command: [x], environment: {A: 1}}"), "images.a/b:1.environment.A", "text"),
        (image("{command: [x], environment: {PORT: '1'}}"), "images.a/b:1.environment.PORT", "set"),
        (image("{command: [x], environment: {A=B: '1'}}"), "images.a/b:1.environment.A=B", "name"),
        (image("{command: [x], working_dir: ''}"), "images.a/b:1.working_dir", "a folder"),
        (image("{comand: [x], command: [y]}"), "images.a/b:1.comand", 'did you mean "command"?'),
    ],
)
def test_what_cannot_work_is_refused_at_its_place(process: str, place: str, words: str) -> None:
    (problem,) = problems(process)
    assert problem.place == f"providers.process.{place}"
    assert words in problem.message


def test_programs_for_images_are_read_as_written() -> None:
    settings = parse(
        'providers: {process: {images: {"a:1": {command: [sh, -c, "exec x $PORT $$ ${PORT_80}"], '
        "environment: {A: b}, working_dir: /x, allow_command: true}}, ports: [7, 7]}}"
    ).providers.process
    found = settings.images["a:1"]
    assert found.command == ("sh", "-c", "exec x $PORT $$ ${PORT_80}")
    assert (found.environment, found.working_dir, found.allow_command) == ({"A": "b"}, "/x", True)
    assert settings.ports == (7, 7)


@pytest.mark.parametrize(
    ("word", "filled"),
    [
        ("--port=${PORT}", "--port=<PORT>"),
        ("${PYTHON}${PORT_80}", "<PYTHON><PORT_80>"),
        ("$PORT $HOME $", "$PORT $HOME $"),
        ("$$", "$"),
        ("$${PORT}", "${PORT}"),
        ("$$$${PORT}", "$${PORT}"),
        ("$$${PORT}", "$<PORT>"),
        ("{PORT}", "{PORT}"),
    ],
)
def test_known_names_are_filled_in_and_all_else_stays(word: str, filled: str) -> None:
    assert placeholders.problem_of(word) is None
    assert placeholders.fill(word, lambda name: f"<{name}>") == filled


@given(st.text(alphabet="${}PORTYHN_80 é\n", max_size=40))
@hypothesis_settings(deadline=None)
def test_only_known_names_are_asked_for_and_a_doubled_text_comes_out_as_it_was(text: str) -> None:
    asked: list[str] = []

    def value_of(name: str) -> str:
        asked.append(name)
        return ""

    placeholders.fill(text, value_of)
    assert all(placeholders.problem_of(f"${{{name}}}") is None for name in asked)
    assert placeholders.fill(text.replace("$", "$$"), value_of) == text
    assert placeholders.problem_of(text.replace("$", "$$")) is None
