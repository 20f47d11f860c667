"""What differs between mappings, against the plainest way to say it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.differences import changed, differences, gone

OBJECTS = [object(), object(), None]
mappings = st.lists(st.tuples(st.sampled_from("abcde"), st.sampled_from(OBJECTS)), max_size=6).map(
    dict
)


@settings(deadline=None, max_examples=300)
@given(mappings, mappings)
def test_differences_are_those_of_a_plain_loop(
    old: dict[str, object], new: dict[str, object]
) -> None:
    assert changed(old, new) == [k for k in new if k not in old or old[k] is not new[k]]
    assert gone(old, new) == [k for k in old if k not in new]
    assert differences(old, new) == (changed(old, new), gone(old, new))


@settings(deadline=None, max_examples=100)
@given(mappings, st.sampled_from("abcde"), st.sampled_from(OBJECTS))
def test_a_copy_with_one_entry_put_differs_there_only(
    old: dict[str, object], key: str, value: object
) -> None:
    new = {**old, key: value}
    assert changed(old, new) == ([] if key in old and old[key] is value else [key])
    assert gone(old, new) == []
