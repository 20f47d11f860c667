"""`docs/docker.md` says what the code does: reasons, names, settings."""

from __future__ import annotations

import re
from pathlib import Path

from admin.providers.docker import labels
from gateway.core.observed import Trouble
from gateway.core.templates.labels import UNDERSTOOD
from gateway.runtime.settings import DockerSettings

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "docker.md").read_text()


def rows(header: str) -> list[str]:
    """The first cells of the table with this header."""
    table = PAGE.partition(f"| {header} |")[2].partition("\n\n")[0]
    return re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)


def test_every_reason_of_a_problem_is_explained() -> None:
    assert rows("reason") == [t.value for t in Trouble]
    listed = re.findall(r"`([a-z_]+)`", (DOCS / "api.md").read_text())
    assert {t.value for t in Trouble} <= set(listed)


def test_the_labels_of_containers_are_named() -> None:
    assert rows("label") == [labels.APPLICATION, labels.SERVICE]
    assert f"`{labels.OWNER}`" in PAGE
    for name in UNDERSTOOD:
        assert name.partition("<")[0] in PAGE, name


def test_the_settings_it_speaks_of_exist() -> None:
    for key in re.findall(r"providers\.docker\.([a-z_]+)", PAGE):
        assert key in DockerSettings.__struct_fields__, key


def test_commands_work_as_they_stand() -> None:
    mounts = re.findall(r"^ .* -v (\S+)", PAGE, re.MULTILINE)
    assert mounts
    for mount in mounts:  # older clients of Docker take no relative folder
        assert mount.startswith(("gateway:/", "/", '"$PWD/')), mount
    # Compose wants the variable for every command, not only for the first.
    before, _, _ = PAGE.partition("docker compose -f config/compose.yaml")
    assert before.endswith("export DOCKER_GID=$(stat -c %g /var/run/docker.sock)\n")
