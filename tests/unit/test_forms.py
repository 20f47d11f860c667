"""Plain values become forms, strictly, or every problem is told at its place."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta, Struct, structs

from gateway.runtime import hearing
from gateway.runtime.forms import Finite, Place, Whole, in_words, is_form, read, summary
from gateway.runtime.handover import Handover
from gateway.runtime.settings import GivenSettings


class Colour(StrEnum):
    BLUE = "blue"
    GREEN = "green"
    RED = "red"


class Part(Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    size: Annotated[int, Meta(ge=1, le=9)] = 3


class Form(Struct, frozen=True, forbid_unknown_fields=True):
    text: Annotated[str, Meta(min_length=1)] = "t"
    flag: bool = False
    count: Whole = 0
    share: Annotated[float, Meta(gt=0, le=1000)] = 0.5
    finite: Finite = 0.5
    colour: Colour = Colour.BLUE
    mode: Annotated[int, Meta(ge=1, le=9)] | Literal["auto"] = "auto"
    anything: object = None
    maybe: Part | None = None
    by_name: dict[str, Part] = {}
    words: tuple[str, ...] = ()
    numbers: list[Whole] = []
    parts: Annotated[tuple[Part, ...], Meta(min_length=1)] = (Part("p"),)
    pair: tuple[Whole, str] = (1, "a")


def wrong(value: object) -> dict[str, str]:
    return {in_words(place): str(why) for place, why in read(Form, value)[1].items()}


def test_nothing_said_means_the_defaults() -> None:
    assert read(Form, {}) == (Form(), {})


def test_each_kind_of_value_is_taken() -> None:
    said = {
        "text": "x",
        "flag": True,
        "count": -(2**63),
        "share": 2,
        "finite": -1,
        "colour": "red",
        "mode": 4,
        "anything": [{}],
        "maybe": {"name": "m"},
        "by_name": {"one": {"name": "n", "size": 9}},
        "words": ["a", ""],
        "numbers": [1, 2],
        "parts": [{"name": "q"}],
        "pair": [2, "b"],
    }
    value, problems = read(Form, said)
    assert not problems
    assert value == Form(
        *("x", True, -(2**63), 2.0, -1.0, Colour.RED, 4, [{}], Part("m")),
        {"one": Part("n", 9)},
        ("a", ""),
        [1, 2],
        (Part("q"),),
        (2, "b"),
    )
    assert isinstance(value.share, float)
    assert isinstance(value.colour, Colour)
    assert read(Form, {"maybe": None, "mode": "auto"})[0] == Form()


@pytest.mark.parametrize(
    ("said", "place", "why"),
    [
        ({"text": 1}, "text", "must be text (put it in quotes), not 1"),
        ({"text": None}, "text", "must be text (put it in quotes), not null"),
        ({"text": ""}, "text", 'must be text of at least 1 character(s), not ""'),
        ({"flag": 1}, "flag", "must be true or false, not 1"),
        ({"count": True}, "count", "must be a whole number, not true"),
        ({"count": 1.0}, "count", "must be a whole number, not 1.0"),
        ({"count": 2**63}, "count", f"must be a whole number of at most 64 bits, not {2**63}"),
        ({"share": True}, "share", "must be a number, not true"),
        ({"share": "1"}, "share", 'must be a number, not "1"'),
        ({"share": 0}, "share", "must be greater than 0, not 0"),
        ({"finite": float("nan")}, "finite", "must be a finite number, not NaN"),
        ({"finite": -float("inf")}, "finite", "must be a finite number, not -Infinity"),
        ({"share": float("nan")}, "share", "must be greater than 0, not NaN"),
        ({"share": 10**400}, "share", f"must be a number, not 1{'0' * 56}..."),
        ({"colour": "pink"}, "colour", 'must be "blue", "green" or "red", not "pink"'),
        ({"colour": ["red"]}, "colour", 'must be "blue", "green" or "red", not ["red"]'),
        ({"mode": 0}, "mode", 'must be at least 1 or "auto", not 0'),
        ({"mode": "all"}, "mode", 'must be a whole number or "auto", not "all"'),
        ({"maybe": 1}, "maybe", "must be a section with keys, not 1"),
        ({"maybe": {"name": 2}}, "maybe.name", "must be text (put it in quotes), not 2"),
        ({"maybe": {}}, "maybe.name", "this key is needed here"),
        ({"maybe": {"name": "n", "sise": 1}}, "maybe.sise", 'unknown key; did you mean "size"?'),
        ({"maybe": {"name": "n", "z": 1}}, "maybe.z", "unknown key; known here: name, size"),
        ({"by_name": []}, "by_name", "must be a section with keys, not []"),
        ({"by_name": {"a": 1}}, "by_name.a", "must be a section with keys, not 1"),
        ({"words": "abc"}, "words", 'must be a list, not "abc"'),
        ({"numbers": [1, "2"]}, "numbers[1]", 'must be a whole number, not "2"'),
        ({"parts": []}, "parts", "must be a list of at least 1, not []"),
        ({"parts": [{"name": "a", "size": 10}]}, "parts[0].size", "must be at most 9, not 10"),
        ({"pair": [1]}, "pair[1]", "a value is needed here"),
        ({"pair": [1, "a", 2]}, "pair", 'must be a list of at most 2, not [1, "a", 2]'),
        ({"pair": {}}, "pair", "must be a list, not {}"),
        ([], "", "must be a section with keys, not []"),
        ({"mode": "\ud800"}, "mode", 'must be a whole number or "auto", not "\ud800"'),
        ({"\ud800": 1}, "\ud800", "unknown key; known here: " + ", ".join(Form.__struct_fields__)),
        ({"text": [0] * 100}, "text", f"must be text (put it in quotes), not [{'0, ' * 18}0,..."),
    ],
)
def test_what_is_wrong_is_told_once_at_its_place(said: object, place: str, why: str) -> None:
    assert wrong(said) == {place: why}


def test_all_that_is_wrong_is_told_at_once() -> None:
    said = {"text": 1, "by_name": {"a": {"size": 0}, "b": {"name": "n"}}, "parts": [1, {"x": 2}]}
    assert list(wrong(said)) == [
        *("text", "by_name.a.name", "by_name.a.size", "parts[0]", "parts[1].name", "parts[1].x"),
    ]


def test_what_is_right_is_there_beside_what_is_wrong() -> None:
    said = {
        "text": 1,
        "count": 7,
        "by_name": {"a": {"size": 0}, "b": {"name": "n", "size": 0}},
        "words": ["x", 3, "z"],
        "parts": [{"name": "a"}, {}],
    }
    assert read(Form, said)[0] == Form(count=7, by_name={"b": Part("n")}, words=("x", "", "z"))
    assert read(Part, {"size": 1})[0] is None


def test_a_summary_shows_no_values() -> None:
    _, problems = read(Form, {"numbers": ["secret"]})
    assert summary(problems) == "numbers[0]: must be a whole number"


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "size", "a"]), inner, max_size=3)
    ),
    max_leaves=5,
)
KEYS = st.sampled_from([*Form.__struct_fields__, "zz", "\ud800"])


@given(st.dictionaries(KEYS, VALUES, max_size=4))
def test_any_values_give_a_value_or_problems_at_places_that_are_there(said: Any) -> None:
    value, problems = read(Form, said)
    assert isinstance(value, Form)
    for place, why in problems.items():
        assert str(why)
        assert is_place(place, said)


def is_place(place: Place, value: Any) -> bool:
    """Is something there, or at least what it would be in?"""
    for step in place[:-1]:
        value = value[step]
    return isinstance(value, dict | list)


def numbers_of(kind: Any) -> Iterator[Any]:
    """The kinds of all numbers inside a kind, with their bounds."""
    if kind in (int, float) or (get_origin(kind) is Annotated and kind.__origin__ in (int, float)):
        yield kind
        return
    fields = [field.type for field in structs.fields(kind)] if is_form(kind) else get_args(kind)
    for inner in fields:
        yield from numbers_of(inner)


BEYOND = [2**63, -(2**63) - 1], [float("inf"), -float("inf"), float("nan")]


@pytest.mark.parametrize("form", [GivenSettings, Handover, *hearing.FORMS.values()])
def test_no_number_of_any_form_is_beyond_what_others_can_read(form: type[Struct]) -> None:
    for kind in numbers_of(form):
        for value in BEYOND[kind is float or getattr(kind, "__origin__", int) is float]:
            with pytest.raises(msgspec.ValidationError):
                msgspec.convert(value, kind)
