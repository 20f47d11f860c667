"""What the Docker Engine says, read as values."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin.providers.docker.containers import (
    Attachment,
    DockerHealth,
    Publication,
    Run,
    container_of,
    event_of,
)

LISTED: dict[str, Any] = {
    "Id": "c635aa64e98755dd2396ab18431e9e8a885609097dc581113966bcc25c0cd603",
    "Names": ["/shop-web-1"],
    "Image": "shop:1",
    "Created": 1795398031,
    "Ports": [
        {"IP": "::", "PrivatePort": 80, "PublicPort": 18080, "Type": "tcp"},
        {"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 18080, "Type": "tcp"},
        {"PrivatePort": 81, "Type": "tcp"},
        {"IP": "0.0.0.0", "PrivatePort": 53, "PublicPort": 53, "Type": "udp"},
    ],
    "Labels": {"gateway.routing.port_80": "shop"},
    "State": "running",
    "Status": "Up 1 second (health: starting)",
    "HostConfig": {"NetworkMode": "shop_default"},
    "NetworkSettings": {
        "Networks": {
            "shop_default": {"IPAddress": "172.31.64.2", "IPPrefixLen": 24},
            "idle": {"IPAddress": "", "IPPrefixLen": 0},
        }
    },
}


def test_a_container_is_read_from_the_list() -> None:
    container = container_of(LISTED)
    assert container is not None
    assert (container.short_id, container.name) == ("c635aa64e987", "shop-web-1")
    assert (container.run, container.health) == (Run.RUNNING, DockerHealth.STARTING)
    assert container.labels == {"gateway.routing.port_80": "shop"}
    assert container.attachments == (Attachment("shop_default", "172.31.64.2", 24),)
    assert container.publications == (
        Publication(80, "0.0.0.0", 18080),
        Publication(80, "::", 18080),
    )


@pytest.mark.parametrize(
    ("status", "health"),
    [
        ("Up 2 hours", DockerHealth.NONE),
        ("Up 2 hours (healthy)", DockerHealth.HEALTHY),
        ("Up 2 hours (unhealthy)", DockerHealth.UNHEALTHY),
        ("Up 2 hours (Paused)", DockerHealth.NONE),
        ("Exited (0) 3 minutes ago", DockerHealth.NONE),
    ],
)
def test_the_health_stands_in_the_status(status: str, health: DockerHealth) -> None:
    container = container_of({**LISTED, "Status": status})
    assert container is not None
    assert container.health is health


def test_an_event_has_its_action_without_details_and_its_signal() -> None:
    event = event_of(
        {
            "Type": "container",
            "Action": "health_status: healthy",
            "Actor": {"ID": "abc", "Attributes": {"name": "hc"}},
            "timeNano": 1795398032822944458,
        }
    )
    assert (event.kind, event.action, event.id) == ("container", "health_status", "abc")
    assert event.signal is None
    killed = event_of({"Action": "kill", "Actor": {"ID": "x", "Attributes": {"signal": "15"}}})
    assert killed.signal == 15


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inside: st.lists(inside) | st.dictionaries(st.text(), inside),
    max_leaves=10,
)


@given(st.sampled_from(sorted(LISTED)), ANYTHING)
def test_no_answer_of_the_engine_breaks_the_reading(key: str, value: object) -> None:
    container = container_of({**LISTED, key: value})
    assert container is not None or key == "Id"


@given(st.dictionaries(st.sampled_from(["Type", "Action", "Actor", "time", "timeNano"]), ANYTHING))
def test_no_event_breaks_the_reading(event: dict[str, Any]) -> None:
    assert event_of(event).time == event_of(event).time
