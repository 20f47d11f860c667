"""The strict YAML reader: what it understands, and what it refuses with a place."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from gateway.runtime.yaml_loader import (
    DEPTH_MAX,
    SIZE_MAX,
    VALUES_MAX,
    YamlProblem,
    load,
)


def refusal(text: str | bytes) -> YamlProblem:
    with pytest.raises(YamlProblem) as caught:
        load(text)
    return caught.value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("# only a comment\n", None),
        ("---\n", None),
        ("a: 1", {"a": 1}),
        ("a: -12", {"a": -12}),
        ("a: 0x1f", {"a": 31}),
        ("a: 0o17", {"a": 15}),
        ("a: 1.5", {"a": 1.5}),
        ("a: 1e3", {"a": 1000.0}),
        (
            "a: true\nb: False\nc: null\nd: ~\ne:",
            {"a": True, "b": False, "c": None, "d": None, "e": None},
        ),
        ("a: 'true'\nb: \"3\"\nc: !!str 3", {"a": "true", "b": "3", "c": "3"}),
        ("a: !!int 3\nb: !!float 3", {"a": 3, "b": 3}),
        ("[1, [2], {a: b}]", [1, [2], {"a": "b"}]),
        ("a: &x [1]\nb: *x", {"a": [1], "b": [1]}),
        ("&k a: 1\nb: *k", {"a": 1, "b": "a"}),
        ("\ufeffa: 1".encode(), {"a": 1}),
    ],
)
def test_plain_yaml_means_what_yaml_1_2_says(text: str | bytes, value: object) -> None:
    assert load(text).value == value


@pytest.mark.parametrize(
    "word", ["off", "on", "yes", "no", "y", "12:30", "0600", "08", "2026-01-31", "1_000"]
)
def test_what_yaml_1_1_would_reinterpret_stays_text(word: str) -> None:
    assert load(f"a: {word}").value == {"a": word}


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: 1\nb: 2\na: 3", 3, "twice, first in line 1"),
        ("x:\n  - a: 1\n    a: 2", 3, "twice, first in line 2"),
        ("a: !!python/object/apply:os.system [id]", 1, "tag !!python/object/apply:os.system"),
        ("a: !custom 1", 1, "tag !custom"),
        ("a: !!binary aGk=", 1, "tag !!binary"),
        ("a: !!int x", 1, "not of the tagged type"),
        ("a: 1\n---\nb: 2", 2, "second document"),
        ("a: &a [*a]", 1, "contains itself"),
        ("a: *nobody", 1, "names no anchor"),
        ("a: {b: 1}\nc: {<<: {b: 1}}", 2, "merge keys"),
        ("? [a]\n: b", 1, "key must be text"),
        ("a: .nan", 1, "no usable number"),
        ("a: -.inf", 1, "no usable number"),
        ("a: 1e999", 1, "too large"),
        ("a: " + "9" * 5000, 1, "5000 digits"),
        ("a: 1\nb: [", 2, "node content"),
        ("a: b: c", 1, "needs quotes"),
        ("store: memory:", 1, "needs quotes"),
        ("a:\n\t- 1", 2, "cannot start"),
    ],
)
def test_what_hides_mistakes_or_is_dangerous_is_refused_with_its_line(
    text: str, line: int, words: str
) -> None:
    problem = refusal(text)
    assert problem.line == line
    assert words in problem.message


def test_text_that_is_not_utf_8_is_refused_where_it_begins() -> None:
    problem = refusal(b"a: 1\nbc: \xff")
    assert (problem.line, problem.column) == (2, 5)
    assert "UTF-8" in problem.message


def test_control_characters_are_refused_where_they_stand() -> None:
    problem = refusal("a: 1\nb: \x00")
    assert (problem.line, problem.column) == (2, 4)
    assert "U+0000" in problem.message


def test_an_anchor_bomb_is_refused_before_it_is_expanded() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for n in range(1, 30):
        aliases = ", ".join([f"*a{n - 1}"] * 10)
        lines.append(f"a{n}: &a{n} [{aliases}]")
    problem = refusal("\n".join(lines))
    assert str(VALUES_MAX) in problem.message


def test_many_values_are_refused_without_aliases_too() -> None:
    assert str(VALUES_MAX) in refusal("[" + "1," * (VALUES_MAX + 1) + "]").message


@pytest.mark.parametrize("text", ["[" * (DEPTH_MAX + 2), "x: " + "{a: " * 1000, "- " * 500 + "x"])
def test_deep_nesting_is_refused_without_exhausting_the_stack(text: str) -> None:
    assert "nested deeper" in refusal(text).message


def test_a_document_over_the_size_bound_is_not_read() -> None:
    assert f"at most {SIZE_MAX}" in refusal(b"#" * (SIZE_MAX + 1)).message


def test_every_value_has_a_line_and_unknown_places_that_of_what_is_around_them() -> None:
    document = load("a:\n  b:\n    - 1\n    - c: 2\n")
    assert document.line_of(("a",)) == 1
    assert document.line_of(("a", "b")) == 2
    assert document.line_of(("a", "b", 1, "c")) == 4
    assert document.line_of(("a", "b", 1, "nowhere")) == 4


@given(st.text(max_size=200) | st.binary(max_size=200))
@hypothesis_settings(deadline=None, max_examples=150)
def test_any_input_is_read_or_refused_with_a_problem(text: str | bytes) -> None:
    with contextlib.suppress(YamlProblem):
        load(text)


@given(
    st.lists(
        st.sampled_from(
            [
                "a",
                "&x ",
                "*x",
                "!t ",
                "[",
                "]",
                "{",
                "}",
                ": ",
                ", ",
                "\n",
                "- ",
                "? ",
                '"',
                "'",
                "|",
                "#",
            ]
        ),
        max_size=30,
    )
)
@hypothesis_settings(deadline=None, max_examples=150)
def test_any_mixture_of_yaml_s_own_signs_is_read_or_refused(parts: list[str]) -> None:
    with contextlib.suppress(YamlProblem):
        load("".join(parts))
