"""Whatever is sent, a template or a refusal comes out; equal meanings are equal values."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.errors import Refused
from gateway.core.release import Template
from gateway.core.templates import SCALE_MAX, Parsed, container_keys, keys, labels, parse, read

Pairs = list[tuple[str, Any]]


def template(document: object) -> Template:
    return parse(document, application="app", domain="localhost", source="").template


# --- equal meanings -------------------------------------------------------------------

VARIABLES = st.dictionaries(
    st.sampled_from(["A", "B", "C_D"]),
    st.booleans() | st.integers(-9, 10**6) | st.sampled_from(["", "x=y", "a b", "off", "é"]),
)


@st.composite
def meanings(draw: st.DrawFn) -> tuple[Pairs, Pairs]:
    """Labels and variables of a service, in one order."""
    given_labels: Pairs = [
        (f"routing.port_{port}", name)
        for port, name in zip(
            draw(st.sets(st.integers(1, 65535), max_size=3)),
            ["web", "shop.example;a.local", "x.y:/p/q"],
            strict=False,
        )
    ]
    for name, values in (
        ("routing.coexist", st.booleans()),
        ("routing.session_sticky", st.booleans()),
        ("scale", st.integers(1, 1000)),
        ("probe.url", st.just("http://container:80/x")),
        ("probe.timeout_seconds", st.integers(1, 9)),
        ("depends", st.just("db")),
    ):
        if draw(st.booleans()):
            given_labels.append((name, draw(values)))
    return given_labels, list(draw(VARIABLES).items())


def yaml_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def spelt(draw: st.DrawFn, pairs: Pairs) -> object:
    """The pairs in some order, as a map or a list, some of the values in quotes."""
    order = draw(st.permutations(pairs))
    if draw(st.booleans()):
        return [f"{name}={yaml_text(value)}" for name, value in order]
    return {name: yaml_text(v) if draw(st.booleans()) else v for name, v in order}


@st.composite
def spellings(draw: st.DrawFn, meaning: tuple[Pairs, Pairs]) -> object:
    """A document of that meaning."""
    given_labels = [
        (f"{draw(st.sampled_from(labels.PREFIXES))}{name}", value) for name, value in meaning[0]
    ]
    web: Pairs = [
        ("image", "app:1"),
        ("labels", spelt(draw, given_labels)),
        ("environment", spelt(draw, meaning[1])),
    ]
    services = {"web": dict(draw(st.permutations(web))), "db": {"image": "db:1"}}
    return {"services": services} if draw(st.booleans()) else services


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_order_form_prefix_and_quotes_make_no_difference(data: st.DataObject) -> None:
    meaning = data.draw(meanings())
    one, other = data.draw(spellings(meaning)), data.draw(spellings(meaning))
    assert template(one) == template(other)


# --- anything at all ------------------------------------------------------------------

WORDS = st.sampled_from(
    [
        "services",
        "web",
        "db",
        *keys.UNDERSTOOD,
        *keys.HEALTHCHECK,
        *keys.REFUSED,
        *keys.WITHOUT_EFFECT,
        *keys.TOP_WITHOUT_EFFECT,
        "replicas",
        "endpoints",
        "condition",
        *(f"{p}{name}" for p in labels.PREFIXES for name in labels.UNDERSTOOD),
        *(f"{p}routing.port_80" for p in labels.PREFIXES),
        "CMD",
        "CMD-SHELL",
        "NONE",
        "1m30s",
        "tcp://container:80",
        "http://container/",
        "a.b:80",
        "$x",
        "A=1",
        "app:1",
        "true",
        "3",
    ]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | WORDS
    | st.text(max_size=8)
    | st.binary(max_size=2)
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(WORDS | st.text(max_size=5), inner, max_size=5)
        | st.dictionaries(SCALARS, inner, max_size=2)
    ),
    max_leaves=20,
)
SERVICE = st.dictionaries(
    st.sampled_from([*keys.UNDERSTOOD, *keys.REFUSED, *keys.WITHOUT_EFFECT]),
    ANYTHING,
    max_size=6,
)
LABELLED = st.builds(
    lambda given: {"image": "app:1", "labels": given},
    st.dictionaries(
        st.sampled_from(
            [f"gateway.{n}" for n in labels.UNDERSTOOD if "<" not in n]
            + ["gateway.routing.port_80", "aliyun.routing.port_81"]
        )
        | st.text(max_size=9).map("aliyun.".__add__),
        SCALARS | st.text(alphabet="ab.:/;*[]{}$%&#@ 0123456789", max_size=20),
        max_size=6,
    ),
)
TEMPLATES = st.dictionaries(st.sampled_from(["web", "db", "a/b", "x"]), SERVICE | LABELLED)


def parsed_or_refused(document: object) -> Parsed | Refused:
    try:
        return parse(document, application="app", domain="localhost", source="")
    except Refused as refusal:
        return refusal


@settings(deadline=None, max_examples=250)
@given(ANYTHING | TEMPLATES | TEMPLATES.map(lambda t: {"services": t}))
def test_nothing_but_a_refusal_is_ever_raised(document: object) -> None:
    found = parsed_or_refused(document)
    if isinstance(found, Refused):
        assert found.errors
        for error in found.errors:
            assert error.field
            assert error.message
            # fit to be sent, and to be read on a terminal
            assert (error.field + error.message).isprintable(), error
        return
    names = [service.name for service in found.template.services]
    assert names
    assert len(set(names)) == len(names)
    for service in found.template.services:
        assert (service.launch is None) == bool(service.endpoints)
        assert 1 <= service.scale <= SCALE_MAX
        assert all(claim.host == claim.host.lower() for claim in service.claims)
    assert all(warning.isprintable() for warning in found.warnings)


CONTAINER_KEYS = [
    *keys.UNDERSTOOD,
    *container_keys.UNDERSTOOD,
    *container_keys.REFUSED,
    *container_keys.WITHOUT_EFFECT,
]
CONTAINERS = st.dictionaries(
    st.sampled_from(["web", "db"]),
    st.dictionaries(st.sampled_from(CONTAINER_KEYS), ANYTHING, max_size=6).map(
        lambda service: service | {"image": "app:1"}
    ),
    min_size=1,
)
TOP = st.dictionaries(st.sampled_from([*container_keys.TOP_UNDERSTOOD]), ANYTHING, max_size=2)


@settings(deadline=None, max_examples=250)
@given(CONTAINERS, TOP)
def test_what_is_found_of_containers_can_be_told(services: dict[str, Any], top: Any) -> None:
    outcome = read(
        {**top, "services": services},
        application="app",
        domain="localhost",
        runs_in_container=lambda image: True,
    )
    for found in outcome.problems:
        assert found.message.isprintable(), found
    assert all(warning.isprintable() for warning in outcome.warnings)
    if not outcome.problems:
        assert all(s.launch is not None for s in outcome.template("").services)
