"""Whom a service waits for at its first start: the label and compose's `depends_on`."""

from __future__ import annotations

from . import labels, values
from .labels import Labels
from .plain import Map, Value
from .problems import Findings, Place

DEPENDS_MAX = 1000

_CONDITIONS = ("service_healthy", "service_started")


def read_depends(own: Labels, content: Map, place: Place, findings: Findings) -> dict[str, Place]:
    """Whom the service waits for, of the label and of `depends_on`."""
    found: dict[str, Place] = {}
    if (given := own.single.get(labels.DEPENDS)) is not None:
        words = given.text.split(",")
        if len(words) > DEPENDS_MAX:
            findings.add(given.place, f"{len(words)} names, at most {DEPENDS_MAX} are possible")
            words = []
        for word in words:
            if word.strip():
                found.setdefault(word.strip(), given.place)
            else:
                findings.add(given.place, "names of services joined by commas are expected")
    value, where = content.get("depends_on"), (*place, "depends_on")
    if isinstance(value, dict):
        for name, item in value.items():
            _check_condition(item, (*where, name), findings)
            found.setdefault(name, (*where, name))
    elif value is not None:
        for given in values.texts(value, where, findings, "[db, cache]"):
            found.setdefault(given.text, given.place)
    return found


def _check_condition(value: Value, place: Place, findings: Findings) -> None:
    if value is None:
        return
    content = values.as_map(value, place, findings, "{condition: service_healthy}")
    if content is None:
        return
    known = dict.fromkeys(("condition", "required", "restart"))
    values.unknown_keys(content, known, place, findings)
    condition = content.get("condition", _CONDITIONS[0])
    if condition == "service_completed_successfully":
        findings.add(
            (*place, "condition"),
            "services are kept running, so none ever completes; do this work before the release",
        )
    elif condition not in _CONDITIONS:
        word = condition if isinstance(condition, str) else ""
        findings.add(
            (*place, "condition"),
            f"must be {' or '.join(_CONDITIONS)}, not {values.kind_of(condition)}"
            f"{findings.hint(word, _CONDITIONS)}",
        )
    for key in ("required", "restart"):
        if key in content:
            findings.warn(
                (*place, key), "has no effect here: the first start waits, and no later one"
            )
