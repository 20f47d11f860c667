"""The networks of a container, and the names it knows: networks, extra_hosts, dns."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from ipaddress import ip_address

from gateway.core.container import Network
from gateway.core.names import quote

from . import values
from .mounts import Named
from .plain import Value
from .problems import Findings, Place

DEFAULT = "default"
"""The network that compose gives every service: here that of the configuration."""
HOST_GATEWAY = "host-gateway"
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?\Z")


def read_networks(
    value: Value, place: Place, known: Mapping[str, Named], findings: Findings
) -> tuple[Network, ...]:
    """`[front, back]`, or a map with `aliases`; sorted by name."""
    if value is None:
        return ()
    found: dict[str, Network] = {}
    for key, item, where in _items(value, place, findings):
        aliases = _aliases(item, where, findings)
        named = known.get(key)
        if key == DEFAULT and named is None:
            if aliases:
                findings.add(where, "containers have no names on the configuration's network")
            continue
        if named is None:
            findings.add(
                where,
                f"there is no network {quote(key)} under `networks` at the top of the template"
                f"{findings.hint(key, known)}",
            )
            continue
        found[named.name] = Network(named.name, aliases, named.is_external, named.is_internal)
    return tuple(found[name] for name in sorted(found))


def _items(value: Value, place: Place, findings: Findings) -> Iterator[tuple[str, Value, Place]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield key, item, (*place, key)
        return
    for given in values.texts(value, place, findings, "[front, back]"):
        yield given.text, None, given.place


def _aliases(value: Value, place: Place, findings: Findings) -> tuple[str, ...]:
    if value is None:
        return ()
    content = values.as_map(value, place, findings, "{aliases: [db]}")
    if content is None:
        return ()
    for key in content:
        if key == "priority":
            findings.warn((*place, key), "has no effect here: the networks are joined by name")
        elif key in ("ipv4_address", "ipv6_address", "link_local_ips", "mac_address"):
            findings.add((*place, key), "several instances cannot have one address; remove it")
        elif key != "aliases" and not key.startswith("x-"):
            findings.add((*place, key), f"unknown key{findings.hint(key, ('aliases', 'priority'))}")
    if content.get("aliases") is None:
        return ()
    given = values.texts(content["aliases"], (*place, "aliases"), findings, "[db]")
    for one in given:
        if not _HOST.match(one.text):
            findings.add(one.place, f"{quote(one.text)} is no name of a host")
    return tuple(sorted({one.text for one in given}))


def read_extra_hosts(value: Value, place: Place, findings: Findings) -> tuple[tuple[str, str], ...]:
    """A map, or a list of `name=address` or `name:address`, sorted."""
    if value is None:
        return ()
    found: set[tuple[str, str]] = set()
    pairs: list[tuple[str, Value, Place]] = []
    if isinstance(value, dict):
        pairs += ((name, item, (*place, name)) for name, item in value.items())
    else:
        for given in values.texts(value, place, findings, "['db=10.0.0.7']"):
            host, sign, rest = given.text.partition("=" if "=" in given.text else ":")
            if sign:
                pairs.append((host, rest, given.place))
            else:
                findings.add(given.place, f"{quote(given.text)}: name=address is expected")
    for name, item, where in pairs:
        for address in item if isinstance(item, list) else [item]:
            if not _HOST.match(name):
                findings.add(where, f"{quote(name)} is no name of a host")
            elif (one := _address(address)) is None:
                findings.add(
                    where,
                    f"must be an IP address or {HOST_GATEWAY}, not {values.kind_of(address)}",
                )
            else:
                found.add((name, one))
    return tuple(sorted(found))


def _address(value: Value) -> str | None:
    if value == HOST_GATEWAY:
        return HOST_GATEWAY
    try:
        return str(ip_address(str(value).strip().removeprefix("[").removesuffix("]")))
    except ValueError:
        return None


def read_words(value: Value, place: Place, findings: Findings) -> tuple[str, ...]:
    """One text or a list of texts, in order: `dns`, `dns_search`, `dns_opt`."""
    if value is None:
        return ()
    if isinstance(value, str):
        one = values.text(value, place, findings)
        return () if one is None else (one,)
    return tuple(given.text for given in values.texts(value, place, findings, "[10.0.0.2]"))


def read_dns(value: Value, place: Place, findings: Findings) -> tuple[str, ...]:
    """Addresses of name servers."""
    words = read_words(value, place, findings)
    for word in words:
        try:
            ip_address(word)
        except ValueError:
            findings.add(place, f"{quote(word)} is no IP address of a name server")
    return words
