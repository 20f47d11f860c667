"""The arithmetic of the benchmarks: what they count, and how. Nothing here looks at a clock."""

from __future__ import annotations

import asyncio
import os
import random
import re
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import cast

import orjson
import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from admin.store.factory import make_store
from bench import (
    chaos,
    conformance,
    fuzzing,
    kills,
    machine,
    procfs,
    report,
    results,
    templates,
    tools,
)
from bench.__main__ import chosen
from bench.backends import BODY_BYTES, body
from bench.clients import Answer, Clients, Plan, parse_answer
from bench.generators import Volley, parse_wrk
from bench.heads import browser_heads
from bench.load import Load
from bench.prepared import PAIRS_MAX, host_of, state_of, write_store
from bench.records import (
    LATE_S,
    Following,
    Kill,
    Outcome,
    Records,
    Request,
    Switch,
    Verdicts,
    follow,
    judge,
)
from bench.responder import answer
from bench.results import Figure, Result, Scope, Skipped
from bench.stats import estimate, percentile
from bench.suite import EVERY, GROUPS, SUITE
from gateway.proxy.codec import HeadLimits, parse_request

values = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50)
GOOD = Request(1.0, 1.1, 1.2, 0.9, Outcome.ANSWERED, 1, 4000)


# -- statistics


@given(values, st.floats(0, 100))
@settings(deadline=None)
def test_a_percentile_lies_among_the_values(given_values: list[float], percent: float) -> None:
    found = percentile(given_values, percent)
    assert min(given_values) <= found <= max(given_values)


@given(values)
@settings(deadline=None)
def test_the_50th_percentile_is_the_median(given_values: list[float]) -> None:
    assert percentile(given_values, 50) == pytest.approx(median(given_values))


def test_percentiles_are_interpolated() -> None:
    assert percentile([1, 2, 3, 4, 5], 25) == 2
    assert percentile([1, 2], 75) == 1.75
    assert percentile([7], 99) == 7
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


def test_an_estimate_is_the_median_with_an_interval_around_it() -> None:
    drawn = random.Random(3)
    found = estimate([drawn.gauss(10, 1) for _ in range(40)])
    assert 9 < found.low < found.median < found.high < 11
    assert estimate([5.0, 5.0, 5.0]) == estimate([5.0])
    with pytest.raises(ValueError, match="no values"):
        estimate([])


def test_an_estimate_is_the_same_every_time() -> None:
    assert estimate([1.0, 2.0, 4.0, 8.0]) == estimate([1.0, 2.0, 4.0, 8.0])


# -- what is counted as what


def test_a_late_answer_has_failed() -> None:
    assert not GOOD.has_failed
    assert not replace(GOOD, ended=GOOD.began + LATE_S).has_failed
    assert replace(GOOD, ended=GOOD.began + LATE_S + 0.1).has_failed


@pytest.mark.parametrize("outcome", [o for o in Outcome if o is not Outcome.ANSWERED])
def test_without_a_kill_every_failure_counts(outcome: Outcome) -> None:
    assert judge([GOOD, replace(GOOD, outcome=outcome)], ()) == Verdicts(1, 0, 0, 0)


def test_a_late_answer_counts_although_somebody_was_killed_meanwhile() -> None:
    kill = Kill("worker 0", 1.0, 1.1, frozenset({GOOD.port}))
    assert judge([replace(GOOD, ended=9.0)], [kill]) == Verdicts(1, 1, 0, 0)


def test_a_request_cut_on_the_killed_process_is_counted_apart() -> None:
    kill = Kill("worker 0", 1.05, 1.15, frozenset({GOOD.port}))
    cut = replace(GOOD, outcome=Outcome.CUT)
    assert judge([cut], [kill]) == Verdicts(0, 0, 1, 0)
    assert judge([replace(cut, began=1.16, sent=1.16)], [kill]) == Verdicts(0, 0, 0, 1)


