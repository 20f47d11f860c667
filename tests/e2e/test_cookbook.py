"""The recipes of docs/releases.md, word for word, against a gateway with the demo's applications.

Only the ports are other ones. What a line says behind its last ` # ` must be in its output. The
two applications are released side by side, as two people would.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.support.gateway import Gateway

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "releases.md").read_text()
PORTS = (27_300, 27_399)
LINE_S = 60
BLOCK = re.compile(r"^```sh ([\w ]+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
APPLICATIONS = ("nginx", "hello")


@dataclass(frozen=True)
class Recipe:
    """A block of the page; `title` is the heading it stands under."""

    title: str
    application: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Ran:
    """What a line printed, and how it ended."""

    line: str
    code: int
    output: str


def blocks() -> Iterator[tuple[str, Recipe]]:
    title = ""
    for match in re.finditer(rf"^### ([^\n]+)$|{BLOCK.pattern}", PAGE, re.MULTILINE | re.DOTALL):
        if match[1]:
            title = match[1]
            continue
        kind, _, application = match[2].rpartition(" ")
        yield kind, Recipe(title, application, tuple(match[3].splitlines()))


RECIPES = [recipe for kind, recipe in blocks() if not kind and recipe.application in APPLICATIONS]
RESETS = {recipe.application: recipe for kind, recipe in blocks() if kind == "reset"}
(SETUP,) = [recipe for kind, recipe in blocks() if not kind and recipe.application == "setup"]


class Shell:
    """A shell in the folder of the clone, in which the setup was pasted."""

    def __init__(self, gateway: Gateway) -> None:
        self._ports = {
            "8080": gateway.ports["public"],
            "8081": gateway.ports["internal"],
            "8900": gateway.ports["admin"],
        }
        self._environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "GATEWAY_ADMIN": f"http://127.0.0.1:{gateway.ports['admin']}",
        }

    def run(self, line: str) -> Ran:
        script = self._here("\n".join((*SETUP.lines[1:], line)))
        done = subprocess.run(
            ["/bin/bash", "-c", script],
            cwd=ROOT,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=LINE_S,
        )
        return Ran(line, done.returncode, done.stdout + done.stderr)

    def _here(self, text: str) -> str:
        return re.sub(
            r"(127\.0\.0\.1):(\d+)", lambda m: f"{m[1]}:{self._ports.get(m[2], m[2])}", text
        )


def run_recipes(shell: Shell, application: str) -> dict[Recipe, list[Ran]]:
    """All recipes of an application, each from the beginning."""
    found: dict[Recipe, list[Ran]] = {}
    first = RESETS[application].lines[-1]
    ready = [shell.run(first)]
    for recipe in (r for r in RECIPES if r.application == application):
        found[recipe] = [*ready, *map(shell.run, recipe.lines)]
        ready = [shell.run(line) for line in RESETS[application].lines]
    return found


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Recipe, list[Ran]]]:
    providers = yaml.safe_load((ROOT / "config" / "demo.yaml").read_text())["providers"]
    providers["process"]["ports"] = PORTS
    with (
        Gateway(tmp_path_factory.mktemp("cookbook"), providers=providers) as gateway,
        ThreadPoolExecutor() as pool,
    ):
        shell = Shell(gateway)
        stories = pool.map(lambda application: run_recipes(shell, application), APPLICATIONS)
        yield {recipe: lines for story in stories for recipe, lines in story.items()}


def expected(line: str) -> str:
    """What the page says about the output."""
    return line.rpartition(" # ")[2] if " # " in line else ""


def test_the_setup_names_the_commands_folder_first() -> None:
    assert SETUP.lines[0].startswith('export PATH="$PWD/.venv/bin:$PATH"')


def test_every_strategy_of_an_operator_has_a_recipe_for_the_shell_and_for_curl() -> None:
    for strategy in ("Blue-green", "Canary", "Gray", "A/B"):
        mine = [r for r in RECIPES if r.title.startswith(strategy)]
        assert any(r.lines[0].startswith("gateway deploy") for r in mine), strategy
        assert any(r.lines[0].startswith("curl") for r in mine), strategy


@pytest.mark.parametrize(
    "recipe", RECIPES, ids=lambda r: f"{r.title.partition(':')[0]}, {r.lines[0][:12]}"
)
def test_a_recipe_does_what_the_page_says(recipe: Recipe, ran: dict[Recipe, list[Ran]]) -> None:
    for line in ran[recipe]:
        words = expected(line.line)
        assert line.code == 0, line
        if words.isdigit():
            assert line.output.split()[-1] == words, line
        else:
            assert words in line.output, line
