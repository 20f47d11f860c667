"""What is mounted into a container: the keys `volumes` and `tmpfs`, in all their forms.

A volume that a template names is the application's (`<application>_<name>`, as compose
has it), so that both versions of a release find the same data; one with a name of its
own or marked as external is somebody's else, which the configuration must allow.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.core.container import Mount, MountKind
from gateway.core.names import quote

from . import container_keys, limits, values
from .plain import Map, Value
from .problems import Findings, Place

_TARGET_MAX = 1024
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}\Z")
_MODE = re.compile(r"0?[0-7]{3,4}\Z")
_IGNORED = frozenset({"z", "Z", "cached", "consistent", "delegated", "nocopy"})
"""Options that change nothing of what is mounted here (labels of SELinux stay as they are)."""

_DRIVER_OPTS = "driver_opts"
_ANYTHING = (
    "is not supported, as it could be anything; mount the folder itself, or make it before and "
    "mark it as external"
)


@dataclass(frozen=True, slots=True)
class Named:
    """A volume or a network that a template declares at its top."""

    name: str
    """What the engine calls it."""
    is_external: bool = False
    is_internal: bool = False


def read_mounts(
    content: Map, place: Place, volumes: Mapping[str, Named], findings: Findings
) -> tuple[Mount, ...]:
    """All mounts of a service, by target. `volumes` are those of the top."""
    found: list[tuple[Mount, Place]] = []
    value, where = content.get("volumes"), (*place, "volumes")
    if value is not None and not isinstance(value, list):
        findings.add(
            where, f"must be a list, for example [data:/data], not {values.kind_of(value)}"
        )
    for index, item in enumerate(value if isinstance(value, list) else ()):
        at = (*where, index)
        one = _long(item, at, volumes, findings) if isinstance(item, dict) else None
        if isinstance(item, str):
            one = _short(values.resolved(item, at, findings), at, volumes, findings)
        elif not isinstance(item, dict):
            findings.add(at, f"must be text like data:/data or a map, not {values.kind_of(item)}")
        if one is not None:
            found.append((one, at))
    found += _tmpfs(content.get("tmpfs"), (*place, "tmpfs"), findings)
    by_target: dict[str, Mount] = {}
    for one, at in found:
        if by_target.setdefault(one.target, one) is not one:
            findings.add(at, f"{quote(one.target)} is mounted already; keep one")
    return tuple(by_target[target] for target in sorted(by_target))


def _short(
    text: str, place: Place, volumes: Mapping[str, Named], findings: Findings
) -> Mount | None:
    """`/target`, `source:/target`, `source:/target:ro`."""
    parts = text.split(":")
    if len(parts) > 3:
        findings.add(place, f"{quote(text)} has too many colons; source:/target[:ro] is expected")
        return None
    options = parts[2].split(",") if len(parts) == 3 else []
    source, target = (parts[0], parts[1]) if len(parts) > 1 else ("", parts[0])
    for option in options:
        if option not in ("ro", "rw") and option not in _IGNORED:
            findings.add(
                place, f"unknown option {quote(option)}{findings.hint(option, ('ro', 'rw'))}"
            )
    return _mount(source, target, "ro" in options, place, volumes, findings)


def _mount(
    source: str,
    target: str,
    read_only: bool,
    place: Place,
    volumes: Mapping[str, Named],
    findings: Findings,
    kind: MountKind | None = None,
) -> Mount | None:
    clean = _target(target, place, findings)
    if clean is None:
        return None
    is_path = source.startswith(("/", ".", "~"))
    if kind is None:
        kind = MountKind.BIND if is_path else MountKind.VOLUME
    if kind is MountKind.BIND:
        if not source.startswith("/"):
            findings.add(
                place,
                f"{quote(source)} is no folder of the gateway's machine: give its whole path, "
                "which begins with /",
            )
            return None
        if ".." in source.split("/"):
            findings.add(place, f"{quote(source)}: a path without .. is expected")
            return None
        return Mount(kind, clean, _clean(source), read_only)
    if not source:
        return Mount(kind, clean, "", read_only)
    named = volumes.get(source)
    if named is None:
        findings.add(
            place,
            f"there is no volume {quote(source)} under `volumes` at the top of the template"
            f"{findings.hint(source, volumes)}",
        )
        return None
    return Mount(kind, clean, named.name, read_only, is_external=named.is_external)


def _long(
    content: Map, place: Place, volumes: Mapping[str, Named], findings: Findings
) -> Mount | None:
    values.unknown_keys(content, dict.fromkeys(container_keys.VOLUME_KEYS), place, findings)
    kind_name = content.get("type", "volume")
    if kind_name not in ("bind", "volume", "tmpfs"):
        word = kind_name if isinstance(kind_name, str) else ""
        findings.add(
            (*place, "type"),
            f"must be bind, volume or tmpfs, not {values.kind_of(kind_name)}"
            f"{findings.hint(word, ('bind', 'volume', 'tmpfs'))}",
        )
        return None
    kind = MountKind(str(kind_name))
    target = values.text(content.get("target"), (*place, "target"), findings)
    source = ""
    if content.get("source") is not None:
        source = values.text(content["source"], (*place, "source"), findings) or ""
    elif kind is MountKind.BIND:
        findings.add(place, "a bind needs a source, a path of the gateway's machine")
        return None
    read_only = flag(content.get("read_only"), (*place, "read_only"), findings)
    for name in ("bind", "volume"):
        _nested(content.get(name), (*place, name), findings)
    if target is None:
        return None
    if kind is MountKind.TMPFS:
        if source:
            findings.add((*place, "source"), "memory has no source")
        options = _tmpfs_options(content.get("tmpfs"), (*place, "tmpfs"), findings)
        clean = _target(target, place, findings)
        return None if clean is None else Mount(kind, clean, "", read_only, options)
    if content.get("tmpfs") is not None:
        findings.add((*place, "tmpfs"), "is for the type tmpfs")
    return _mount(source, target, read_only, place, volumes, findings, kind)


def _nested(value: Value, place: Place, findings: Findings) -> None:
    """`bind` and `volume`: nothing of them is honoured but what is the engine's default."""
    for key in value if isinstance(value, dict) else ():
        if not (place[-1] == "volume" and key == "nocopy"):
            findings.add((*place, key), "is not supported here; remove it")
    if value is not None and not isinstance(value, dict):
        findings.add(place, f"must be a map, not {values.kind_of(value)}")


