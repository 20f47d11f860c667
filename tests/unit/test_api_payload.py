"""Payloads are read strictly: what other parsers forgive is refused with its place."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from admin.api.payload import MAX_BYTES, MAX_DEPTH, parse, read_json, read_query
from admin.api.queries import ExplainQuery, ForceQuery, StatsQuery
from admin.api.schemas import PolicyBody, ServiceBody
from gateway.core.errors import Code, Refused

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=20,
)


def refused(raw: bytes, prefix: tuple[str, ...] = ()) -> dict[str, str]:
    with pytest.raises(Refused) as caught:
        read_json(raw, prefix)
    assert caught.value.code is Code.INVALID
    assert caught.value.errors
    return {e.field: e.message for e in caught.value.errors}


@given(VALUES)
@settings(deadline=None, max_examples=200)
def test_strict_json_is_read_as_every_parser_reads_it(value: Any) -> None:
    assert read_json(json.dumps(value).encode()) == value
    assert read_json(json.dumps(value, ensure_ascii=False).encode()) == value


@given(st.binary(max_size=200))
@settings(deadline=None, max_examples=300)
def test_arbitrary_bytes_are_read_or_refused_and_nothing_else(raw: bytes) -> None:
    try:
        read_json(raw)
    except Refused as refusal:
        code = refusal.code
    else:
        return
    assert code is Code.INVALID


def test_a_key_given_twice_is_refused_with_its_place() -> None:
    assert refused(b'{"a": {"b": 1, "c": 2, "b": 1}}').keys() == {"a.b"}
    assert refused(b'[{"x": 1, "x": 2}]').keys() == {"[0].x"}


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400", "-1e999", "1" * 400])
def test_numbers_without_a_value_are_refused_with_their_place(number: str) -> None:
    raw = f'{{"v1": {number}, "v2": 1}}'.encode()
    assert refused(raw, ("weights",)).keys() == {"weights.v1"}


def test_all_places_are_named_at_once() -> None:
    places = refused(b'{"a": NaN, "b": {"c": 1, "c": 2}, "d": ["\\ud800"]}')
    assert places.keys() == {"a", "b.c", "d[0]"}


def test_half_a_character_is_refused_in_keys_too() -> None:
    assert list(refused(b'{"\\udc00": 1}')) == ["?"]


def test_text_that_is_not_utf8_is_refused_with_its_byte() -> None:
    assert refused(b'{"a": "\xff"}') == {"body": "not UTF-8 at byte 7"}


def test_broken_json_is_refused_with_line_and_column() -> None:
    assert "line 2, column 3" in refused(b'{"a": 1,\n  b}')["body"]
    assert refused(b"\xef\xbb\xbf{}").keys() == {"body"}
    assert refused(b"").keys() == {"body"}
    assert refused(b"{} {}").keys() == {"body"}


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 1_000, 400_000])
@pytest.mark.parametrize(("begin", "end"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_deep_nesting_is_refused(depth: int, begin: bytes, end: bytes) -> None:
    if len(begin) * depth > MAX_BYTES // 2:
        depth = MAX_BYTES // 2 // len(begin)
    messages = refused(begin * depth + b"1" + end * depth).values()
    assert all(
        f"deeper than {MAX_DEPTH}" in message or "not JSON" in message for message in messages
    )


def test_a_body_too_long_is_refused_unread() -> None:
    assert refused(b" " * (MAX_BYTES + 1)).keys() == {"body"}


def test_an_endless_number_of_problems_is_reported_bounded() -> None:
    with pytest.raises(Refused) as caught:
        read_json(b"[" + b"NaN," * 5000 + b"NaN]")
    assert len(caught.value.errors) == 100
    assert "4901 more" in caught.value.detail


def problems(model: type[Any], value: Any) -> dict[str, str]:
    with pytest.raises(Refused) as caught:
        parse(model, value)
    return {e.field: e.message for e in caught.value.errors}


def test_a_misspelt_key_is_told_what_it_could_have_meant_at_any_depth() -> None:
    found = problems(PolicyBody, {"afinity": {}, "timeouts": {"conect": 1}, "zzz": 1})
    assert "did you mean 'affinity'" in found["afinity"]
    assert "did you mean 'connect'" in found["timeouts.conect"]
    assert "known: affinity, timeouts" in found["zzz"]
    found = problems(ServiceBody, {"routes": [{"host": "a.b", "pth": "/"}], "endpoints": []})
    assert "did you mean 'path'" in found["routes[0].pth"]


def test_all_problems_of_a_payload_are_reported_at_once_with_their_place() -> None:
    found = problems(
        ServiceBody,
        {
            "routes": [{"host": "a b"}, {"host": "ok.example", "path": "x", "port": 0}],
            "endpoints": ["127.0.0.1", "good:80", "x:99999"],
            "coexist": "yes",
            "health": {"type": "udp", "interval": -1, "rise": 1.5},
            "balancer": "random",
        },
    )
    assert found.keys() == {
        "routes[0].host",
        "routes[1].path",
        "routes[1].port",
        "endpoints[0]",
        "endpoints[2]",
        "coexist",
        "health.type",
        "health.interval",
        "health.rise",
        "balancer",
    }


def test_problems_never_repeat_long_input() -> None:
    found = problems(PolicyBody, {"x" * 5000: 1})
    assert all(len(place) <= 200 and len(message) <= 200 for place, message in found.items())


def query_problems(model: type[Any], *pairs: tuple[str, str]) -> list[str]:
    with pytest.raises(Refused) as caught:
        read_query(model, pairs)
    return [e.field for e in caught.value.errors]


def test_query_parameters_are_checked_like_bodies() -> None:
    assert read_query(ForceQuery, [("force", "true"), ("dry_run", "false")]).force
    assert query_problems(ForceQuery, ("forse", "true"), ("dry_run", "maybe")) == [
        "query.dry_run",
        "query.forse",
    ]
    assert query_problems(ForceQuery, ("force", "true"), ("force", "false")) == ["query.force"]
    assert query_problems(StatsQuery, ("window", "61")) == ["query.window"]


def test_parameters_that_are_lists_may_come_several_times() -> None:
    query = read_query(ExplainQuery, [("host", "a"), ("header", "X: 1"), ("header", "Y: 2")])
    assert query.header == ["X: 1", "Y: 2"]


def test_of_very_many_problems_all_are_counted_and_the_first_are_told() -> None:
    value = {"spill": 1, **{f"k{n}": n for n in range(300)}}
    with pytest.raises(Refused) as caught:
        parse(PolicyBody, value)
    refusal = caught.value
    assert "301 problems" in refusal.detail
    assert "(201 more not shown)" in refusal.detail
    assert len(refusal.errors) == 100
    assert all(e.field and " " in e.message for e in refusal.errors)
