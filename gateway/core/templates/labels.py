"""The gateway's labels of a service, each under the prefix `aliyun.` or `gateway.`.

Labels of others (`com.example.team`) are theirs and pass without a word. A label
under one of the two prefixes, or nearly so, is meant for the gateway: it is read, or
it is one of the original's that have no effect here, or it is a mistake.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.core.names import quote

from .plain import Value
from .problems import Findings, Place, is_nearly
from .values import Given, as_text, pairs, scalar

PREFIXES = ("gateway.", "aliyun.")
ORIGINAL = "aliyun."

PORT = "routing.port_"
COEXIST = "routing.coexist"
STICKY = "routing.session_sticky"
SCALE = "scale"
PROBE_URL = "probe.url"
PROBE_CMD = "probe.cmd"
PROBE_TIMEOUT = "probe.timeout_seconds"
PROBE_DELAY = "probe.initial_delay_seconds"
DEPENDS = "depends"

UNDERSTOOD: Mapping[str, str] = {
    "routing.port_<container port>": "the routes this port serves: "
    "`[http://]<host or prefix>[:<context path>][;more]`",
    COEXIST: "`true`: may join a route that another service holds, with weight 0",
    STICKY: "`false`: the routes keep no sessions",
    SCALE: "how many instances",
    PROBE_URL: "the check: `http://container:<port>/<path>` or `tcp://container:<port>`",
    PROBE_CMD: "the check: a program that ends with 0",
    PROBE_TIMEOUT: "how long a check may take",
    PROBE_DELAY: "how long after its start an instance is first checked",
    DEPENDS: "services of the template, joined by commas, that must be healthy before the "
    "first start",
}

WITHOUT_EFFECT: Mapping[str, str] = {
    "rolling_updates": "versions run side by side, whatever it says",
    "rolling_updates.parallelism": "versions run side by side, whatever it says",
    "global": "there is one machine; `scale` says how many instances",
    "latest_image": "nothing is pulled",
    "lb.port_*": "there is no load balancer in front; routes stand in `routing.port_*`",
    "auto_scaling.*": "scaling is the operator's: `scale`",
    "logs": "output goes to files, see `gateway logs`",
    "log_store_*": "output goes to files, see `gateway logs`",
    "log_ttl_*": "output goes to files, see `gateway logs`",
    "custom_addon": "the gateway is the proxy",
    "proxy.*": "the gateway is the proxy; routes stand in `routing.port_*`",
}

_AUTO_SCALING = ("max_cpu", "min_cpu", "step", "max_instances", "min_instances")
_SETS: Mapping[str, re.Pattern[str]] = {
    "lb.port_*": re.compile(r"lb\.port_[0-9]+"),
    "auto_scaling.*": re.compile(rf"auto_scaling\.(?:{'|'.join(_AUTO_SCALING)})"),
    "log_store_*": re.compile(r"log_store_\S+"),
    "log_ttl_*": re.compile(r"log_ttl_\S+"),
    "proxy.*": re.compile(r"proxy\.[A-Za-z_]+"),
}
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_DIGITS = re.compile(r"[0-9]+\Z")
_EXACT = frozenset(
    {*(k for k in UNDERSTOOD if "<" not in k), *(k for k in WITHOUT_EFFECT if "*" not in k)}
)


@dataclass(slots=True)
class Labels:
    """The gateway's labels of a service, by what stands behind the prefix."""

    single: dict[str, Given] = field(default_factory=dict)
    ports: dict[int, Given] = field(default_factory=dict)
    """`routing.port_<n>` by n."""
    others: dict[str, str] = field(default_factory=dict)
    """Those of others, by their whole name."""


def read_labels(value: Value, place: Place, findings: Findings) -> Labels:
    """Read `labels`."""
    found = Labels()
    for name, item, where in pairs(value, place, findings):
        suffix = _suffix(name)
        if suffix is None:
            _of_others(name, item, where, found, findings)
        elif (why := _without_effect(name, suffix)) is not None:
            findings.warn(where, f"has no effect here: {why}")
        elif (given := _given(name, suffix, item, where, findings)) is not None:
            _keep(found, suffix, given, findings)
    return found


def _suffix(name: str) -> str | None:
    """What stands behind one of the prefixes."""
    return next((name.removeprefix(p) for p in PREFIXES if name.startswith(p)), None)


def _without_effect(name: str, suffix: str) -> str | None:
    if not name.startswith(ORIGINAL):
        return None
    key = next((k for k, pattern in _SETS.items() if pattern.fullmatch(suffix)), suffix)
    return WITHOUT_EFFECT.get(key)


def _given(name: str, suffix: str, item: Value, where: Place, findings: Findings) -> Given | None:
    if suffix.startswith(PORT):
        digits = suffix.removeprefix(PORT)
        if not _PORT.fullmatch(digits) or int(digits) > 65535:
            findings.add(
                where,
                f"{quote(digits)} is no port: the label is {name.removesuffix(suffix)}{PORT}"
                "<container port>, with a number from 1 to 65535",
            )
            return None
    elif suffix not in UNDERSTOOD or "<" in suffix:
        findings.add(where, f"there is no label {quote(name)}{_hint(name, suffix, findings)}")
        return None
    if item is None:
        findings.add(where, "has no value")
        return None
    return scalar(item, where, findings)


def _keep(found: Labels, suffix: str, given: Given, findings: Findings) -> None:
    """Keep a label; under the other prefix it may stand again, with the same value."""
    if suffix.startswith(PORT):
        earlier = found.ports.setdefault(int(suffix.removeprefix(PORT)), given)
    else:
        earlier = found.single.setdefault(suffix, given)
    if earlier.text != given.text:
        for one, other in ((earlier, given), (given, earlier)):
            findings.add(
                one.place,
                f"{quote(one.text)} here and {quote(other.text)} under the other prefix; keep one",
            )


def _of_others(name: str, item: Value, where: Place, found: Labels, findings: Findings) -> None:
    """Somebody else's label, unless it is ours but for its beginning."""
    if isinstance(item, dict | list):
        scalar(item, where, findings)
        return
    found.others[name] = as_text(item)
    first, dot, rest = name.partition(".")
    if not dot:
        return
    ours = (name, _stem(name)) if first in ("routing", "probe") else (rest, _stem(rest))
    if not any(o in _EXACT or o == PORT for o in ours):
        return
    if ours[0] == name:
        findings.add(where, f"labels of the gateway begin with gateway. (or aliyun.){_mean(name)}")
    elif near := _near_prefix(first):
        findings.add(where, f"there is no label {quote(name)}; did you mean {quote(near + rest)}?")


def _mean(name: str) -> str:
    return f"; did you mean {quote('gateway.' + name)}?"


def _stem(name: str) -> str:
    """`routing.port_80` -> `routing.port_`."""
    return _DIGITS.sub("", name)


def _near_prefix(word: str) -> str | None:
    """The prefix that `word` is nearly."""
    return next((p for p in PREFIXES if is_nearly(word, p.removesuffix("."))), None)


def _hint(name: str, suffix: str, findings: Findings) -> str:
    prefix = name.removesuffix(suffix)
    digits = _DIGITS.search(suffix)
    known = [prefix + k for k in UNDERSTOOD if "<" not in k]
    known.append(f"{prefix}{PORT}{digits[0] if digits else '80'}")
    if prefix == ORIGINAL:
        known += [prefix + k for k in WITHOUT_EFFECT if "*" not in k]
        known += [f"{prefix}auto_scaling.{k}" for k in _AUTO_SCALING]
    return findings.hint(name, known) or f"; known: {', '.join(prefix + k for k in UNDERSTOOD)}"