def _tmpfs(value: Value, place: Place, findings: Findings) -> list[tuple[Mount, Place]]:
    """The key `tmpfs`: `/run`, or a list of them, with options behind a colon."""
    if value is None:
        return []
    items = value if isinstance(value, list) else [value]
    found: list[tuple[Mount, Place]] = []
    for index, item in enumerate(items):
        at = (*place, index) if isinstance(value, list) else place
        text = values.text(item, at, findings)
        if text is None:
            continue
        path, _, options = text.partition(":")
        target = _target(path, at, findings)
        if not re.fullmatch(r"[A-Za-z0-9=,%]*", options):
            findings.add(at, f"{quote(options)}: options like size=64m,mode=1777 are expected")
        elif target is not None:
            found.append((Mount(MountKind.TMPFS, target, options=options), at))
    return found


def _tmpfs_options(value: Value, place: Place, findings: Findings) -> str:
    if value is None:
        return ""
    content = values.as_map(value, place, findings, "{size: 64m}")
    if content is None:
        return ""
    values.unknown_keys(content, {"size": None, "mode": None}, place, findings)
    options: list[str] = []
    if content.get("size") is not None:
        size = limits.size(content["size"], (*place, "size"), findings)
        options += [f"size={size}"] if size is not None else []
    if content.get("mode") is not None:
        given = values.scalar(content["mode"], (*place, "mode"), findings)
        if given is not None:
            # YAML reads 01777 as 1023
            is_number = type(content["mode"]) is int
            mode = f"{int(given.text):o}" if is_number else given.text
            if _MODE.match(mode):
                options.append(f"mode={mode}")
            else:
                findings.add((*place, "mode"), f"must be rights like 1777, not {quote(given.text)}")
    return ",".join(options)


def _target(path: str, place: Place, findings: Findings) -> str | None:
    if not path.startswith("/") or len(path) > _TARGET_MAX or ".." in path.split("/"):
        findings.add(
            place, f"{quote(path)} is no place in the container: it begins with / and has no .."
        )
        return None
    clean = _clean(path)
    if clean == "/":
        findings.add(place, "/ is the container's own; mount a folder below it")
        return None
    return clean


def _clean(path: str) -> str:
    """An absolute path without what means nothing; it has no `..`."""
    return "/" + "/".join(step for step in path.split("/") if step not in ("", "."))


def flag(value: Value, place: Place, findings: Findings) -> bool:
    """`true` or `false`; absent is false."""
    if value is None:
        return False
    given = values.scalar(value, place, findings)
    return bool(given is not None and values.boolean(given, findings))


def read_named(
    value: Value, kind: str, known: tuple[str, ...], application: str, findings: Findings
) -> dict[str, Named]:
    """What stands under `volumes` or `networks` at the top."""
    place: Place = (kind,)
    if value is None:
        return {}
    content = values.as_map(value, place, findings, f"{{data: {{}}}} under `{kind}`")
    found: dict[str, Named] = {}
    for key, item in (content or {}).items():
        where = (*place, key)
        if not _NAME.match(key):
            findings.add(where, "a name consists of A-Z a-z 0-9 . _ -, a letter or digit first")
            continue
        one = {} if item is None else values.as_map(item, where, findings, "{}")
        if one is None:
            continue
        if one.get(_DRIVER_OPTS):
            findings.add((*where, _DRIVER_OPTS), _ANYTHING)
        values.unknown_keys(one, dict.fromkeys((*known, _DRIVER_OPTS)), where, findings)
        found[key] = _named(key, one, kind, where, application, findings)
    return found


def _named(
    key: str, content: Map, kind: str, place: Place, application: str, findings: Findings
) -> Named:
    driver, usual = content.get("driver"), "bridge" if kind == "networks" else "local"
    if driver not in (None, usual, "default"):
        findings.add((*place, "driver"), f"only {usual} is supported, not {values.kind_of(driver)}")
    external = content.get("external")
    name: str | None = None
    if isinstance(external, dict):  # the form of compose files before 3.5
        name = values.text(external.get("name", key), (*place, "external"), findings)
        is_external = True
    else:
        is_external = flag(external, (*place, "external"), findings)
    if content.get("name") is not None:
        name = values.text(content["name"], (*place, "name"), findings)
    if name is not None and not _NAME.match(name):
        findings.add((*place, "name"), f"{quote(name)} is no name for the engine")
        name = None
    is_internal = flag(content.get("internal"), (*place, "internal"), findings)
    own = f"{application}_{key}".lstrip("._-")
    if name is None:
        name = key if is_external else own
    # A name that is not the application's may be anybody's.
    return Named(name, is_external or name != own, is_internal)
