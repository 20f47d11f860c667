"""Instances coming, going, failing and draining, seen by the requests that reach them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from itertools import count

import pytest

from tests.support.gateway import (
    Answer,
    Gateway,
    Visitor,
    instance_path,
    served_by,
    sleep,
)
from tests.support.load import Load, judge
from tests.support.origins import Origin, Origins
from tests.support.processes import wait_until

_hosts = (f"shop{n}.example" for n in count())


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with Gateway(tmp_path_factory.mktemp("instances"), ejection={"seconds": 3}) as found:
        yield found


@pytest.fixture
def host() -> str:
    """A host of the test's own. Services of a test are called after its number."""
    return next(_hosts)


def name_of(host: str, version: int) -> str:
    return f"{host.partition('.')[0]}-v{version}"


def services(gateway: Gateway, host: str, requests: int = 12) -> set[str]:
    return {served_by(gateway.ask("public", host=host)) for _ in range(requests)}


class Asking(threading.Thread):
    """A slow request in the background."""

    def __init__(self, gateway: Gateway, host: str, seconds: float) -> None:
        super().__init__()
        self._gateway, self._host, self._path = gateway, host, f"/slow?s={seconds}"
        self._answers: list[Answer] = []
        self.start()

    def run(self) -> None:
        self._answers.append(self._gateway.ask("public", self._path, host=self._host, timeout_s=30))

    def answer(self) -> Answer:
        self.join(30)
        return self._answers[0]


def wait_hit(origin: Origin) -> None:
    wait_until(lambda: origin.hits, what=f"a request at {origin.name}")


# --- draining and removing


def test_draining_waits_for_open_requests_and_nothing_new_comes(
    gateway: Gateway, origins: Origins, host: str
) -> None:
    name = name_of(host, 1)
    first, second = origins.start(name), origins.start(name)
    gateway.api.register(name, host, first.port)
    slow = Asking(gateway, host, 2)
    wait_hit(first)
    gateway.api.register(name, host, first.port, second.port)

    path = f"instances/{instance_path(name, first.port)}"
    soon = gateway.api.ok("POST", f"{path}/drain")
    assert (soon["drained"], soon["in_flight"]) == (False, 1)
    assert soon["instance"]["state"] == "draining"
    services(gateway, host, 20)
    assert first.hits == 1

    done = gateway.api.ok("POST", f"{path}/drain?wait=20")
    assert (done["drained"], done["in_flight"]) == (True, 0)
    assert slow.answer().status == 200

    sleep(0.5)  # its checks pass, which must not bring it back
    services(gateway, host, 20)
    assert first.hits == 1
    assert gateway.api.ok("POST", f"{path}/resume")["instance"]["state"] == "up"
    services(gateway, host, 20)
    assert first.hits > 1


def test_draining_tells_of_open_websockets_and_tells_them_to_go(
    gateway: Gateway, origins: Origins, host: str
) -> None:
    name = name_of(host, 1)
    origin = origins.start(name)
    gateway.api.register(name, host, origin.port)
    with socket.create_connection(("127.0.0.1", gateway.ports["public"]), timeout=10) as client:
        client.sendall(
            b"GET /chat HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OUFCQ0RFRg==\r\n\r\n"
            % host.encode()
        )
        assert b" 101 " in client.recv(4096)
        path = f"instances/{instance_path(name, origin.port)}/drain"
        answer = gateway.api.ok("POST", f"{path}?wait=1")
        assert (answer["drained"], answer["websockets"]) == (False, 1)
        assert gateway.metric("gateway_websockets_open", service=name) == 1
        assert client.recv(100) == b"\x88\x02\x03\xe9"  # Close, 1001
        assert gateway.get("public", host=host) == 503
    assert gateway.api.ok("POST", f"{path}?wait=10")["drained"]


def test_removing_a_service_lets_its_requests_end(
    gateway: Gateway, origins: Origins, host: str
) -> None:
    old, new = origins.start(name_of(host, 1)), origins.start(name_of(host, 2))
    gateway.api.register(old.name, host, old.port)
    gateway.api.register(new.name, host, new.port)
    slow = Asking(gateway, host, 2)
    wait_hit(old)
    gateway.api.set_weights(host, **{old.name: 0, new.name: 1})
    with Load(gateway.ports["public"], host, keeping=4, per_request=4) as load:
        load.wait_answers(20)
        removed = gateway.api.ok("DELETE", f"services/{old.name}")
        load.wait_answers(20)
    assert removed["removed"]
    assert not judge(load.records).failed
    assert old.hits == 1
    assert (slow.answer().status, slow.answer().text) == (200, old.name)
    assert gateway.api.weights(host) == {new.name: 1}
    assert gateway.api("GET", f"services/{old.name}").status == 404
    assert f'service="{old.name}"' not in gateway.api("GET", "/metrics").text


def test_a_removal_that_takes_long_is_told_and_survives_a_restart_of_control(
    gateway: Gateway, origins: Origins, host: str
) -> None:
    old, new = origins.start(name_of(host, 1)), origins.start(name_of(host, 2))
    gateway.api.register(old.name, host, old.port)
    gateway.api.register(new.name, host, new.port)
    slow = Asking(gateway, host, 10)
    wait_hit(old)
    gateway.api.set_weights(host, **{old.name: 0, new.name: 1})
    answer = gateway.api("DELETE", f"services/{old.name}?drain_timeout=60")
    assert answer.status == 202
    assert (answer.json["removed"], answer.json["in_flight"]) == (False, 1)
    gateway.kill_control()
    assert gateway.api.ok("GET", f"services/{old.name}")["leaving"]
    assert services(gateway, host) == {new.name}
    assert (slow.answer().status, slow.answer().text) == (200, old.name)
    wait_until(lambda: gateway.api("GET", f"services/{old.name}").status == 404)