@pytest.mark.parametrize(
    "request_",
    [
        replace(GOOD, outcome=Outcome.CUT, port=4001),
        replace(GOOD, outcome=Outcome.STATUS),
        replace(GOOD, outcome=Outcome.NOT_CONNECTED),
        replace(GOOD, outcome=Outcome.CUT, ended=1.1),
        replace(GOOD, outcome=Outcome.CUT, began=5.0, opened=5.0, ended=5.1),
    ],
    ids=["other connection", "status", "refused", "before the kill", "port used again"],
)
def test_a_kill_excuses_nothing_but_cuts_of_its_own_connections(request_: Request) -> None:
    kill = Kill("worker 0", 1.12, 1.15, frozenset({GOOD.port}))
    assert judge([request_], [kill]) == Verdicts(1, 0, 0, 0)


def test_requests_after_a_switch_must_follow_it() -> None:
    switches = [Switch(10, 11, 2), Switch(20, 21, 1)]

    def one(sent: float, ended: float, service: int) -> Request:
        return Request(sent, sent, ended, 0, Outcome.ANSWERED, service, 1)

    assert follow([one(12, 13, 2), one(22, 23, 1)], switches) == Following(2, 0)
    assert follow([one(12, 13, 1), one(22, 23, 2)], switches) == Following(2, 2)
    before_any = one(1, 2, 2)
    while_asked = one(10.5, 10.6, 1)
    into_the_next = one(19, 20.5, 1)
    assert follow([before_any, into_the_next], switches) == Following(0, 0)
    assert follow([while_asked], switches[:1]) == Following(0, 0)
    failed = replace(one(12, 13, 1), outcome=Outcome.CUT)
    assert follow([failed], switches) == Following(0, 0)


def test_records_keep_requests_whole() -> None:
    kept, others = Records(), Records()
    for record in (GOOD, replace(GOOD, outcome=Outcome.CUT, port=65535)):
        kept.add(record)
    others.add(replace(GOOD, service=2))
    kept.extend(others)
    assert len(kept) == 3
    assert next(iter(kept)) == GOOD
    assert list(kept)[1].outcome is Outcome.CUT
    assert kept.seconds() == pytest.approx([0.2, 0.2])
    assert kept.seconds(since=2.0) == []


def test_victims_come_about_equally_often_in_an_order_that_can_be_repeated() -> None:
    victims = kills.order(20)
    assert len(victims) == 20
    counts = [victims.count(role) for role in set(victims)]
    assert len(counts) == 3
    assert max(counts) - min(counts) <= 1
    assert victims == kills.order(20)
    assert victims != sorted(victims)


# -- reading what others write


def test_a_stat_line_is_read_whatever_the_process_is_called() -> None:
    line = "42 (a) b (c)) S 7 42 42 0 -1 4194560 1 2 3 4 150 50 9 9 20 0 1 0 12345"
    assert procfs.parse_stat(line) == procfs.Stat(42, "a) b (c)", 7, 200)


def test_own_process_is_found_with_its_children() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert child.pid in procfs.family(os.getpid())
        assert "input()" in procfs.command_line(child.pid)
        assert procfs.cpu_s([os.getpid(), child.pid]) > 0
    assert procfs.command_line(child.pid) == ""


def test_the_clients_of_a_port_are_those_of_its_connections() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            accepted, _ = listener.accept()
            with accepted:
                found = procfs.client_ports(os.getpid(), port)
                assert found == {client.getsockname()[1]}


def test_wrks_figures_are_read_from_behind_its_own_words() -> None:
    line = '{"requests":10,"bytes":99,"microseconds":2000000,"bad":1,"p50_us":1500,"p99_us":9000}'
    text = f"Running 2s test @ http://127.0.0.1:1/\n  1 threads\n{line}\n"
    assert parse_wrk(text) == Volley(10, 2.0, 1, 1.5, 9.0)
    with pytest.raises(ValueError, match="no figures"):
        parse_wrk("unable to connect")


@pytest.mark.parametrize(
    ("banner", "version"),
    [
        ("nginx version: nginx/1.22.1", "1.22.1"),
        ("HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/", "2.6.12"),
        ("wrk debian/4.1.0-3+b2 [epoll] Copyright (C) 2012 Will Glozer", "4.1.0"),
        ("nothing here", "unknown"),
    ],
)
def test_versions_are_found_in_banners(banner: str, version: str) -> None:
    assert machine.version_of(banner) == version


def test_the_machine_is_described() -> None:
    facts = machine.facts()
    assert {"cpu", "cpus", "memory", "system", "kernel", "python"} <= facts.keys()
    assert all(facts.values())


