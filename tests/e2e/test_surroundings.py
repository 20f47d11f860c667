"""What a gateway lives in and cannot choose: clocks that are set, names that move, slow services."""

from __future__ import annotations

import os
import struct
import threading
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from tests.support import applications, jumping, mounts
from tests.support.applications import Operator, backends, service
from tests.support.gateway import Answer, Gateway, Visitor, served_by, sleep
from tests.support.load import Load, judge
from tests.support.origins import Origins
from tests.support.processes import wait_until

HOST = "shop.example"
DAY_S = 86_400.0
SLOW_S = 10.0
TTL_S = 5.0
"""How long a name's addresses are believed."""


# --- clocks -----------------------------------------------------------------------------


class WallClock:
    """The wall clock of a gateway's processes, which a test may set."""

    def __init__(self, file: Path) -> None:
        self._file = file
        file.write_bytes(struct.pack("<d", 0.0))
        self.environment = {
            "PYTHONPATH": os.pathsep.join(
                [jumping.__path__[0], *filter(None, [os.environ.get("PYTHONPATH")])]
            ),
            "GATEWAY_TEST_CLOCK": str(file),
        }

    def set_ahead(self, seconds: float) -> None:
        with self._file.open("r+b") as file:
            file.write(struct.pack("<d", seconds))


def test_a_wall_clock_that_is_set_forward_and_back_changes_nothing_but_dates(
    tmp_path: Path, origins: Origins
) -> None:
    clock = WallClock(tmp_path / "clock")
    origin = origins.start("v1")
    gateway = Gateway(tmp_path, **backends())
    gateway.environment = clock.environment
    with gateway:
        gateway.api.register("v1", HOST, origin.port)
        shop = Operator(gateway, "app")
        first = {"app-v1": service("app.example", name="app-v1")}
        shop.wait(shop.deploy(first), "confirmed")
        pids = {**gateway.workers, -1: gateway.control}
        with (
            Load(gateway.ports["public"], HOST, keeping=4, per_request=2) as load,
            Load(gateway.ports["public"], "app.example", keeping=2, per_request=2) as others,
        ):
            for number, ahead in enumerate((DAY_S, -400 * DAY_S)):
                release = shop.deploy(
                    {f"app-v{number + 2}": service("app.example", name=f"app-v{number + 2}")},
                    "?strategy=gray",
                )
                clock.set_ahead(ahead)
                shop.wait(release, "pending_confirmation")
                shop.shift(release, 100)
                shop.decide(release, "confirm")
                shop.wait(release, "confirmed")

                date = parsedate_to_datetime(shown_date(gateway)).timestamp()
                assert abs(date - time.time() - ahead) < 5, "people are told the time as it is set"
                audit = gateway.api.ok("GET", "audit?limit=1")["entries"][0]["time"]
                assert audit[:10] == time.strftime("%Y-%m-%d", time.gmtime(time.time() + ahead))

                origin.healthy = False
                origin_down = time.monotonic()
                gateway.api.wait_instance("v1", origin.port, "down")
                assert time.monotonic() - origin_down < 5
                origin.healthy = True
                gateway.api.wait_instance("v1", origin.port, "up")
                load.wait_answers(20)
                others.wait_answers(20)
        assert {**gateway.workers, -1: gateway.control} == pids, "nobody was taken for hung"
        assert not judge(others.records).failed, judge(others.records)
        unlucky = judge(load.records).failed
        assert {r.status for r in unlucky} <= {503}, "only while its checks failed"
        applications.assert_settled(gateway, {"app-v3": 1}, "app")


def shown_date(gateway: Gateway) -> str:
    """Of an answer in the gateway's own name. It is a second old at most."""
    sleep(1.1)
    return gateway.ask("public", host="nobody.example").headers["Date"]


# --- slow services ----------------------------------------------------------------------


