"""Health checks against real servers, healthy, broken and hostile; verdicts on a fake clock."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from admin.health import AT_ONCE, HealthChecker, Streak, Target, targets_of
from admin.probes import Question, probe, request_of
from admin.resolver import TTL_S, Resolver, look_up
from gateway.core.model import (
    Check,
    CheckKind,
    Claim,
    Endpoint,
    Health,
    Instance,
    InstanceId,
    Service,
    ServiceId,
)
from gateway.core.observed import instances_by_hand
from gateway.runtime.settings import CheckSettings
from tests.support.clocks import FakeClock, settle
from tests.support.control import run

A = ServiceId("-/a")
I1, I2 = InstanceId("a@h:1"), InstanceId("a@h:2")
HEALTHY, UNHEALTHY, UNKNOWN = Health.HEALTHY, Health.UNHEALTHY, Health.UNKNOWN


# --- one check -----------------------------------------------------------------------------

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def server(handler: Handler, host: str = "127.0.0.1") -> AsyncIterator[int]:
    """A TCP server; gives its port."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        except OSError:
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(handle, host, 0)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()


def answering(*pieces: bytes) -> Handler:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for piece in pieces:
            writer.write(piece)
            await writer.drain()

    return handler


def question(port: int, kind: CheckKind = CheckKind.HTTP, timeout_s: float = 2.0) -> Question:
    return Question(kind, "127.0.0.1", port, "/up?x=1", "shop.example", timeout_s)


async def ask(
    handler: Handler, kind: CheckKind = CheckKind.HTTP, timeout_s: float = 2.0
) -> str | None:
    async with server(handler) as port:
        return await probe(question(port, kind, timeout_s))


@pytest.mark.parametrize(
    ("answer", "why_not"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", None),
        (b"HTTP/1.1 204 \r\n\r\n", None),
        (b"HTTP/1.0 399\r\n\r\n", None),
        (b"HTTP/1.1 302 Found\n\n", None),
        (b"HTTP/1.1 100 Continue\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", None),
        (b"HTTP/1.1 400 Bad\r\n\r\n", "status 400"),
        (b"HTTP/1.1 503 Busy\r\n\r\n", "status 503"),
        (b"HTTP/1.1 101 Switching\r\n\r\n", "status 101"),
        (b"HTTP/1.1 200", "the answer is no HTTP"),
        (b"HTTP/2 200 OK\r\n\r\n", "the answer is no HTTP"),
        (b"HTTP/1.1 99 Low\r\n\r\n", "the answer is no HTTP"),
        (b"HTTP/1.1 2000 OK\r\n\r\n", "the answer is no HTTP"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "the answer is no HTTP"),
        (b"\x16\x03\x01\x00\x00" * 5000, "the answer is no HTTP"),
        (b"HTTP/1.1 200 " + b"O" * 100_000 + b"K\r\n\r\n", "the answer is no HTTP"),
        (b"", "the answer is no HTTP"),
        (b"HTTP/1.1 100 C\r\n\r\n" * 50, "the answer is no HTTP"),
        (b"HTTP/1.1 103 E\r\n" + b"A: b\r\n" * 5000, "the answer is no HTTP"),
    ],
)
def test_an_http_check_passes_on_200_to_399_and_on_nothing_else(
    answer: bytes, why_not: str | None
) -> None:
    assert run(ask(answering(answer))) == why_not


def test_an_endless_answer_costs_next_to_nothing() -> None:
    sent = 0

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()
            sent += 65536

    assert run(ask(endless)) is None
    assert sent < 32 << 20


def test_an_instance_that_never_answers_fails_in_time() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    assert run(ask(silent, timeout_s=0.1)) == "no answer within 0.1 s"

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"H")
            await asyncio.sleep(0.01)

    assert run(ask(drip, timeout_s=0.1)) == "no answer within 0.1 s"


def test_a_refused_connection_fails_and_says_so() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        for kind in (CheckKind.HTTP, CheckKind.TCP):
            assert "refused" in str(run(probe(question(port, kind)))).lower()


