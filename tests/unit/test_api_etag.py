"""Entity tags: equal things have equal tags, and preconditions hold as RFC 9110 says."""

from __future__ import annotations

import pytest

from admin.api.etag import etag, precondition, read_tags
from gateway.core.errors import Code, Refused
from gateway.core.model import Route, RoutePolicy, ServiceId
from gateway.core.state import State

A, B = ServiceId("-/a"), ServiceId("-/b")


def test_a_tag_changes_with_what_it_names_and_with_nothing_else() -> None:
    one = Route("h", "/", {A: 1, B: 2})
    assert etag(one) == etag(Route("h", "/", {B: 2, A: 1}))
    assert etag(one) != etag(Route("h", "/", {A: 1, B: 3}))
    assert etag(one) != etag(Route("h", "/", {A: 1, B: 2}, RoutePolicy(spill=False)))
    assert etag(one).startswith('"')
    assert etag(one).endswith('"')


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ('"a"', {'"a"'}),
        ('"a", "b"', {'"a"', '"b"'}),
        ('"a","b,c" ', {'"a"', '"b,c"'}),
        ("*", {"*"}),
        ('W/"a"', set()),
        ('W/"a", "b"', {'"b"'}),
        ('""', {'""'}),
    ],
)
def test_tags_are_read(text: str, tags: set[str]) -> None:
    assert read_tags("If-Match", text) == tags


@pytest.mark.parametrize(
    "text", ["", "a", '"a', 'a"', '"a" "b"', '"a" b', "'a'", '"a b"', '"a",,"b"', '"a"' * 100]
)
def test_what_is_no_tag_is_refused_with_its_field(text: str) -> None:
    with pytest.raises(Refused) as caught:
        read_tags("If-Match", text)
    assert [e.field for e in caught.value.errors] == ["header.If-Match"]


def holds(match: set[str] | None, none_match: set[str] | None, tag: str | None) -> bool:
    check = precondition(
        None if match is None else frozenset(match),
        None if none_match is None else frozenset(none_match),
        lambda state: tag,
    )
    if check is None:
        return True
    try:
        check(State())
    except Refused as refused:
        told = refused.code, refused.extra
    else:
        return True
    assert told == (Code.STALE_REVISION, {"etag": tag})
    return False


def test_a_change_happens_only_if_the_resource_is_as_the_writer_saw_it() -> None:
    assert holds(None, None, '"a"')
    assert holds({'"a"'}, None, '"a"')
    assert holds({'"b"', '"a"'}, None, '"a"')
    assert holds({"*"}, None, '"a"')
    assert not holds({'"b"'}, None, '"a"')
    assert not holds(set(), None, '"a"')
    assert not holds({"*"}, None, None)
    assert not holds({'"a"'}, None, None)


def test_if_none_match_guards_what_must_not_exist_yet() -> None:
    assert holds(None, {"*"}, None)
    assert not holds(None, {"*"}, '"a"')
    assert holds(None, {'"b"'}, '"a"')
