"""Programs that do not come up, and templates that cannot be meant: what operators read.

Each of them goes through the real API and the real command line, as an application's
first deployment and beside a version that serves. Always it is said what is wrong,
where, and what the program wrote last; and nothing is left behind but its output.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gateway.cli.main import cli
from tests.support.applications import (
    PATIENCE_S,
    Operator,
    assert_settled,
    backends,
    pids,
    running,
    service,
)
from tests.support.gateway import Gateway, served_by
from tests.support.origins import Origins
from tests.support.processes import wait_until

DEADLINE_S = 2
LOG_BYTES = 1 << 16
PASSWORD = "correct horse battery staple"


@dataclass(frozen=True)
class Bad:
    """A program that does not come up, and what has to be said of it."""

    service: Mapping[str, Any] = field(default_factory=dict)
    """What is special about its service."""
    words: tuple[str, ...] = ()
    """Stand in the release's timeline and in what `gateway deploy --wait` says.

    (Values of its environment, which its name is one of, are struck out there.)
    """
    output: tuple[str, ...] = ()
    """Of what it wrote."""


# Nobody listens on the port that stands for 81: such a program is never healthy.
_DEAF = "tcp://container:81"
BAD = {
    "exits": Bad(
        {"mode": "exits"},
        ("ended with exit code 3", "exits: no such table: customers"),
        ("exits says 29", "exits: no such table: customers"),
    ),
    "missing": Bad({"image": "missing"}, ("No such file or directory: '/no/such/program'",)),
    "never_listens": Bad(
        {"mode": "never_listens"},
        ("does not pass its check: Connection refused", " thinks"),
        ("never_listens thinks",),
    ),
    "is_sick": Bad(
        {"mode": "is_sick"},
        ("does not pass its check: ", "500", " listens on"),
        ("is_sick listens on",),
    ),
    "ignores_term": Bad(
        {"mode": "ignores_term", "probe": _DEAF, "stop_grace_period": "300ms"},
        ("does not pass its check: Connection refused", " listens on"),
        ("ignores_term listens on",),
    ),
    "tells": Bad(
        {"mode": "tells", "environment": {"PASSWORD": PASSWORD}},
        ("ended with exit code 1", "caf\u00e9"),
        ("\\u202ereversed\\r\\x08 caf\u00e9",),
    ),
}


@dataclass(frozen=True)
class Attempts:
    """Each bad program, deployed twice: as a first version, and as a second one."""

    gateway: Gateway
    first: Mapping[str, subprocess.Popen[str]]
    """`gateway deploy --wait`."""
    later: Mapping[str, str]
    """Releases."""

    def first_of(self, kind: str) -> Operator:
        return Operator(self.gateway, f"first.{kind}")

    def later_of(self, kind: str) -> Operator:
        return Operator(self.gateway, f"later.{kind}")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    config = backends(log_bytes=LOG_BYTES)
    config["checks"] = {"interval": 5, "fall": 2}  # those that are not up yet are asked sooner
    with Gateway(tmp_path_factory.mktemp("bad"), **config) as found:
        yield found


@pytest.fixture(scope="module")
def attempts(gateway: Gateway) -> Attempts:
    """All of them at once: they take their time."""
    later = {kind: Operator(gateway, f"later.{kind}") for kind in BAD}
    good = {
        kind: operator.deploy({f"{kind}.v1": service(f"{kind}.later")})
        for kind, operator in later.items()
    }
    for kind, release in good.items():
        later[kind].wait(release, "confirmed")
    first = {}
    for kind, bad in BAD.items():
        file = gateway.folder / f"{kind}.json"
        template = {f"{kind}.first": service(f"{kind}.first", **bad.service)}
        file.write_text(json.dumps(template))
        words = ("deploy", f"first.{kind}", "-f", str(file), "--wait")
        first[kind] = start_cli(gateway, *words, "--deadline", str(DEADLINE_S))
    query = f"?deadline={DEADLINE_S}"
    releases = {
        kind: later[kind].deploy(
            {f"{kind}.v2": service(f"{kind}.later", **BAD[kind].service)}, query
        )
        for kind in BAD
    }
    return Attempts(gateway, first, releases)


def start_cli(gateway: Gateway, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "gateway", *arguments],
        env=os.environ | {"GATEWAY_ADMIN": str(gateway.state / "admin.sock")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_cli(gateway: Gateway, *arguments: str, stdin: str | bytes | None = None) -> Result:
    """The same command in this process, which is quicker."""
    runner = CliRunner(env={"GATEWAY_ADMIN": str(gateway.state / "admin.sock")})
    return runner.invoke(cli, list(arguments), input=stdin)


def is_harmless(text: str) -> bool:
    """Nothing in it moves a cursor, paints, or turns the reading direction round."""
    controls = {c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp")}
    return controls <= {"\n"}


def why(release: Mapping[str, Any]) -> str:
    """Why a release was rolled back, as its timeline says."""
    return str(next(e["reason"] for e in release["timeline"] if e["phase"] == "rolling_back"))


def output_of(operator: Operator, name: str) -> str:
    """What a service wrote; the command line says the same as the API."""
    where = f"applications/{operator.application}/logs?service={name}&lines=1000"
    lines = [line["line"] for line in operator.get(where)["lines"]]
    shown = run_cli(operator.gateway, "logs", operator.application, name, "-n", "1000")
    assert shown.exit_code == 0, shown.output
    assert len(shown.stdout.splitlines()) == len(lines)
    for line in lines:
        assert line in shown.stdout
    assert is_harmless(shown.output)
    return "\n".join(lines)


def assert_absent(operator: Operator, name: str, route: str = "") -> None:
    """No process, no service, no route of it."""
    gateway = operator.gateway
    assert not pids(gateway, name)
    full = f"{operator.application}%2F{name}"
    assert gateway.api("GET", f"services/{full}").status == 404
    if route:
        assert route not in [r["route"] for r in gateway.api.routes()]


# --- programs ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", BAD)
def test_a_first_deployment_that_does_not_come_up_says_why_and_leaves_only_its_output(
    attempts: Attempts, kind: str
) -> None:
    bad, operator, name = BAD[kind], attempts.first_of(kind), f"{kind}.first"
    out, err = attempts.first[kind].communicate(timeout=PATIENCE_S)
    assert attempts.first[kind].returncode == 1, (out, err)
    assert f"is rolled back: not healthy within {DEADLINE_S} s" in err
    for word in bad.words:
        assert word in out + err
    assert PASSWORD not in err.partition("is rolled back")[2]
    assert is_harmless(out + err)

    listed = operator.get(f"releases?application={operator.application}")["releases"]
    assert [release["phase"] for release in listed] == ["rolled_back"]
    for word in bad.words:
        assert word in why(listed[0])
    assert PASSWORD not in why(listed[0])
    assert is_harmless(why(listed[0]))

    gone = operator.gateway.api("GET", f"applications/{operator.application}")
    assert gone.status == 404
    assert_absent(operator, name, f"{kind}.first")
    assert operator.gateway.get("public", host=f"{kind}.first") == 404
    if bad.output:
        found = output_of(operator, name)
        for line in bad.output:
            assert line in found


@pytest.mark.parametrize("kind", BAD)
def test_a_later_version_that_does_not_come_up_says_why_and_the_old_one_serves_on(
    attempts: Attempts, kind: str
) -> None:
    bad, operator, id = BAD[kind], attempts.later_of(kind), attempts.later[kind]
    old, new, host = f"{kind}.v1", f"{kind}.v2", f"{kind}.later"
    release = operator.wait(id, "rolled_back")
    assert why(release).startswith(
        f"not healthy within {DEADLINE_S} s: 0 of 1 instances of {new} healthy"
    )
    for word in bad.words:
        assert word in why(release)
    shown = run_cli(operator.gateway, "release", id)
    for word in bad.words:
        assert word in shown.output
    assert PASSWORD not in shown.output
    assert is_harmless(shown.output)

    assert_absent(operator, new)
    (left,) = operator.show()["services"]
    assert (left["name"], left["ready"], left["colour"]) == (old, 1, None)
    assert operator.show()["release"] is None
    assert len(pids(operator.gateway, old)) == 1
    assert operator.gateway.api.weights(host) == {old: 100}
    assert served_by(operator.gateway.ask("public", host=host)) == old
    if bad.output:
        found = output_of(operator, new)
        for line in bad.output:
            assert line in found


def test_what_ignores_term_is_killed_after_its_grace(attempts: Attempts) -> None:
    operator = attempts.later_of("ignores_term")
    operator.wait(attempts.later["ignores_term"], "rolled_back")
    attempts.gateway.wait_said("has not ended in time: killed")
    assert not pids(attempts.gateway, "ignores_term.v2")


def test_while_a_program_fails_the_release_tells_it_and_held_it_waits_for_the_operator(
    gateway: Gateway,
) -> None:
    operator = Operator(gateway, "held")
    operator.wait(operator.deploy({"held-v1": service("held.example")}), "confirmed")
    template = {
        "exits": service("held.example", mode="exits"),
        "is_sick": service(mode="is_sick"),
    }
    query = "?deadline=0.5&on_deadline=hold"
    id = operator.deploy(template, query)

    def crash() -> Any:
        found = operator.release(id)["services"][0]["failures"]
        return next((f for f in found if f["what"].startswith("ended with exit code 3 ")), None)

    wait_until(crash, what="a crash")
    assert crash()["output"][-1] == "exits: no such table: customers"
    assert len(crash()["output"]) == 20

    def problem() -> Any:
        instances = operator.release(id)["services"][1]["instances"]
        return instances and instances[0]["problem"]

    wait_until(lambda: "500" in (problem() or ""), what="a check that failed")

    wait_until(lambda: time.time() > _unix(operator.release(id)["deadline"]) + 1)
    release = operator.release(id)
    assert release["phase"] == "releasing"
    assert release["legal"] == ["shift", "rollback"]
    assert "0 of 1 instances of exits healthy (" in release["waiting_for"]
    assert "500" in release["waiting_for"]
    status = run_cli(gateway, "status", "held")
    assert "ended with exit code 3" in status.output
    assert "  | exits: no such table: customers" in status.output
    refused = run_cli(gateway, "confirm", "held")
    assert refused.exit_code == 1
    assert "rollback" in refused.output
    early = run_cli(gateway, "shift", "held", "100")
    assert early.exit_code == 1
    done = run_cli(gateway, "rollback", "held", "--wait")
    assert done.exit_code == 0, done.output
    assert served_by(gateway.ask("public", host="held.example")) == "held-v1"
    for name in ("exits", "is_sick"):
        assert_absent(operator, name)
    remove(operator)


def _unix(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def test_a_program_that_floods_its_output_serves_and_its_file_stays_short(
    gateway: Gateway,
) -> None:
    operator = Operator(gateway, "floods")
    operator.wait(
        operator.deploy({"floods": service("floods.example", mode="floods")}), "confirmed"
    )
    assert served_by(gateway.ask("public", host="floods.example")) == "floods"
    page = operator.get("applications/floods/logs?lines=50")["lines"]
    assert len(page) == 50
    assert all(len(line["line"]) < 200 for line in page)
    (file,) = (gateway.state / "logs" / "floods" / "floods").iterdir()

    def is_trimmed() -> bool:
        return file.stat().st_size <= LOG_BYTES and file.read_bytes().startswith(b"-- ")

    wait_until(is_trimmed, what="a short file")
    shown = run_cli(gateway, "logs", "floods", "-n", "3")
    assert len(shown.stdout.splitlines()) == 3
    remove(operator)


def remove(operator: Operator) -> None:
    """The application, with all of it."""
    where = f"applications/{operator.application}"
    operator.insist("DELETE", f"{where}?force=true&drain_timeout=0")
    wait_until(lambda: operator.gateway.api("GET", where).status == 404, PATIENCE_S, "its removal")


# --- templates --------------------------------------------------------------------------

LABEL = "gateway.routing.port_80"
TEMPLATES = {
    "no service": ("services: {}", "services", "no service; "),
    "nothing": ("", "body", "required: a template"),
    "no YAML": ("a:\n\timage: program", "body", "line 2, column 1"),
    "unknown image": ("a: {image: programm}", "a.image", "did you mean 'program'?"),
    "no image": ("a: {}", "a.image", "needed"),
    "route twice": (
        f"a: {{image: program, labels: {{{LABEL}: x.bad;x.bad}}}}",
        f"a.labels.{LABEL}",
        "the route 'x.bad' is there twice; keep one",
    ),
    "route in two services": (
        f"a: {{image: program, labels: {{{LABEL}: x.bad}}}}\n"
        f"b: {{image: program, labels: {{{LABEL}: x.bad}}}}",
        f"b.labels.{LABEL}",
        "is claimed by a too; mark all of them but one",
    ),
    "port twice": (
        f"a:\n  image: program\n  labels: ['{LABEL}=x.bad', '{LABEL}=y.bad']",
        "a.labels[1]",
        "stands in [0] already; keep one (line 3)",
    ),
    "port twice in a map": (
        f"a:\n  image: program\n  labels:\n    {LABEL}: x.bad\n    {LABEL}: y.bad",
        "body",
        "is there twice, first in line 4",
    ),
    "slash": ("a/b: {image: program}", "a/b", "a name consists of A-Z a-z 0-9 . _ -"),
    "only dots": ("services: {..: {image: program}}", "services", "this is no name for a service"),
    "Unicode": ("b\u00fccher: {image: program}", "b\u00fccher", "this is no name for a service"),
    "300 characters": (f"{'x' * 300}: {{image: program}}", "xxx", "1 to 128 characters, this"),
    "number as image": ("a: {image: 5}", "a.image", "not the number 5; put it in quotes"),
    "number as route": (f"a: {{image: program, labels: {{{LABEL}: 80}}}}", "a.labels", "'80': "),
    "number as environment": ("a: {image: program, environment: 5}", "a.environment", "a map or"),
    "words as scale": (
        "a: {image: program, labels: {gateway.scale: many}}",
        "a.labels.gateway.scale",
        "must be a whole number from 1 to 1000, not 'many'",
    ),
    "too many": (
        "a: {image: program, labels: {gateway.scale: 101}}",
        "a.labels.gateway.scale",
        "need 101 ports, and providers.process.ports has 100",
    ),
    "variable without value": (
        "a: {image: program, environment: [HOME]}",
        "a.environment[0]",
        "'HOME' has no value",
    ),
    "key that would be ignored": ("a: {image: program, volumes: [x:/y]}", "a.volumes", "image"),
}


@pytest.mark.parametrize("case", TEMPLATES)
def test_a_template_that_cannot_be_meant_is_refused_with_its_place_and_changes_nothing(
    gateway: Gateway, running_on: Operator, case: str
) -> None:
    text, place, words = TEMPLATES[case]
    before = everything(gateway)
    for application in ("new", running_on.application):
        answer = gateway.api(
            "POST",
            f"applications/{application}/releases",
            raw=text.encode(),
            headers={"Content-Type": "application/yaml"},
        )
        assert answer.status in (409, 422), answer
        problem = answer.json
        assert problem["code"] in ("invalid", "route_conflict")
        assert "mend" in problem["detail"]
        assert [e for e in problem["errors"] if e["field"].startswith(place)]
        assert [e for e in problem["errors"] if words in e["message"]], problem
        done = run_cli(gateway, "deploy", application, "-f", "-", stdin=text)
        assert isinstance(done.exception, SystemExit)
        if text:
            assert done.exit_code == 1, done.output
            assert words in done.stderr
        else:
            assert (done.exit_code, "is empty" in done.stderr) == (2, True)
        assert is_harmless(done.stderr)
    assert gateway.api("GET", "applications/new").status == 404
    assert everything(gateway) == before


def everything(gateway: Gateway) -> object:
    """What there is, and is meant to stay."""
    releases = gateway.api.ok("GET", "releases")["releases"]
    applications = gateway.api.ok("GET", "applications")["applications"]
    return (
        [(r["id"], r["phase"]) for r in releases],
        [(a["name"], [s["id"] for s in a["services"]]) for a in applications],
        gateway.api.routes(),
        running(gateway),
    )


@pytest.fixture(scope="module")
def running_on(gateway: Gateway, attempts: Attempts) -> Operator:
    """An application that bad templates are deployed on; nothing else changes any more."""
    for kind in BAD:
        attempts.later_of(kind).wait(attempts.later[kind], "rolled_back")
        attempts.first[kind].wait(PATIENCE_S)
    operator = Operator(gateway, "runs")
    operator.wait(operator.deploy({"runs-v1": service("runs.example")}), "confirmed")
    return operator


@pytest.mark.parametrize("name", ["a/b", "..", "b\u00fccher", "x" * 300, "\u202e", " "])
def test_an_application_with_no_name_for_one_is_refused(gateway: Gateway, name: str) -> None:
    answer = Operator(gateway, name).post({"a": service()})
    assert answer.status == 422, answer
    (error,) = answer.json["errors"]
    assert error["field"] == "path.app"
    assert "a name " in error["message"]
    done = run_cli(gateway, "deploy", name, "-f", "-", stdin="a: {image: program}")
    assert done.exit_code in (1, 2), done.output
    assert is_harmless(done.stderr)


def test_an_environment_as_list_and_as_map_with_numbers_is_the_same_and_reaches_the_program(
    gateway: Gateway,
) -> None:
    operator = Operator(gateway, "env.with-dots_1")
    as_map = "web.v1: {image: program, environment: {PARTS: 3, IS_NEW: true, RATE: 1.5, B: 'x=y'}}"
    as_list = (
        "services:\n  web.v1:\n    image: program\n"
        "    environment: ['B=x=y', RATE=1.5, PARTS=3, IS_NEW=true]"
    )
    yaml = {"Content-Type": "application/yaml"}
    path = f"applications/{operator.application}/releases"
    answer = gateway.api("POST", path, raw=as_map.encode(), headers=yaml)
    assert answer.status == 201, answer
    operator.wait(answer.json["id"], "confirmed")
    (pid,) = pids(gateway, "web.v1")
    environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    assert {b"PARTS=3", b"IS_NEW=true", b"RATE=1.5", b"B=x=y"} <= set(environment)
    again = gateway.api("POST", path, raw=as_list.encode(), headers=yaml)
    assert again.json["code"] == "nothing_to_release", again
    remove(operator)


# --- many -------------------------------------------------------------------------------

MANY = 1000


def test_a_thousand_services_elsewhere_are_released_and_removed(
    gateway: Gateway, origins: Origins
) -> None:
    origin = origins.start("many")
    template = {
        f"s{n}": {
            "x-gateway": {"endpoints": [f"127.0.0.1:{origin.port}"]},
            "labels": {LABEL: f"s{n}.many"},
        }
        for n in range(MANY)
    }
    operator = Operator(gateway, "many")
    begun = time.monotonic()
    release = operator.deploy(template)
    operator.wait(release, "confirmed")
    for n in (0, MANY - 1):
        assert served_by(gateway.ask("public", host=f"s{n}.many")) == f"s{n}"
    remove(operator)
    assert time.monotonic() - begun < PATIENCE_S
    assert not [r for r in gateway.api.routes() if r["route"].endswith(".many")]


def test_a_thousand_services_that_would_be_started_are_refused_at_once_with_the_way_out(
    gateway: Gateway,
) -> None:
    operator = Operator(gateway, "many")
    before = running(gateway)
    begun = time.monotonic()
    answer = operator.post({f"s{n}": service(f"s{n}.many") for n in range(MANY)})
    assert time.monotonic() - begun < 10
    assert answer.status == 422, answer
    (error,) = answer.json["errors"]
    assert "need 1000 ports, and providers.process.ports has 100" in error["message"]
    assert "widen the range" in error["message"]
    assert running(gateway) == before
    assert gateway.api("GET", "applications/many").status == 404


# --- afterwards -------------------------------------------------------------------------


def test_of_all_that_was_bad_nothing_is_left(attempts: Attempts, running_on: Operator) -> None:
    wanted = {f"{kind}.v1": 1 for kind in BAD} | {"runs-v1": 1}
    names = [f"later.{kind}" for kind in BAD] + [running_on.application]
    assert_settled(attempts.gateway, wanted, *names)
    told = attempts.gateway.api.ok("GET", "applications")["applications"]
    assert sorted(a["name"] for a in told) == sorted(names)
