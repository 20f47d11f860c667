"""The messages between supervisor, workers and control process, one function each.

They return plain JSON objects for `link.encode`; `T` names their types for the
reader. Times are seconds unless said otherwise.

    supervisor -> worker    cover, drain, settings, reopen
    worker -> supervisor    beat, ready, leaving, drained
    supervisor -> control   processes, roster, settings, reopen, stop
    control -> supervisor   beat, ready, fatal, launch, halt
    worker -> control       hello, applied, ejection
    control -> worker       snapshot
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum

import msgspec
import orjson

from gateway.core.snapshot import Delta, delta_to_wire

from .settings import Settings, from_json

Json = dict[str, object]


class T(StrEnum):
    """Message types: the value of `t`."""

    COVER = "cover"
    DRAIN = "drain"
    SETTINGS = "settings"
    REOPEN = "reopen"
    BEAT = "beat"
    READY = "ready"
    LEAVING = "leaving"
    DRAINED = "drained"
    ROSTER = "roster"
    PROCESSES = "processes"
    LAUNCH = "launch"
    HALT = "halt"
    STOP = "stop"
    FATAL = "fatal"
    HELLO = "hello"
    APPLIED = "applied"
    EJECTION = "ejection"
    SNAPSHOT = "snapshot"


class WorkerState(StrEnum):
    """Where a worker slot stands, as the roster tells it."""

    STARTING = "starting"
    SERVING = "serving"
    DRAINING = "draining"
    DEAD = "dead"


def cover(slots: Collection[int]) -> Json:
    """Accept for exactly these foreign slots as well."""
    return {"t": T.COVER, "slots": sorted(slots)}


def drain(lame_duck_s: float, deadline_s: float, *, is_replaced: bool = False) -> Json:
    """Stop: go on accepting for `lame_duck_s`, then finish work for at most `deadline_s`.

    A worker that is replaced accepts no more: another one does in its place.
    """
    return {
        "t": T.DRAIN,
        "lame_duck": lame_duck_s,
        "deadline": deadline_s,
        "is_replaced": is_replaced,
    }


def settings(value: Settings) -> Json:
    """The settings from now on (`settings_of` is the inverse)."""
    return {"t": T.SETTINGS, "settings": msgspec.to_builtins(value)}


def settings_of(message: dict[str, object]) -> Settings:
    """The settings inside a `settings` message."""
    return from_json(orjson.dumps(message["settings"]))


def reopen() -> Json:
    """Reopen log files."""
    return {"t": T.REOPEN}


def beat(generation: int = 0) -> Json:
    """Alive; `generation` is the snapshot being served (0: none, or not a worker)."""
    return {"t": T.BEAT, "generation": generation}


def ready() -> Json:
    """Started: a worker accepts, the control process answers."""
    return {"t": T.READY}


def leaving() -> Json:
    """A worker was told to stop by somebody else and asks for its `drain`."""
    return {"t": T.LEAVING}


def drained(cut: int) -> Json:
    """Drained; `cut` connections had to be cut at the deadline."""
    return {"t": T.DRAINED, "cut": cut}


def roster(workers: Sequence[Json], generation: int) -> Json:
    """All worker slots (`roster.Roster.rows`) and the highest generation any worker served."""
    return {"t": T.ROSTER, "workers": list(workers), "generation": generation}


def processes(rows: Sequence[Json], ended: Sequence[Json]) -> Json:
    """All backends, and those that have ended since the last such message.

    A row has what its `launch` had (`id`, `service`, `note`), `pid`, `started_unix` and
    `state` (running, stopping). An end has the same three, `code`, `lived_s`,
    `ended_unix`, whether it was `halted`, and `error` when it never began.
    """
    return {"t": T.PROCESSES, "rows": list(rows), "ended": list(ended)}


def launch(
    backend: str,
    service: str,
    *,
    note: Json,
    command: Sequence[str],
    env: Mapping[str, str],
    cwd: str | None,
    log: str,
    grace_s: float,
) -> Json:
    """Start a process, once for an id; the control process finds `note` again in the table."""
    return {
        "t": T.LAUNCH,
        "id": backend,
        "service": service,
        "note": note,
        "command": list(command),
        "env": dict(env),
        "cwd": cwd,
        "log": log,
        "grace_s": grace_s,
    }


def halt(backend: str, grace_s: float) -> Json:
    """End a process: TERM to its group, KILL after `grace_s`."""
    return {"t": T.HALT, "id": backend, "grace_s": grace_s}


def stop() -> Json:
    """The control process ends; all workers are gone."""
    return {"t": T.STOP}


def fatal(message: str) -> Json:
    """The control process cannot start whatever is tried; exits with 2 after it."""
    return {"t": T.FATAL, "message": message}


def hello(slot: int, pid: int, generation: int, session: str) -> Json:
    """A worker opens a session; `session` is the last one it applied from ("": none)."""
    return {"t": T.HELLO, "slot": slot, "pid": pid, "generation": generation, "session": session}


def applied(generation: int, session: str) -> Json:
    """The worker serves this generation from now on."""
    return {"t": T.APPLIED, "generation": generation, "session": session}


def ejection(instance: str, seconds: float, reason: str) -> Json:
    """The worker ejected an instance for `seconds` from now."""
    return {"t": T.EJECTION, "instance": instance, "seconds": seconds, "reason": reason}


def snapshot(session: str, delta: Delta) -> Json:
    """What turns what the worker has into what it shall serve."""
    return {"t": T.SNAPSHOT, "session": session, "delta": delta_to_wire(delta)}
