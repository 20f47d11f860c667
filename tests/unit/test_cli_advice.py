"""What the command line says may be done next can be done next."""

from __future__ import annotations

import shlex
import sys
from itertools import product
from pathlib import Path
from typing import Any

import click
import pytest

from gateway.cli.advice import duration, names, next_steps, outlook, remaining, situation
from gateway.cli.calling import program
from gateway.cli.harmless import harmless
from gateway.cli.main import cli
from gateway.cli.picture import picture_of_release, short_time
from gateway.cli.releasing import Verdict, confirmed, deployed, rolled_back
from gateway.cli.standing import Release, epoch, release_of
from gateway.core.phases import verbs
from gateway.core.release import Phase, Strategy
from tests.support import release_answers as say

NOW = 1_769_860_800.0


def every_release() -> list[Release]:
    """Each phase, strategy and share, with both sides, one of them, and none."""
    found = []
    for phase, strategy, new, first, smooth in product(
        Phase, Strategy, (0, 10, 50, 100), (False, True), (False, True)
    ):
        answer = say.pending(new, 100 - new)
        answer |= {"phase": phase.value, "strategy": strategy.value}
        answer |= {"is_first": first, "smooth": smooth, "legal": list(verbs(phase))}
        both: list[Any] = answer["services"]
        found += [
            release_of(answer | {"services": services})
            for services in (both, both[:1], both[1:], [])
        ]
    return found


RELEASES = every_release()


def test_only_what_is_legal_is_advised() -> None:
    for release in RELEASES:
        for step in next_steps(release):
            verb = shlex.split(step.command)[1]
            assert verb in {*release.legal, "status", "deploy"}, (release.phase, step)


def test_everything_advised_is_a_command_that_exists() -> None:
    commands = {s.command.replace("FILE", "-") for r in RELEASES for s in next_steps(r)}
    assert len(commands) > 8
    for command in commands:
        _, name, *arguments = shlex.split(command)
        with click.Context(cli) as context:
            found = cli.get_command(context, name)
            assert found is not None, command
            found.make_context(name, arguments, parent=context)


def test_no_share_is_advised_that_the_strategy_forbids() -> None:
    for release in RELEASES:
        for step in next_steps(release):
            if " shift " in step.command:
                share = int(step.command.rsplit(" ", 1)[1])
                assert share <= 50 or release.strategy != Strategy.CANARY
                assert share in (0, 100) or release.strategy != Strategy.BLUE_GREEN


def test_plain_confirmation_is_advised_only_when_all_traffic_is_on_the_new_services() -> None:
    for release in RELEASES:
        is_plain = any(s.command == "gateway confirm nginx" for s in next_steps(release))
        if is_plain:
            assert all(share == 1 for share in release.shares())


def test_every_standing_has_words_and_a_picture() -> None:
    for release in RELEASES:
        assert situation(release)
        assert outlook(release).startswith(situation(release))
        picture = picture_of_release(release, NOW, "gateway")
        assert all(picture.facts.values())


def test_a_name_is_quoted_for_the_shell() -> None:
    release = release_of(say.pending() | {"application": "a b"})
    assert next_steps(release)[0].command == "gateway shift 'a b' 100"


@pytest.mark.parametrize("verdict", [deployed, confirmed, rolled_back])
def test_a_release_that_is_over_is_never_waited_for(verdict: Verdict) -> None:
    for release in RELEASES:
        if release.is_over:
            assert verdict(release, NOW) in (0, 1)


def test_a_release_under_way_is_waited_for() -> None:
    for release in RELEASES:
        if release.phase is Phase.CONFIRMING or release.phase is Phase.ROLLING_BACK:
            for verdict in (deployed, confirmed, rolled_back):
                assert verdict(release, NOW) is None


def test_the_time_left_is_told_while_it_matters() -> None:
    starting = release_of(say.green_starting())
    assert remaining(starting, NOW) == "4 min 58 s to the deadline, then rolled back"
    late = remaining(starting, NOW + 300)
    assert late == "deadline passed 1 s ago; rolled back"
    held = release_of(say.green_starting() | {"on_deadline": "hold"})
    assert remaining(held, NOW) == "4 min 58 s to the deadline, then it is held"
    assert remaining(release_of(say.pending()), NOW) is None
    assert remaining(release_of(say.green_starting() | {"deadline": None}), NOW) is None


def test_durations_times_and_lists_in_words() -> None:
    assert [duration(s) for s in (0.9, 59, 75, 3725)] == ["0 s", "59 s", "1 min 15 s", "1 h 2 min"]
    assert short_time("2026-01-31T12:00:00.123Z") == "2026-01-31 12:00:00Z"
    assert short_time("soon") == "soon"
    assert epoch("2026-01-31T12:00:00Z") == NOW
    assert epoch("soon") is None
    assert [names(tuple("abcdef"[:n])) for n in range(6)] == [
        "",
        "a",
        "a and b",
        "a, b and c",
        "a, b, c and d",
        "a, b, c and 2 more services",
    ]


def test_text_of_programs_moves_no_cursor() -> None:
    hostile = "a\x1b[2J\x1b]0;t\x07\r\n\u202eb\x9b1m\x00\ttab \x1b[1;31mred\x1b[0m"
    shown = harmless(hostile)
    assert shown == ("a\\x1b[2J\\x1b]0;t\\x07\\r\\n\\u202eb\\x9b1m\\x00\ttab red")
    assert harmless(hostile, colours=True).endswith("\x1b[1;31mred\x1b[0m")
    assert harmless("Grüße 你好") == "Grüße 你好"


def test_commands_to_paste_call_this_program_for_this_gateway(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = tmp_path / "venv" / "gateway"
    script.parent.mkdir()
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(script)])
    monkeypatch.setenv("PATH", "/nowhere")
    assert program() == "venv/gateway"
    monkeypatch.setenv("PATH", str(script.parent))
    assert program() == "gateway"
    assert program("http://[::1]:8900") == "gateway --admin 'http://[::1]:8900'"
    monkeypatch.setenv("GATEWAY_ADMIN", "host:1")
    assert program("host:1") == "gateway"
    monkeypatch.setattr(sys, "argv", ["pytest"])
    assert program() == "gateway"


def test_many_instances_fit_on_a_screen() -> None:
    from rich.console import Console

    answer = say.green_starting()
    answer["services"][1] = say.service(
        "nginx-v1", "blue", *(say.instance("nginx-v1", port) for port in range(20_000, 20_200))
    )
    answer["services"][0]["instances"] *= 9
    picture = picture_of_release(release_of(answer), NOW)
    console = Console(width=160)
    with console.capture() as captured:
        console.print(picture.draw(40))
    shown = captured.get()
    assert len(shown.splitlines()) < 40
    assert "200 instances" in shown
    assert "connection refused" in shown
    with console.capture() as captured:
        console.print(picture.draw(None))
    assert captured.get().count("nginx-v1@127.0.0.1") == 200