def test_a_tcp_check_passes_when_the_connection_is_accepted() -> None:
    async def rude(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    assert run(ask(rude, CheckKind.TCP)) is None


def test_the_request_asks_for_the_path_with_the_host_and_cannot_be_split() -> None:
    asked = request_of(replace(question(1), path="x\r\nEvil: 1 ü", authority="h\r\nEvil: 2"))
    lines = asked.decode().split("\r\n")
    assert lines[0] == "GET /x%0D%0AEvil:%201%20%C3%BC HTTP/1.1"
    assert lines[1] == "Host: h%0D%0AEvil:%202"
    assert not any(line.startswith("Evil") for line in lines)
    assert request_of(question(1)).startswith(b"GET /up?x=1 HTTP/1.1\r\nHost: shop.example\r\n")


# --- verdicts ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("begin", "results", "verdicts"),
    [
        (UNKNOWN, "+", [HEALTHY]),
        (UNKNOWN, "-", [UNHEALTHY]),
        (UNKNOWN, "-+-+++", [*[UNHEALTHY] * 5, HEALTHY]),
        (HEALTHY, "--+---", [*[HEALTHY] * 5, UNHEALTHY]),
        (UNHEALTHY, "++-+++", [*[UNHEALTHY] * 5, HEALTHY]),
    ],
)
def test_rise_and_fall(begin: Health, results: str, verdicts: list[Health]) -> None:
    streak = Streak(begin)
    found = []
    for result in results:
        streak.note(result == "+", 1 if verdicts == [HEALTHY] else 3, 3)
        found.append(streak.verdict)
    assert found == verdicts


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.booleans(), max_size=30),
    st.integers(1, 4),
    st.integers(1, 4),
    st.sampled_from(Health),
)
def test_a_verdict_changes_exactly_after_enough_results_in_a_row(
    results: list[bool], rise: int, fall: int, begin: Health
) -> None:
    streak, verdict, since = Streak(begin), begin, 0
    for n, passed in enumerate(results):
        changed = streak.note(passed, rise, fall)
        against = HEALTHY if passed else UNHEALTHY
        row = 0  # results like this one, up to now, since the last change of the verdict
        for earlier in reversed(results[since : n + 1]):
            if earlier is not passed:
                break
            row += 1
        enough = row >= (rise if passed else fall) or (verdict is UNKNOWN and not passed)
        expected = against is not verdict and enough
        assert changed is expected
        if expected:
            verdict, since = against, n + 1
        assert streak.verdict is verdict


# --- the checker ------------------------------------------------------------------------------------


