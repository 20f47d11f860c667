"""Every command and option the documents name exists, and every command is documented."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from gateway.cli.main import cli

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
CALL = re.compile(r"(?:^\s*|`)(?:\.venv/bin/)?gateway (?P<rest>[^`\n|;&#]*)", re.MULTILINE)


def calls(page: Path) -> Iterator[str]:
    """What stands behind `gateway` in code: in fenced blocks and between backticks."""
    text = page.read_text()
    fences = re.findall(r"^\s*```[^\n]*\n(.*?)^\s*```", text, re.DOTALL | re.MULTILINE)
    outside = re.sub(r"^\s*```.*?^\s*```", "", text, flags=re.DOTALL | re.MULTILINE)
    for code in (*fences, *re.findall(r"`[^`\n]+`", outside)):
        for match in CALL.finditer(code.replace("viewer|operator|admin", "viewer")):
            yield match["rest"].strip()


CALLS = [(page, call) for page in PAGES for call in calls(page)]


def option_of(command: click.Command, name: str) -> click.Option | None:
    context = click.Context(command, help_option_names=["-h", "--help"])
    for parameter in command.get_params(context):
        if isinstance(parameter, click.Option) and name in names_of(parameter):
            return parameter
    return None


def names_of(option: click.Option) -> tuple[str, ...]:
    return (*option.opts, *option.secondary_opts)


def problem_of(call: str) -> str | None:
    """What is wrong with a call, None if nothing is; capitals and [...] are placeholders."""
    command: click.Command = cli
    words = iter(shlex.split(call.replace("[", " ").replace("]", " ")))
    for word in words:
        if word.startswith("-"):
            option = option_of(command, word.partition("=")[0])
            if option is None:
                return f"{command.name} has no option {word}"
            if not option.is_flag and "=" not in word:
                next(words, None)
        elif isinstance(command, click.Group) and not word.isupper() and word != "...":
            found = command.get_command(click.Context(command), word)
            if found is None:
                return f"there is no command {word}"
            command = found
    return None


def children(command: click.Command) -> Iterator[tuple[str, click.Command]]:
    """The commands of a group by name, those loaded on demand too; none of a command."""
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None, name
            yield name, child


def commands(group: click.Command, before: str = "") -> Iterator[str]:
    for name, child in children(group):
        yield f"{before}{name}"
        yield from commands(child, f"{before}{name} ")


@pytest.mark.parametrize(("page", "call"), CALLS, ids=[f"{p.name}: {c}" for p, c in CALLS])
def test_documented_commands_exist(page: Path, call: str) -> None:
    assert problem_of(call) is None


@pytest.mark.parametrize("name", list(commands(cli)))
def test_every_command_is_on_its_page(name: str) -> None:
    page = (ROOT / "docs" / "cli.md").read_text()
    assert re.search(rf"`gateway {name}\b", page)


def test_every_option_is_on_the_page_or_in_one_of_its_tables() -> None:
    page = (ROOT / "docs" / "cli.md").read_text()
    missing = {
        option
        for command in walk(cli)
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for option in names_of(parameter)
        if option.startswith("--") and option not in ("--config", "--header", "--version")
        if option not in page
    }
    assert not missing


def test_a_wrong_call_would_be_found() -> None:
    assert problem_of("rotues") is not None
    assert problem_of("weights a b=1 --pach") is not None
    assert problem_of("services remove x") is not None
    assert problem_of("--admin x routes --json") is None


def walk(command: click.Command) -> Iterator[click.Command]:
    yield command
    for _, child in children(command):
        yield from walk(child)
