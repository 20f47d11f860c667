"""From a configuration file to settings, or to all problems with their places."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from gateway.runtime.configuration import (
    BadConfiguration,
    Problem,
    load,
    parse,
    refused_changes,
)
from gateway.runtime.settings import AdminAuth, Settings

EXAMPLE = """
entrypoints:
  public:   {listen: "0.0.0.0:8080"}
  internal: {listen: "127.0.0.1:8081", internal: true}
admin: {listen: "127.0.0.1:8900", socket: state/admin.sock, auth: token}
health: {listen: null}
state_dir: state
workers: auto
domain: localhost
store: sqlite:state/gateway.db
affinity: {cookie: GATEWAYSESSION, max_age: 28800, at_zero: drain}
checks: {interval: 2, timeout: 2, rise: 1, fall: 3}
timeouts: {connect: 5, response_header: 60, idle_stream: 300, client_header: 10, client_body: 60,
           client_idle: 75, upstream_idle: 4, drain: 30, lame_duck: 5}
limits: {head_bytes: 65536, headers: 128, body_bytes: null, connections: null}
releases: {deadline: 300, on_deadline: rollback}
trusted_proxies: []
access_log: off
"""


def problems(text: str) -> list[Problem]:
    with pytest.raises(BadConfiguration) as caught:
        parse(text)
    return list(caught.value.problems)


def the_problem(text: str) -> Problem:
    found = problems(text)
    assert len(found) == 1, found
    return found[0]


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "{}", "timeouts:\nadmin:\n"])
def test_an_empty_file_means_the_defaults(text: str) -> None:
    assert parse(text) == Settings()


def test_the_documented_example_spells_out_the_defaults() -> None:
    settings = parse(EXAMPLE)
    assert settings.store_url == Settings().store_url
    assert settings.admin_socket == Settings().admin_socket
    assert parse("store: sqlite:state/gateway.db\nadmin: {socket: state/admin.sock}") == settings


def test_all_problems_are_told_at_once_in_the_order_of_the_file() -> None:
    found = problems(
        "timeouts:\n  conect: 5\n  connect: -1\nworkers: many\n"
        "entrypoints:\n  a: {internal: 1}\n  b: {listen: nowhere}\ntrusted_proxies: [x, 3]\n"
    )
    assert [(p.line, p.place) for p in found] == [
        (2, "timeouts.conect"),
        (3, "timeouts.connect"),
        (4, "workers"),
        (6, "entrypoints.a.internal"),
        (6, "entrypoints.a.listen"),
        (7, "entrypoints.b.listen"),
        (8, "trusted_proxies[0]"),
        (8, "trusted_proxies[1]"),
    ]


def test_a_problem_reads_as_line_place_and_sentence() -> None:
    assert str(the_problem("timeouts:\n  conect: 5")) == (
        'line 2: timeouts.conect: unknown key; did you mean "connect"?'
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("timeout: {}", 'did you mean "timeouts"?'),
        ("entrypoints: {a: {listen: ':80', intrenal: true}}", 'did you mean "internal"?'),
        ("zzz: 1", "known here: entrypoints, admin"),
    ],
)
def test_an_unknown_key_gets_a_suggestion(text: str, words: str) -> None:
    assert words in the_problem(text).message


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("timeouts: {connect: '5'}", "timeouts.connect", 'must be a number, not "5"'),
        ("timeouts: {connect: true}", "timeouts.connect", "must be a number, not true"),
        ("timeouts: {connect: 0}", "timeouts.connect", "greater than 0"),
        ("timeouts: 5", "timeouts", "a section with keys"),
        ("limits: {headers: 1.5}", "limits.headers", "a whole number"),
        ("workers: 0", "workers", 'at least 1 or "auto"'),
        ("served_by: 1", "served_by", "true or false"),
        ("domain: 1", "domain", "text (put it in quotes)"),
        ("affinity: {at_zero: stay}", "affinity.at_zero", '"drain" or "evict"'),
        ("transport: tcp", "transport", '"aiofastnet" or "uvloop"'),
        ("trusted_proxies: 10.0.0.0/8", "trusted_proxies", "a list"),
        ("entrypoints: {a: {}}", "entrypoints.a.listen", "needed here"),
        ("- 1", "", "keys with values"),
        ("just text", "", "keys with values"),
    ],
)
def test_a_wrong_type_or_range_is_told_in_words(text: str, place: str, words: str) -> None:
    problem = the_problem(text)
    assert problem.place == place
    assert words in problem.message


def test_numbers_beyond_64_bits_are_refused_like_others() -> None:
    assert the_problem("limits: {headers: 1" + "0" * 90 + "}").place == "limits.headers"


@pytest.mark.parametrize(
    "listen",
    ["0.0.0.0:80", "[::]:80", "[::1]:8080", ":8080", "localhost:1", "a.example:65535", ":0"],
)
def test_these_listen_addresses_are_understood(listen: str) -> None:
    assert parse(f"entrypoints: {{a: {{listen: '{listen}'}}}}").entrypoints["a"].listen == listen


@pytest.mark.parametrize(
    ("listen", "words"),
    [
        ("8080", "has no port"),
        ("localhost", "has no port"),
        ("", "has no port"),
        ("localhost:", "is no port"),
        ("localhost:http", "is no port"),
        ("localhost:65536", "is no port"),
        ("localhost:-1", "is no port"),
        ("localhost:８０", "is no port"),
        ("::1:80", "needs brackets"),
        ("[::1", "needs brackets"),
        ("[::g]:80", "no IPv6 address"),
        ("1.2.3.400:80", "neither an IP address nor a host name"),
        ("a b:80", "neither an IP address nor a host name"),
        ("http://a:80", "needs brackets"),
        ("ü.example:80", "neither an IP address nor a host name"),
    ],
)
def test_these_listen_addresses_are_refused(listen: str, words: str) -> None:
    problem = the_problem(f"entrypoints: {{a: {{listen: '{listen}'}}}}")
    assert problem.place == "entrypoints.a.listen"
    assert words in problem.message


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("127.0.0.1:80", "127.0.0.1:80"),
        ("0.0.0.0:80", "127.0.0.1:80"),
        (":80", "127.0.0.1:80"),
        (":80", "[::]:80"),
        ("[::]:80", "[::1]:80"),
    ],
)
def test_two_listeners_on_one_address_are_refused(first: str, second: str) -> None:
    text = f"entrypoints:\n  a: {{listen: '{first}'}}\n  b: {{listen: '{second}'}}"
    problem = the_problem(text)
    assert problem.place == "entrypoints.b.listen"
    assert "overlaps" in problem.message
    assert "entrypoints.a.listen" in problem.message


def test_admin_and_health_must_not_share_an_address_either() -> None:
    assert the_problem("health: {listen: '127.0.0.1:8900'}").place == "health.listen"
    assert the_problem("admin: {listen: '127.0.0.1:8080'}").place == "admin.listen"


@pytest.mark.parametrize(
    ("first", "second"),
    [("127.0.0.1:80", "127.0.0.2:80"), ("0.0.0.0:80", "[::]:80"), (":0", ":0"), (":80", ":81")],
)
def test_different_addresses_do_not_overlap(first: str, second: str) -> None:
    parse(f"entrypoints:\n  a: {{listen: '{first}'}}\n  b: {{listen: '{second}'}}")


@pytest.mark.parametrize("listen", ["127.0.0.1:8900", "[::1]:8900", "localhost:8900"])
def test_the_admin_api_may_go_without_authentication_on_loopback(listen: str) -> None:
    assert parse(f"admin: {{auth: none, listen: '{listen}'}}").admin.auth is AdminAuth.NONE


@pytest.mark.parametrize("listen", ["0.0.0.0:8900", ":8900", "10.0.0.1:8900", "gw.example:8900"])
def test_the_admin_api_may_not_go_without_authentication_elsewhere(listen: str) -> None:
    problem = the_problem(f"admin: {{auth: none, listen: '{listen}'}}")
    assert problem.place == "admin.auth"
    assert "loopback" in problem.message


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("admin: {socket_mode: '888'}", "admin.socket_mode"),
        ("admin: {socket_mode: '0066'}", "admin.socket_mode"),
        ("admin: {socket_mode: rw}", "admin.socket_mode"),
        ("admin: {socket_group: ''}", "admin.socket_group"),
        ("admin: {socket: ''}", "admin.socket"),
        (f"admin: {{socket: /{'x' * 120}}}", "admin.socket"),
        (f"state_dir: /{'x' * 120}", "state_dir"),
        ("state_dir: ''", "state_dir"),
        ("domain: 'a b'", "domain"),
        ("domain: -a.example", "domain"),
        ("domain: a..b", "domain"),
        ("domain: example.", "domain"),
        ("domain: 1.2.3.4", "domain"),
        ("domain: " + ".".join(["a" * 60] * 5), "domain"),
        ("store: mysql:x", "store"),
        ("store: 'sqlite:'", "store"),
        ("store: memory", "store"),
        ("affinity: {cookie: 'a b'}", "affinity.cookie"),
        ("affinity: {cookie: 'a;b'}", "affinity.cookie"),
        ("affinity: {cookie: __Host-x}", "affinity.cookie"),
        ("affinity: {cookie: x-gateway-service}", "affinity.cookie"),
        ("access_log: on", "access_log"),
        ("access_log: ''", "access_log"),
        ("access_log: false", "access_log"),
        ("trusted_proxies: [10.0.0.0/8, 10.0.0.0/33]", "trusted_proxies[1]"),
        ("trusted_proxies: [10.0.0.1/8]", "trusted_proxies[0]"),
        ("entrypoints: {}", "entrypoints"),
        ("entrypoints: {health: {listen: ':80'}}", "entrypoints.health"),
        ("entrypoints: {'A b': {listen: ':80'}}", "entrypoints.A b"),
        ("ejection: {seconds: 20, max_seconds: 10}", "ejection.max_seconds"),
    ],
)
def test_values_that_cannot_work_are_refused_at_their_place(text: str, place: str) -> None:
    assert the_problem(text).place == place


@pytest.mark.parametrize(
    "text",
    [
        "admin: {socket_mode: 0660, socket_group: staff}",
        "admin: {listen: null}",
        'store: "memory:"',
        "access_log: stdout",
        "access_log: /var/log/gateway.log",
        "trusted_proxies: [10.0.0.0/8, '::1', 192.168.1.1]",
        "domain: apps.example.org",
        "workers: 4",
    ],
)
def test_values_that_can_work_are_accepted(text: str) -> None:
    parse(text)


def test_a_file_that_is_missing_or_no_file_is_a_problem_not_an_error(tmp_path: Path) -> None:
    for path, words in ((tmp_path / "none.yaml", "no such file"), (tmp_path, "cannot be read")):
        with pytest.raises(BadConfiguration) as caught:
            load(path)
        assert words in str(caught.value)
        assert str(path) in str(caught.value)


def test_a_file_is_read_as_its_text(tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text("domain: example.org\n")
    assert load(path) == parse("domain: example.org")
    path.write_bytes(b"domain: \xff")
    with pytest.raises(BadConfiguration, match="UTF-8"):
        load(path)


def test_changes_that_need_a_restart_are_named() -> None:
    old = Settings()
    assert refused_changes(old, parse("domain: x.example\ntimeouts: {drain: 1}")) == ()
    new = parse("workers: 3\ntransport: uvloop\ndomain: x.example")
    assert refused_changes(old, new) == ("transport", "workers")


VALUE: st.SearchStrategy[str] = st.sampled_from(
    ["1", "-1", "x", "''", "null", "true", "[]", "{}", "[1]", "{a: 1}", "1.5", "'1:2'", "9" * 80]
)
PLACES = st.sampled_from(
    ["entrypoints", "admin", "health", "workers", "affinity", "trusted_proxies", "store", "limits"]
)


@given(
    st.dictionaries(PLACES, VALUE, max_size=8),
    st.dictionaries(st.sampled_from(["listen", "internal", "zz"]), VALUE),
)
@hypothesis_settings(deadline=None, max_examples=200)
def test_any_values_give_settings_or_problems(top: dict[str, str], entry: dict[str, str]) -> None:
    inner = ", ".join(f"{k}: {v}" for k, v in entry.items())
    lines = [f"{key}: {value}" for key, value in top.items() if key != "entrypoints"]
    with contextlib.suppress(BadConfiguration):
        parse("\n".join([*lines, f"entrypoints: {{e: {{{inner}}}}}"]))


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('access_log: "\\ud800"', "access_log"),
        ('trusted_proxies: ["::1", "\\ud83d\\ude00"]', "trusted_proxies[1]"),
        (
            'providers: {process: {images: {a: {command: [b], environment: {"\\udc00": c}}}}}',
            "providers.process.images.a.environment.\\udc00",
        ),
    ],
)
def test_text_that_no_child_could_be_told_is_refused(text: str, place: str) -> None:
    problem = the_problem(text)
    assert problem.place == place
    assert problem.line == 1


def test_problems_of_text_that_is_no_unicode_can_be_told() -> None:
    with pytest.raises(BadConfiguration) as caught:
        parse('{"\\ud800": 1, "domain": "\\ud800"}')
    told = [str(problem) for problem in caught.value.problems]
    assert len(told) == 2
    assert all("\\ud800" in line.encode().decode() for line in told)
