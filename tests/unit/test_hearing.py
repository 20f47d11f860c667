"""A supervisor believes no message of a child that has not the form it is made in."""

from __future__ import annotations

import contextlib
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.runtime import messages
from gateway.runtime.hearing import Nonsense, verify
from gateway.runtime.link import encode
from gateway.runtime.messages import Json

SAID: list[Json] = [
    messages.beat(7),
    messages.ready(),
    messages.leaving(),
    messages.drained(3),
    messages.fatal("no store"),
    messages.halt("b1", 2),
    messages.launch(
        *("b1", "app/web"),
        note={"ports": [1]},
        command=["/bin/true"],
        env={"A": "b"},
        cwd=None,
        log="/tmp/log",
        grace_s=0.5,
    ),
]
VALUES = st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.integers())


def sent(message: Json) -> dict[str, Any]:
    """As it arrives."""
    found: dict[str, Any] = orjson.loads(orjson.dumps(message))
    return found


@pytest.mark.parametrize("message", SAID, ids=lambda m: str(m["t"]))
def test_what_children_say_is_understood_also_with_keys_of_a_later_version(message: Json) -> None:
    verify(sent(message))
    verify({**sent(message), "added_later": [1]})
    verify({"t": "unheard of", "id": None})


@pytest.mark.parametrize("message", SAID[3:], ids=lambda m: str(m["t"]))
def test_a_message_without_one_of_its_keys_is_none(message: Json) -> None:
    for key in message:
        if key != "t":
            with pytest.raises(Nonsense, match=f"message {message['t']} that makes no sense"):
                verify({k: v for k, v in sent(message).items() if k != key})


@pytest.mark.parametrize(
    ("message", "place"),
    [
        ({"t": "beat", "generation": "7"}, "generation"),
        ({"t": "beat", "generation": True}, "generation"),
        ({"t": "beat", "generation": -1}, "generation"),
        ({"t": "drained", "cut": None}, "cut"),
        ({"t": "halt", "id": ["b"], "grace_s": 1}, "id"),
        ({"t": "halt", "id": "b", "grace_s": -1}, "grace_s"),
        ({**SAID[6], "command": "/bin/true"}, "command"),
        ({**SAID[6], "env": {"A": 1}}, "env.A"),
        ({**SAID[6], "note": []}, "note"),
    ],
)
def test_a_key_of_another_type_is_named(message: Json, place: str) -> None:
    with pytest.raises(Nonsense, match=f" at {place}: "):
        verify(sent(message))


def a_launch(note_depth: int) -> Json:
    note: Json = {}
    for _ in range(note_depth):
        note = {"a": note}
    return {**sent(SAID[6]), "note": note}


def is_understood(message: Json) -> bool:
    try:
        verify(message)
    except Nonsense:
        return False
    return True


def test_a_note_is_no_deeper_than_can_be_told_again() -> None:
    refused = next(depth for depth in range(100, 500) if not is_understood(a_launch(depth)))
    with pytest.raises(Nonsense, match="launch that makes no sense at note: nested"):
        verify(a_launch(refused))
    encode(messages.processes([a_launch(refused - 1)], [a_launch(refused - 1)]))


@given(st.sampled_from(SAID), st.dictionaries(st.sampled_from(list(SAID[6])), VALUES))
def test_whatever_is_said_is_understood_or_nonsense(message: Json, changes: Json) -> None:
    changed = {**sent(message), **changes, "t": message["t"]}
    with contextlib.suppress(Nonsense):
        verify(changed)
