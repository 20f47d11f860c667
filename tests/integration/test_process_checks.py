"""Checks that ask beside the instance: a command, or only whether it runs."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from admin.health import HealthChecker, targets_of
from admin.probes import OUTPUT_MAX, NotAsked, Question, Surroundings, probe
from gateway.core.model import Check, CheckKind, Claim, Health, Instance, InstanceId, Service
from gateway.runtime.settings import CheckSettings
from tests.support.clocks import FakeClock
from tests.support.control import run
from tests.support.processes import is_alive, wait_until

ENVIRONMENT = {"PATH": os.environ["PATH"], "PORT": "20001"}
AROUND = Surroundings(ENVIRONMENT)
INSTANCE = InstanceId("web@127.0.0.1:20001")


def command(
    *words: str, folder: Path | None = None, environment: dict[str, str] = ENVIRONMENT
) -> Question:
    around = Surroundings(environment, str(folder) if folder else None)
    return Question(CheckKind.COMMAND, "127.0.0.1", 1, "/", "x", 5.0, words, around)


def sh(script: str, folder: Path | None = None) -> Question:
    return command("/bin/sh", "-c", script, folder=folder)


@pytest.mark.parametrize(
    ("script", "why_not"),
    [
        ("true", None),
        ("echo fine", None),
        ('test "$PORT" = 20001 && test -z "$HOME"', None),
        ("exit 3", "the command ended with 3"),
        ("echo first; echo second >&2; exit 1", "the command ended with 1: second"),
        ("printf 'a\\033[2Jb\\000c'; exit 1", "the command ended with 1: a [2Jb c"),
        ("kill -9 $$", "the command ended with -9"),
        ("yes x | head -c 3000000; exit 1", "the command ended with 1: x"),
        (
            f"head -c {2 * OUTPUT_MAX} /dev/zero | tr '\\0' z; exit 1",
            "the command ended with 1: zz",
        ),
    ],
)
def test_a_command_passes_when_it_ends_with_0(script: str, why_not: str | None) -> None:
    found = run(probe(sh(script)))
    assert found == why_not or (found and why_not and found.startswith(why_not))
    assert len(found or "") < 300


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (command("/nowhere/x"), "the command cannot be run: No such file"),
        (command("no-such-command"), "the command cannot be run: No such file"),
        (command("/etc/passwd"), "the command cannot be run: Permission denied"),
        (command("a\0b"), "the command cannot be run"),
        (command("true", folder=Path("/nowhere")), "the command cannot be run: No such file"),
    ],
)
def test_a_command_that_cannot_be_run_has_not_passed(asked: Question, words: str) -> None:
    assert (run(probe(asked)) or "").startswith(words)


def test_a_command_is_found_by_the_path_of_the_instance(tmp_path: Path) -> None:
    own = tmp_path / "is-up"
    own.write_text("#!/bin/sh\nexit 7\n")
    own.chmod(0o755)
    asked = command("is-up", environment={"PATH": str(tmp_path)})
    assert run(probe(asked)) == "the command ended with 7"


def test_a_command_that_takes_too_long_is_ended_with_all_it_started(tmp_path: Path) -> None:
    asked = sh("echo $$ > mine; (trap '' TERM; sleep 60) & echo $! > other; wait", tmp_path)

    assert run(probe(replace(asked, timeout_s=0.3))) == "no answer within 0.3 s"
    pids = [int((tmp_path / name).read_text()) for name in ("mine", "other")]
    wait_until(lambda: not any(map(is_alive, pids)), what="the end of both")


def test_a_command_starts_with_the_usual_signals() -> None:
    # The 8: signal 32 is the C library's own, some parents leave it ignored.
    assert run(probe(sh("grep -q 'SigIgn:.00000000[08]0000000' /proc/self/status"))) is None


# --- in the checker ----------------------------------------------------------------------


def service(check: Check) -> Service:
    return Service("app", "web", (Claim("a.example", port=80),), check=check)


def instance() -> Instance:
    return Instance(INSTANCE, service(Check()).id, "127.0.0.1", 20001, {80: 20001})


class Stage:
    """A checker with a clock that stands still, and the questions it asked."""

    def __init__(self, around: Surroundings | str = AROUND) -> None:
        self.clock = FakeClock()
        self.asked: list[Question] = []
        self.answer: str | None = None
        self.reaches = True
        self.verdicts: list[Health] = []
        self.checker = HealthChecker(
            lambda _, verdict, address: self.verdicts.append(verdict),
            self.clock,
            lambda: 0.5,
            probe=self.ask,
            surroundings=lambda _: around,
        )

    async def ask(self, question: Question) -> str | None:
        self.asked.append(question)
        if not self.reaches:
            raise NotAsked("nobody is there to ask")
        return self.answer

    def watch(self, check: Check, *, is_there: bool = True) -> None:
        checked = service(check)
        targets = targets_of(checked, (instance(),) if is_there else (), CheckSettings())
        self.checker.watch(checked.id, targets, {}, {})


def test_a_command_is_asked_with_the_surroundings_of_its_instance() -> None:
    async def go() -> None:
        stage = Stage()
        stage.watch(Check(CheckKind.COMMAND, command=("is-up", "now")))
        await stage.clock.advance(0)
        (asked,) = stage.asked
        assert (asked.kind, asked.command) == (CheckKind.COMMAND, ("is-up", "now"))
        assert asked.surroundings == Surroundings(ENVIRONMENT)
        assert stage.verdicts == [Health.HEALTHY]
        await stage.checker.close()

    run(go())


def test_a_question_that_does_not_reach_the_instance_changes_nothing() -> None:
    async def go() -> None:
        stage = Stage()
        stage.watch(Check(CheckKind.COMMAND, command=("is-up",)))
        await stage.clock.advance(0)
        stage.reaches = False
        await stage.clock.advance(100)
        assert len(stage.asked) > 10
        assert stage.verdicts == [Health.HEALTHY]
        stage.reaches, stage.answer = True, "no"
        await stage.clock.advance(100)
        assert stage.verdicts == [Health.HEALTHY, Health.UNHEALTHY]
        await stage.checker.close()

    run(go())


def test_a_command_without_surroundings_is_not_run_and_says_why() -> None:
    async def go() -> None:
        stage = Stage("the configuration does not allow it")
        stage.watch(Check(CheckKind.COMMAND, command=("rm",)))
        await stage.clock.advance(0)
        assert stage.asked == []
        assert stage.verdicts == [Health.UNHEALTHY]
        assert stage.checker.why_not(INSTANCE) == "the configuration does not allow it"
        await stage.checker.close()

    run(go())


def test_an_instance_of_which_nothing_is_asked_is_healthy_when_it_has_run_a_while() -> None:
    async def go() -> None:
        stage = Stage()
        stage.watch(Check(CheckKind.RUNNING))
        await stage.clock.advance(0.9)
        assert stage.verdicts == []
        await stage.clock.advance(0.2)
        assert stage.verdicts == [Health.HEALTHY]
        await stage.clock.advance(60)
        assert stage.verdicts == [Health.HEALTHY]
        await stage.checker.close()

    run(go())


def test_why_the_last_check_failed_is_known_until_one_passes_or_the_instance_is_gone() -> None:
    async def go() -> None:
        stage = Stage()
        check = Check(CheckKind.COMMAND, command=("x",), interval_s=1.0)
        stage.answer = "status 500"
        stage.watch(check)
        assert stage.checker.why_not(INSTANCE) is None
        await stage.clock.advance(0.1)
        assert stage.checker.why_not(INSTANCE) == "status 500"
        stage.answer = None
        await stage.clock.advance(1.2)
        assert stage.checker.why_not(INSTANCE) is None
        stage.answer = "status 501"
        await stage.clock.advance(1.2)
        assert stage.checker.why_not(INSTANCE) == "status 501"
        stage.watch(check, is_there=False)
        assert stage.checker.why_not(INSTANCE) is None
        await stage.checker.close()

    run(go())


def test_until_it_has_passed_once_an_instance_is_asked_again_sooner() -> None:
    async def go() -> None:
        stage = Stage()
        stage.answer = "refused"
        stage.watch(Check(CheckKind.HTTP, interval_s=2.0))
        await stage.clock.advance(0.95)
        assert len(stage.asked) == 4  # at 0, 0.1, 0.3, 0.7
        await stage.clock.advance(10)
        assert len(stage.asked) == 9  # at 1.5, 3.1, 5.1, 7.1, 9.1
        stage.answer = None
        await stage.clock.advance(2)
        assert stage.verdicts == [Health.UNHEALTHY, Health.HEALTHY]
        stage.answer = "refused"
        await stage.clock.advance(3.9)
        assert len(stage.asked) == 12  # at 11.1 it passed, then 13.1 and 15.1
        await stage.checker.close()

    run(go())


def test_running_is_asked_of_nobody() -> None:
    assert run(probe(Question(CheckKind.RUNNING, "192.0.2.1", 1, "/", "x", 0.1))) is None
