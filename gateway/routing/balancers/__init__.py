"""Balancing policies, one file each, registered by name.

A new policy is a file, a name in `BalancerName` and a line here; the contract
tests run over the registry.
"""

from __future__ import annotations

from collections.abc import Mapping

from gateway.core.vocabulary import BalancerName

from .base import Balancer
from .least_requests import LeastRequests
from .round_robin import RoundRobin
from .two_random_choices import TwoRandomChoices

__all__ = ["BALANCERS", "Balancer"]

BALANCERS: Mapping[BalancerName, type[Balancer]] = {
    BalancerName.ROUND_ROBIN: RoundRobin,
    BalancerName.LEAST_REQUESTS: LeastRequests,
    BalancerName.TWO_RANDOM_CHOICES: TwoRandomChoices,
}
