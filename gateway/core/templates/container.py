"""What a template says of a service's containers, beyond what is run in them.

Policy is not decided here: what a template may mount, join or be able to do is the
configuration's, and told with the place of the key by who knows it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.core.container import Container, PullPolicy
from gateway.core.names import quote

from . import values
from .limits import read_limits, read_ulimits
from .mounts import Named, flag, read_mounts
from .networks import read_dns, read_extra_hosts, read_networks, read_words
from .plain import Map, Value
from .problems import Findings, Place

_CAPABILITY = re.compile(r"(?:CAP_)?([A-Z_]{2,40})\Z")
_SIGNAL = re.compile(r"(?:SIG)?([A-Z]{2,6}[0-9]*(?:[+-][0-9]{1,2})?|[0-9]{1,2})\Z")
_CPUSET = re.compile(r"[0-9]+(?:-[0-9]+)?(?:,[0-9]+(?:-[0-9]+)?)*\Z")
_HOSTNAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,61}[A-Za-z0-9])?\Z")
_PLATFORM = re.compile(r"[a-z0-9]+(?:/[a-z0-9._-]+){0,2}\Z")
_DRIVERS = ("json-file", "local", "journald")
"""Of logs: those whose output the engine gives back."""
_PULL = {
    "always": PullPolicy.ALWAYS,
    "missing": PullPolicy.MISSING,
    "if_not_present": PullPolicy.MISSING,
    "never": PullPolicy.NEVER,
}


@dataclass(frozen=True, slots=True)
class Declared:
    """The volumes and networks at the top of a template."""

    volumes: Mapping[str, Named] = field(default_factory=dict)
    networks: Mapping[str, Named] = field(default_factory=dict)


def read_container(
    content: Map,
    place: Place,
    labels: Mapping[str, str],
    declared: Declared,
    findings: Findings,
) -> Container:
    """Read all of it. `labels` are those that are not the gateway's."""

    def at(key: str) -> Place:
        return (*place, key)

    def text(key: str, shape: re.Pattern[str], example: str) -> str | None:
        return _shaped(content.get(key), at(key), shape, example, findings)

    init = content.get("init")
    no_new_privileges = _security(content.get("security_opt"), at("security_opt"), findings)
    return Container(
        pull_policy=_pull_policy(content.get("pull_policy"), at("pull_policy"), findings),
        platform=text("platform", _PLATFORM, "linux/amd64"),
        user=text("user", re.compile(r"[^\s:]{1,64}(?::[^\s:]{1,64})?\Z"), "1000:1000"),
        hostname=text("hostname", _HOSTNAME, "web"),
        domainname=text("domainname", _HOSTNAME, "example.org"),
        init=None if init is None else flag(init, at("init"), findings),
        tty=flag(content.get("tty"), at("tty"), findings),
        stdin_open=flag(content.get("stdin_open"), at("stdin_open"), findings),
        read_only=flag(content.get("read_only"), at("read_only"), findings),
        volumes=read_mounts(content, place, declared.volumes, findings),
        networks=read_networks(
            content.get("networks"), at("networks"), declared.networks, findings
        ),
        extra_hosts=read_extra_hosts(content.get("extra_hosts"), at("extra_hosts"), findings),
        dns=read_dns(content.get("dns"), at("dns"), findings),
        dns_opt=read_words(content.get("dns_opt"), at("dns_opt"), findings),
        dns_search=read_words(content.get("dns_search"), at("dns_search"), findings),
        cap_add=_capabilities(content.get("cap_add"), at("cap_add"), findings),
        cap_drop=_capabilities(content.get("cap_drop"), at("cap_drop"), findings),
        group_add=_groups(content.get("group_add"), at("group_add"), findings),
        no_new_privileges=no_new_privileges,
        cpuset=text("cpuset", _CPUSET, "0-1"),
        limits=read_limits(content, place, findings),
        ulimits=()
        if content.get("ulimits") is None
        else read_ulimits(content["ulimits"], at("ulimits"), findings),
        labels=tuple(sorted(labels.items())),
        logging=_logging(content.get("logging"), at("logging"), findings),
        is_check_off=_is_check_off(content.get("healthcheck")),
        stop_signal=_signal(content.get("stop_signal"), at("stop_signal"), findings),
    )


