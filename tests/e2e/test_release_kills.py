"""Releases while processes are killed and stopped: each ends as its operator asked for.

And nobody notices but those whose request a killed worker or backend had: exactly the
processes that ought to be there are there afterwards, never were there two for one, no
release is stuck. Moments are drawn at random, from seeds.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.applications import (
    Doubles,
    Operator,
    assert_settled,
    backends,
    pids,
    running,
    service,
)
from tests.support.gateway import Answer, Gateway, served_by, sleep
from tests.support.load import Failure, Kill, Load, Record, judge
from tests.support.processes import wait_until

SCALE = 2
LATE_S = 8.0
STORES: dict[str, dict[str, Any]] = {"sqlite": {}, "memory": {"store": "memory:"}}
BROKEN = (502, 503, 504)
"""Whoever was being served by a killed backend may get these."""


class Shop(Operator):
    """An application of which one version is there, and an unchanging service beside it."""

    def __init__(self, gateway: Gateway, application: str) -> None:
        super().__init__(gateway, application)
        self.host = f"{application}.example"
        self.version = 1
        self.next = 2

    def name(self, version: int) -> str:
        return f"{self.application}-v{version}"

    @property
    def cache(self) -> str:
        return f"{self.application}-cache"

    @property
    def wanted(self) -> dict[str, int]:
        """What runs when no release is in flight."""
        return {self.name(self.version): SCALE, self.cache: 1}

    def template(self, version: int) -> dict[str, object]:
        name = self.name(version)
        return {name: service(self.host, name=name, scale=SCALE), self.cache: service()}

    def begin(self) -> str:
        return self.deploy(self.template(self.next), "?strategy=gray")

    def ends(self, release: str, verb: str) -> None:
        """Wait for the end that was asked for."""
        end = "rolled_back" if verb == "rollback" else "confirmed"
        self.wait(release, end)
        if end == "confirmed":
            self.version = self.next
        self.next += 1


@contextmanager
def shops(folder: Path, *names: str, **config: Any) -> Iterator[list[Shop]]:
    """A gateway with these applications; at the end exactly what they want is there."""
    gateway = Gateway(folder, **backends(), **config)
    with gateway, Doubles(gateway, SCALE):
        found = [Shop(gateway, name) for name in names]
        for shop, release in [(s, s.deploy(s.template(1))) for s in found]:
            shop.wait(release, "confirmed")
        yield found
        settled(found)


def settled(found: Sequence[Shop]) -> None:
    """Exactly what they want runs, and every release is over."""
    wanted = {name: scale for shop in found for name, scale in shop.wanted.items()}
    gateway = found[0].gateway
    assert_settled(gateway, wanted, *(shop.application for shop in found))
    releases = found[0].get("releases")["releases"]
    assert {r["phase"] for r in releases} <= {"confirmed", "rolled_back"}
    for shop in found:
        weights = gateway.api.weights(shop.host)
        assert set(weights) == {shop.name(shop.version)}
        assert all(weights.values())


class Loads:
    """Light load on some applications; `forgive` names what a failure may come of."""

    def __init__(self, found: Sequence[Shop]) -> None:
        self._loads = {
            shop: Load(
                shop.gateway.ports["public"],
                shop.host,
                keeping=3,
                per_request=2,
                pause_s=0.04,
                late_s=LATE_S,
            )
            for shop in found
        }
        self.worker_kills: list[Kill] = []
        self.backend_kills: list[tuple[float, float]] = []

    def __enter__(self) -> Loads:
        with ExitStack() as stack:
            for load in self._loads.values():
                stack.enter_context(load)
            self._stack = stack.pop_all()
        self.wait()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            self.wait()
        self._stack.close()
        if kind is None:
            for load in self._loads.values():
                verdict = judge(load.records, self.worker_kills)
                failed = [r for r in verdict.failed if not self._is_backends(r)]
                assert not failed, (failed[:5], len(failed), str(verdict))

    def wait(self) -> None:
        """Until some more requests were answered, of each application."""
        for load in self._loads.values():
            load.wait_answers(10)

    def assert_only(self, shop: Shop, version: int) -> None:
        """Whoever comes from now on is served by this version."""
        since = time.monotonic()
        self._loads[shop].wait_answers(15)
        later = [r for r in self._loads[shop].records if r.start >= since and not r.failure]
        assert later
        assert {r.service for r in later} == {shop.name(version)}

    def _is_backends(self, record: Record) -> bool:
        """It was being served while a backend was killed."""
        was_broken = record.failure is Failure.CUT or (
            record.failure is Failure.STATUS and record.status in BROKEN
        )
        return was_broken and any(
            record.start <= after and record.end >= before for before, after in self.backend_kills
        )


# --- the control process, killed around calls -------------------------------------------


def around_a_kill(gateway: Gateway, calls: Sequence[Callable[[], object]], delay_s: float) -> None:
    """Three calls: one is answered when control is killed, one under way, one comes after."""
    before, during, after = calls
    before()
    errors: list[BaseException] = []

    def call() -> None:
        try:
            during()
        except BaseException as error:  # told in the test's own thread
            errors.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    time.sleep(delay_s)
    kill_control(gateway)
    after()
    thread.join()
    assert not errors, errors


def kill_control(gateway: Gateway) -> None:
    """Whichever control process there is next."""
    wait_until(lambda: gateway.control, what="a control process", timeout_s=30)
    with suppress(ProcessLookupError):
        os.kill(gateway.control, signal.SIGKILL)


@pytest.mark.parametrize("store", STORES)
def test_control_killed_before_while_and_after_every_call_changes_no_release(
    tmp_path: Path, store: str
) -> None:
    drawn = random.Random(store)

    with shops(tmp_path, "a", "b", "c", **STORES[store]) as found, Loads(found) as loads:
        gateway = found[0].gateway

        def each(act: Callable[[Shop], object]) -> None:
            order = drawn.sample(found, 3)
            calls = [lambda shop=shop: act(shop) for shop in order]
            around_a_kill(gateway, calls, drawn.uniform(0, 0.02))

        stay = {shop: pids(gateway, shop.cache) for shop in found}
        releases: dict[Shop, str] = {}

        def deploy(shop: Shop) -> None:
            releases[shop] = shop.begin()

        for shop in found:
            deploy(shop)
        pend(releases)
        each(lambda shop: shop.decide(releases[shop], "rollback"))
        for shop in found:
            shop.ends(releases[shop], "rollback")
            loads.assert_only(shop, 1)
        settled(found)

        each(deploy)
        pend(releases)
        each(lambda shop: shop.shift(releases[shop], 100))
        for shop in found:
            loads.assert_only(shop, shop.next)
        each(lambda shop: shop.decide(releases[shop], "confirm"))
        for shop in found:
            shop.ends(releases[shop], "confirm")
            loads.assert_only(shop, 3)
        settled(found)

        if store == "sqlite":  # it takes its 5 s
            for shop in found:
                deploy(shop)
            pend(releases)
            each(lambda shop: shop.decide(releases[shop], "confirm?smooth=true"))
            for shop in found:
                shop.ends(releases[shop], "confirm")
                loads.assert_only(shop, 4)
            settled(found)
        assert {shop: pids(gateway, shop.cache) for shop in found} == stay
        for shop in found:
            history = shop.get(f"releases?application={shop.application}")["releases"]
            assert len(history) == shop.next - 1, "no release was begun twice"


def pend(releases: dict[Shop, str]) -> None:
    for shop, release in releases.items():
        shop.wait(release, "pending_confirmation")


# --- anything, at random moments --------------------------------------------------------


EVENTS = {
    "sqlite": ("kill control", "stop control", "kill worker", "both"),
    "memory": ("kill control", "both"),
}


def stop_control(gateway: Gateway, drawn: random.Random) -> None:
    """SIGSTOP for a while."""
    wait_until(lambda: gateway.control, what="a control process", timeout_s=30)
    pid = gateway.control
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
        try:
            sleep(drawn.uniform(1, 2))
        finally:
            os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("store", STORES)
def test_releases_during_which_anything_is_killed_or_stopped_at_random_end_as_asked(
    tmp_path: Path, store: str
) -> None:
    drawn = random.Random(f"random {store}")
    events = drawn.sample(EVENTS[store], len(EVENTS[store]))
    with shops(tmp_path, "a", **STORES[store]) as found, Loads(found) as loads:
        (shop,) = found
        gateway = shop.gateway
        for number, event in enumerate(events):
            verb = ("confirm", "rollback")[number % 2]
            stay = pids(gateway, shop.cache)
            with meanwhile(gateway, loads, event, drawn):
                release = shop.begin()
                shop.wait(release, "pending_confirmation")
                for percent in (30, 100):
                    shop.shift(release, percent)
                shop.decide(release, verb)
                shop.ends(release, verb)
            loads.assert_only(shop, shop.version)
            settled(found)
            assert pids(gateway, shop.cache) == stay, "what is unchanged goes on"


@contextmanager
def meanwhile(gateway: Gateway, loads: Loads, event: str, drawn: random.Random) -> Iterator[None]:
    """At a moment of the next 0.4 s, which is what a release takes, this happens."""
    delay_s, slot = drawn.uniform(0, 0.4), drawn.randrange(2)
    errors: list[BaseException] = []

    def act() -> None:
        try:
            time.sleep(delay_s)
            if event in ("kill control", "both"):
                kill_control(gateway)
            if event == "stop control":
                stop_control(gateway, drawn)
            if event in ("kill worker", "both"):
                loads.worker_kills.append(gateway.kill_worker(slot))
        except BaseException as error:  # told in the test's own thread
            errors.append(error)

    thread = threading.Thread(target=act)
    thread.start()
    try:
        yield
    finally:
        thread.join()
    assert not errors, errors


@pytest.mark.parametrize("verb", ["confirm", "rollback"])
def test_what_a_leaving_version_has_begun_it_finishes_though_control_is_killed(
    origin: Sequence[Shop], verb: str
) -> None:
    (shop,) = origin
    gateway = shop.gateway
    release = shop.begin()
    shop.wait(release, "pending_confirmation")
    leaving = shop.name(shop.version if verb == "confirm" else shop.next)
    if verb == "rollback":
        shop.shift(release, 100)
    answers: list[Answer] = []
    slow = threading.Thread(
        target=lambda: answers.append(gateway.ask("public", "/slow", shop.host, timeout_s=20))
    )
    slow.start()
    wait_until(lambda: gateway.metric("gateway_in_flight_requests", service=leaving) > 0)
    if verb == "confirm":
        shop.shift(release, 100)
    shop.decide(release, verb)
    kill_control(gateway)
    slow.join()
    assert [served_by(answer) for answer in answers] == [leaving]
    shop.ends(release, verb)
    settled(origin)


# --- instances --------------------------------------------------------------------------


def kill_backend(loads: Loads, shop: Shop, version: int) -> None:
    """One instance of a version, as soon as there is one, until the gateway knows."""
    gateway, name = shop.gateway, shop.name(version)
    wait_until(lambda: pids(gateway, name), what=f"a process of {name}")
    before = time.monotonic()
    pid, instance = next((p, i) for p, i in running(gateway).items() if p in pids(gateway, name))
    os.kill(pid, signal.SIGKILL)
    wait_until(
        lambda: instance not in [i["id"] for s in shop.show()["services"] for i in s["instances"]],
        what=f"{instance} gone",
    )
    loads.backend_kills.append((before, time.monotonic()))


@pytest.mark.parametrize("verb", ["confirm", "rollback"])
def test_instances_killed_in_every_phase_are_replaced_while_their_version_is_wanted(
    origin: Sequence[Shop], verb: str
) -> None:
    with Loads(origin) as loads:
        (shop,) = origin
        old, new = shop.version, shop.next
        release = shop.begin()
        kill_backend(loads, shop, new)
        kill_backend(loads, shop, old)
        shop.wait(release, "pending_confirmation")
        shop.wait_ready()
        shop.shift(release, 50)
        for version in (new, old):
            kill_backend(loads, shop, version)
            shop.wait_ready()
        shop.shift(release, 100)
        kill_backend(loads, shop, new)
        shop.decide(release, verb)
        kill_backend(loads, shop, new if verb == "confirm" else old)
        before = time.monotonic()
        for pid in pids(shop.gateway, shop.name(old if verb == "confirm" else new)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        loads.backend_kills.append((before, time.monotonic()))
        shop.ends(release, verb)
        loads.assert_only(shop, shop.version)
        settled(origin)


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sequence[Shop]]:
    """A gateway with one application, for stories that leave the gateway alone."""
    with shops(tmp_path_factory.mktemp("instances"), "shop") as found:
        yield found


# --- the whole gateway ------------------------------------------------------------------


def kill_and_start(gateway: Gateway) -> None:
    """kill -9 of the supervisor, and a new start, as soon as an operator could."""
    gateway.kill(gateway.supervisor)
    assert gateway.process is not None
    gateway.process.wait()
    gateway.start()


def test_a_supervisor_killed_in_every_phase_goes_on_with_the_release_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    drawn = random.Random("supervisor")
    with shops(tmp_path, "a") as found:
        (shop,) = found
        gateway = shop.gateway
        for verb in ("confirm", "rollback"):
            release = shop.begin()
            sleep(drawn.uniform(0, 0.2))
            if verb == "confirm":
                kill_and_start(gateway)
            shop.wait(release, "pending_confirmation")
            shop.wait_ready()
            shop.shift(release, 100)
            if verb == "confirm":
                kill_and_start(gateway)
                shop.wait_ready()
            weights = gateway.api.weights(shop.host)
            assert weights == {shop.name(shop.version): 0, shop.name(shop.next): 100}
            shop.decide(release, verb)
            sleep(drawn.uniform(0, 0.1))
            kill_and_start(gateway)
            shop.ends(release, verb)
            settled(found)


def test_a_supervisor_killed_with_its_state_in_memory_leaves_an_empty_gateway(
    tmp_path: Path,
) -> None:
    gateway = Gateway(tmp_path, **backends(), **STORES["memory"])
    with gateway:
        shop = Shop(gateway, "a")
        shop.wait(shop.deploy(shop.template(1)), "confirmed")
        shop.begin()
        kill_and_start(gateway)
        assert running(gateway) == {}
        assert gateway.api.ok("GET", "applications")["applications"] == []
        assert gateway.get("public", host=shop.host) == 404
        shop.wait(shop.deploy(shop.template(1)), "confirmed")
        settled([shop])
