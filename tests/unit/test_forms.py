"""Plain values become dataclasses, strictly, or every problem is told at its place."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.runtime.forms import Ge, Gt, Le, MinLen, Place, in_words, read, summary


class Colour(StrEnum):
    BLUE = "blue"
    GREEN = "green"
    RED = "red"


@dataclass(frozen=True, slots=True)
class Part:
    name: str
    size: Annotated[int, Ge(1), Le(9)] = 3


@dataclass(frozen=True, slots=True)
class Whole:
    text: Annotated[str, MinLen(1)] = "t"
    flag: bool = False
    count: int = 0
    share: Annotated[float, Gt(0)] = 0.5
    colour: Colour = Colour.BLUE
    mode: Annotated[int, Ge(1)] | Literal["auto"] = "auto"
    anything: object = None
    maybe: Part | None = None
    by_name: dict[str, Part] = field(default_factory=dict)
    words: tuple[str, ...] = ()
    numbers: list[int] = field(default_factory=list)
    parts: Annotated[tuple[Part, ...], MinLen(1)] = (Part("p"),)
    pair: tuple[int, str] = (1, "a")


def wrong(value: object) -> dict[str, str]:
    return {in_words(place): str(why) for place, why in read(Whole, value).problems.items()}


def test_nothing_said_means_the_defaults() -> None:
    assert read(Whole, {}).value == Whole()


def test_each_kind_of_value_is_taken() -> None:
    said = {
        "text": "x",
        "flag": True,
        "count": -(2**63),
        "share": 2,
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
    reading = read(Whole, said)
    assert not reading.problems
    assert reading.value == Whole(
        *("x", True, -(2**63), 2.0, Colour.RED, 4, [{}], Part("m")),
        {"one": Part("n", 9)},
        ("a", ""),
        [1, 2],
        (Part("q"),),
        (2, "b"),
    )
    assert isinstance(reading.value.share, float)
    assert isinstance(reading.value.colour, Colour)
    assert read(Whole, {"maybe": None, "mode": "auto"}).value == Whole()


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
        ({"share": float("nan")}, "share", "must be a finite number, not NaN"),
        ({"share": float("inf")}, "share", "must be a finite number, not Infinity"),
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
    assert read(Whole, said).value == Whole(count=7, by_name={"b": Part("n")}, words=("x", "", "z"))
    assert read(Part, {"size": 1}).value is None


def test_a_summary_shows_no_values() -> None:
    problems = read(Whole, {"numbers": ["secret"]}).problems
    assert summary(problems) == "numbers[0]: must be a whole number"


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "size", "a"]), inner, max_size=3)
    ),
    max_leaves=5,
)
KEYS = st.sampled_from([*Whole.__dataclass_fields__, "zz"])


@given(st.dictionaries(KEYS, VALUES, max_size=4))
def test_any_values_give_a_value_or_problems_at_places_that_are_there(said: Any) -> None:
    reading = read(Whole, said)
    assert isinstance(reading.value, Whole)
    for place, why in reading.problems.items():
        assert str(why)
        assert is_place(place, said)


def is_place(place: Place, value: Any) -> bool:
    """Is something there, or at least what it would be in?"""
    for step in place[:-1]:
        value = value[step]
    return isinstance(value, dict | list)
