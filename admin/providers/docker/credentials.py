"""Who the gateway is to a registry, by Docker's own configuration file.

`auths` with user and password or a token, `credHelpers` and `credsStore` with programs
that are asked (`docker-credential-NAME get`). What is found goes into one header of one
question to the Engine; it is in no log and no error text.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import logging
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

HUB = "https://index.docker.io/v1/"
HELPER_S = 10.0
_HELPER = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")
_BYTES_MAX = 1 << 20


def registry_of(image: str) -> str:
    """Where an image comes from, as the file calls it."""
    first, slash, _ = image.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost"):
        return HUB
    return HUB if first in ("docker.io", "index.docker.io") else first


def config_file(setting: str | None, environment: Mapping[str, str]) -> Path:
    """Where Docker's file is."""
    if setting is not None:
        return Path(setting)
    folder = environment.get("DOCKER_CONFIG")
    return Path(folder or Path(environment.get("HOME", "/")) / ".docker") / "config.json"


async def auth_header(file: Path, image: str) -> str | None:
    """The value of `X-Registry-Auth` for an image; None: nobody in particular."""
    config = await asyncio.to_thread(_read, file)
    registry = registry_of(image)
    found = await _by_helper(config, registry) or _by_file(config, registry)
    if found is None:
        return None
    return base64.urlsafe_b64encode(json.dumps(found).encode()).decode()


def _read(file: Path) -> Mapping[str, Any]:
    try:
        with open(file, "rb") as opened:
            found = json.loads(opened.read(_BYTES_MAX))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        # A text of the JSON reader does not quote what it read.
        log.warning("%s is not used, as it cannot be read: %s", file, error)
        return {}
    return found if isinstance(found, dict) else {}


def _by_file(config: Mapping[str, Any], registry: str) -> dict[str, str] | None:
    auths = config.get("auths")
    for key, entry in auths.items() if isinstance(auths, dict) else ():
        if _same(key, registry) and isinstance(entry, dict):
            return _entry(entry, registry)
    return None


def _entry(entry: Mapping[str, Any], registry: str) -> dict[str, str] | None:
    token = entry.get("identitytoken")
    if isinstance(token, str) and token:
        return {"identitytoken": token, "serveraddress": registry}
    user, password = entry.get("username"), entry.get("password")
    both = entry.get("auth")
    if isinstance(both, str) and both:
        with suppress(ValueError, binascii.Error):
            user, _, password = base64.b64decode(both).decode().partition(":")
    if not isinstance(user, str) or not isinstance(password, str) or not user:
        return None
    return {"username": user, "password": password.rstrip("\0"), "serveraddress": registry}


def _same(key: str, registry: str) -> bool:
    """Keys may be hosts or old addresses, `https://host/v1/`."""

    def host(text: str) -> str:
        return text.removeprefix("https://").removeprefix("http://").partition("/")[0]

    return host(key) == host(registry)


async def _by_helper(config: Mapping[str, Any], registry: str) -> dict[str, str] | None:
    helpers = config.get("credHelpers")
    by_host = helpers if isinstance(helpers, dict) else {}
    name = next((h for key, h in by_host.items() if _same(key, registry)), None)
    name = name or config.get("credsStore")
    if not isinstance(name, str) or not _HELPER.match(name):
        return None
    answer = await _ask(f"docker-credential-{name}", registry)
    user, secret = answer.get("Username"), answer.get("Secret")
    if not isinstance(user, str) or not isinstance(secret, str):
        return None
    if user == "<token>":
        return {"identitytoken": secret, "serveraddress": registry}
    return {"username": user, "password": secret, "serveraddress": registry}


async def _ask(program: str, registry: str) -> Mapping[str, Any]:
    """What a helper answers; nothing when it does not."""
    try:
        process = await asyncio.create_subprocess_exec(
            program,
            "get",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={k: v for k, v in os.environ.items() if not k.startswith("GATEWAY_")},
        )
    except (OSError, ValueError) as error:
        log.warning("%s cannot be asked for credentials: %s", program, error)
        return {}
    try:
        async with asyncio.timeout(HELPER_S):
            out, _ = await process.communicate(registry.encode())
    except TimeoutError:
        log.warning("%s does not answer within %.0f s", program, HELPER_S)
        return {}
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    try:
        found = json.loads(out)
    except ValueError:
        return {}  # it says `credentials not found` in words
    return found if isinstance(found, dict) else {}
