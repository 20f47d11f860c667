"""Who may call: the kernel's word on the socket, a token on TCP, one's own name on loopback."""

from __future__ import annotations

import hashlib

import pytest

from admin.api.auth import Connection, allows, authenticate, digest, find_token, make_token
from admin.audit import Actor
from gateway.core.errors import Code, Refused
from gateway.core.model import Role, Token
from gateway.runtime.settings import AdminAuth, AdminSettings

TCP = Connection(unix=False, peer="127.0.0.1", local="127.0.0.1")
TOKENS = [Token(f"t{n}", role, digest(f"secret{n}"), 0.0) for n, role in enumerate(Role)]
OPEN = AdminSettings(auth=AdminAuth.NONE)


def who(
    connection: Connection = TCP,
    settings: AdminSettings = OPEN,
    authorization: str | None = None,
    host: str | None = "127.0.0.1:8900",
    origin: str | None = None,
) -> Actor:
    return authenticate(
        connection, settings, TOKENS, authorization=authorization, host=host, origin=origin
    )


def refusal(**case: object) -> Code:
    with pytest.raises(Refused) as caught:
        who(**case)  # type: ignore[arg-type]
    return caught.value.code


def test_tokens_are_256_random_bits_and_only_their_digest_is_kept() -> None:
    texts = {make_token() for _ in range(50)}
    assert len(texts) == 50
    assert all(len(t) == len("gw_") + 43 for t in texts)
    assert digest("x") == hashlib.sha256(b"x").hexdigest()


def test_a_token_is_found_by_its_text_alone() -> None:
    assert find_token(TOKENS, "secret1") is TOKENS[1]
    for text in ("", "secret", "secret11", TOKENS[1].sha256, "\ud800"):
        assert find_token(TOKENS, text) is None


def test_roles_include_the_smaller_ones() -> None:
    order = [Role.VIEWER, Role.OPERATOR, Role.ADMIN]
    for i, role in enumerate(order):
        assert [allows(role, needed) for needed in order] == [j <= i for j in range(3)]


def test_the_unix_socket_needs_no_token_and_names_the_peer() -> None:
    settings = AdminSettings(auth=AdminAuth.TOKEN)
    assert who(Connection(True, 1000), settings) == Actor("uid:1000", Role.ADMIN)
    assert who(Connection(True, 0), settings, "Bearer wrong", None, "null").name == "uid:0"


def test_tcp_needs_a_known_bearer_token() -> None:
    settings = AdminSettings(auth=AdminAuth.TOKEN)
    assert who(TCP, settings, "Bearer secret1") == Actor("token:t1", Role.OPERATOR)
    assert who(TCP, settings, "bearer  secret0").role is Role.VIEWER
    for wrong in (
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer nope",
        "Basic secret1",
        "secret1",
        "Bearer secret1 x",
        "Bearer " + "a" * 10_000,
        "Bearer sécret",
    ):
        assert refusal(settings=settings, authorization=wrong) is Code.UNAUTHORIZED


def test_auth_none_holds_on_loopback_only() -> None:
    assert who().name == "anonymous@127.0.0.1"
    assert who().role is Role.ADMIN
    outside = Connection(unix=False, peer="192.0.2.7", local="192.0.2.1")
    assert refusal(connection=outside) is Code.UNAUTHORIZED
    assert refusal(connection=Connection(unix=False)) is Code.UNAUTHORIZED


def test_auth_none_still_refuses_a_wrong_token() -> None:
    assert refusal(authorization="Bearer nope") is Code.UNAUTHORIZED
    assert who(authorization="Bearer secret0").role is Role.VIEWER


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:1",
        "127.0.0.1:8900",
        "127.0.0.1",
        "127.8.8.8",
        "[::1]:8900",
        "gw.internal:99",
    ],
)
def test_without_auth_the_listener_answers_to_its_own_names(host: str) -> None:
    settings = AdminSettings(auth=AdminAuth.NONE, listen="gw.internal:8900")
    assert who(settings=settings, host=host).role is Role.ADMIN


@pytest.mark.parametrize(
    "host",
    [
        None,
        "",
        "evil.example",
        "evil.example:8900",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "localhost@evil.example",
        "evil.example#localhost",
        "localhost:x",
        "192.0.2.1",
        "[::1",
        "local host",
    ],
)
def test_without_auth_a_rebound_name_is_refused(host: str | None) -> None:
    assert refusal(host=host) is Code.FORBIDDEN


def test_without_auth_a_web_page_of_another_site_is_refused() -> None:
    assert who(origin="http://127.0.0.1:8900").role is Role.ADMIN
    for origin in (
        "null",
        "",
        "http://evil.example",
        "https://127.0.0.1:8900",
        "http://127.0.0.1:9999",
        "http://localhost:8900",
    ):
        assert refusal(origin=origin) is Code.FORBIDDEN