def _shaped(
    value: Value, place: Place, shape: re.Pattern[str], example: str, findings: Findings
) -> str | None:
    if value is None:
        return None
    given = values.scalar(value, place, findings)
    if given is None:
        return None
    if shape.match(given.text):
        return given.text
    findings.add(place, f"must be like {example}, not {values.kind_of(value)}")
    return None


def _pull_policy(value: Value, place: Place, findings: Findings) -> PullPolicy:
    if value is None:
        return PullPolicy.MISSING
    found = _PULL.get(value) if isinstance(value, str) else None
    if found is None:
        word = value if isinstance(value, str) else ""
        findings.add(
            place,
            f"must be always, missing or never, not {values.kind_of(value)}"
            f"{findings.hint(word, _PULL)}",
        )
    return found or PullPolicy.MISSING


def _capabilities(value: Value, place: Place, findings: Findings) -> tuple[str, ...]:
    """Without `CAP_`, in upper case, sorted."""
    if value is None:
        return ()
    found: set[str] = set()
    for given in values.texts(value, place, findings, "[NET_BIND_SERVICE]"):
        match = _CAPABILITY.match(given.text.upper())
        if match is None:
            findings.add(given.place, f"{quote(given.text)} is no capability")
        else:
            found.add(match[1])
    return tuple(sorted(found))


def _groups(value: Value, place: Place, findings: Findings) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        findings.add(place, f"must be a list, for example [audio], not {values.kind_of(value)}")
        return ()
    given = [values.scalar(item, (*place, i), findings) for i, item in enumerate(value)]
    return tuple(sorted({one.text for one in given if one is not None}))


def _security(value: Value, place: Place, findings: Findings) -> bool:
    found = False
    if value is None:
        return False
    for given in values.texts(value, place, findings, '["no-new-privileges:true"]'):
        if given.text.replace("=", ":") in ("no-new-privileges:true", "no-new-privileges"):
            found = True
        elif given.text.replace("=", ":") != "no-new-privileges:false":
            findings.add(
                given.place,
                f"{quote(given.text)} is not supported: only no-new-privileges:true is; the "
                "engine's own profiles stay in force",
            )
    return found


def _logging(value: Value, place: Place, findings: Findings) -> tuple[tuple[str, str], ...]:
    if value is None:
        return ()
    content = values.as_map(value, place, findings, "{driver: local}")
    if content is None:
        return ()
    values.unknown_keys(content, {"driver": None, "options": None}, place, findings)
    driver = content.get("driver", "json-file")
    if driver not in _DRIVERS:
        word = driver if isinstance(driver, str) else ""
        findings.add(
            (*place, "driver"),
            f"must be {', '.join(_DRIVERS[:-1])} or {_DRIVERS[-1]}, whose output the engine gives "
            f"back, not {values.kind_of(driver)}{findings.hint(word, _DRIVERS)}",
        )
        return ()
    found = {"driver": str(driver)}
    options = content.get("options")
    for name, item in (
        (values.as_map(options, (*place, "options"), findings, "{max-size: 10m}") or {}).items()
        if options is not None
        else ()
    ):
        given = values.scalar(item, (*place, "options", name), findings)
        if given is not None:
            found[f"options.{name}"] = given.text
    return tuple(sorted(found.items()))


def _is_check_off(healthcheck: Value) -> bool:
    """Does the template say it itself? What it says is read with the probes."""
    if not isinstance(healthcheck, dict):
        return False
    is_disabled = healthcheck.get("disable") in (True, "true")
    return is_disabled or healthcheck.get("test") is not None


def _signal(value: Value, place: Place, findings: Findings) -> str | None:
    """As `SIGTERM`, or a number."""
    if value is None:
        return None
    given = values.scalar(value, place, findings)
    match = _SIGNAL.match(given.text.upper()) if given is not None else None
    if match is None:
        findings.add(place, f"must be a signal, for example SIGINT, not {values.kind_of(value)}")
        return None
    name = match[1]
    return name if name.isdigit() else f"SIG{name}"
