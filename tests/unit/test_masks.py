"""No value of an environment is left in a text that went through a mask."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from admin.masks import SECRET_MIN, SEE_ALL, STRUCK, mask_of
from gateway.core.model import Launch, Service


def service(**environment: str) -> Service:
    return Service("shop", "web", (), launch=Launch("web:1", environment=(*environment.items(),)))


def test_values_are_struck_out_wherever_they_stand() -> None:
    mask = mask_of([service(PASSWORD="hunter22"), service(KEY="abc.def*")])
    assert (
        mask("db://me:hunter22@db, key=abc.def*, abcXdef*") == "db://me:***@db, key=***, abcXdef*"
    )


def test_short_values_are_no_secrets() -> None:
    mask = mask_of([service(DEBUG="true", WORKERS="12")])
    assert mask is SEE_ALL
    assert mask("12 workers, debug is true") == "12 workers, debug is true"


def test_a_value_that_begins_like_another_one_leaves_no_rest() -> None:
    mask = mask_of([service(A="secret", B="secret-and-more")])
    assert mask("secret-and-more secret") == f"{STRUCK} {STRUCK}"


def test_a_value_of_many_lines_is_struck_out_line_by_line() -> None:
    mask = mask_of([service(KEY="-----BEGIN\nMIIEvQIBADA\n-----END")])
    assert mask("read MIIEvQIBADA") == "read ***"


def test_services_that_others_run_have_no_environment() -> None:
    assert mask_of([Service("-", "web", ())]) is SEE_ALL


@settings(deadline=None, max_examples=60)
@given(
    values=st.lists(st.text("ab.\\[", min_size=SECRET_MIN, max_size=9), min_size=1, max_size=4),
    parts=st.lists(st.text("ab .", max_size=3), min_size=1, max_size=4),
)
def test_no_value_survives(values: list[str], parts: list[str]) -> None:
    mask = mask_of([service(**{f"V{n}": v for n, v in enumerate(values)})])
    text = mask("|".join(p + v for p, v in zip(parts * 4, values, strict=False)))
    assert not any(v in text for v in values)
