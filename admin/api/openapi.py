"""The OpenAPI 3.1 description, made from the operations and the models they name."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import TypeAdapter

from gateway.core.errors import STATUS, Code
from gateway.runtime.programs import installed_version

from . import answers
from .operation import Operation
from .problems import MEDIA_TYPE, TITLES

JSON = "application/json"
_REF = "#/components/schemas/{model}"

PARAMETER_WORDS: Mapping[str, str] = {
    "route": "host and path prefix, percent-encoded: `servicea.local`, `shop.example%2Fapi`",
    "name": "short name where unambiguous, else `application%2Fname`",
    "id": "the instance's id as lists show it: `web-v1@10.0.0.1:80`",
    "app": "the application's name",
    "release": "the release's id: `shop-3`",
}
_HEADERS: Mapping[str, str] = {
    "If-Match": "the ETag the change was decided on; a stale one is refused with 412",
    "If-None-Match": "`*`: only if the resource does not exist yet, else 412",
    "Idempotency-Key": "the same key and request again gets the first answer, for a day",
}
_WHEN: Mapping[int, str] = {
    200: "done; a change is applied by every serving worker (a dry run is only planned)",
    201: "made, and applied by every serving worker",
    202: "the change stands; a worker is late or work is still open, the answer names it",
    503: "not ready",
}


def document(operations: Sequence[Operation]) -> dict[str, Any]:
    """The whole description."""
    schemas, definitions = _schemas(operations)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(
            operation, schemas
        )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Release Gateway admin API",
            "version": installed_version(),
            "description": "Applications, releases, routes, weights, services and instances of the "
            "gateway. Errors are "
            "RFC 9457 problems; a change is answered once every serving worker has applied it.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in dict.fromkeys(o.tag for o in operations)],
        "paths": paths,
        "components": {
            "schemas": definitions,
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "On TCP. The Unix socket needs no token.",
                }
            },
            "responses": {
                "Problem": {
                    "description": "Refused; nothing was changed",
                    "content": {MEDIA_TYPE: {"schema": {"$ref": _REF.format(model="Problem")}}},
                }
            },
        },
    }


_Mode = Literal["validation", "serialization"]


def _schemas(
    operations: Sequence[Operation],
) -> tuple[Mapping[tuple[Any, _Mode], Any], dict[str, Any]]:
    wanted: dict[tuple[Any, _Mode], TypeAdapter[Any]] = {}
    for operation in operations:
        if operation.answer is not bytes:
            wanted[operation.answer, "serialization"] = TypeAdapter(operation.answer)
        if operation.body is not None:
            wanted[operation.body, "validation"] = TypeAdapter(operation.body)
    wanted[answers.Problem, "serialization"] = TypeAdapter(answers.Problem)
    found, rest = TypeAdapter.json_schemas(
        [(kind, mode, adapter) for (kind, mode), adapter in wanted.items()], ref_template=_REF
    )
    return found, dict(sorted(rest.get("$defs", {}).items()))


def _operation(operation: Operation, schemas: Mapping[tuple[Any, _Mode], Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": inspect.getdoc(operation.handler) or operation.summary,
        "parameters": [*_path(operation), *_query(operation), *_headers(operation)],
        "responses": _responses(operation, schemas),
    }
    if operation.role is None:
        described["security"] = []
    else:
        described["security"] = [{"bearer": []}]
        described["x-role"] = operation.role.value
    if operation.body is not None:
        schema = schemas[operation.body, "validation"]
        described["requestBody"] = {"required": True, "content": {JSON: {"schema": schema}}}
    elif operation.raw_types:
        described["requestBody"] = {
            "required": True,
            "content": {kind: {"schema": {"type": "string"}} for kind in operation.raw_types},
        }
    return described


def _path(operation: Operation) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": PARAMETER_WORDS.get(name, name),
            "schema": {"type": "string"},
        }
        for name in operation.parameters
    ]


def _query(operation: Operation) -> list[dict[str, Any]]:
    schema = TypeAdapter(operation.query).json_schema(ref_template=_REF)
    required = set(schema.get("required", ()))
    found = []
    for name, spec in schema.get("properties", {}).items():
        bare = {k: v for k, v in spec.items() if k not in ("title", "description")}
        parameter = {"name": name, "in": "query", "required": name in required, "schema": bare}
        if "description" in spec:
            parameter["description"] = spec["description"]
        found.append(parameter)
    return found


def _headers(operation: Operation) -> list[dict[str, Any]]:
    if not operation.changes:
        return []
    return [
        {
            "name": name,
            "in": "header",
            "required": False,
            "description": words,
            "schema": {"type": "string"},
        }
        for name, words in _HEADERS.items()
    ]


def codes_of(operation: Operation) -> tuple[Code, ...]:
    """The refusals a call may give."""
    codes = list(operation.codes)
    if operation.role is not None:
        codes += [Code.UNAUTHORIZED, Code.FORBIDDEN]
    if operation.query.model_fields or operation.body is not None:
        codes.append(Code.INVALID)
    if operation.changes:
        codes += [Code.STALE_REVISION, Code.STORE_UNAVAILABLE]
    return tuple(dict.fromkeys(codes))


def _responses(operation: Operation, schemas: Mapping[tuple[Any, _Mode], Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for status in operation.statuses:
        if status >= 400:
            continue
        if operation.answer is bytes:
            content: dict[str, Any] = {
                "text/plain": {"schema": {"type": "string"}},
                "application/openmetrics-text": {"schema": {"type": "string"}},
            }
        else:
            content = {JSON: {"schema": schemas[operation.answer, "serialization"]}}
        found[str(status)] = {"description": _WHEN.get(status, "done"), "content": content}
    by_status: dict[int, list[Code]] = {}
    for code in codes_of(operation):
        by_status.setdefault(STATUS[code], []).append(code)
    for status in operation.statuses:
        if status >= 400:
            by_status.setdefault(status, [])
    for status, several in sorted(by_status.items()):
        words = "; ".join(f"`{c.value}`: {TITLES[c].lower()}" for c in several)
        found[str(status)] = {
            "description": words or _WHEN[status],
            "content": {MEDIA_TYPE: {"schema": {"$ref": _REF.format(model="Problem")}}},
        }
    found["default"] = {"$ref": "#/components/responses/Problem"}
    return found
