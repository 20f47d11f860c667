"""`/openapi.json` and `/docs`: the description for programs and the page for people.

The page is made from the description when first asked for. It has no script and
loads nothing, from here or elsewhere, so it can say `default-src 'none'`: an
operator's browser runs nobody's code on the admin API's origin.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from html import escape
from http import HTTPStatus
from typing import Any

import orjson
from aiohttp import web

from gateway.core.errors import STATUS, Code

from .problems import HTTP_STATUS, TITLES

STYLE = """
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
h2{margin-top:3rem;border-bottom:1px solid #8886}
h3{margin-top:2rem;font-weight:600}
code,pre{font-family:ui-monospace,monospace;font-size:.9em}
table{border-collapse:collapse;width:100%;margin:.5rem 0}
td,th{text-align:left;padding:.25rem .75rem .25rem 0;vertical-align:top;border-top:1px solid #8883}
.m{display:inline-block;min-width:4.5rem;font-weight:700}
.get{color:#1a7f37}.put,.patch{color:#9a6700}.post{color:#0969da}.delete{color:#cf222e}
.r{float:right;font-size:.8em;opacity:.75}
nav ul{columns:2;list-style:none;padding:0}
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
SECURITY_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def add_pages(app: web.Application, describe: Callable[[], dict[str, Any]]) -> None:
    """Serve both; `describe` is called once, when first asked.

    In a thread: describing takes pydantic longer (0.3 s) than other calls may wait.
    """

    @lru_cache(maxsize=1)
    def description() -> bytes:
        return orjson.dumps(describe(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)

    @lru_cache(maxsize=1)
    def rendered() -> bytes:
        return page(orjson.loads(description())).encode()

    async def openapi(request: web.Request) -> web.Response:
        return web.Response(
            body=await asyncio.to_thread(description), content_type="application/json"
        )

    async def docs(request: web.Request) -> web.Response:
        return web.Response(
            body=await asyncio.to_thread(rendered),
            content_type="text/html",
            charset="utf-8",
            headers=SECURITY_HEADERS,
        )

    app.router.add_get("/openapi.json", openapi)
    app.router.add_get("/docs", docs)


def page(api: dict[str, Any]) -> str:
    """The page for people, from the OpenAPI description."""
    return "".join(_page(api))


def _page(api: dict[str, Any]) -> Iterator[str]:
    title = escape(api["info"]["title"])
    yield f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
    yield '<meta name="viewport" content="width=device-width,initial-scale=1">'
    yield f"<style>{STYLE}</style></head><body><h1>{title} {escape(api['info']['version'])}</h1>"
    yield f"<p>{escape(api['info']['description'])} "
    yield 'For programs: <a href="/openapi.json">openapi.json</a>.</p><nav><ul>'
    calls = [
        (path, method, call)
        for path, methods in api["paths"].items()
        for method, call in methods.items()
    ]
    for path, method, call in calls:
        yield f'<li><a href="#{escape(call["operationId"])}">{method.upper()} {escape(path)}</a>'
    yield "</ul></nav>"
    for tag in api["tags"]:
        yield f"<h2>{escape(tag['name'])}</h2>"
        for path, method, call in calls:
            if tag["name"] in call["tags"]:
                yield from _call(path, method, call)
    yield "<h2>Problems</h2><table><tr><th>code<th>status<th>meaning</tr>"
    for code in Code:
        yield (
            f'<tr id="problem-{code.value}"><td><code>{code.value}</code>'
            f"<td>{STATUS[code]}<td>{escape(TITLES[code])}</tr>"
        )
    for http_code, status in HTTP_STATUS.items():
        yield (
            f'<tr id="problem-{http_code.value}"><td><code>{http_code.value}</code>'
            f"<td>{status}<td>{HTTPStatus(status).phrase}</tr>"
        )
    yield "</table><h2>Schemas</h2>"
    for name, schema in api["components"]["schemas"].items():
        yield from _schema(name, schema)
    yield "</body></html>"


def _call(path: str, method: str, call: dict[str, Any]) -> Iterator[str]:
    role = call.get("x-role")
    yield f'<h3 id="{escape(call["operationId"])}"><span class="m {method}">{method.upper()}</span>'
    yield f'<code>{escape(path)}</code><span class="r">'
    yield f"{'role ' + escape(role) if role else 'open'}</span></h3>"
    yield f"<p>{escape(call['description'])}</p>"
    if call["parameters"]:
        yield "<table><tr><th>parameter<th>in<th>type<th>meaning</tr>"
        for p in call["parameters"]:
            yield f"<tr><td><code>{escape(p['name'])}</code>{' *' if p['required'] else ''}"
            yield f"<td>{p['in']}<td>{_type(p['schema'])}<td>{escape(p.get('description', ''))}</tr>"
        yield "</table>"
    if "requestBody" in call:
        for kind, content in call["requestBody"]["content"].items():
            yield f"<p>Body <code>{escape(kind)}</code>: {_type(content['schema'])}</p>"
    yield "<table><tr><th>status<th>body<th>when</tr>"
    for status, answer in call["responses"].items():
        if "$ref" in answer:
            continue
        kinds = ", ".join(_type(c["schema"]) for c in answer["content"].values())
        yield f"<tr><td>{status}<td>{kinds}<td>{escape(answer['description'])}</tr>"
    yield "</table>"


def _schema(name: str, schema: dict[str, Any]) -> Iterator[str]:
    yield f'<h3 id="schema-{escape(name)}"><code>{escape(name)}</code></h3>'
    if "description" in schema:
        yield f"<p>{escape(schema['description'])}</p>"
    if "properties" not in schema:
        yield f"<p>{_type(schema)}</p>"
        return
    required = set(schema.get("required", ()))
    yield "<table><tr><th>member<th>type<th>meaning</tr>"
    for member, spec in schema["properties"].items():
        mark = " *" if member in required else ""
        yield f"<tr><td><code>{escape(member)}</code>{mark}<td>{_type(spec)}"
        yield f"<td>{escape(spec.get('description', ''))}</tr>"
    yield "</table>"


def _type(spec: dict[str, Any]) -> str:
    """A schema in a few words."""
    if "$ref" in spec:
        name = escape(spec["$ref"].rpartition("/")[2])
        return f'<a href="#schema-{name}">{name}</a>'
    if "anyOf" in spec:
        return " or ".join(_type(s) for s in spec["anyOf"])
    if "enum" in spec:
        return " | ".join(escape(str(v)) for v in spec["enum"])
    if "const" in spec:
        return escape(str(spec["const"]))
    kind = spec.get("type", "anything")
    if kind == "array":
        return f"list of {_type(spec.get('items', {}))}"
    if kind == "object" and isinstance(spec.get("additionalProperties"), dict):
        return f"map to {_type(spec['additionalProperties'])}"
    bounds = [
        f"{sign} {spec[key]:g}"
        for key, sign in (
            ("minimum", "≥"),
            ("exclusiveMinimum", "&gt;"),
            ("maximum", "≤"),
        )
        if key in spec
    ]
    return " ".join([escape(str(kind)), *bounds])
