"""Files of variables (`env_file`): their text, in the form compose reads.

The files are on the gateway's machine; who may read which is decided by who gives
`EnvFiles`. Their values become part of the definition of the service, as if they stood
under `environment`.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from . import values
from .plain import Map, Value
from .problems import Findings, Place

EnvFiles = Callable[[str], str]
"""The text of a file. Raises `FileNotFoundError`, or `ValueError` that says why not."""

_LINE = re.compile(r"(?:export\s+)?([^\s=#'\"]+)\s*(?:=\s*(.*))?\Z", re.DOTALL)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$"}


def no_files(path: str) -> str:
    """None may be read."""
    raise ValueError("no files of the sender are read; write the variables under `environment`")


def read_env_files(
    value: Value, place: Place, files: EnvFiles, findings: Findings
) -> dict[str, str]:
    """The variables of all files; later ones go before."""
    if value is None:
        return {}
    found: dict[str, str] = {}
    items = value if isinstance(value, list) else [value]
    for index, item in enumerate(items):
        where = (*place, index) if isinstance(value, list) else place
        is_required, path = True, item
        if isinstance(item, dict):
            is_required, path = _long(item, where, findings)
        text = values.text(path, where, findings)
        if text is None:
            continue
        try:
            found.update(_read(files(text), where, findings))
        except FileNotFoundError:
            if is_required:
                findings.add(where, "there is no such file on the gateway's machine")
        except ValueError as error:
            findings.add(where, str(error))
    return found


def _long(content: Map, place: Place, findings: Findings) -> tuple[bool, Value]:
    values.unknown_keys(content, dict.fromkeys(("path", "required", "format")), place, findings)
    if content.get("format") is not None:
        findings.add((*place, "format"), "is not supported: files are read as compose reads them")
    required = content.get("required")
    is_required = True
    if required is not None:
        given = values.scalar(required, (*place, "required"), findings)
        is_required = given is None or values.boolean(given, findings) is not False
    return is_required, content.get("path")


def _read(text: str, place: Place, findings: Findings) -> dict[str, str]:
    found: dict[str, str] = {}
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        bare = line.strip()
        if not bare or bare.startswith("#"):
            continue
        match = _LINE.match(bare)
        if match is None:
            findings.add(place, f"line {number} of the file is not like NAME=value")
        elif match[2] is None:
            findings.add(
                place,
                f"line {number} of the file has no value, and the gateway's own environment is "
                "not passed on",
            )
        else:
            given = _value(match[2], number, place, findings)
            if given is not None:
                found[match[1]] = given
    return found


def _value(raw: str, number: int, place: Place, findings: Findings) -> str | None:
    """What stands behind the sign; the text itself never goes into a message."""
    if raw[:1] == "'" or raw[:1] == '"':
        mark = raw[0]
        end = re.match(r"'([^']*)'" if mark == "'" else r'"((?:[^"\\]|\\.)*)"', raw)
        if end is None or ((rest := raw[end.end() :].strip()) and not rest.startswith("#")):
            findings.add(place, f"line {number} of the file: the quotes do not end where they must")
            return None
        if mark == "'":
            return end[1]
        raw = re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[0]), end[1])
    else:
        raw = re.split(r"\s#", raw, maxsplit=1)[0].rstrip()
    if re.search(r"(?<!\$)(?:\$\$)*\$(?:\{|[A-Za-z_])", raw):
        findings.add(
            place,
            f"line {number} of the file has a variable, which is not filled in; write the value "
            "in single quotes, or $$ for a dollar sign",
        )
        return None
    return raw.replace("$$", "$")
