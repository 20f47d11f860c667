"""The commands around releases against an admin API that notes what it is asked."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from admin.api.payload import MAX_BYTES
from gateway.cli import template_file
from gateway.cli.main import cli
from gateway.cli.options import Target
from tests.support.admin_double import NO_ANSWER, Double, Problem, admin_double
from tests.support.release_answers import (
    application,
    entry,
    failure,
    green_starting,
    instance,
    over,
    pending,
    release,
    step,
    written,
)

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

NOW = 1_769_860_800.0
"""2026-01-31T12:00:00Z."""
TEMPLATE = "nginx-v2:\n  image: 'nginx:2.0'\n"
DEPLOY = "/api/v1/applications/nginx/releases"
RELEASE = "/api/v1/releases/nginx-2"
APP = "/api/v1/applications/nginx"


@dataclass
class FakeClock:
    """Time passes only by sleeping; after `patience` sleeps somebody presses Ctrl-C."""

    now: float = NOW
    patience: int = 1_000
    slept: list[float] = field(default_factory=list)

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        if len(self.slept) >= self.patience:
            raise KeyboardInterrupt


@pytest.fixture
def double() -> Iterator[Double]:
    with admin_double() as double:
        double.time = NOW
        double.answer("POST", DEPLOY, written(green_starting()), 201)
        double.answer("GET", RELEASE, pending())
        double.answer("GET", APP, application(green_starting()))
        yield double


@pytest.fixture
def template(tmp_path: Path) -> Path:
    file = tmp_path / "nginx-v2.yaml"
    file.write_text(TEMPLATE)
    return file


def gateway(
    double: Double, *arguments: str, clock: FakeClock | None = None, stdin: str | None = None
) -> Result:
    runner = CliRunner(env={"GATEWAY_ADMIN": double.admin})
    target = Target(clock=clock or FakeClock())
    return runner.invoke(cli, list(arguments), obj=target, input=stdin)


# -- deploy


def test_deploy_sends_the_template_as_it_is_with_everything_asked_for(
    double: Double, template: Path
) -> None:
    done = gateway(
        double,
        *("deploy", "nginx", "-f", str(template), "--strategy", "canary"),
        *("--deadline", "90", "--on-deadline", "hold", "--reason", "new page"),
    )
    assert done.exit_code == 0, done.output
    asked = double.last
    assert (asked.method, asked.path, asked.raw.decode()) == ("POST", DEPLOY, TEMPLATE)
    assert asked.headers["Content-Type"] == "application/yaml"
    assert dict(asked.query) == {
        "reason": "new page",
        "strategy": "canary",
        "deadline": "90",
        "on_deadline": "hold",
    }


def test_what_was_not_said_is_left_to_the_gateway(double: Double, template: Path) -> None:
    gateway(double, "deploy", "nginx", "-f", str(template))
    assert double.last.query == []


def test_deploy_says_what_happens_and_what_comes_next(double: Double, template: Path) -> None:
    done = gateway(double, "deploy", "nginx", "-f", str(template))
    assert "nginx-v2 is starting; then: gateway shift nginx 100" in done.stdout
    assert "applied by 2 of 2 workers, generation 7" in done.stdout
    assert "gateway rollback nginx" in done.stdout


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("a.yaml", "{}", "application/yaml"),
        ("a.yml", "a: {}", "application/yaml"),
        ("a.json", "{}", "application/json"),
        ("a.txt", '{"a": {}}', "application/json"),
        ("a.txt", "{a: {}}", "application/yaml"),
        ("a.txt", "[" * 100_000, "application/yaml"),
        ("a.txt", "a: {}", "application/yaml"),
    ],
)
def test_yaml_or_json_goes_by_the_name_and_else_by_the_content(
    double: Double, tmp_path: Path, name: str, text: str, kind: str
) -> None:
    (tmp_path / name).write_text(text)
    gateway(double, "deploy", "nginx", "-f", str(tmp_path / name))
    assert double.last.headers["Content-Type"] == kind


def test_a_template_comes_from_standard_input(double: Double) -> None:
    assert gateway(double, "deploy", "nginx", "-f", "-", stdin=TEMPLATE).exit_code == 0
    assert double.last.raw.decode() == TEMPLATE


def test_previous_sends_no_template(double: Double) -> None:
    assert gateway(double, "deploy", "nginx", "--previous").exit_code == 0
    assert (double.last.raw, double.last.query) == (b"", [("previous", "true")])


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("-f", "FILE", "--previous"),
        ("-f", "/nowhere/x.yaml"),
        ("-f", "/"),
        ("-f", "EMPTY"),
        ("-f", "HUGE"),
        ("-f", "FILE", "--strategy", "blue"),
        ("-f", "FILE", "--deadline", "0"),
        ("-f", "FILE", "--deadline", "soon"),
        ("-f", "FILE", "--on-deadline", "wait"),
    ],
)
def test_a_call_that_makes_no_sense_is_a_usage_error_and_asks_nothing(
    double: Double, template: Path, arguments: tuple[str, ...]
) -> None:
    files = {"FILE": template, "EMPTY": template.with_name("empty"), "HUGE": template.parent / "h"}
    files["EMPTY"].write_text(" \n")
    files["HUGE"].write_bytes(b"#" * (template_file.SIZE_MAX + 1))
    done = gateway(double, "deploy", "nginx", *(str(files.get(a, a)) for a in arguments))
    assert done.exit_code == 2
    assert "Error" in done.stderr
    assert not double.asked


def test_a_template_may_be_as_long_as_the_gateway_takes_it() -> None:
    assert template_file.SIZE_MAX == MAX_BYTES


def test_a_refused_template_is_answered_with_every_place(double: Double, template: Path) -> None:
    errors = [
        {"field": "nginx-v2.image", "message": "is not known; did you mean 'nginx:1.0'?"},
        {"field": "nginx-v2.labels.aliyun.scale", "message": "is no number"},
    ]
    problem = {"detail": "the template has 2 problems", "code": "invalid", "errors": errors}
    double.answer("POST", DEPLOY, problem, 422)
    done = gateway(double, "deploy", "nginx", "-f", str(template), "--wait")
    assert done.exit_code == 1
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "refused: the template has 2 problems [invalid]",
        "  nginx-v2.image: is not known; did you mean 'nginx:1.0'?",
        "  nginx-v2.labels.aliyun.scale: is no number",
    ]


def test_a_dry_run_shows_the_plan_and_waits_for_nothing(double: Double, template: Path) -> None:
    plan = written(green_starting()) | {"dry_run": True, "applied": None}
    double.answer("POST", DEPLOY, plan)
    done = gateway(double, "deploy", "nginx", "-f", str(template), "--dry-run", "--wait")
    assert done.exit_code == 0
    assert double.last.query == [("dry_run", "true")]
    assert [a.method for a in double.asked] == ["POST"]
    for text in ("nginx-v2", "green", "nginx-v1", "blue", "dry run: nothing was changed"):
        assert text in done.stdout
    assert "gateway shift" not in done.stdout


def test_a_lost_answer_is_asked_for_again_with_the_same_key(double: Double, template: Path) -> None:
    away = Problem(503, {"detail": "starting", "code": "not_ready"})
    double.answers_in_turn("POST", DEPLOY, NO_ANSWER, away, written(green_starting()))
    done = gateway(double, "deploy", "nginx", "-f", str(template))
    assert done.exit_code == 0
    keys = [asked.headers["Idempotency-Key"] for asked in double.calls("POST")]
    assert len(keys) == 3
    assert len(set(keys)) == 1
    gateway(double, "deploy", "nginx", "-f", str(template))
    assert double.last.headers["Idempotency-Key"] not in keys


def test_an_answer_lost_for_good_ends_with_3_and_says_what_is_not_known(
    double: Double, template: Path
) -> None:
    double.answers_in_turn("POST", DEPLOY, NO_ANSWER)
    clock = FakeClock()
    done = gateway(double, "deploy", "nginx", "-f", str(template), clock=clock)
    assert done.exit_code == 3
    assert "is not known" in done.stderr
    assert 20 < sum(clock.slept) < 60


def test_a_first_refusal_is_final_even_when_the_gateway_is_not_ready(
    double: Double, template: Path
) -> None:
    double.answer("POST", DEPLOY, {"detail": "the store is away", "code": "x"}, 503)
    assert gateway(double, "deploy", "nginx", "-f", str(template)).exit_code == 1
    assert len(double.asked) == 1


def test_without_a_gateway_nothing_is_repeated(template: Path, tmp_path: Path) -> None:
    clock = FakeClock()
    done = CliRunner().invoke(
        cli,
        ["--admin", str(tmp_path / "no.sock"), "deploy", "nginx", "-f", str(template), "--wait"],
        obj=Target(clock=clock),
    )
    assert done.exit_code == 3
    assert not clock.slept


# -- deploy --wait


def test_waiting_ends_when_the_operator_can_decide(double: Double, template: Path) -> None:
    double.answers_in_turn("GET", RELEASE, green_starting(), green_starting(), pending())
    done = gateway(double, "deploy", "nginx", "-f", str(template), "--wait")
    assert done.exit_code == 0
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert "0 s  waiting for: 0 of 1 instances of nginx-v2 healthy" in lines
    assert "1 s  nginx-v2@127.0.0.1:20002 healthy, up" in lines
    assert "nginx-v2 and nginx-v1 run side by side; 0 % of their traffic to nginx-v2" in lines
    assert "gateway shift nginx 100  # all traffic to the new services" in lines
    assert "gateway confirm nginx --smooth" in done.stdout


def test_piped_progress_says_a_thing_once(double: Double, template: Path) -> None:
    double.answers_in_turn("GET", RELEASE, *[green_starting()] * 20, pending())
    done = gateway(double, "deploy", "nginx", "-f", str(template), "--wait")
    assert "\x1b" not in done.output
    said = [line.split("s  ", 1)[-1] for line in done.stdout.splitlines()]
    assert len(said) == len(set(said))


def test_waiting_goes_on_to_the_end_for_a_first_deployment_and_for_standard(
    double: Double, template: Path
) -> None:
    for first in ({"is_first": True}, {"strategy": "standard"}):
        double.answers_in_turn(
            "GET",
            RELEASE,
            green_starting() | first,
            *([pending() | first] if "strategy" in first else []),
            over("confirmed") | first,
        )
        done = gateway(double, "deploy", "nginx", "-f", str(template), "--wait")
        assert done.exit_code == 0
        assert "confirmed" in done.stdout or "is deployed" in done.stdout
        assert len(double.answers["GET", RELEASE]) == 1


def test_a_release_rolled_back_ends_with_1_and_says_why(double: Double, template: Path) -> None:
    broken = green_starting()
    broken["services"][0]["failures"] = [
        failure("ended with exit code 3 after 0.2 s", "Traceback:", "boom \x1b]0;evil\x07")
    ]
    gone = over("rolled_back", reason="all new services are removed")
    why = "not healthy within 300 s\nlast output of nginx-v2:\n  boom"
    gone["timeline"][1:1] = [entry("2026-01-31T12:04:58Z", "rolling_back", "gateway", why)]
    double.answers_in_turn("GET", RELEASE, broken, over("rolling_back"), gone)
    done = gateway(double, "deploy", "nginx", "-f", str(template), "--wait")
    assert done.exit_code == 1
    assert "nginx-2 is rolled back: not healthy within 300 s" in done.stderr
    assert "nginx-v2@127.0.0.1:20002 ended with exit code 3 after 0.2 s" in done.stderr
    assert "  | Traceback:\n  | boom \\x1b]0;evil\\x07\n" in done.stderr
    assert "\x07" not in done.output
    assert "gateway deploy nginx -f FILE" in done.stderr


def test_each_instance_is_told_of_on_its_way(double: Double, template: Path) -> None:
    def looks(*steps: dict[str, Any]) -> dict[str, Any]:
        found = green_starting()
        found["services"][0] |= {"instances": [], "scale": 2, "steps": list(steps)}
        return found

    waits = step(1, "waiting", "waits for db \x1b[1m to be healthy")
    double.answers_in_turn(
        "GET",
        RELEASE,
        looks(step(0, "pulling", "35 % of 120 MB"), waits),
        looks(step(0, "starting"), waits),
        looks(step(0, "probing", "", "nginx-v2@0123456789ab"), step(1, "creating")),
        pending(),
    )
    done = gateway(double, "deploy", "nginx", "-f", str(template), "--wait")
    assert done.exit_code == 0
    told = (line.partition(" s  ")[2] for line in done.stdout.splitlines())
    lines = [line for line in told if line.startswith("nginx-v2 ") and "/2: " in line]
    assert lines == [
        "nginx-v2 1/2: pulling, 35 % of 120 MB",
        "nginx-v2 2/2: waiting, waits for db  to be healthy",
        "nginx-v2 1/2: starting",
        "nginx-v2 1/2: probing nginx-v2@0123456789ab",
        "nginx-v2 2/2: creating",
    ]


def test_what_is_just_starting_is_told_of_calmly(double: Double, template: Path) -> None:
    """In one line each that changes when its problem does, whatever it writes meanwhile."""
    name = "nginx-v2@127.0.0.1:20002"

    def looks(problem: str, at: str, *output: str) -> dict[str, Any]:
        found = green_starting()
        found["services"][0] |= {
            "instances": [instance("nginx-v2", 20002, "unhealthy", state="down", problem=problem)],
            "steps": [step(0, "probing", "", name)],
            "failures": [failure(f"does not pass its check: {problem}", *output) | {"time": at}],
        }
        return found

    sick = pending()
    sick["services"][0] |= {
        "ready": 0,
        "instances": [instance("nginx-v2", 20002, "unhealthy", state="down", problem="broken")],
        "steps": [step(0, "probing", "", name)],
    }
    double.answers_in_turn(
        "GET",
        RELEASE,
        looks("Connection refused", "2026-01-31T12:00:01Z"),
        looks("Connection refused", "2026-01-31T12:00:02Z", "loading"),
        looks("answered 503", "2026-01-31T12:00:03Z", "loading", "still"),
        sick,
    )
    done = gateway(double, "deploy", "nginx", "-f", str(template), "--wait")
    told = (line.partition(" s  ")[2] for line in done.stdout.splitlines())
    assert [line for line in told if name in line] == [
        f"nginx-v2 1/1: probing {name}: Connection refused",
        f"nginx-v2 1/1: probing {name}: answered 503",
        f"{name} unhealthy, down: broken",
    ]
    assert "loading" not in done.stdout


def test_why_a_release_was_rolled_back_is_told_though_nobody_watched(
    double: Double, template: Path
) -> None:
    why = "not healthy within 300 s\nlast output of nginx-v2:\n  boom"
    double.answer("GET", RELEASE, over("rolled_back", reason=why))
    done = gateway(double, "deploy", "nginx", "-f", str(template), "--wait")
    assert done.stderr.startswith("last output of nginx-v2:\n  boom\nnginx-2 is rolled back: not")


def test_a_held_release_past_its_deadline_is_not_waited_for_for_ever(
    double: Double, template: Path
) -> None:
    held = green_starting() | {"on_deadline": "hold", "deadline": "2026-01-31T11:59:50Z"}
    double.answer("GET", RELEASE, held)
    done = gateway(double, "deploy", "nginx", "-f", str(template), "--wait")
    assert done.exit_code == 1
    assert "0 of 1 instances of nginx-v2 healthy" in done.stderr


def test_waiting_survives_a_control_process_that_is_away(double: Double, template: Path) -> None:
    away = Problem(503, {"detail": "starting", "code": "not_ready"})
    double.answers_in_turn("GET", RELEASE, green_starting(), NO_ANSWER, NO_ANSWER, away, pending())
    done = gateway(double, "deploy", "nginx", "-f", str(template), "--wait")
    assert done.exit_code == 0
    assert done.stdout.count("no answer, trying on") == 1
    assert "the gateway answers again" in done.stdout


def test_a_gateway_away_for_a_minute_ends_the_waiting_with_3(
    double: Double, template: Path
) -> None:
    double.answers_in_turn("GET", RELEASE, green_starting(), NO_ANSWER)
    clock = FakeClock()
    done = gateway(double, "deploy", "nginx", "-f", str(template), "--wait", clock=clock)
    assert done.exit_code == 3
    assert 55 < sum(clock.slept) < 70


def test_ctrl_c_ends_the_waiting_and_says_that_the_release_goes_on(
    double: Double, template: Path
) -> None:
    double.answer("GET", RELEASE, green_starting())
    clock = FakeClock(patience=3)
    done = gateway(double, "deploy", "nginx", "-f", str(template), "--wait", clock=clock)
    assert done.exit_code == 130
    assert "nginx-2 goes on: gateway status nginx --watch" in done.stderr
    assert [a.method for a in double.asked if a.method != "GET"] == ["POST"]


def test_json_of_a_wait_is_the_last_state_and_nothing_else(double: Double, template: Path) -> None:
    double.answers_in_turn("GET", RELEASE, green_starting(), pending())
    done = gateway(double, "deploy", "nginx", "-f", str(template), "--wait", "--json")
    assert json.loads(done.stdout) == pending()
    assert "waiting for: 0 of 1" in done.stderr


def test_a_release_that_is_no_longer_there_ends_the_waiting(double: Double, template: Path) -> None:
    double.answer("GET", RELEASE, {"detail": "there is no release", "code": "not_found"}, 404)
    assert gateway(double, "deploy", "nginx", "-f", str(template), "--wait").exit_code == 1


# -- shift, confirm, rollback


def test_shift_sends_the_share_and_says_what_comes_next(double: Double) -> None:
    double.answer("POST", f"{APP}/shift", written(pending(new=100, old=0)))
    done = gateway(double, "shift", "nginx", "100", "--force")
    assert done.exit_code == 0
    assert (double.last.body, double.last.query) == ({"new": 100}, [("force", "true")])
    assert "100 % of their traffic to nginx-v2; next: gateway confirm nginx\n" in done.stdout
    assert "gateway rollback nginx" in done.stdout


@pytest.mark.parametrize(("text", "number"), [("12.5", 12.5), ("25%", 25), ("1e400", None)])
def test_a_share_is_a_number_in_percent(double: Double, text: str, number: float | None) -> None:
    double.answer("POST", f"{APP}/shift", written(pending()))
    done = gateway(double, "shift", "nginx", text)
    assert done.exit_code == (2 if number is None else 0)
    assert [a.body for a in double.asked] == ([] if number is None else [{"new": number}])


@pytest.mark.parametrize("text", ["half", "", "nan", "10 20", "--"])
def test_what_is_no_share_is_a_usage_error(double: Double, text: str) -> None:
    assert gateway(double, "shift", "nginx", text).exit_code == 2
    assert not double.asked


def test_a_share_out_of_range_is_the_gateways_to_refuse(double: Double) -> None:
    double.answer("POST", f"{APP}/shift", {"detail": "0 to 100", "code": "invalid"}, 422)
    assert gateway(double, "shift", "nginx", "101").exit_code == 1
    assert gateway(double, "shift", "nginx", "--", "-1").exit_code == 1


@pytest.mark.parametrize(
    ("flags", "query"),
    [((), []), (("--smooth",), [("smooth", "true")]), (("--force",), [("force", "true")])],
)
def test_confirm_asks_for_the_mode(
    double: Double, flags: tuple[str, ...], query: list[tuple[str, str]]
) -> None:
    double.answer("POST", f"{APP}/confirm", written(over("confirming")))
    done = gateway(double, "confirm", "nginx", *flags)
    assert done.exit_code == 0
    assert double.last.query == query
    assert "nginx-v1 is drained and removed" in done.stdout


def test_confirm_is_smooth_or_forced_not_both(double: Double) -> None:
    assert gateway(double, "confirm", "nginx", "--smooth", "--force").exit_code == 2
    assert not double.asked


def test_confirm_waits_until_the_old_services_are_gone(double: Double) -> None:
    double.answer("POST", f"{APP}/confirm", written(over("confirming")))
    double.answers_in_turn("GET", RELEASE, over("confirming"), over("confirmed"))
    done = gateway(double, "confirm", "nginx", "--wait")
    assert done.exit_code == 0
    assert "nginx-2 is confirmed; nginx-v1 removed" in done.stdout
    assert "gateway deploy nginx --previous" in done.stdout


def test_a_smooth_confirmation_that_gave_up_ends_with_1(double: Double) -> None:
    moving = pending(new=100, old=0) | {"smooth": True}
    double.answer("POST", f"{APP}/confirm", written(moving))
    entry = {"time": "x", "phase": "pending_confirmation", "by": "gateway", "reason": "3 errors"}
    gave_up = pending() | {"timeline": [entry]}
    double.answers_in_turn("GET", RELEASE, moving, gave_up)
    done = gateway(double, "confirm", "nginx", "--smooth", "--wait")
    assert done.exit_code == 1
    assert "3 errors" in done.stderr


@pytest.mark.parametrize(("phase", "code"), [("rolled_back", 0), ("confirmed", 1)])
def test_rollback_waits_and_tells_by_its_exit_code(double: Double, phase: str, code: int) -> None:
    double.answer("POST", f"{APP}/rollback", written(over("rolling_back")))
    double.answers_in_turn("GET", RELEASE, over("rolling_back"), over(phase))
    assert gateway(double, "rollback", "nginx", "--wait").exit_code == code


@pytest.mark.parametrize(
    ("verb", "phase", "code"),
    [
        ("confirm", "confirming", 0),
        ("confirm", "confirmed", 0),
        ("confirm", "pending_confirmation", 1),
        ("rollback", "rolled_back", 0),
        ("rollback", "confirming", 1),
    ],
)
def test_a_repeated_verb_that_had_its_effect_already_is_done(
    double: Double, verb: str, phase: str, code: int
) -> None:
    refusal = Problem(409, {"detail": f"nginx-2 is {phase}", "code": "illegal_transition"})
    double.answers_in_turn("POST", f"{APP}/{verb}", NO_ANSWER, refusal)
    double.answer("GET", "/api/v1/releases", {"releases": [over(phase)], "next": None})
    done = gateway(double, verb, "nginx")
    assert done.exit_code == code
    if code:
        assert "an earlier try got no answer" in done.stderr


def test_a_verb_refused_at_once_is_refused(double: Double) -> None:
    double.answer("POST", f"{APP}/confirm", {"detail": "no", "code": "old_has_traffic"}, 409)
    done = gateway(double, "confirm", "nginx", "--wait")
    assert (done.exit_code, done.stderr) == (1, "refused: no [old_has_traffic]\n")
    assert len(double.asked) == 1


# -- warnings


KNOWN, NEW, LATER = "the route is held", "web-v1 was not healthy", "web-v1 has left"


@pytest.mark.parametrize("wait", [(), ("--wait",)])
@pytest.mark.parametrize("verb", ["shift", "confirm", "rollback", "deploy"])
def test_a_warning_is_told_by_the_command_that_brought_it_and_once(
    double: Double, template: Path, verb: str, wait: tuple[str, ...]
) -> None:
    call = {
        "shift": ("shift", "nginx", "10"),
        "deploy": ("deploy", "nginx", "-f", str(template), *wait),
    }.get(verb, (verb, "nginx", *wait))
    before = {"warnings": [KNOWN]}
    double.answer("POST", f"{APP}/{verb}", written(pending() | before, NEW))
    double.answer("POST", DEPLOY, written(pending() | before, NEW))
    end = over("rolled_back" if verb == "rollback" else "confirmed")
    later = {"warnings": [KNOWN, LATER]}
    double.answers_in_turn("GET", RELEASE, over("releasing") | later, end | later)
    done = gateway(double, *call)
    assert done.exit_code == 0, done.output
    told = [done.output.count(warning) for warning in (KNOWN, NEW, LATER)]
    assert told == [0, 1, 1 if wait and verb != "shift" else 0]


def test_a_dry_run_tells_what_would_be_new(double: Double) -> None:
    answer = written(pending() | {"warnings": [KNOWN]}, NEW) | {"dry_run": True, "applied": None}
    double.answer("POST", f"{APP}/shift", answer)
    output = gateway(double, "shift", "nginx", "10", "--dry-run").output
    assert (output.count(KNOWN), output.count(NEW)) == (0, 1)


# -- status, releases


def test_status_shows_colours_instances_weights_and_what_to_do(double: Double) -> None:
    broken = green_starting()
    broken["services"][0]["failures"] = [failure("never listened on port 80")]
    broken["warnings"] = ["serviceb has no coexist label"]
    double.answer("GET", APP, application(broken))
    done = gateway(double, "status", "nginx")
    assert done.exit_code == 0
    rows = squeezed(done.stdout)
    for row in (
        "nginx-v2 green 0/1 nginx-v2@127.0.0.1:20002 unhealthy up 0 connection refused",
        "nginx-v1 blue 1/1 nginx-v1@127.0.0.1:20001 healthy up 2",
        "nginx.localhost nginx-v2 green 0 0 %",
        "nginx-v1 blue 100 100 %",
    ):
        assert row in rows
    for text in (
        "nginx-2 (blue-green)  releasing",
        "waiting for: 0 of 1 instances of nginx-v2 healthy",
        "4 min 58 s to the deadline, then rolled back",
        "warning: serviceb has no coexist label",
        "never listened on port 80",
        "gateway rollback nginx",
    ):
        assert text in done.stdout


def squeezed(table: str) -> list[str]:
    """Its lines with single blanks."""
    return [" ".join(line.split()) for line in table.splitlines()]


def test_the_time_left_is_counted_by_the_gateways_clock(double: Double) -> None:
    skewed = FakeClock(now=NOW + 3600)
    assert "4 min 58 s to the deadline" in gateway(double, "status", "nginx", clock=skewed).stdout


def test_status_without_a_release_shows_services_and_routes(double: Double) -> None:
    double.answer("GET", APP, application(None) | {"has_previous": True})
    done = gateway(double, "status", "nginx")
    assert "nginx  no release in flight" in done.stdout
    assert "nginx.localhost" in done.stdout
    assert "gateway deploy nginx --previous" in done.stdout


def test_status_of_all_is_a_line_each(double: Double) -> None:
    found = {"applications": [application(green_starting()), application(None, "hello")]}
    double.answer("GET", "/api/v1/applications", found | {"next": None})
    done = gateway(double, "status")
    waiting = "0 of 1 instances of nginx-v2 healthy"
    assert squeezed(done.stdout)[1:] == [
        f"nginx 1/2 nginx-2 blue-green releasing {waiting}",
        "hello 0/1 - - - -",
    ]
    double.answer("GET", "/api/v1/applications", {"applications": [], "next": None})
    assert "gateway deploy --help" in gateway(double, "status").stdout


def test_watching_prints_only_what_changes_until_ctrl_c(double: Double) -> None:
    double.answers_in_turn(
        "GET",
        APP,
        *[application(green_starting())] * 3,
        application(pending()),
        application(pending(new=100, old=0)),
    )
    done = gateway(double, "status", "nginx", "--watch", clock=FakeClock(patience=9))
    assert done.exit_code == 0
    assert done.stdout.count("nginx-2 releasing") == 1
    assert "nginx.localhost: nginx-v2 100, nginx-v1 0" in done.stdout
    assert "nothing was changed by that" in done.stderr


def test_watching_as_json_is_a_line_for_each_different_answer(double: Double) -> None:
    first, second = application(green_starting()), application(pending())
    double.answers_in_turn("GET", APP, first, first, second)
    done = gateway(double, "status", "nginx", "--watch", "--json", clock=FakeClock(patience=9))
    assert [json.loads(line) for line in done.stdout.splitlines()] == [first, second]


def test_watching_ends_when_the_application_is_gone(double: Double) -> None:
    gone = Problem(404, {"detail": "there is no application 'nginx'", "code": "not_found"})
    double.answers_in_turn("GET", APP, application(None), gone)
    done = gateway(double, "status", "nginx", "--watch")
    assert done.exit_code == 1
    assert "there is no application" in done.stderr


def test_releases_are_listed_newest_first_and_of_one_application(double: Double) -> None:
    found = {"releases": [pending(), over("confirmed") | {"id": "nginx-1"}], "next": None}
    double.answer("GET", "/api/v1/releases", found)
    done = gateway(double, "releases", "nginx")
    assert double.last.query == [("application", "nginx")]
    assert [line.split()[0] for line in done.stdout.splitlines()] == [
        "RELEASE",
        "nginx-2",
        "nginx-1",
    ]
    assert "2026-01-31 11:59:58Z" in done.stdout
    assert len(json.loads(gateway(double, "releases", "-n", "1", "--json").stdout)["releases"]) == 1


def test_a_rollback_without_a_reason_says_who_asked_for_it(double: Double) -> None:
    asked, told = over("rolled_back"), over("rolled_back", "not healthy")
    asked["timeline"].insert(1, entry("2026-01-31T12:04:00.000Z", "rolling_back", "uid 7"))
    found = {"releases": [asked, told, pending()], "next": None}
    double.answer("GET", "/api/v1/releases", found)
    _, first, second, third = gateway(double, "releases").stdout.splitlines()
    assert first.rstrip().endswith("uid 1000   asked for by uid 7")
    assert second.rstrip().endswith("uid 1000   not healthy")
    assert third.rstrip().endswith("uid 1000")


def test_status_says_why_a_service_does_not_run_though_nothing_is_released(double: Double) -> None:
    found = application(None)
    found["services"][0]["failures"] = [failure("ended with exit code 3", "no such module")]
    double.answer("GET", APP, found)
    done = gateway(double, "status", "nginx")
    assert "ended with exit code 3" in done.stdout
    assert "no such module" in done.stdout


def test_a_release_is_shown_with_its_timeline(double: Double) -> None:
    double.answer("GET", RELEASE, over("rolled_back", reason="not healthy within 300 s"))
    done = gateway(double, "release", "nginx-2")
    row = "2026-01-31 12:05:00Z rolled back gateway not healthy within 300 s"
    assert row in squeezed(done.stdout)
    lines = gateway(double, "release", "nginx-2", "--watch", clock=FakeClock(patience=2)).stdout
    assert "2026-01-31 12:05:00Z rolled back by gateway: not healthy within 300 s" in lines


# -- scale, remove, logs


def test_scale_says_how_many_there_are_and_are_wanted(double: Double) -> None:
    service = {"name": "web", "application": "shop", "instances": [{"health": "healthy"}]}
    answer = {k: v for k, v in written(pending()).items() if k in ("generation", "applied")}
    double.answer("PATCH", "/api/v1/services/shop%2Fweb", answer | {"service": service})
    done = gateway(double, "scale", "shop/web", "3")
    assert double.last.body == {"scale": 3}
    assert "web: 1 healthy, 3 wanted; follow it: gateway status shop --watch" in done.stdout
    assert gateway(double, "scale", "shop/web", "many").exit_code == 2


def test_remove_waits_until_the_application_is_gone(double: Double) -> None:
    removing: dict[str, Any] = {"generation": 8, "applied": None, "warnings": [], "dry_run": False}
    removing |= {"removed": False, "in_flight": 2, "websockets": 1}
    double.answer("DELETE", APP, removing, 202)
    done = gateway(double, "remove", "nginx", "--drain-timeout", "5")
    assert "once these have ended: 2 requests, 1 WebSockets" in done.stdout
    assert double.last.query == [("drain_timeout", "5.0")]
    gone = Problem(404, {"detail": "gone", "code": "not_found"})
    double.answers_in_turn("GET", APP, application(None) | {"leaving": True}, gone)
    done = gateway(double, "remove", "nginx", "--wait")
    assert (done.exit_code, done.stdout.splitlines()[-1]) == (0, "nginx is gone")


LINES = [
    {"service": "web", "instance": "web@127.0.0.1:20001", "line": "hello \x1b[31mred\x1b[0m"},
    {"service": "web", "instance": "web@127.0.0.1:20002", "line": "\x1b[2J\x07"},
]


def test_logs_name_the_instance_and_let_no_control_characters_through(double: Double) -> None:
    double.answer("GET", f"{APP}/logs", {"lines": LINES, "after": "c1"})
    done = gateway(double, "logs", "nginx", "web", "-n", "5")
    assert dict(double.last.query) == {"lines": "5", "service": "web"}
    assert done.stdout.splitlines() == [
        "web@127.0.0.1:20001 | hello red",
        "web@127.0.0.1:20002 | \\x1b[2J\\x07",
    ]


def test_following_logs_goes_on_behind_the_cursor_and_survives_an_absence(double: Double) -> None:
    more = {"service": "web", "instance": "w", "line": "more"}
    double.answer("GET", f"{APP}/logs", {"lines": LINES, "after": "c1"})
    double.answers_in_turn("GET", f"{APP}/logsc1", NO_ANSWER, {"lines": [more], "after": "c2"})
    double.answer("GET", f"{APP}/logsc2", {"lines": [], "after": "c2"})
    done = gateway(double, "logs", "nginx", "--follow", "--json", clock=FakeClock(patience=9))
    assert done.exit_code == 0
    assert [json.loads(line) for line in done.stdout.splitlines()] == [*LINES, more]


def test_logs_as_json_are_the_answer(double: Double) -> None:
    double.answer("GET", f"{APP}/logs", {"lines": LINES, "after": "c1"})
    done = gateway(double, "logs", "nginx", "--json")
    assert json.loads(done.stdout) == {"lines": LINES, "after": "c1"}


# -- validate


VALID = {
    "valid": True,
    "kind": "template",
    "problems": [],
    "warnings": ["nginx-v2.restart: has no effect"],
    "services": [
        {"name": "nginx-v2", "image": "nginx:2.0", "scale": 1, "endpoints": []}
        | {"routes": [{"route": "nginx.localhost", "port": 80, "sticky": True}]}
    ],
}


def test_validate_shows_what_was_understood(double: Double, template: Path) -> None:
    double.answer("POST", "/api/v1/validate", VALID)
    done = gateway(double, "validate", str(template), "--kind", "template")
    assert done.exit_code == 0
    assert double.last.query == [("kind", "template")]
    assert double.last.raw.decode() == TEMPLATE
    assert "nginx-v2 nginx:2.0 1 nginx.localhost" in squeezed(done.stdout)
    assert done.stderr == "warning: nginx-v2.restart: has no effect\n"


def test_validate_prints_every_problem_with_its_place(double: Double, template: Path) -> None:
    problems = [
        {"field": "nginx-v2.image", "message": "is not known", "line": 2},
        {"field": "", "message": "names no service", "line": None},
    ]
    answer = VALID | {"valid": False, "problems": problems, "warnings": []}
    double.answer("POST", "/api/v1/validate", answer)
    done = gateway(double, "validate", str(template))
    assert done.exit_code == 1
    assert done.stderr.splitlines() == [
        f"{template}: line 2: nginx-v2.image: is not known",
        f"{template}: names no service",
    ]
    done = gateway(double, "validate", "-", "--json", stdin=TEMPLATE)
    assert (done.exit_code, json.loads(done.stdout)) == (1, answer)


def test_check_reads_templates_as_the_configuration_would_deploy_them(tmp_path: Path) -> None:
    config, good, bad = (tmp_path / name for name in ("gateway.yaml", "good.yaml", "bad.yaml"))
    config.write_text("providers: {process: {images: {'nginx:2.0': {command: [nginx]}}}}")
    good.write_text(TEMPLATE)
    bad.write_text("web:\n  image: 'nginx:3.0'\n  labels: {aliyun.scael: 2}\n")
    run = CliRunner().invoke
    assert run(cli, ["check", "-c", str(config), "-f", str(good)]).exit_code == 0
    done = run(cli, ["check", "-c", str(config), "-f", str(bad), "-f", str(good)])
    assert done.exit_code == 1
    assert f"{bad}: line 2: web.image: " in done.stderr
    assert f"{bad}: line 3: web.labels.aliyun.scael: " in done.stderr
    assert f"{good}: ok" in done.stdout
    broken = run(cli, ["check", "-c", str(config), "-f", "-"], input="a: [")
    assert (broken.exit_code, "line 1" in broken.stderr) == (1, True)


# -- on a terminal


def test_on_a_terminal_the_picture_is_painted_over_and_ctrl_c_leaves_it_usable(
    double: Double,
) -> None:
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "160", "LINES": "50"}
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "gateway", "--admin", double.admin, "status", "nginx"]
    with subprocess.Popen(
        [*command, "--watch"], stdout=theirs, stderr=subprocess.PIPE, env=environment
    ) as process:
        os.close(theirs)
        shown = read_until(ours, "gateway --admin", 2)
        process.send_signal(signal.SIGINT)
        shown += read_until(ours, "\x1b[?25h", 1)
        assert process.stderr is not None
        assert b"no longer watching" in process.stderr.read()
        assert process.wait(10) == 0
    os.close(ours)
    assert "\x1b[?25l" in shown
    assert "nginx-v2@127.0.0.1:20002" in shown


def read_until(descriptor: int, text: str, times: int) -> str:
    """What a terminal got until it has had a text so often."""
    got, end = "", time.monotonic() + 20
    while got.count(text) < times:
        assert time.monotonic() < end, got
        try:
            got += os.read(descriptor, 65536).decode(errors="replace")
        except OSError:
            break
    return got


def test_every_answer_of_the_double_is_of_the_apis_form() -> None:
    from admin.api import release_answers as api

    def members(kind: type[DataclassInstance]) -> set[str]:
        return {f.name for f in fields(kind)}

    one = release()
    assert set(one) == members(api.ReleaseAnswer)
    assert set(written(one)) == members(api.ReleaseWritten)
    assert set(one["services"][0]) == members(api.ReleaseService)
    assert set(one["routes"][0]) == members(api.ReleaseRoute)
    assert set(one["timeline"][0]) == members(api.TimelineEntry)
    assert set(failure("x")) == members(api.FailureAnswer)
    app: Any = application(one)
    assert set(app) == members(api.ApplicationDetail)
    assert set(app["services"][0]) == members(api.ApplicationService)
    assert set(LINES[0]) == members(api.LogLine)
