"""What stands between this process and a Unix socket, with the way out.

Knows nothing of what is asked of the Engine. Looked at when a connection failed: what is
told is how it is then.
"""

from __future__ import annotations

import os
import stat


def obstacle(path: str) -> str | None:
    """Why nobody can connect to the socket `path`; None: it does not show, or nothing."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return "there is no such socket: does the Engine run, is its socket mounted here?"
    except PermissionError:
        return f"user {os.geteuid()} may not look into the folder of the socket"
    except OSError:
        return None
    if stat.S_ISDIR(found.st_mode):
        return (
            "this is a folder and no socket: Docker makes one where what a container is to mount "
            "is missing; does the Engine run, and where is its socket?"
        )
    if not stat.S_ISSOCK(found.st_mode):
        return "this is a file and no socket"
    if not os.access(path, os.R_OK | os.W_OK, effective_ids=True):
        return (
            f"user {os.geteuid()} may not use it: the user must be in its group {found.st_gid} "
            f"(for a container: --group-add {found.st_gid}; with compose.yaml: "
            f"DOCKER_GID={found.st_gid})"
        )
    return None
