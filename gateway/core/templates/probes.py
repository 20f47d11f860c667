"""How a service is checked: the labels `probe.*`, or compose's `healthcheck`.

Without either there is a TCP check of the first routed port (no `Check` at all: the
model's default), and for a service without routes none but that it runs.
"""

from __future__ import annotations

import re
from dataclasses import replace

from gateway.core.model import Check, CheckKind
from gateway.core.names import quote
from gateway.core.spelling import request_target

from . import keys, labels, values
from .labels import Labels
from .plain import Map, Value
from .problems import Findings, Place
from .values import Given

RETRIES_MAX = 1000
SHELL = ("/bin/sh", "-c")

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/:?#]*)(?::([^/?#]*))?(.*)\Z", re.DOTALL)
_HOST = "container"
_EXAMPLES = "http://container:8080/health or tcp://container:3306"


def read_check(
    own: Labels,
    healthcheck: Value,
    place: Place,
    findings: Findings,
    *,
    is_routed: bool,
    is_launched: bool,
) -> Check | None:
    """The check of a service; None: the default. `place` is the healthcheck's."""
    by_labels = _by_labels(own, findings, is_routed)
    by_key = None if healthcheck is None else _by_key(healthcheck, place, findings, is_routed)
    has_probe = labels.PROBE_URL in own.single or labels.PROBE_CMD in own.single
    has_times = labels.PROBE_TIMEOUT in own.single or labels.PROBE_DELAY in own.single
    if by_key is not None and has_probe and by_key.kind is not CheckKind.RUNNING:
        findings.add(place, "there is a probe among the labels too; keep one of them")
    elif by_key is not None and not has_probe and has_times:
        findings.add(place, "the labels have times of a probe too; write them here")
    check = by_labels if has_probe or by_key is None else by_key
    if check is not None and check.kind is CheckKind.COMMAND and not is_launched:
        where = own.single[labels.PROBE_CMD].place if has_probe else place
        findings.add(
            where,
            f"a program can only be run beside instances that the gateway starts; use {_EXAMPLES}",
        )
    if check is None and not is_routed:
        return Check(kind=CheckKind.RUNNING)
    return None if check == Check() else check


def _by_labels(own: Labels, findings: Findings, is_routed: bool) -> Check | None:
    url, cmd = own.single.get(labels.PROBE_URL), own.single.get(labels.PROBE_CMD)
    check: Check | None = None
    if url is not None and cmd is not None:
        findings.add(cmd.place, "there is a probe.url too; a service has one probe")
    elif url is not None:
        check = _of_url(url, findings)
    elif cmd is not None:
        check = _of_command(cmd, findings)
    times: dict[str, float] = {}
    if (given := own.single.get(labels.PROBE_TIMEOUT)) is not None:
        timeout_s = values.seconds(given, findings)
        if timeout_s is not None:
            times["timeout_s"] = timeout_s
    if (given := own.single.get(labels.PROBE_DELAY)) is not None:
        delay_s = values.seconds(given, findings, or_zero=True)
        if delay_s is not None:
            times["initial_delay_s"] = delay_s
    if url is None and cmd is None:
        if not times:
            return None
        if not is_routed:
            for name in (labels.PROBE_TIMEOUT, labels.PROBE_DELAY):
                if name in own.single:
                    findings.warn(
                        own.single[name].place,
                        "has no effect: there is no probe, and no routed port to check",
                    )
            return None
    return replace(
        check or Check(),
        timeout_s=times.get("timeout_s"),
        initial_delay_s=times.get("initial_delay_s", 0.0),
    )


def _of_url(given: Given, findings: Findings) -> Check | None:
    try:
        return parse_url(given.text.strip())
    except ValueError as error:
        findings.add(given.place, str(error))
        return None


