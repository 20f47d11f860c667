"""Entities as JSON documents, for stores that keep text.

A document's fields are the fields of the value. A field that a later version
adds has a default there, so an old document still reads; anything else needs a
new schema version and a migration in the store.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Any

import orjson
from pydantic import TypeAdapter, ValidationError

from admin.audit import AuditEntry
from gateway.core.model import AffinityKey, InstanceId, Route, Service, Token
from gateway.core.release import Application, Release
from gateway.core.state import Changes, State


class Kind(StrEnum):
    """What a document is."""

    SERVICE = "service"
    ROUTE = "route"
    TOKEN = "token"  # noqa: S105 - a kind, not a secret
    DRAINED = "drained"
    """One document: the list of drained instances."""
    APPLICATION = "application"
    RELEASE = "release"
    KEYS = "keys"
    """One document: the affinity keys, newest first."""


_ADAPTERS: dict[Kind, TypeAdapter[Any]] = {
    Kind.SERVICE: TypeAdapter(Service),
    Kind.ROUTE: TypeAdapter(Route),
    Kind.TOKEN: TypeAdapter(Token),
    Kind.APPLICATION: TypeAdapter(Application),
    Kind.RELEASE: TypeAdapter(Release),
    Kind.DRAINED: TypeAdapter(list[InstanceId]),
    Kind.KEYS: TypeAdapter(tuple[AffinityKey, ...]),
}
_AUDIT = TypeAdapter(AuditEntry)

THE_ONE = ""
"""The id of a document that is the only one of its kind."""


class DocumentDamaged(Exception):  # noqa: N818 - says what happened
    """A document that is not what its kind says."""


def documents(changes: Changes) -> Iterator[tuple[Kind, str, bytes | None]]:
    """`(kind, id, body)` of everything a change writes; body None: deleted."""
    yield from ((Kind.SERVICE, k, _body(v)) for k, v in changes.services.items())
    yield from ((Kind.ROUTE, k, _body(v)) for k, v in changes.routes.items())
    yield from ((Kind.TOKEN, k, _body(v)) for k, v in changes.tokens.items())
    yield from ((Kind.APPLICATION, k, _body(v)) for k, v in changes.applications.items())
    yield from ((Kind.RELEASE, k, _body(v)) for k, v in changes.releases.items())
    if changes.drained is not None:
        yield Kind.DRAINED, THE_ONE, _body(sorted(changes.drained))
    if changes.keys is not None:
        yield Kind.KEYS, THE_ONE, _body(changes.keys)


def state_of(revision: int, rows: Iterable[tuple[str, str, bytes]]) -> State:
    """The state that documents make. Raises `DocumentDamaged` naming the document."""
    found: dict[Kind, dict[Any, Any]] = {kind: {} for kind in Kind}
    for kind, key, body in rows:
        try:
            found[Kind(kind)][key] = _ADAPTERS[Kind(kind)].validate_json(body)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, first["loc"])) or "document"
            raise DocumentDamaged(f"{kind} {key!r}: {place}: {first['msg']}") from None
        except ValueError:
            raise DocumentDamaged(f"{kind!r} is no kind of document") from None
    for kind in (Kind.SERVICE, Kind.ROUTE):
        for key, value in found[kind].items():
            if value.id != key:
                raise DocumentDamaged(f"{kind} {key!r} holds {value.id!r}")
    return State(
        revision=revision,
        services=found[Kind.SERVICE],
        routes=found[Kind.ROUTE],
        drained=frozenset(found[Kind.DRAINED].get(THE_ONE, ())),
        keys=found[Kind.KEYS].get(THE_ONE, ()),
        tokens=found[Kind.TOKEN],
        applications=found[Kind.APPLICATION],
        releases=dict(sorted(found[Kind.RELEASE].items(), key=lambda r: (r[1].created, r[0]))),
    )


def entry_body(entry: AuditEntry) -> bytes:
    """An audit entry as a document."""
    return orjson.dumps(entry)


def entry_of(body: bytes, number: int, revision: int) -> AuditEntry:
    """The inverse of `entry_body`; id and revision are the store's."""
    try:
        value = orjson.loads(body)
        entry: AuditEntry = _AUDIT.validate_python({**value, "id": number, "revision": revision})
    except (ValueError, TypeError):
        raise DocumentDamaged(f"audit entry {number}") from None
    return entry


def _body(value: object) -> bytes | None:
    return None if value is None else orjson.dumps(value)
