"""How names may be spelt: services, hosts, paths, endpoints, cookies.

Text in, normal form out, `ValueError` with the reason otherwise: whoever knows the
place makes a problem of it. The same rules hold for templates and for the API.

A host in normal form is what the routing table compares bytes with: lower case,
no port, no trailing dot.
"""

from __future__ import annotations

import ipaddress
import re

from .model import BY_HAND, Endpoint

NAME_MAX = 128
HOST_MAX = 253
PATH_MAX = 1024
HTTPS = "https://"
HTTPS_PORT = 443

_NAME = re.compile(r"[A-Za-z0-9._-]+\Z")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\Z")
# RFC 3986, 3.3: pchar, whole percent-triplets only
_SEGMENT = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})*\Z")
_DOT = re.compile(r"(?:\.|%2[eE]){1,2}\Z")
# RFC 6265, 4.1.1: a cookie's name is a token (RFC 9110, 5.6.2)
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+\Z")


def plain_name(text: str) -> str:
    """A name of letters, digits and `._-`, as it is."""
    if not text or len(text) > NAME_MAX:
        raise ValueError(f"a name has 1 to {NAME_MAX} characters, this one {len(text)}")
    if not _NAME.match(text):
        raise ValueError("a name consists of A-Z a-z 0-9 . _ -")
    if not text.strip("."):
        raise ValueError("a name is more than dots")
    return text


def service_name(text: str) -> str:
    """A service's or application's name, as it is."""
    if text == BY_HAND:
        raise ValueError(
            f"{BY_HAND} alone stands for the application of services registered by hand; "
            "choose another name"
        )
    return plain_name(text)


def host(text: str) -> str:
    """A host to publish under: exact, `*.suffix`, an IP address, or a bare prefix."""
    name = text.lower()
    if not name:
        raise ValueError("a host is not empty")
    if name.startswith("["):
        return _address_v6(name)
    if "/" in name:
        raise ValueError("a host without scheme and path; the path has a key of its own")
    if ":" in name:
        raise ValueError(
            "a host without a port (routes do not depend on it; `port` is the container's)"
        )
    if name.endswith("."):
        raise ValueError("a host without the trailing dot")
    bare = name
    if name.startswith("*"):
        bare = name.removeprefix("*.")
        if bare == name or not bare:
            raise ValueError("a wildcard has the form *.suffix")
    _labels(bare)
    return name


def path_prefix(text: str) -> str:
    """A path prefix in normal form: `/` or `/a/b` without the slash at its end."""
    if len(text) > PATH_MAX:
        raise ValueError(f"a path has at most {PATH_MAX} characters, this one {len(text)}")
    if not text.startswith("/"):
        raise ValueError("a path starts with /")
    if "?" in text or "#" in text:
        raise ValueError("a path without query and fragment")
    trimmed = text[:-1] if text.endswith("/") else text
    for segment in trimmed.split("/")[1:]:
        if not segment:
            raise ValueError("a path without empty segments (//)")
        if _DOT.match(segment):
            raise ValueError("a path without dot segments (. and ..)")
        if not _SEGMENT.match(segment):
            raise ValueError("a path of letters, digits, -._~!$&'()*+,;=:@ and whole %XX only")
    return trimmed or "/"


def endpoint(text: str) -> Endpoint:
    """`host:port`, `1.2.3.4:80`, `[::1]:80`; with `https://` in front also without a port."""
    address = text[len(HTTPS) :] if text[: len(HTTPS)].lower() == HTTPS else text
    is_https = address is not text
    if "/" in address:
        raise ValueError("an endpoint has the form host:port or https://host:port, without a path")
    name, colon, digits = address.rpartition(":")
    if is_https and (not colon or digits.endswith("]")):
        name, colon, digits = address, ":", str(HTTPS_PORT)
    if not colon or not name:
        raise ValueError("an endpoint has the form host:port")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 5):
        raise ValueError("the port is a number from 1 to 65535")
    port = int(digits)
    if not 1 <= port <= 65535:
        raise ValueError("the port is a number from 1 to 65535")
    name = name.lower()
    if name.startswith("["):
        return Endpoint(_address_v6(name)[1:-1], port, is_https)
    if ":" in name:
        raise ValueError("an IPv6 address stands in brackets: [::1]:80")
    _labels(name.removesuffix("."))
    return Endpoint(name, port, is_https)


def server_name(text: str) -> str:
    """What a certificate may be for: a host name or an IP address."""
    name = text.lower().removesuffix(".")
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        _labels(name)
        return name


def request_target(text: str) -> str:
    """What a check asks for: a path that may have a query, as it is sent."""
    if not text.startswith("/"):
        raise ValueError("a path starts with /")
    if len(text) > PATH_MAX:
        raise ValueError(f"a path has at most {PATH_MAX} characters, this one {len(text)}")
    if any(c <= " " or c >= "\x7f" or c == "#" for c in text):
        raise ValueError("a path has no blanks, control characters, fragment or non-ASCII")
    return text


def cookie_name(text: str) -> str:
    """A name a cookie may have."""
    if len(text) > NAME_MAX or not _TOKEN.match(text):
        raise ValueError(f"a cookie's name is a token of at most {NAME_MAX} characters")
    return text


def route_parts(text: str) -> tuple[str, str]:
    """`shop.example/api` -> `("shop.example", "/api")`, each in normal form."""
    name, slash, rest = text.partition("/")
    return host(name), path_prefix(slash + rest) if rest else "/"


def _labels(name: str) -> None:
    if not name.isascii():
        raise ValueError("a host in ASCII; write other letters in their xn-- form")
    if len(name) > HOST_MAX:
        raise ValueError(f"a host has at most {HOST_MAX} characters, this one {len(name)}")
    labels = name.split(".")
    if not all(_LABEL.match(label) for label in labels):
        raise ValueError(
            "a host consists of labels of 1 to 63 letters, digits, - or _, joined by dots"
        )
    if labels[-1].isdigit():
        # RFC 1123, 2.1: a name whose last label is a number would be read as an address
        try:
            ipaddress.IPv4Address(name)
        except ValueError:
            raise ValueError("this is neither an IPv4 address nor a host name") from None


def _address_v6(text: str) -> str:
    try:
        if not text.endswith("]") or "%" in text:
            raise ValueError
        return f"[{ipaddress.IPv6Address(text[1:-1])}]"
    except ValueError:
        raise ValueError("this is no IPv6 address in brackets") from None
