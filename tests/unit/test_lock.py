"""The lock files pin, with hashes, what pyproject.toml asks for, and name no place to get it from."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = {"requirements.lock": ("build",), "requirements-dev.lock": ("build", "dev")}


def entries(lock: str) -> dict[str, tuple[Version, str]]:
    """Name -> version and the whole entry."""
    text = re.sub(r"^#.*\n", "", (ROOT / lock).read_text(), flags=re.MULTILINE)
    found: dict[str, tuple[Version, str]] = {}
    for entry in re.split(r"\n(?=\S)", text.strip()):
        pinned = re.match(r"([A-Za-z0-9._-]+)==([^ ;]+)", entry)
        assert pinned, entry
        found[canonicalize_name(pinned[1])] = (Version(pinned[2]), entry)
    return found


def wanted(lock: str) -> list[Requirement]:
    texts = list(PROJECT["dependencies"])
    for extra in EXTRAS[lock]:
        texts += PROJECT["optional-dependencies"][extra]
    return [Requirement(text) for text in texts]


@pytest.mark.parametrize("lock", EXTRAS)
def test_every_dependency_is_pinned_to_a_version_that_fits(lock: str) -> None:
    pinned = entries(lock)
    wrong = [
        str(requirement)
        for requirement in wanted(lock)
        if (name := canonicalize_name(requirement.name)) not in pinned
        or pinned[name][0] not in requirement.specifier
    ]
    assert not wrong, "run `make lock`"


@pytest.mark.parametrize("lock", EXTRAS)
def test_every_entry_has_hashes_and_no_address(lock: str) -> None:
    for _, entry in entries(lock).values():
        assert "--hash=sha256:" in entry
    text = (ROOT / lock).read_text()
    assert "://" not in text
    assert not re.search(r"(^|\s)(/|--(?!hash))", text)


def test_running_and_developing_use_the_same_versions() -> None:
    both = entries("requirements-dev.lock")
    assert all(both[name] == entry for name, entry in entries("requirements.lock").items())
