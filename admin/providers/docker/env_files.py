"""The files of variables that templates may name: those in folders of the configuration."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

BYTES_MAX = 1 << 20


def env_file(path: str, folders: Sequence[str]) -> str:
    """The text of a file; a relative path is looked for in every folder.

    Raises `FileNotFoundError`, or `ValueError` that says why it may not or cannot be read.
    """
    if not folders:
        raise ValueError(
            "no files of the sender are read; write the variables under `environment`, or put the "
            "file into a folder of providers.docker.env_files"
        )
    allowed = [Path(folder).resolve() for folder in folders]
    is_allowed = False
    for folder in allowed:
        try:
            # Links are followed before anything is decided.
            found = (folder / path).resolve()
            if not any(found.is_relative_to(one) for one in allowed):
                continue
            is_allowed = True
            with open(found, "rb", opener=_open) as file:
                return _text(file.read(BYTES_MAX + 1))
        except FileNotFoundError:
            continue
        except (OSError, RuntimeError) as error:
            raise ValueError(f"cannot be read: {getattr(error, 'strerror', error)}") from None
    if not is_allowed:
        raise ValueError(f"only files in {', '.join(map(str, allowed))} may be named here")
    raise FileNotFoundError(path)


def _open(path: str, flags: int) -> int:
    """Nothing is followed any more, and nothing waited for."""
    return os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)


def _text(data: bytes) -> str:
    if len(data) > BYTES_MAX:
        raise ValueError(f"has more than {BYTES_MAX} bytes")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8") from None
    if "\0" in text:
        raise ValueError("has NUL characters")
    return text