class Asking(threading.Thread):
    """A request that takes long."""

    def __init__(self, gateway: Gateway, host: str) -> None:
        super().__init__()
        self._gateway, self._host = gateway, host
        self.seconds = 0.0
        self.answer: Answer | None = None
        self.start()

    def run(self) -> None:
        began = time.monotonic()
        self.answer = self._gateway.ask("public", f"/slow?s={SLOW_S}", self._host, timeout_s=30)
        self.seconds = time.monotonic() - began


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The gateway's /etc/hosts."""
    return tmp_path_factory.mktemp("hosts") / "hosts"


@pytest.fixture(scope="module")
def gateway(
    tmp_path_factory: pytest.TempPathFactory, origins: Origins, hosts: Path
) -> Iterator[Gateway]:
    found = Gateway(tmp_path_factory.mktemp("surroundings"))
    name(hosts)
    if mounts.why_not() is None:

        def see_hosts() -> None:
            mounts.be_private()
            mounts.bind(hosts, Path("/etc/hosts"))

        found.before_exec = see_hosts
    with found:
        yield found


@pytest.fixture(scope="module")
def asking(gateway: Gateway, origins: Origins) -> Iterator[dict[str, Asking]]:
    """Requests that are under way during the tests before the one that looks at them."""
    origin = origins.start("slow")
    for host in ("patient.example", "hasty.example"):
        gateway.api.register(host.partition(".")[0], host, origin.port)
    gateway.api.ok("PUT", "routes/hasty.example", {"timeouts": {"response_header": 2}})
    found = {h: Asking(gateway, h) for h in ("patient.example", "hasty.example")}
    yield found
    for one in found.values():
        one.join()


def name(hosts: Path, *addresses: str) -> None:
    """What `app.test` resolves to from now on. The file stays the same one."""
    with hosts.open("w") as file:
        file.write("127.0.0.1 localhost\n")
        file.writelines(f"{address} app.test\n" for address in addresses)


@pytest.mark.skipif(mounts.why_not() is not None, reason=f"no own /etc/hosts: {mounts.why_not()}")
def test_a_name_is_resolved_again_and_again_all_its_addresses_count_and_the_last_good_stay(
    gateway: Gateway, asking: object, origins: Origins, hosts: Path
) -> None:
    here = origins.start("here")
    there = origins.start("there", "127.0.0.2", here.port)
    name(hosts, "127.0.0.9", "127.0.0.1")  # nobody listens on the first one
    check = {"path": "/health", "interval": 0.2, "fall": 2}
    body = {"routes": [{"host": HOST}], "endpoints": [f"app.test:{here.port}"], "health": check}
    gateway.api.ok("PUT", "services/named", body)

    def origin_of() -> str:
        answer = gateway.ask("public", host=HOST)
        return answer.raw.decode() if answer.status == 200 else ""

    wait_until(lambda: origin_of() == "here", what="the address that answers")
    with Load(gateway.ports["public"], HOST, keeping=2, per_request=2) as load:
        load.wait_answers(10)
        name(hosts, "127.0.0.2")
        wait_until(lambda: origin_of() == "there", 2 * TTL_S, "the new address")
        name(hosts)  # it is unknown now, or nobody can be asked
        sleep(TTL_S + 1)
        assert origin_of() == "there"
        load.wait_answers(10)
    assert not judge(load.records).failed, judge(load.records)
    assert there.hits > 10


def test_a_service_slow_by_10_s_is_waited_for_as_long_as_its_route_says_and_no_longer(
    gateway: Gateway, asking: dict[str, Asking], origins: Origins
) -> None:
    quick = origins.start("quick")
    gateway.api.register("quick", "quick.example", quick.port)
    with Visitor(gateway.ports["public"], "quick.example") as visitor:
        assert {served_by(visitor.get()) for _ in range(50)} == {"quick"}
    for one in asking.values():
        one.join()
    patient, hasty = asking["patient.example"], asking["hasty.example"]
    assert patient.answer is not None and (patient.answer.status, patient.answer.raw) == (
        200,
        b"slow",
    )
    assert SLOW_S <= patient.seconds < SLOW_S + 2
    assert hasty.answer is not None and hasty.answer.status == 504
    assert 2 <= hasty.seconds < 4
