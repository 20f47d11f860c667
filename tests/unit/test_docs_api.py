"""`docs/api.md`, OpenAPI and the handlers say the same: every call, every answer, every code."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from pydantic import TypeAdapter

from admin.api import openapi
from admin.api.app import OPERATIONS
from admin.api.operation import Operation
from admin.api.pages import page
from admin.api.payload import parse, read_json, read_query
from admin.api.problems import HTTP_STATUS
from gateway.core.errors import STATUS, Code

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
BY_NAME = {(o.method, o.path): o for o in OPERATIONS}


@dataclass(frozen=True)
class Example:
    method: str
    path: str
    query: list[tuple[str, str]]
    body: str | None
    answer: str


@lru_cache
def description() -> dict[str, Any]:
    return openapi.document(OPERATIONS)


def sections() -> dict[tuple[str, str], str]:
    found = {}
    for part in re.split(r"^### ", PAGE, flags=re.MULTILINE)[1:]:
        title, _, text = part.partition("\n")
        method, path = title.strip("`").split()
        found[method, path] = text.partition("\n## ")[0]
    return found


def examples(text: str) -> Iterator[Example]:
    for block in re.findall(r"```console\n\$ (.*?)```", text, flags=re.DOTALL):
        lines = block.splitlines(keepends=True)
        end = next(i for i, line in enumerate(lines) if not line.endswith("\\\n")) + 1
        command, answer = "".join(lines[:end]), "".join(lines[end:])
        words = shlex.split(command.replace("\\\n", " "))
        assert words[:3] == ["curl", "--unix-socket", "state/admin.sock"]
        url = urlsplit(words[-1])
        options = dict(zip(words[3:-1:2], words[4:-1:2], strict=True))
        yield Example(
            options.get("-X", "GET"),
            url.path,
            parse_qsl(url.query, keep_blank_values=True),
            options.get("-d"),
            answer,
        )


def test_every_call_is_documented_served_and_described() -> None:
    described = description()
    in_openapi = {
        (method.upper(), path) for path, methods in described["paths"].items() for method in methods
    }
    assert set(sections()) == set(BY_NAME) == in_openapi


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: o.name)
def test_every_call_has_a_curl_example_that_is_right(operation: Operation) -> None:
    shown = list(examples(sections()[operation.method, operation.path]))
    assert shown
    pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(operation.path))
    for example in shown:
        assert example.method == operation.method
        assert re.fullmatch(pattern, example.path)
        read_query(operation.query, example.query)
        assert (example.body is not None) == (operation.body is not None)
        if operation.body is not None and example.body is not None:
            parse(operation.body, read_json(example.body.encode()))
        if operation.answer is not bytes:
            adapter: TypeAdapter[Any] = TypeAdapter(operation.answer)
            value = adapter.validate_json(example.answer, strict=True)
            assert adapter.dump_python(value, mode="json") == json.loads(example.answer)


def test_every_role_is_documented() -> None:
    for (method, path), text in sections().items():
        role = BY_NAME[method, path].role
        words = " ".join(text.split())
        assert (f"Role: {role.value}." if role else "Open.") in words, path


def test_every_problem_code_is_documented_with_its_status() -> None:
    documented = dict(re.findall(r"^\| `(\w+)` \| (\d+) \|", PAGE, flags=re.MULTILINE))
    assert documented == {c.value: str(s) for c, s in (*STATUS.items(), *HTTP_STATUS.items())}
    assert set(STATUS) == set(Code)


def test_the_description_holds_together() -> None:
    described = description()
    assert described["openapi"] == "3.1.0"
    names = [
        call["operationId"] for methods in described["paths"].values() for call in methods.values()
    ]
    assert len(names) == len(set(names))
    schemas = described["components"]["schemas"]
    text = json.dumps(described)
    for reference in set(re.findall(r'"#/components/schemas/([^"]+)"', text)):
        assert reference in schemas
    for path, methods in described["paths"].items():
        for call in methods.values():
            in_path = {p["name"] for p in call["parameters"] if p["in"] == "path"}
            assert in_path == set(re.findall(r"\{(\w+)\}", path))
            assert call["summary"]
            assert call["description"]


def test_the_page_for_people_names_every_call_and_loads_nothing() -> None:
    text = page(description())
    for operation in OPERATIONS:
        assert f'id="{operation.name}"' in text
    for code in (*STATUS, *HTTP_STATUS):
        assert f'id="problem-{code}"' in text
    for anchor in re.findall(r'href="#([^"]+)"', text):
        assert f'id="{anchor}"' in text
    assert not re.search(r"<script|src=|https?://|@import|url\(", text)
