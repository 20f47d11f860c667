"""`docs/releases.md` says what the code does: phases, verbs, weights, strategies, refusals, texts.

The recipes of its cookbook run in `tests/e2e/test_cookbook.py`.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from admin.api import applications, releases
from admin.progress import setback, waiting_for
from admin.providers.launching.failures import Failure
from admin.providers.process.programs import unknown_image
from admin.releases import CLEAN_S, SMOOTH_MOST_S
from gateway.core.errors import STATUS, Code
from gateway.core.model import InstanceId
from gateway.core.observed import Observed
from gateway.core.release import Colour, OnDeadline, Phase, Strategy
from gateway.runtime.settings import Settings
from tests.support import releases_page
from tests.support.releases_page import Paper, a_template

ROOT = Path(__file__).parents[2]
PAGE = releases_page.PAGE.read_text()
WORDS = " ".join(PAGE.split())
CORE = ROOT / "gateway" / "core"
DECIDERS = ("phases", "planning", "starting", "guards", "releasing", "applications", "flight")


def test_what_is_made_from_the_code_is_up_to_date() -> None:
    made = releases_page.with_parts(PAGE)
    assert made == PAGE, "write it anew: python -m tests.support.releases_page"


def test_a_page_without_a_place_for_a_part_is_refused() -> None:
    with pytest.raises(KeyError):
        releases_page.with_parts("nothing here")


def test_every_way_a_release_can_be_refused_is_on_the_page() -> None:
    documented = re.findall(
        r"^\| `([a-z_]+)` \|", section("What is refused, and the way out"), re.M
    )
    assert len(documented) == len(set(documented))
    assert set(documented) == {
        *codes_raised(),
        *releases.SHIFT_CODES,
        *releases.CONFIRM_CODES,
        *releases.ROLLBACK_CODES,
        *(code for o in applications.OPERATIONS if o.method == "POST" for code in o.codes),
        Code.AMBIGUOUS,  # of names of services, in `scale` and `weights`
    }
    assert set(documented) <= set(STATUS)


def codes_raised() -> set[Code]:
    """`Code.X` wherever the modules that decide on releases say it, `invalid(...)` included."""
    found: set[Code] = set()
    for name in DECIDERS:
        for node in ast.walk(ast.parse((CORE / f"{name}.py").read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                if node.value.id == "Code":
                    found.add(Code[node.attr])
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "invalid":
                found.add(Code.INVALID)
    return found


@pytest.mark.parametrize("phase", Phase)
def test_every_phase_is_explained(phase: Phase) -> None:
    assert re.search(rf"^`{phase}`\n: ", section("The life of a release"), re.M)


@pytest.mark.parametrize("strategy", Strategy)
def test_every_strategy_is_explained(strategy: Strategy) -> None:
    assert len(re.findall(rf"^\| `{strategy}` \|", section("Weights and strategies"), re.M)) == 2


@pytest.mark.parametrize("colour", Colour)
def test_every_colour_is_a_word(colour: Colour) -> None:
    assert f"| **{colour}** |" in section("Words")


@pytest.mark.parametrize("choice", OnDeadline)
def test_what_may_happen_at_the_deadline_is_explained(choice: OnDeadline) -> None:
    assert f"`{choice}`" in WORDS or f"--on-deadline {choice}" in WORDS


def test_the_times_on_the_page_are_the_codes() -> None:
    deadline_s = Settings().releases.deadline
    assert f"`releases.deadline` seconds ({deadline_s:.0f})" in WORDS
    assert f"After a minute without {CLEAN_S:.0f} clean seconds" in WORDS
    assert SMOOTH_MOST_S == 60


def test_what_the_gateway_says_about_an_image_it_does_not_know_is_quoted_as_it_is() -> None:
    said = unknown_image("shop:1.1", ["shop:1.0"])
    (quoted,) = re.findall(r"`(nothing is known [^`]*)`", section("Troubleshooting"))
    assert said.startswith(quoted)


def test_what_a_release_waits_for_is_quoted_as_it_is() -> None:
    paper = Paper()
    paper.deploy(a_template("shop-v1"))
    paper.deploy(a_template("shop-v2"))
    (release,) = [r for r in paper.state.releases.values() if not r.phase.is_over]
    failure = Failure(InstanceId("i"), "ended with exit code 3 after 0.2 s", 0.0, ("no such file",))
    waits = waiting_for(paper.state, Observed(), release, lambda _: [failure])
    page = section("Troubleshooting").replace("of 2 instances", "of 1 instances")
    assert f"`{waits}`" in page
    assert setback(paper.state, Observed(), release, lambda _: [failure]).endswith("  no such file")
    operator = waiting_for(paper.state, paper.observed, release, lambda _: [])
    assert operator is not None
    assert operator in section("Cookbook")


def test_every_link_leads_somewhere() -> None:
    anchors = {anchor(title) for title in re.findall(r"^#+ (.+)$", PAGE, re.M)}
    for target in re.findall(r"\]\(([^)\s]+)\)", PAGE):
        file, _, fragment = target.partition("#")
        if file:
            assert (ROOT / "docs" / file).exists(), target
        else:
            assert fragment in anchors, target


def anchor(title: str) -> str:
    """As GitHub makes them."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def section(title: str) -> str:
    """The text below a heading."""
    found = re.search(rf"^## {re.escape(title)}$(.*?)(?=^## |\Z)", PAGE, re.M | re.S)
    assert found is not None, title
    return found[1]
