"""`docs/templates.md` says what the tables of the parser say, and its examples are right."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from gateway.core.templates import SCALE_MAX, container_keys, keys, labels, read
from gateway.core.templates.problems import Findings
from gateway.core.templates.routes import read_routes
from gateway.core.templates.values import Given
from gateway.runtime import yaml_loader

PAGE = (Path(__file__).parents[2] / "docs" / "templates.md").read_text()
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)


def tables() -> list[dict[str, str]]:
    """The tables of the page, first cell to second; rows in code marks only."""
    found = []
    for block in re.findall(r"(?:^\|.*\n)+", PAGE, flags=re.MULTILINE):
        rows = re.findall(r"^\| `([^|]+?)` \| (.+) \|$", block, flags=re.MULTILINE)
        found.append(dict(rows))
    return found


@pytest.mark.parametrize(
    "table",
    [
        labels.UNDERSTOOD,
        labels.WITHOUT_EFFECT,
        keys.UNDERSTOOD,
        keys.WITHOUT_EFFECT,
        keys.REFUSED,
        keys.DEPLOY_WITHOUT_EFFECT,
        keys.TOP_WITHOUT_EFFECT,
        keys.TOP_REFUSED,
        container_keys.UNDERSTOOD,
        container_keys.WITHOUT_EFFECT,
        container_keys.REFUSED,
        container_keys.TOP_UNDERSTOOD,
    ],
)
def test_every_key_and_label_is_documented_as_the_code_has_it(table: Mapping[str, str]) -> None:
    assert dict(table) in tables()


def test_no_key_is_in_two_groups() -> None:
    groups = (keys.UNDERSTOOD, keys.WITHOUT_EFFECT, keys.REFUSED)
    assert len({*groups[0], *groups[1], *groups[2]}) == sum(map(len, groups))


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_is_a_template_without_problems_and_warnings(example: str) -> None:
    document = yaml_loader.load(example).value
    found = read(
        document,
        application="shop",
        domain="localhost",
        runs_in_container=lambda image: "volumes:" in example,
    )
    assert found.services
    assert found.problems == ()
    assert found.warnings == ()


def test_the_examples_show_every_understood_key_and_label() -> None:
    shown = "\n".join(EXAMPLES)
    for key in keys.UNDERSTOOD:
        assert re.search(rf"^\s*{key}:|[{{ ]{key}:", shown, flags=re.MULTILINE), key
    for label in labels.UNDERSTOOD:
        assert f"gateway.{label.partition('<')[0]}" in shown, label
    for key in (*keys.DEPLOY_UNDERSTOOD, keys.ENDPOINTS):
        assert f"{key}:" in shown


def test_the_table_of_routes_is_right() -> None:
    table = next(t for t in tables() if "shop;shop.example:/api" in t)
    expected = {
        "shop.example": ["shop.example"],
        "http://shop.example": ["shop.example"],
        "shop": ["shop.localhost"],
        "servicea.local": ["servicea.local"],
        "*.shop.example": ["*.shop.example"],
        "shop.example:/api": ["shop.example/api"],
        "shop;shop.example:/api": ["shop.localhost", "shop.example/api"],
    }
    assert set(table) == set(expected)
    for text, routes in expected.items():
        findings = Findings()
        found = read_routes({80: Given(text, ())}, "localhost", True, findings)
        assert ([p.claim.route for p in found], findings.problems) == (routes, [])


def test_the_page_names_the_limits() -> None:
    assert f"1 to {SCALE_MAX}." in PAGE