class Stage:
    """A checker whose probes answer what the test says."""

    def __init__(self, *, at_once: int = AT_ONCE, random: float = 0.5) -> None:
        self.clock = FakeClock()
        self.answers: dict[int, str | None] = {}
        self.asked: list[tuple[float, str, int]] = []
        self.names: dict[str, list[str]] = {}
        self.reports: list[tuple[InstanceId, Health, str]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.under_way = self.most_under_way = 0
        self.checker = HealthChecker(
            lambda *report: self.reports.append(report),
            self.clock,
            lambda: random,
            probe=self.probe,
            lookup=self.lookup,
            at_once=at_once,
        )

    async def probe(self, question: Question) -> str | None:
        self.asked.append((self.clock.now, question.address, question.port))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await self.gate.wait()
        finally:
            self.under_way -= 1
        return self.answers.get(question.port)

    async def lookup(self, host: str) -> list[str]:
        if host not in self.names:
            raise OSError("no such name")
        return self.names[host]

    def watch(self, *targets: Target, **known: Health) -> None:
        self.checker.watch(
            A, targets, {InstanceId(f"a@h:{k[1:]}"): v for k, v in known.items()}, {}
        )


def target(port: int, host: str = "10.0.0.1") -> Target:
    return Target(
        InstanceId(f"a@h:{port}"), host, port, CheckKind.TCP, "/", "h", 2.0, 1.0, 1, 3, 0.0
    )


@asynccontextmanager
async def stage(**options: int) -> AsyncIterator[Stage]:
    made = Stage(**options)
    try:
        yield made
    finally:
        await made.checker.close()


def test_a_new_instance_is_asked_at_once_and_only_changes_are_reported() -> None:
    async def go() -> None:
        async with stage() as s:
            s.watch(target(1))
            await settle()
            assert s.reports == [(I1, HEALTHY, "10.0.0.1")]
            await s.clock.advance(20)
            assert len(s.asked) == 11
            assert len(s.reports) == 1
            s.answers[1] = "refused"
            await s.clock.advance(4)
            assert len(s.reports) == 1
            await s.clock.advance(2)
            assert s.reports[1:] == [(I1, UNHEALTHY, "10.0.0.1")]

    run(go())


def test_an_instance_known_as_healthy_waits_for_its_turn() -> None:
    async def go() -> None:
        async with stage() as s:
            s.watch(target(1), target(2), _1=HEALTHY, _2=UNHEALTHY)
            await settle()
            assert [port for _, _, port in s.asked] == [2]
            await s.clock.advance(1.0)
            assert [port for _, _, port in s.asked] == [2, 1]

    run(go())


def test_the_initial_delay_is_kept_for_unknown_instances() -> None:
    async def go() -> None:
        async with stage() as s:
            s.watch(replace(target(1), initial_delay_s=5.0))
            await s.clock.advance(4.9)
            assert not s.asked
            await s.clock.advance(0.2)
            assert len(s.asked) == 1

    run(go())


def test_watching_again_leaves_running_checks_alone() -> None:
    async def go() -> None:
        async with stage() as s:
            s.watch(target(1), target(2))
            await s.clock.advance(1)
            s.watch(target(1), replace(target(2), interval_s=100.0), _2=HEALTHY)
            await settle()
            assert [port for _, _, port in s.asked] == [1, 2]
            s.watch()
            await s.clock.advance(1000)
            assert len(s.asked) == 2

    run(go())


def test_checks_under_way_are_bounded() -> None:
    async def go() -> None:
        async with stage(at_once=3) as s:
            s.gate.clear()
            s.watch(*(target(port) for port in range(1, 50)))
            await settle()
            assert s.under_way == 3
            s.gate.set()
            await settle()
            await settle()
            assert len(s.reports) == 49
            assert s.most_under_way == 3

    run(go())


def test_a_name_that_does_not_resolve_fails_and_recovers() -> None:
    async def go() -> None:
        async with stage() as s:
            s.watch(target(1, "web.example"))
            await settle()
            assert s.reports == [(I1, UNHEALTHY, "")]
            s.names["web.example"] = ["10.0.0.7"]
            await s.clock.advance(TTL_S + 2)
            assert s.reports[1:] == [(I1, HEALTHY, "10.0.0.7")]
            del s.names["web.example"]  # the resolver is down: the last good address stays
            await s.clock.advance(60)
            assert len(s.reports) == 2
            assert s.asked[-1][1] == "10.0.0.7"

    run(go())


def test_a_name_that_moves_is_followed() -> None:
    async def go() -> None:
        async with stage() as s:
            s.names["web.example"] = ["10.0.0.7"]
            s.watch(target(1, "web.example"))
            await settle()
            s.names["web.example"] = ["10.0.0.8", "10.0.0.7"]
            await s.clock.advance(20)
            assert len(s.reports) == 1  # the one that works is still there
            s.names["web.example"] = ["10.0.0.8"]
            await s.clock.advance(20)
            assert s.reports[1:] == [(I1, HEALTHY, "10.0.0.8")]

    run(go())


def test_the_address_that_answers_is_taken() -> None:
    async def go() -> None:
        async with stage() as s:

            async def only_ipv4(question: Question) -> str | None:
                return "refused" if ":" in question.address else None

            checker = HealthChecker(
                lambda *report: s.reports.append(report),
                s.clock,
                lambda: 0.5,
                probe=only_ipv4,
                lookup=s.lookup,
            )
            s.names["localhost"] = ["::1", "127.0.0.1"]
            checker.watch(A, (target(1, "localhost"),), {}, {})
            await settle()
            assert s.reports == [(I1, HEALTHY, "127.0.0.1")]
            await checker.close()

    run(go())


def test_a_probe_that_breaks_is_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL + 1)

    async def go() -> None:
        async with stage() as s:

            async def broken(question: Question) -> str | None:
                raise RuntimeError("bug")

            checker = HealthChecker(
                lambda *report: s.reports.append(report), s.clock, lambda: 0.5, probe=broken
            )
            checker.watch(A, (target(1),), {}, {})
            await settle()
            assert s.reports == [(I1, UNHEALTHY, "")]
            await checker.close()

    run(go())