def test_answers_are_read_once_their_head_is_complete() -> None:
    data = answer(b"v1 hello", close=True)
    end = len(data) - len(b"v1 hello")
    assert parse_answer(data) == Answer(200, len(data), True, end)
    assert parse_answer(data[: end - 1]) is None
    assert parse_answer(answer(b"", close=False)) == Answer(200, 64, False, 64)
    for bad in (b"HTTP/1.1 200 OK\r\n\r\n", b"nonsense\r\nContent-Length: 1\r\n\r\n"):
        with pytest.raises(ValueError, match="status or length"):
            parse_answer(bad)


# -- what is sent, and what stands behind


def test_heads_are_ten_fields_that_vary_and_are_good_http() -> None:
    heads = browser_heads("a.example", 200, cookies=("S=1", "S=2"))
    assert len(set(heads)) == 200
    assert heads == browser_heads("a.example", 200, cookies=("S=1", "S=2"))
    for data in heads:
        assert data.count(b"\r\n") == 1 + 10 + 1
        head = parse_request(data, HeadLimits(65536, 128))
        assert head is not None
        assert head.size == len(data)
        assert head.keep_alive
        assert head.cookies is not None
        assert b"; S=" in head.cookies
    assert {b"S=1" in data for data in heads} == {True, False}


def test_heads_may_ask_for_the_connections_end() -> None:
    head = parse_request(browser_heads("a.example", 1, close=True)[0], HeadLimits(65536, 128))
    assert head is not None
    assert not head.keep_alive


def test_backends_say_who_they_are_in_115_bytes() -> None:
    assert [len(body(number)) for number in (1, 2)] == [BODY_BYTES, BODY_BYTES]
    assert body(2).startswith("v2 ")


@pytest.mark.parametrize("file", sorted(templates.FOLDER.iterdir()), ids=lambda f: f.name)
def test_templates_have_no_marks_but_those_that_are_filled(file: Path) -> None:
    names = ("FOLDER", "USER", "V1", "V2", "BODY1", "BODY2", "PLAIN", "STICKY")
    assert "@" not in templates.fill(file.read_text(), dict.fromkeys(names, "x"))


def test_a_mark_without_value_is_an_error() -> None:
    with pytest.raises(KeyError):
        templates.fill("listen @PORT@", {})


@pytest.mark.parametrize("file", ["nginx.conf", "haproxy.cfg"])
def test_peers_add_the_fields_that_the_gateway_adds(file: str) -> None:
    text = (templates.FOLDER / file).read_text()
    for name in ("For", "Proto", "Host", "Port"):
        assert f"X-Forwarded-{name}" in text
    for name in ("X-Request-Id", "Via", "X-Served-By"):
        assert name in text


@pytest.mark.parametrize("routes", [3, PAIRS_MAX + 5])
def test_a_prepared_store_holds_what_the_gateway_reads(routes: int, tmp_path: Path) -> None:
    async def written_and_read() -> None:
        path = tmp_path / "state" / "gateway.db"
        await write_store(path, state_of(routes, (1001, 1002)))
        store = make_store(f"sqlite:{path}", 1)
        state, _ = await store.open()
        await store.close()
        assert len(state.routes) == routes
        assert len(state.services) == 2 * min(routes, PAIRS_MAX)
        for route in state.routes.values():
            assert sorted(route.weights.values()) == [10, 90]
            for service in route.weights:
                assert route.id in {claim.route for claim in state.services[service].claims}
        assert host_of(0) in state.routes

    asyncio.run(written_and_read())


def test_missing_programs_are_named_with_their_packages() -> None:
    assert "nginx-light haproxy wrk" in tools.advice(tuple(tools.Tool))


# -- clients, on a real connection


class Backend(asyncio.Protocol):
    """Answers the first request of a connection; `answers` says what each one gets."""

    def __init__(self, answers: list[bytes | None]) -> None:
        self._answers = answers

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        said = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if said is None:
            self.transport.abort()
        else:
            self.transport.write(said)