# --- health


def test_an_unhealthy_instance_gets_nothing_until_it_is_well_again(
    gateway: Gateway, origins: Origins, host: str
) -> None:
    name = name_of(host, 1)
    good, bad = origins.start(name), origins.start(name)
    gateway.api.register(name, host, good.port, bad.port)
    services(gateway, host)
    assert bad.hits
    bad.healthy = False
    gateway.api.wait_instance(name, bad.port, "down")
    before = bad.hits
    assert services(gateway, host, 20) == {name}
    assert bad.hits == before
    assert gateway.metric("gateway_instances", service=name, state="down") == 1

    gateway.kill_control()  # what is known of its health outlives the process
    assert services(gateway, host, 20) == {name}
    assert bad.hits == before

    bad.healthy = True
    gateway.api.wait_instance(name, bad.port, "up")
    services(gateway, host, 20)
    assert bad.hits > before


def test_a_new_instance_gets_no_request_before_its_first_passing_check(
    gateway: Gateway, origins: Origins, host: str
) -> None:
    name = name_of(host, 1)
    old, new = origins.start(name), origins.start(name)
    new.healthy = False
    gateway.api.register(name, host, old.port)
    with Load(gateway.ports["public"], host, keeping=4, per_request=2, pause_s=0.02) as load:
        gateway.api.register(name, host, old.port, new.port, wait=False)
        wait_until(lambda: len(new.checks) >= 2)
        load.wait_answers(50)
        assert not new.requests
        new.healthy = True
        wait_until(lambda: new.requests, what="a request at the new instance")
    assert not judge(load.records).failed
    assert next(when for when, status in new.checks if status == 200) <= new.requests[0][0]


def test_without_a_check_of_its_own_a_service_is_checked_by_connecting(
    gateway: Gateway, origins: Origins, host: str
) -> None:
    name = name_of(host, 1)
    origin = origins.start(name)
    origins.stop(origin)
    gateway.api.register(name, host, origin.port, wait=False, health={"interval": 0.2, "fall": 2})
    wait_until(lambda: gateway.api.instance(name, origin.port)["health"] == "unhealthy")
    answer = gateway.ask("public", host=host)
    assert (answer.status, "Retry-After" in answer.headers) == (503, True)
    origins.restart(origin)
    gateway.api.wait_instance(name, origin.port, "up")
    assert services(gateway, host) == {name}


def test_an_instance_that_vanishes_under_load_costs_no_request(
    gateway: Gateway, origins: Origins, host: str
) -> None:
    name = name_of(host, 1)
    stays, goes = origins.start(name), origins.start(name)
    gateway.api.register(name, host, stays.port, goes.port)
    with Load(gateway.ports["public"], host, keeping=16, per_request=8) as load:
        load.wait_answers(50)
        origins.stop(goes)
        gateway.api.wait_instance(name, goes.port, "down")
        load.wait_answers(50)
        origins.restart(goes)
        gateway.api.wait_instance(name, goes.port, "up")
        load.wait_answers(50)
    verdict = judge(load.records)
    assert not verdict.failed, verdict


def test_the_share_of_a_sick_service_spills_to_those_with_weight_or_fails(
    gateway: Gateway, origins: Origins, host: str
) -> None:
    sick, well, zero = (origins.start(name_of(host, n)) for n in (1, 2, 3))
    for origin in (sick, well, zero):
        gateway.api.register(origin.name, host, origin.port)
    gateway.api.set_weights(host, **{sick.name: 50, well.name: 50, zero.name: 0})
    assert services(gateway, host, 20) == {sick.name, well.name}
    sick.healthy = False
    gateway.api.wait_instance(sick.name, sick.port, "down")
    assert services(gateway, host, 20) == {well.name}
    assert gateway.metric("gateway_spilled_requests_total", route=host) > 0
    assert gateway.api.weights(host) == {sick.name: 50, well.name: 50, zero.name: 0}

    gateway.api.ok("PUT", f"routes/{host}", {"spill": False})
    with Visitor(gateway.ports["public"], host) as visitor:
        statuses = [visitor.get().status for _ in range(20)]
    assert sorted(statuses) == [200] * 10 + [503] * 10

    gateway.api.ok("PUT", f"routes/{host}", {})
    well.healthy = False
    gateway.api.wait_instance(well.name, well.port, "down")
    answer = gateway.ask("public", host=host)
    assert (answer.status, "Retry-After" in answer.headers) == (503, True)
    assert not zero.hits
    sick.healthy = True
    gateway.api.wait_instance(sick.name, sick.port, "up")
    assert services(gateway, host) == {sick.name}


def test_an_instance_that_fails_requests_is_ejected_for_all_workers_and_returns(
    gateway: Gateway, origins: Origins, host: str
) -> None:
    """Its checks go on passing: only real requests tell."""
    name = name_of(host, 1)
    good, deaf, healthy = origins.start(name), origins.start(name), origins.start(name)
    gateway.api.register(
        name, host, good.port, deaf.port, health={"port": healthy.port, "interval": 0.2}
    )
    origins.stop(deaf)
    with Load(gateway.ports["public"], host, keeping=8, per_request=8, pause_s=0.03) as load:
        wait_until(
            lambda: gateway.api.instance(name, deaf.port)["state"] == "ejected", what="an ejection"
        )
        load.wait_answers(50)
    verdict = judge(load.records)
    assert not verdict.failed, verdict
    origins.restart(deaf)
    gateway.api.wait_instance(name, deaf.port, "up")

    def asked() -> bool:  # each worker ends its own ejection at its next look
        services(gateway, host, 20)
        return bool(deaf.hits)

    wait_until(asked, what="requests for the instance that is back")
