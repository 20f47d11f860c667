"""Random commands, failing backends and killed processes: the gateway is always as its oracle.

After every step the API must show the oracle's state, each route must spread a
round of requests exactly as the oracle says, and a browser on each route must
get whom the oracle allows it.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.gateway import Answer, Gateway, Visitor, instance_path
from tests.support.origins import Origin, Origins
from tests.support.processes import wait_until

from .oracle import Oracle, Policy, Service

ROUTES = ("a.example", "a.example/api", "*.example", "b.local")
BEHIND = {
    "a.example/api": ("a.example", "*.example"),
    "a.example": ("*.example",),
    "*.example": (),
    "b.local": (),
}
"""Which routes take a route's requests when it is not there."""
SERVICES = ("s-v1", "s-v2", "s-v3", "t")
STEPS = 45


class Run:
    """A gateway, its oracle, and what was done to both."""

    def __init__(self, gateway: Gateway, origins: Origins, seed: int) -> None:
        self.gateway = gateway
        self.oracle = Oracle()
        self.chance = random.Random(seed)
        self.origins: dict[str, list[Origin]] = {
            name: [origins.start(name), origins.start(name)] for name in SERVICES
        }
        self.browsers = {
            route: Visitor(gateway.ports["internal"], host_of(route), is_browser=True)
            for route in ROUTES
        }
        self.pins: dict[str, tuple[str, int]] = {}
        self.history: list[str] = []

    # -- steps

    def step(self) -> None:
        action, often = zip(*self.actions(), strict=True)
        self.chance.choices(action, often)[0]()

    def actions(self) -> list[tuple[Callable[[], None], int]]:
        return [
            (self.register, 20),
            (self.put_weights, 20),
            (self.patch_weights, 10),
            (self.drain, 10),
            (self.remove, 8),
            (self.set_policy, 8),
            (self.delete_route, 3),
            (self.flip_health, 14),
            (self.kill_worker, 5),
            (self.kill_control, 5),
            (self.restart, 1),
        ]

    def register(self) -> None:
        name = self.chance.choice(SERVICES)
        service = Service(
            routes=tuple(self.chance.sample(ROUTES, self.chance.choice((1, 1, 2)))),
            ports=tuple(
                o.port for o in self.chance.sample(self.origins[name], self.chance.choice((1, 2)))
            ),
            coexist=self.chance.random() < 0.8,
        )
        body = {
            "routes": [
                {"host": route.partition("/")[0], "path": "/" + route.partition("/")[2]}
                for route in service.routes
            ],
            "coexist": service.coexist,
            "endpoints": [f"127.0.0.1:{port}" for port in service.ports],
            "health": {"path": "/health", "interval": 0.2, "fall": 2},
        }
        self.do(self.oracle.register(name, service), "PUT", f"services/{name}", body, f"{service}")

    def put_weights(self) -> None:
        self.set_weights(whole=True)

    def patch_weights(self) -> None:
        self.set_weights(whole=False)

    def set_weights(self, whole: bool) -> None:
        route = self.chance.choice(ROUTES)
        members = list(self.oracle.routes[route].weights) if route in self.oracle.routes else []
        named = members if whole else self.chance.sample(members, (len(members) + 1) // 2)
        weights = {name: self.chance.choice((0, 0, 1, 2, 3, 50)) for name in named}
        if self.chance.random() < 0.1:
            weights[self.chance.choice(SERVICES)] = 1
        force = self.chance.random() < 0.2
        self.do(
            self.oracle.set_weights(route, weights, whole, force),
            "PUT" if whole else "PATCH",
            f"{route_path(route)}/weights?force={str(force).lower()}",
            weights,
        )

    def drain(self) -> None:
        name = self.chance.choice(SERVICES)
        port = self.chance.choice(self.origins[name]).port
        is_on = self.chance.random() < 0.6
        verb = "drain" if is_on else "resume"
        path = f"instances/{instance_path(name, port)}/{verb}"
        self.do(self.oracle.drain(name, port, is_on), "POST", path)

    def remove(self) -> None:
        name = self.chance.choice(SERVICES)
        force = self.chance.random() < 0.5
        path = f"services/{name}?force={str(force).lower()}"
        self.do(self.oracle.remove(name, force), "DELETE", path)

    def set_policy(self) -> None:
        policy = Policy(
            spill=self.chance.random() < 0.6,
            affinity=self.chance.choice((None, True, False)),
            at_zero=self.chance.choice((None, "drain", "evict")),
        )
        route = self.chance.choice(ROUTES)
        body = {
            "spill": policy.spill,
            "affinity": {"enabled": policy.affinity, "at_zero": policy.at_zero},
        }
        self.do(self.oracle.set_policy(route, policy), "PUT", route_path(route), body)

    def delete_route(self) -> None:
        route = self.chance.choice(ROUTES)
        self.do(self.oracle.delete_route(route), "DELETE", route_path(route))

    def flip_health(self) -> None:
        origin = self.chance.choice(self.origins[self.chance.choice(SERVICES)])
        origin.healthy = not origin.healthy
        if origin.healthy:
            self.oracle.sick.discard(origin.port)
        else:
            self.oracle.sick.add(origin.port)
        self.note(f"{origin.name}@{origin.port} is {'well' if origin.healthy else 'sick'}")

    def kill_worker(self) -> None:
        slot = self.chance.choice((0, 1))
        self.note(f"kill worker {slot}")
        self.gateway.kill_worker(slot)
        self.gateway.wait_ready()

    def kill_control(self) -> None:
        self.note("kill control")
        self.gateway.kill_control()

    def restart(self) -> None:
        self.note("restart")
        assert self.gateway.stop() == 0
        self.gateway.start()

    def do(
        self,
        expected: str | None,
        method: str,
        path: str,
        body: object = None,
        words: str = "",
    ) -> None:
        """A call whose outcome the oracle has foretold."""
        self.note(f"{method} {path} {words or body or ''} -> {expected or 'done'}")
        answer = self.gateway.api(method, path, body)
        assert code_of(answer) == expected, answer
        if expected is None:
            assert answer.status == 200, answer
            assert answer.json["applied"] == {"workers": 2, "of": 2, "late": []}
            assert answer.json.get("removed", True)

    def note(self, text: str) -> None:
        self.history.append(text)

    # -- checks

    def check(self) -> None:
        self.check_state()
        self.wait_health()
        for route in ROUTES:
            if route in self.oracle.routes:
                self.check_round(route)
                self.check_session(route)
            elif not any(other in self.oracle.routes for other in BEHIND[route]):
                answer = self.gateway.ask("internal", target_of(route), host_of(route))
                assert answer.status == 404, answer

    def check_state(self) -> None:
        routes = {
            found["route"]: (
                found["weights"],
                Policy(
                    found["policy"]["spill"],
                    found["policy"]["affinity"]["enabled"],
                    found["policy"]["affinity"]["at_zero"],
                ),
            )
            for found in self.gateway.api.routes()
        }
        assert routes == {
            name: (route.weights, route.policy) for name, route in self.oracle.routes.items()
        }
        services = {
            found["name"]: Service(
                tuple(claim["route"] for claim in found["routes"]),
                tuple(int(e.rpartition(":")[2]) for e in found["endpoints"]),
                found["coexist"],
            )
            for found in self.gateway.api.ok("GET", "services")["services"]
        }
        assert services == self.oracle.services

    def wait_health(self) -> None:
        """Until checks have found out what was done to the backends, and workers know."""
        expected = {
            f"{name}@127.0.0.1:{port}": self.oracle.state(name, port)
            for name, service in self.oracle.services.items()
            for port in service.ports
        }

        def instances() -> dict[str, Any]:
            services = self.gateway.api.ok("GET", "services")["services"]
            return {i["id"]: i["state"] for s in services for i in s["instances"]}

        wait_until(lambda: instances() == expected, what=f"{expected}")
        for name, service in self.oracle.services.items():
            # A write that changes nothing waits for what was published before it.
            self.gateway.api.ok("PATCH", f"services/{name}", {"coexist": service.coexist})
            break

    def check_round(self, route: str) -> None:
        expected = self.oracle.round(route)
        got: Counter[str] = Counter()
        with Visitor(self.gateway.ports["internal"], host_of(route)) as visitor:
            for _ in range(expected.total()):
                name, port = self.who(visitor.get(target_of(route)))
                got[name] += 1
                assert not name or port in self.oracle.usable(name)
        assert got == expected, route

    def check_session(self, route: str) -> None:
        pin = self.pins.get(route)
        allowed = self.oracle.session(route, pin)
        with self.browsers[route] as browser:
            answer = browser.get(target_of(route))
        who = self.who(answer)
        assert who in allowed, (route, pin)
        is_sticky = self.oracle.routes[route].policy.affinity is not False
        has_new_pin = is_sticky and who != pin and who[0] != ""
        assert ("Set-Cookie" in answer.headers) == has_new_pin, (route, pin, answer)
        if has_new_pin:
            self.pins[route] = who

    def who(self, answer: Answer) -> tuple[str, int]:
        """The service and port that answered; `("", 0)`: the gateway."""
        if answer.status == 503:
            assert "Retry-After" in answer.headers
            return "", 0
        assert answer.status == 200, answer
        name, _, port = answer.headers["X-Origin"].partition("@")
        assert name == answer.headers["X-Served-By"] == answer.text
        return name, int(port)


def host_of(route: str) -> str:
    """A host that only this route serves."""
    return route.partition("/")[0].replace("*", "other")


def target_of(route: str) -> str:
    return "/api/things" if route.endswith("/api") else "/apiary"


def route_path(route: str) -> str:
    return f"routes/{quote(route, safe='')}"


def code_of(answer: Answer) -> str | None:
    return str(answer.json["code"]) if answer.status >= 400 else None


@pytest.mark.timeout(240)
@pytest.mark.parametrize("seed", [1, 2])
def test_whatever_is_done_the_gateway_is_as_its_oracle(
    tmp_path: Path, origins: Origins, seed: int
) -> None:
    with Gateway(tmp_path, ejection={"failures": 0}) as gateway:
        run = Run(gateway, origins, seed)
        try:
            for _ in range(STEPS):
                run.step()
                run.check()
        except Exception as error:
            steps = "\n  ".join(run.history)
            raise AssertionError(f"{error}\nafter\n  {steps}\n{run.oracle}") from error
