"""Viewers read templates without the values of their environments."""

from __future__ import annotations

import json

import pytest

from admin.api.redaction import WITHHELD, redacted_template
from gateway.runtime.yaml_loader import load

SECRET = "hunter22"


def shown(source: str) -> object:
    text = redacted_template(source)
    assert SECRET not in text
    return load(text).value


@pytest.mark.parametrize(
    ("environment", "left"),
    [
        (f"[PASSWORD={SECRET}, EMPTY=, INHERITED]", ["PASSWORD=***", "EMPTY=***", "INHERITED"]),
        (
            f"{{PASSWORD: {SECRET}, INHERITED: , N: 1}}",
            {"PASSWORD": "***", "INHERITED": None, "N": "***"},
        ),
        (SECRET, "***"),
        (f"[{{PASSWORD: {SECRET}}}]", ["***"]),
    ],
    ids=["list", "map", "scalar", "odd"],
)
def test_names_stay_and_values_go(environment: str, left: object) -> None:
    source = f"web-v1:\n  image: web:1\n  environment: {environment}\n  labels: {{a: 'off'}}\n"
    web = {"image": "web:1", "environment": left, "labels": {"a": "off"}}
    assert shown(source) == {"web-v1": web}
    assert shown("services:\n  " + source.replace("\n", "\n  ")) == {"services": {"web-v1": web}}


def test_comments_and_anchors_hide_nothing() -> None:
    source = f"""\
# the password is {SECRET}
x-common: &common [PASSWORD={SECRET}]
services:
  web:
    image: web:1
    environment: *common
    x-notes: {SECRET}
    x-gateway: {{endpoints: ["10.0.0.1:80"]}}
"""
    assert shown(source) == {
        "x-common": "***",
        "services": {
            "web": {
                "image": "web:1",
                "environment": ["PASSWORD=***"],
                "x-notes": "***",
                "x-gateway": {"endpoints": ["10.0.0.1:80"]},
            }
        },
    }


def test_json_stays_json() -> None:
    text = redacted_template(json.dumps({"web": {"environment": {"P": SECRET}, "image": "wéb"}}))
    assert json.loads(text) == {"web": {"environment": {"P": "***"}, "image": "wéb"}}
    assert "wéb" in text


@pytest.mark.parametrize("source", [f"a: [{SECRET}", f"a: 1\na: {SECRET}", f"<<: {SECRET}"])
def test_what_cannot_be_read_is_withheld(source: str) -> None:
    assert redacted_template(source) == WITHHELD
