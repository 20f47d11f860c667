"""Settings as values: their journey to children, and their documentation."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from msgspec import NODEFAULT, structs

from gateway.runtime.configuration import parse
from gateway.runtime.forms import is_form
from gateway.runtime.settings import (
    HUP_IN_ENTRYPOINTS,
    RESTART_IN_DOCKER,
    RESTART_ONLY,
    AdminSettings,
    AffinitySettings,
    EntrypointSettings,
    Settings,
    from_json,
    to_json,
)

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


@pytest.mark.parametrize(
    "settings",
    [
        Settings(),
        Settings(
            entrypoints={"a": EntrypointSettings(":1", internal=True)},
            admin=AdminSettings(listen=None),
            affinity=structs.replace(AffinitySettings(), enabled=False),
            workers=3,
            store="memory:",
            trusted_proxies=("10.0.0.0/8",),
        ),
    ],
)
def test_children_get_equal_settings(settings: Settings) -> None:
    assert from_json(to_json(settings)) == settings


def test_paths_follow_the_state_folder_unless_said_otherwise() -> None:
    settings = Settings(state_dir="/s")
    assert settings.admin_socket == Path("/s/admin.sock")
    assert settings.store_url == "sqlite:/s/gateway.db"
    assert settings.snapshot_file == Path("/s/snapshot.json")
    assert Settings(store="memory:").store_url == "memory:"
    assert Settings(admin=AdminSettings(socket="/a")).admin_socket == Path("/a")


def test_restart_only_names_top_level_keys() -> None:
    assert RESTART_ONLY.issubset(Settings.__struct_fields__)


def keys(kind: type[typing.Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Every key with its default; entries of e.g. `entrypoints` under `entrypoints.NAME`."""
    hints = typing.get_type_hints(kind)
    for field in structs.fields(kind):
        place, hint = prefix + field.name, hints[field.name]
        inner = [a for a in typing.get_args(hint) if is_form(a)]
        if typing.get_origin(hint) is dict and inner:
            yield from keys(typing.cast(type[typing.Any], inner[0]), f"{place}.NAME.")
            continue
        if is_form(hint):
            yield from keys(typing.cast(type[typing.Any], hint), place + ".")
            continue
        if field.default_factory is not NODEFAULT:
            yield place, field.default_factory()
        else:
            yield place, field.default
        end = "[]." if typing.get_origin(hint) is tuple else "."
        for kind_inside in inner:  # the entries of a list, or a section that may be null
            yield from keys(typing.cast(type[typing.Any], kind_inside), place + end)


def rows() -> dict[str, tuple[str, str]]:
    """The table of the page: key -> default, how it changes."""
    found = {}
    for line in PAGE.read_text().splitlines():
        match = re.fullmatch(r"\| `([a-zA-Z_.\[\]]+)` \| (.*?) \| .+ \| (HUP|restart) \|", line)
        if match:
            assert match[1] not in found, f"{match[1]} is documented twice"
            found[match[1]] = (match[2], match[3])
    return found


def test_every_key_is_documented_with_its_default_and_no_other() -> None:
    documented = rows()
    known = dict(keys(Settings))
    assert set(documented) == set(known)
    for key, default in known.items():
        shown = "needed" if default is NODEFAULT else f"`{_as_yaml(default)}`"
        assert documented[key][0] == shown, key


def test_the_documentation_says_which_keys_need_a_restart() -> None:
    for key, (_, how) in rows().items():
        section, *rest = key.split(".")
        is_fixed = section in RESTART_ONLY and not HUP_IN_ENTRYPOINTS & set(rest)
        if rest[:1] == ["docker"]:
            is_fixed = not rest[1:] or bool(RESTART_IN_DOCKER & set(rest))
        assert how == ("restart" if is_fixed else "HUP"), key


def test_the_documented_examples_are_valid() -> None:
    examples = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert examples
    for example in examples:
        parse(example)


def _as_yaml(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str):
        return f'"{value}"' if value.replace(".", "").isdigit() or ":" in value else str(value)
    return orjson.dumps(value).decode()
