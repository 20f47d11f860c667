"""Limits of a container: memory, CPUs, processes, open files."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from fractions import Fraction

from . import container_keys, values
from .plain import Map, Value
from .problems import Findings, Place

BYTES_MAX = 1 << 60
NANO = 1_000_000_000
CPUS_MAX = 4096
_BYTES = re.compile(r"([0-9]{1,19})(?:\.[0-9]{1,3})?\s*(b|kb?|mb?|gb?|tb?)?\Z", re.IGNORECASE)
_SIZES = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_CPUS = re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,9})?\Z")

Reader = Callable[[Value, Place, Findings], int | None]


def size(value: Value, place: Place, findings: Findings) -> int | None:
    """Bytes: a number, or text like `512m` or `1gb`."""
    given = values.scalar(value, place, findings)
    if given is None:
        return None
    text = given.text.strip()
    found = _BYTES.match(text)
    if found is not None:
        unit = (found[2] or "").lower()[:1]
        number = Fraction(text.removesuffix(found[2] or "").strip())
        if 0 < (total := int(number * _SIZES[unit])) <= BYTES_MAX:
            return total
    findings.add(
        place, f"must be a size above 0, for example 512m or 1g, not {values.kind_of(value)}"
    )
    return None


def nano_cpus(value: Value, place: Place, findings: Findings) -> int | None:
    """CPUs, `0.5`, in billionths."""
    given = values.scalar(value, place, findings)
    if given is None:
        return None
    if _CPUS.match(given.text) and 0 < Fraction(given.text) <= CPUS_MAX:
        return int(Fraction(given.text) * NANO)
    findings.add(
        place, f"must be a number of CPUs above 0, for example 0.5, not {values.kind_of(value)}"
    )
    return None


def _swap(value: Value, place: Place, findings: Findings) -> int | None:
    """As a size; -1 is without a limit."""
    return -1 if value in (-1, "-1") else size(value, place, findings)


def number(low: int, high: int) -> Reader:
    """A reader of whole numbers of a range."""

    def read(value: Value, place: Place, findings: Findings) -> int | None:
        given = values.scalar(value, place, findings)
        return None if given is None else values.whole(given, low, high, findings)

    return read


_KEYS: Mapping[str, Reader] = {
    "mem_limit": size,
    "mem_reservation": size,
    "memswap_limit": _swap,
    "mem_swappiness": number(0, 100),
    "shm_size": size,
    "cpus": nano_cpus,
    "cpu_shares": number(2, 262_144),
    "cpu_quota": number(1000, 1 << 40),
    "cpu_period": number(1000, 1_000_000),
    "pids_limit": number(-1, 1 << 22),
    "oom_score_adj": number(0, 1000),
}
_RESOURCES: Mapping[str, Mapping[str, str]] = {
    "limits": {"cpus": "cpus", "memory": "mem_limit", "pids": "pids_limit"},
    "reservations": {"memory": "mem_reservation"},
}


def read_limits(content: Map, place: Place, findings: Findings) -> tuple[tuple[str, int], ...]:
    """All limits by compose key; `deploy.resources` must agree with the short keys."""
    found: dict[str, int] = {}
    for key, reader in _KEYS.items():
        if content.get(key) is not None:
            number = reader(content[key], (*place, key), findings)
            if number is not None:
                found[key] = number
    deploy = content.get("deploy")
    resources = deploy.get(container_keys.RESOURCES) if isinstance(deploy, dict) else None
    if resources is not None:
        _read_resources(resources, (*place, "deploy", "resources"), found, findings)
    return tuple(sorted(found.items()))


def _read_resources(value: Value, place: Place, found: dict[str, int], findings: Findings) -> None:
    content = values.as_map(value, place, findings, "{limits: {memory: 512m}}")
    if content is None:
        return
    values.unknown_keys(content, _RESOURCES, place, findings)
    for group, names in _RESOURCES.items():
        if content.get(group) is None:
            continue
        where = (*place, group)
        given = values.as_map(content[group], where, findings, "{memory: 512m}")
        if given is None:
            continue
        values.unknown_keys(given, names, where, findings)
        for name, key in names.items():
            if given.get(name) is None:
                continue
            number = _KEYS[key](given[name], (*where, name), findings)
            if number is not None and found.setdefault(key, number) != number:
                findings.add((*where, name), f"`{key}` says otherwise; keep one of them")


def read_ulimits(
    value: Value, place: Place, findings: Findings
) -> tuple[tuple[str, int, int], ...]:
    """`nofile: 1024`, or `nofile: {soft: 1024, hard: 4096}`."""
    content = values.as_map(value, place, findings, "{nofile: 4096}")
    read = number(-1, 1 << 40)
    found: list[tuple[str, int, int]] = []
    for name, item in (content or {}).items():
        where = (*place, name)
        if not re.fullmatch(r"[a-z]{1,20}", name):
            findings.add(where, "the name of a limit is one word, for example nofile")
            continue
        if isinstance(item, dict):
            values.unknown_keys(item, {"soft": None, "hard": None}, where, findings)
            both = [
                read(item[key], (*where, key), findings) if item.get(key) is not None else None
                for key in ("soft", "hard")
            ]
        else:
            one = read(item, where, findings)
            both = [one, one]
        soft, hard = both
        if soft is None or hard is None:
            if isinstance(item, dict) and not {"soft", "hard"} <= item.keys():
                findings.add(where, "needs soft and hard")
        else:
            found.append((name, soft, hard))
    return tuple(sorted(found))