def test_a_real_server_that_comes_and_goes() -> None:
    async def go() -> None:
        clock, reports = FakeClock(), asyncio.Queue[Health]()
        checker = HealthChecker(
            lambda instance, verdict, address: reports.put_nowait(verdict), clock, lambda: 0.5
        )
        async with server(answering(b"HTTP/1.1 200 OK\r\n\r\n")) as port:
            checker.watch(A, (replace(target(port, "127.0.0.1"), kind=CheckKind.HTTP),), {}, {})
            assert await asyncio.wait_for(reports.get(), 5) is HEALTHY
        async with asyncio.timeout(5):
            while reports.empty():
                await clock.advance(2)
                await asyncio.sleep(0.005)
        assert await reports.get() is UNHEALTHY
        await checker.close()

    run(go())


# --- names and targets ---------------------------------------------------------------------------------


def test_the_system_resolver_is_asked_and_bad_names_are_errors() -> None:
    assert "127.0.0.1" in run(look_up("localhost"))
    for bad in ("nowhere.invalid", "x" * 64 + ".example", ""):
        with pytest.raises(OSError, match=r".*"):
            run(look_up(bad))


def test_one_look_up_serves_all_who_ask_at_the_same_time() -> None:
    async def go() -> None:
        clock, count = FakeClock(), 0

        async def lookup(host: str) -> list[str]:
            nonlocal count
            count += 1
            await asyncio.sleep(0)
            return ["10.0.0.1"]

        resolver = Resolver(clock, lookup)
        found = await asyncio.gather(*(resolver.addresses("web.example") for _ in range(9)))
        assert set(found) == {("10.0.0.1",)}
        await resolver.addresses("web.example")
        assert count == 1
        await clock.advance(TTL_S)
        await resolver.addresses("web.example")
        assert count == 2
        assert await resolver.addresses("::1") == ("::1",)
        assert count == 2

    run(go())


DEFAULTS = CheckSettings(interval=9, timeout=8, rise=7, fall=6)


def test_without_a_check_of_its_own_a_service_gets_tcp_on_its_routed_port() -> None:
    service = Service("-", "a", (Claim("h", "/", 8080),), endpoints=(Endpoint("::1", 80),))
    (found,) = targets_of(service, instances_by_hand(service), DEFAULTS)
    assert (found.kind, found.port, found.authority) == (CheckKind.TCP, 8080, "[::1]:8080")
    assert (found.interval_s, found.timeout_s, found.rise, found.fall) == (9, 8, 7, 6)
    mapped = Instance(I1, A, "10.0.0.1", 80, {8080: 18080})
    assert targets_of(service, (mapped,), DEFAULTS)[0].port == 18080


def test_a_check_of_its_own_overrides_field_by_field() -> None:
    check = Check(CheckKind.HTTP, "/up", "shop", 9000, interval_s=1.5, fall=1, initial_delay_s=3)
    service = Service("-", "a", (Claim("h"),), endpoints=(Endpoint("10.0.0.1", 80),), check=check)
    (found,) = targets_of(service, instances_by_hand(service), DEFAULTS)
    assert (found.kind, found.path, found.authority, found.port) == (
        CheckKind.HTTP,
        "/up",
        "shop",
        9000,
    )
    assert (found.interval_s, found.timeout_s, found.rise, found.fall) == (1.5, 8, 7, 1)
    assert found.initial_delay_s == 3


def test_the_instances_own_port_is_checked_where_the_route_names_none() -> None:
    service = Service("-", "a", (Claim("h"),), endpoints=(Endpoint("10.0.0.1", 81),))
    (found,) = targets_of(service, instances_by_hand(service), DEFAULTS)
    assert found.port == 81
