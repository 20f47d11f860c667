"""A call of the API as a value: the one table that routing, documentation and OpenAPI share.

A resource file holds handlers and lists them as `Operation`s. The handler gets
a `Call`, everything of the request already read and checked, and gives a
`Reply`; it knows neither aiohttp nor authentication.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from admin.audit import Actor
from gateway.core.errors import Code
from gateway.core.model import Role

from .context import Context
from .queries import NoQuery, Query

BASE = "/api/v1"
SAFE_METHODS = frozenset({"GET", "HEAD"})

Q = TypeVar("Q", bound=Query)
B = TypeVar("B", bound="BaseModel | bytes | None")


@dataclass(frozen=True, slots=True)
class Call(Generic[Q, B]):
    """A request, read and checked. `path` holds the decoded parts of the address."""

    context: Context
    actor: Actor
    path: Mapping[str, str]
    query: Q
    body: B
    accept: str = ""
    content_type: str = ""
    """Of a body that the handler reads itself."""
    key: str | None = None
    """What tells this request and its repetitions from all others, for longer than a control
    process lives: made of the caller, the Idempotency-Key and the request. None: no key came."""
    if_match: frozenset[str] | None = None
    if_none_match: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: a value orjson can write (dataclasses too), or ready bytes."""

    body: object
    status: int = 200
    etag: str | None = None
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Call[Any, Any]], Awaitable[Reply]]


@dataclass(frozen=True, slots=True)
class Operation:
    """One method on one address. `role` None: open to everybody who reaches the listener."""

    method: str
    path: str
    """As in OpenAPI: `/api/v1/routes/{route}`."""
    handler: Handler
    summary: str
    role: Role | None
    answer: Any
    """The type of the answer's body, as pydantic can describe it; bytes: no JSON."""
    tag: str
    query: type[Query] = NoQuery
    body: type[BaseModel] | None = None
    raw_types: tuple[str, ...] = ()
    """Media types of a body that the handler reads itself, as bytes; it may be missing."""
    place: tuple[str, ...] = ()
    """What the places of problems in the body begin with."""
    codes: tuple[Code, ...] = ()
    """Refusals beside those every call may give."""
    statuses: tuple[int, ...] = (200,)
    command: type[Any] | None = None
    """What it carries out; the audit names its refusals by it."""

    @property
    def name(self) -> str:
        """The handler's name; OpenAPI's operationId."""
        return str(getattr(self.handler, "__name__", "call"))

    @property
    def action(self) -> str:
        """What the audit calls it: `SetWeights` -> `set_weights`."""
        name = self.name if self.command is None else self.command.__name__
        return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()

    @property
    def changes(self) -> bool:
        """Does it change something? Then it takes If-Match, Idempotency-Key and dry_run."""
        return self.method not in SAFE_METHODS and "dry_run" in self.query.model_fields

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names in the address."""
        return tuple(re.findall(r"\{(\w+)\}", self.path))
