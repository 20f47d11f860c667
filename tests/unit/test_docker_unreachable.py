"""What runs without an address is given a while, and no longer."""

from __future__ import annotations

from admin.providers.docker.unreachable import PATIENCE_S, Unreachable


def test_too_long_counts_from_when_it_was_seen_first() -> None:
    found = Unreachable()
    assert found.note({"a"}, 10.0) == frozenset()
    assert found.note({"a", "b"}, 10.0 + PATIENCE_S / 2) == frozenset()
    assert found.next_due == 10.0 + PATIENCE_S
    assert found.note({"a", "b"}, 10.0 + PATIENCE_S) == {"a"}


def test_what_could_be_reached_meanwhile_is_given_a_while_again() -> None:
    found = Unreachable()
    found.note({"a"}, 10.0)
    found.note((), 11.0)
    assert found.next_due is None
    assert found.note({"a"}, 10.0 + PATIENCE_S) == frozenset()