def parse_url(text: str) -> Check:
    """`http://container:8080/path` or `tcp://container:3306`; raises `ValueError`."""
    found = _URL.match(text)
    if found is None:
        raise ValueError(f"{quote(text)} is no address; write {_EXAMPLES}")
    scheme, name, digits, target = found.groups()
    kinds = {"http": CheckKind.HTTP, "tcp": CheckKind.TCP}
    kind = kinds.get(scheme.lower())
    if kind is None:
        raise ValueError(f"a check is made with http or tcp, not with {quote(scheme)}")
    if name != _HOST:
        raise ValueError(
            f"the host of a probe is the word {_HOST!r}, which stands for each instance, "
            f"not {quote(name)}: {scheme}://{_HOST}..."
        )
    if digits is None and kind is CheckKind.TCP:
        raise ValueError("a tcp probe needs a port, tcp://container:3306")
    port = 80
    if digits is not None:
        if not (digits.isascii() and digits.isdigit() and len(digits) <= 5):
            raise ValueError(f"{quote(digits)} is no port, a number from 1 to 65535 is expected")
        port = int(digits)
    if not 1 <= port <= 65535:
        raise ValueError(f"{port} is no port, a number from 1 to 65535 is expected")
    if kind is CheckKind.TCP:
        if target not in ("", "/"):
            raise ValueError("a tcp probe has no path")
        return Check(kind=kind, port=port)
    if target.startswith("?"):
        target = f"/{target}"
    return Check(kind=kind, port=port, path=request_target(target or "/"))


def _of_command(given: Given, findings: Findings) -> Check | None:
    words = values.split(given.text, given.place, findings)
    if words is None:
        return None
    if not words or not words[0]:
        findings.add(given.place, "names no program, for example /check.sh --quick")
        return None
    return Check(kind=CheckKind.COMMAND, command=words)


def _by_key(value: Value, place: Place, findings: Findings, is_routed: bool) -> Check | None:
    """What `healthcheck` says; None where it is wrong or says nothing."""
    content = values.as_map(value, place, findings, "{test: [CMD, /check.sh]}")
    if content is None:
        return None
    values.unknown_keys(content, dict.fromkeys(keys.HEALTHCHECK), place, findings)
    times: dict[str, float | None] = {
        key: values.duration(content[key], (*place, key), findings, or_zero=key == "start_period")
        for key in ("interval", "timeout", "start_period")
        if content.get(key) is not None
    }
    if "start_interval" in content:
        findings.warn((*place, "start_interval"), "has no effect here: `interval` is all there is")
    fall = None
    if content.get("retries") is not None:
        given = values.scalar(content["retries"], (*place, "retries"), findings)
        fall = None if given is None else values.whole(given, 1, RETRIES_MAX, findings)
    command = _test(content, place, findings)
    if command == ():
        return Check(kind=CheckKind.RUNNING)
    if command is None and not is_routed:
        return None
    return Check(
        kind=CheckKind.TCP if command is None else CheckKind.COMMAND,
        interval_s=times.get("interval"),
        timeout_s=times.get("timeout"),
        fall=fall,
        initial_delay_s=times.get("start_period") or 0.0,
        command=command or (),
    )


def _test(content: Map, place: Place, findings: Findings) -> tuple[str, ...] | None:
    """The program to run; `()`: no check at all is wanted; None: nothing is said of it."""
    if (off := content.get("disable")) is not None:
        given = values.scalar(off, (*place, "disable"), findings)
        if given is not None and values.boolean(given, findings):
            if "test" in content:
                findings.add((*place, "disable"), "there is a test too; keep one of them")
            return ()
    test, where = content.get("test"), (*place, "test")
    if test is None:
        return None
    if isinstance(test, str):
        line = values.text(test, where, findings)
        return None if line is None else (*SHELL, line)
    if not isinstance(test, list):
        findings.add(where, f"must be a list or text, not {values.kind_of(test)}")
        return None
    words = [given.text for given in values.texts(test, where, findings, "[CMD, /check.sh]")]
    match words:
        case ["NONE"]:
            return ()
        case ["CMD", program, *rest]:
            return (program, *rest)
        case ["CMD-SHELL", line]:
            return (*SHELL, line)
    if len(words) == len(test):
        findings.add(where, "begins with CMD and a program, with CMD-SHELL and a line, or is NONE")
    return None