def outcomes_of(answers: list[bytes | None], count: int, *, kept: bool) -> list[Request]:
    """The first requests of one client that meets these answers; the last one repeats."""

    async def run() -> list[Request]:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Backend(answers), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        heads = browser_heads("a.example", 3)
        clients = Clients(Plan(port, int(kept), int(not kept), heads, heads))
        stop = asyncio.Event()
        running = asyncio.ensure_future(clients.run(stop))
        while clients.answers < count:
            await asyncio.sleep(0)
        stop.set()
        records = await running
        server.close()
        await server.wait_closed()
        return list(records)[:count]

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run())


WHOLE = answer(b"v2 hello", close=False)


def test_a_kept_connection_is_used_again() -> None:
    found = outcomes_of([WHOLE], 3, kept=True)
    assert [r.outcome for r in found] == [Outcome.ANSWERED] * 3
    assert [r.service for r in found] == [2, 2, 2]
    assert len({r.port for r in found}) == 1
    assert found[0].began <= found[0].opened <= found[0].sent <= found[0].ended


def test_the_others_open_one_for_each_request() -> None:
    assert len({r.port for r in outcomes_of([WHOLE], 3, kept=False)}) == 3


def test_nothing_is_tried_again_and_every_failure_is_written_down() -> None:
    no_name = answer(b"who am I", close=False)
    sorry = WHOLE.replace(b"200 OK", b"503 Sorry")
    found = outcomes_of([None, sorry, no_name, WHOLE], 4, kept=True)
    expected = [Outcome.CUT, Outcome.STATUS, Outcome.STATUS, Outcome.ANSWERED]
    assert [r.outcome for r in found] == expected
    assert len({r.port for r in found}) == 4


def test_half_an_answer_is_a_cut() -> None:
    async def run() -> Outcome:
        loop = asyncio.get_running_loop()

        class Half(Backend):
            def data_received(self, data: bytes) -> None:
                self.transport.write(WHOLE[:-1])
                self.transport.close()

        server = await loop.create_server(lambda: Half([]), "127.0.0.1", 0)
        heads = browser_heads("a.example", 1)
        port = server.sockets[0].getsockname()[1]
        clients = Clients(Plan(port, 1, 0, heads, heads))
        stop = asyncio.Event()
        running = asyncio.ensure_future(clients.run(stop))
        while not clients.answers:
            await asyncio.sleep(0)
        stop.set()
        records = await running
        server.close()
        await server.wait_closed()
        return next(iter(records)).outcome

    assert asyncio.run(run()) is Outcome.CUT


def test_who_cannot_connect_says_so() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))

        async def run() -> set[Outcome]:
            heads = browser_heads("a.example", 1)
            clients = Clients(Plan(unused.getsockname()[1], 1, 1, heads, heads))
            stop = asyncio.Event()
            running = asyncio.ensure_future(clients.run(stop))
            while clients.answers < 4:
                await asyncio.sleep(0)
            stop.set()
            return {request.outcome for request in await running}

        assert asyncio.run(run()) == {Outcome.NOT_CONNECTED}


def test_load_in_another_process_comes_back_whole() -> None:
    async def run() -> Records:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Backend([WHOLE]), "127.0.0.1", 0)
        heads = browser_heads("a.example", 2)
        plan = Plan(server.sockets[0].getsockname()[1], 2, 1, heads, heads)

        def from_another_thread() -> Records:
            with Load(plan) as load:
                return load.stop()

        records = await loop.run_in_executor(None, from_another_thread)
        server.close()
        return records

    records = asyncio.run(run())
    assert len(records) >= 3
    assert {request.outcome for request in records} == {Outcome.ANSWERED}


# -- results


RESULT = Result(
    benchmark="kills",
    title="Kills",
    quick=False,
    taken="2026-01-01T00:00:00Z",
    took_s=1.5,
    machine={
        "cpu": "C",
        "cpus": "2",
        "memory": "4 GiB",
        "system": "S",
        "kernel": "6",
        "python": "3.11.0",
    },
    figures=(
        Figure("failed", 0, promise=0),
        Figure("astray", 3, promise=0, note="of 10"),
        Figure("cost", 21.34, "us", 20.0, 22.5),
    ),
    details={"order": ["a"]},
)


def test_results_are_the_same_after_being_kept() -> None:
    assert results.load(orjson.dumps(RESULT)) == RESULT


