"""Sticky sessions as browsers see them, whatever is changed, killed or restarted."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.gateway import Gateway, Visitor, served_by
from tests.support.origins import Origins

HOST = "shop.example"


@pytest.fixture(scope="module")
def gateway_of_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with Gateway(tmp_path_factory.mktemp("sessions")) as found:
        yield found


@pytest.fixture
def gateway(gateway_of_module: Gateway, origins: Origins) -> Iterator[Gateway]:
    """Two versions with two instances each; v1 has all weight."""
    api = gateway_of_module.api
    for name in ("v1", "v2"):
        api.register(name, HOST, origins.start(name).port, origins.start(name).port)
    yield gateway_of_module
    for service in api.ok("GET", "services")["services"]:
        api.ok("DELETE", f"services/{service['name']}?force=true&drain_timeout=0")
    api("DELETE", f"routes/{HOST}")


def a_browser(gateway: Gateway) -> Visitor:
    return Visitor(gateway.ports["public"], HOST, is_browser=True)


def visits(browser: Visitor, times: int = 8) -> tuple[set[str], set[str]]:
    """Services and instances that a browser gets, on as many connections."""
    services, instances = set(), set()
    for _ in range(times):
        with browser:  # each time a new connection, so that all workers are met
            answer = browser.get()
        services.add(served_by(answer))
        instances.add(answer.headers["X-Origin"])
    return services, instances


def newcomers(gateway: Gateway, times: int = 8) -> set[str]:
    return {served_by(gateway.ask("public", host=HOST)) for _ in range(times)}


def test_a_browser_stays_on_the_old_version_while_new_ones_see_the_new_one(
    gateway: Gateway,
) -> None:
    old = a_browser(gateway)
    (services, home) = visits(old)
    assert services == {"v1"}
    assert len(home) == 1
    gateway.api.set_weights(HOST, v1=0, v2=100)
    assert visits(old) == ({"v1"}, home)
    new = a_browser(gateway)
    assert visits(new)[0] == newcomers(gateway) == {"v2"}

    for slot in (0, 1):
        gateway.kill_worker(slot)
    gateway.wait_ready()
    assert visits(old) == ({"v1"}, home)
    assert newcomers(gateway) == {"v2"}

    gateway.kill_control()
    assert visits(old) == ({"v1"}, home)
    assert newcomers(gateway) == {"v2"}

    assert gateway.stop() == 0
    gateway.start()
    assert visits(old) == ({"v1"}, home)
    assert newcomers(gateway) == visits(new)[0] == {"v2"}
    assert gateway.metric("gateway_sticky_requests_total", result="hit", service="v1") > 0


def test_a_pin_moves_within_its_version_while_its_instance_drains(gateway: Gateway) -> None:
    browser = a_browser(gateway)
    _, (home,) = visits(browser)
    gateway.api.set_weights(HOST, v1=0, v2=100)
    port = int(home.partition("@")[2])
    gateway.api.ok("POST", f"instances/v1%40127.0.0.1%3A{port}/drain")
    services, moved = visits(browser)
    assert services == {"v1"}
    assert len(moved) == 1
    assert moved != {home}
    gateway.api.ok("POST", f"instances/v1%40127.0.0.1%3A{port}/resume")
    assert visits(browser) == ({"v1"}, moved)


def test_evicted_pins_and_pins_to_removed_services_are_drawn_anew(gateway: Gateway) -> None:
    browser = a_browser(gateway)
    assert visits(browser)[0] == {"v1"}
    gateway.api.set_weights(HOST, v1=0, v2=100)
    gateway.api.ok("PUT", f"routes/{HOST}", {"affinity": {"at_zero": "evict"}})
    assert visits(browser)[0] == {"v2"}
    gateway.api.set_weights(HOST, v1=100, v2=0)
    assert visits(browser)[0] == {"v1"}
    gateway.api.ok("PUT", f"routes/{HOST}", {})
    gateway.api.set_weights(HOST, v1=0, v2=100)
    assert visits(browser)[0] == {"v1"}
    assert gateway.api.ok("DELETE", "services/v1")["removed"]
    assert visits(browser)[0] == {"v2"}


def test_affinity_can_be_off_for_a_route(gateway: Gateway) -> None:
    gateway.api.ok("PUT", f"routes/{HOST}", {"affinity": {"enabled": False}})
    assert "Set-Cookie" not in gateway.ask("public", host=HOST).headers
