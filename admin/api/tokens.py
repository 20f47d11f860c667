"""Tokens of the admin API: make, list, withdraw. A token's text is shown once."""

from __future__ import annotations

from gateway.core.commands import AddToken, RemoveToken
from gateway.core.errors import Code
from gateway.core.model import Role, Token
from gateway.core.state import State

from . import answers
from . import report_answers as reports
from .auth import digest, make_token
from .etag import TagOf, etag
from .operation import BASE, Call, Operation, Reply
from .queries import PageQuery, WriteQuery
from .schemas import TokenBody
from .views import page
from .writes import execute, fields, written


async def list_tokens(call: Call[PageQuery, None]) -> Reply:
    """All tokens by name, without their texts."""
    shown, more = page(call.context.controller.state.tokens, call.query.limit, call.query.after)
    return Reply(
        reports.TokenList(
            [reports.TokenAnswer(t.name, t.role, answers.rfc3339(t.created)) for t in shown], more
        )
    )


async def create_token(call: Call[WriteQuery, TokenBody]) -> Reply:
    """Make a token. Its text is in this answer and nowhere else."""
    text = make_token()
    token = Token(call.body.name, Role(call.body.role), digest(text), call.context.now())
    tag_of = _tag_of(token.name)
    outcome = await execute(call, AddToken(token), tag_of)
    return written(
        call,
        outcome,
        lambda base: reports.TokenMade(
            **fields(base),
            name=token.name,
            role=token.role,
            created=answers.rfc3339(token.created),
            token=None if call.query.dry_run else text,
        ),
        tag_of,
        status=201,
    )


async def delete_token(call: Call[WriteQuery, None]) -> Reply:
    """Withdraw a token: from now on it is not known."""
    name = call.path["name"]
    outcome = await execute(call, RemoveToken(name), _tag_of(name))
    return written(call, outcome, lambda base: base, lambda state: None)


def _tag_of(name: str) -> TagOf:
    def tag(state: State) -> str | None:
        token = state.tokens.get(name)
        return None if token is None else etag([token.name, token.role, token.created])

    return tag


OPERATIONS = (
    Operation(
        "GET",
        f"{BASE}/tokens",
        list_tokens,
        "List tokens",
        Role.ADMIN,
        reports.TokenList,
        "Tokens",
        query=PageQuery,
    ),
    Operation(
        "POST",
        f"{BASE}/tokens",
        create_token,
        "Make a token",
        Role.ADMIN,
        reports.TokenMade,
        "Tokens",
        query=WriteQuery,
        body=TokenBody,
        codes=(Code.IN_USE,),
        statuses=(200, 201, 202),
        command=AddToken,
    ),
    Operation(
        "DELETE",
        f"{BASE}/tokens/{{name}}",
        delete_token,
        "Withdraw a token",
        Role.ADMIN,
        answers.Written,
        "Tokens",
        query=WriteQuery,
        codes=(Code.NOT_FOUND,),
        statuses=(200, 202),
        command=RemoveToken,
    ),
)