def test_quick_results_do_not_replace_full_ones() -> None:
    assert RESULT.file != replace(RESULT, quick=True).file


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (1234567, "1,234,567"), (21.34, "21.3"), (4.7, "4.70"), (0.01234, "0.0123")],
)
def test_numbers_are_written_with_three_digits(value: float, text: str) -> None:
    assert results.number(value) == text


def test_a_broken_promise_is_told() -> None:
    assert [figure.is_broken for figure in RESULT.figures] == [False, True, False]
    text = report.markdown([RESULT])
    assert "| astray | 3 | promise broken; of 10 |" in text
    assert "| failed | 0 | as promised |" in text
    assert "| cost | 21.3 us (20 to 22.5) |  |" in text
    assert "Python" not in text
    assert "python 3.11.0" in text


def test_figures_replace_what_stands_between_the_marks() -> None:
    page = f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n"
    once = report.with_figures(page, [RESULT])
    assert "old" not in once
    assert once.startswith("before\n")
    assert once.endswith("after\n")
    assert report.with_figures(once, [RESULT]) == once
    with pytest.raises(ValueError, match="marks"):
        report.with_figures("no marks", [RESULT])


@pytest.mark.parametrize("group", GROUPS)
def test_a_page_shows_the_kept_results_and_no_others(group: str) -> None:
    files = [results.FOLDER / f"{benchmark.name}.json" for benchmark in GROUPS[group]]
    kept = [results.load(file.read_bytes()) for file in files if file.exists()]
    page = report.PAGES[group].read_text()
    assert report.with_figures(page, kept) == page, "run `python -m bench --docs`"


@pytest.mark.parametrize("group", GROUPS)
def test_a_page_tells_of_every_benchmark_of_its_group(group: str) -> None:
    page = report.PAGES[group].read_text()
    names = [b.name for b in GROUPS[group]]
    assert [n for n in names if not re.search(rf"^## .*`{n}`", page, re.MULTILINE)] == []


def test_a_name_may_be_a_groups_and_none_means_performance() -> None:
    assert chosen([]) == chosen(["performance"]) == list(SUITE)
    assert [b.name for b in chosen(["soak", "fuzz"])] == ["fuzz", "soak"]
    names = [b.name for b in chosen(["performance", "reliability"])]
    assert names == [b.name for b in EVERY]
    assert len(names) == len(set(names))


# -- reliability


def test_a_fuzz_campaign_is_read_by_what_it_prints() -> None:
    said = (
        "seed 1, 1000 inputs\n"
        "       12  h11     bare LF after a field\n"
        "        3  llhttp  two lengths (same)\n"
        "1000 inputs in 3 s: 41.5% accepted by a reader, 38.0% by the gateway; "
        "2 classes of difference\n"
        "not in protocol.md: x (h11), 2 times, as in b'y'\n"
    )
    found = fuzzing.parse(said)
    assert (found.inputs, found.accepted, found.accepted_here) == (1000, 41.5, 38.0)
    assert found.counts == {"bare LF after a field (h11)": 12, "two lengths (same) (llhttp)": 3}
    assert len(found.complaints) == 1
    with pytest.raises(ValueError, match="its end"):
        fuzzing.parse("Traceback")


def test_rounds_of_chaos_are_added_up() -> None:
    one: dict[str, object] = {
        "answered": 10,
        "in_flight": 2,
        "stale": 1,
        "held": 1,
        "failed": 0,
        "astray": 0,
        "longest_s": 0.25,
        "struck": {"a worker killed": 2},
        "releases": {"confirm": 1},
    }
    other = {**one, "longest_s": 0.5, "astray": 1, "releases": {"rollback": 2}}
    figures = {f.name: f for f in chaos.found([one, other], "it has failed").figures}
    assert figures["requests"].value == 28
    assert figures["processes killed or stopped"].note == "4 times a worker killed"
    assert figures["releases meanwhile"].value == 3
    assert figures["longest of the other answers"].value == 500
    assert [f.name for f in figures.values() if f.is_broken] == [
        "answered by a version without traffic",
        "states, releases or counters that were wrong afterwards",
    ]


def test_without_its_list_conformance_is_left_out(tmp_path: Path) -> None:
    with pytest.raises(Skipped, match="--conformance"):
        conformance.run(Scope(tmp_path, True, lambda word: None))
