"""What a gateway must do, said in the simplest way: dictionaries, no generations, no processes.

Commands answer with the problem's code, or None when they are carried out. The
oracle knows nothing of how the gateway does it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from math import gcd


@dataclass
class Service:
    """A registration. An instance is its port."""

    routes: tuple[str, ...]
    ports: tuple[int, ...]
    coexist: bool


@dataclass(frozen=True)
class Policy:
    spill: bool = True
    affinity: bool | None = None
    at_zero: str | None = None


@dataclass
class Route:
    weights: dict[str, int] = field(default_factory=dict)
    policy: Policy = Policy()

    def needs(self, service: str) -> bool:
        """Would the other members be left without any traffic?"""
        others = [w for name, w in self.weights.items() if name != service]
        return bool(others) and not any(others) and self.weights.get(service, 0) > 0

    @property
    def is_nothing(self) -> bool:
        return not self.weights and self.policy == Policy()


@dataclass
class Oracle:
    services: dict[str, Service] = field(default_factory=dict)
    routes: dict[str, Route] = field(default_factory=dict)
    drained: set[tuple[str, int]] = field(default_factory=set)
    sick: set[int] = field(default_factory=set)
    """Ports whose health checks fail."""

    # -- commands

    def register(self, name: str, wanted: Service) -> str | None:
        before = self.services.get(name)
        held = set(before.routes) if before else set()
        dropped = held - set(wanted.routes)
        joined = [r for r in wanted.routes if r not in held]
        if any(self.routes[r].needs(name) for r in dropped):
            return "in_use"
        if not wanted.coexist and any(r in self.routes and self.routes[r].weights for r in joined):
            return "route_conflict"
        for route in dropped:
            del self.routes[route].weights[name]
            self._tidy(route)
        for route in joined:
            weights = self.routes.setdefault(route, Route()).weights
            weights[name] = 0 if weights else 100
        if before:
            self.drained -= {(name, p) for p in before.ports if p not in wanted.ports}
        self.services[name] = wanted
        return None

    def remove(self, name: str, force: bool) -> str | None:
        if name not in self.services:
            return "not_found"
        service = self.services[name]
        if not force and any(self.routes[r].needs(name) for r in service.routes):
            return "in_use"
        for route in service.routes:
            del self.routes[route].weights[name]
            self._tidy(route)
        del self.services[name]
        self.drained = {(n, p) for n, p in self.drained if n != name}
        return None

    def set_weights(
        self, route: str, weights: dict[str, int], whole: bool, force: bool
    ) -> str | None:
        if not weights:
            return "invalid"
        if route not in self.routes:
            return "not_found"
        known = self.routes[route].weights
        if not weights.keys() <= known.keys():
            return "invalid"
        if whole and weights.keys() != known.keys():
            return "invalid"
        after = known | weights
        if not any(after.values()) and not force:
            return "route_without_traffic"
        self.routes[route].weights = after
        return None

    def set_policy(self, route: str, policy: Policy) -> str | None:
        self.routes.setdefault(route, Route()).policy = policy
        return None

    def delete_route(self, route: str) -> str | None:
        if route not in self.routes:
            return "not_found"
        if self.routes[route].weights:
            return "in_use"
        del self.routes[route]
        return None

    def drain(self, name: str, port: int, is_on: bool) -> str | None:
        if name not in self.services or port not in self.services[name].ports:
            return "not_found"
        if is_on:
            self.drained.add((name, port))
        else:
            self.drained.discard((name, port))
        return None

    def _tidy(self, route: str) -> None:
        if self.routes[route].is_nothing:
            del self.routes[route]

    # -- what follows for requests

    def state(self, name: str, port: int) -> str:
        if (name, port) in self.drained:
            return "draining"
        return "down" if port in self.sick else "up"

    def usable(self, name: str) -> set[int]:
        """The instances that may get a request."""
        if name not in self.services:
            return set()
        return {p for p in self.services[name].ports if self.state(name, p) == "up"}

    def round(self, route: str) -> Counter[str]:
        """How often each service answers in one round of requests; "": the gateway, with 503."""
        found = self.routes[route]
        weights = {n: w for n, w in found.weights.items() if w}
        if found.policy.spill:
            weights = {n: w for n, w in weights.items() if self.usable(n)}
        if not weights:
            return Counter([""])
        unit = gcd(*weights.values())
        shares: Counter[str] = Counter()
        for name, weight in weights.items():
            shares[name if self.usable(name) else ""] += weight // unit
        return shares

    def session(self, route: str, pin: tuple[str, int] | None) -> set[tuple[str, int]]:
        """Who may answer a browser with this pin; `("", 0)`: the gateway, with 503."""
        found = self.routes[route]
        if pin is not None and found.policy.affinity is not False:
            name, port = pin
            weight = found.weights.get(name)
            stays = weight is not None and (weight > 0 or found.policy.at_zero != "evict")
            if stays:
                usable = self.usable(name)
                if port in usable:
                    return {pin}
                if usable:
                    return {(name, p) for p in usable}
                if weight and not found.policy.spill:
                    return {("", 0)}
        drawn: set[tuple[str, int]] = set()
        for name in self.round(route):
            drawn |= {(name, p) for p in self.usable(name)} if name else {("", 0)}
        return drawn
