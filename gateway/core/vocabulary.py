"""The words that a data plane has in common with the model: identities, choices, keys.

Apart from `model.py`, because every start of a worker waits for what it imports, and the model
with all that an operator may wish for is the largest part of what it does not need.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

ServiceId = NewType("ServiceId", str)
RouteId = NewType("RouteId", str)
InstanceId = NewType("InstanceId", str)


class AtZero(StrEnum):
    """What affinity does for clients pinned to a service whose weight is 0."""

    DRAIN = "drain"
    """Pinned clients stay; nobody new is sent there."""
    EVICT = "evict"
    """Pinned clients are drawn anew by the weights."""


class BalancerName(StrEnum):
    """How a service spreads its requests over its instances."""

    ROUND_ROBIN = "round_robin"
    LEAST_REQUESTS = "least_requests"
    TWO_RANDOM_CHOICES = "two_random_choices"


@dataclass(frozen=True, slots=True)
class AffinityKey:
    """A secret that affinity tokens are made with. The newest one signs.

    `id` is one character of `[A-Za-z0-9]`; `secret` is 32 random bytes in hex;
    `created` is seconds since the epoch.
    """

    id: str
    secret: str
    created: float

    def __repr__(self) -> str:
        return f"AffinityKey(id={self.id!r}, created={self.created!r})"


@dataclass(frozen=True, slots=True)
class InstanceTls:
    """TLS to one instance: it is asked for `name`, and believed without proof if not `verify`."""

    name: str
    verify: bool = True


def split_service_id(service: ServiceId) -> tuple[str, str]:
    """`application/name` -> `(application, name)`."""
    application, _, name = service.partition("/")
    return application, name
