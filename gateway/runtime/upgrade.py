"""Another program in place of the running supervisor: the same process, without a pause in service.

    USR2 -> the new program checks configuration and handover, in a child
         -> execve, in place: pid, children, descriptors, lock and memory stay
         -> its workers start beside the former ones and get ready
         -> the former workers drain; the control process is replaced

This module has the first two steps and the first moment of the third; what follows is
the supervisor's. The check is the very command that is executed then, told by a variable
that it is only asked: so also its command line, interpreter and modules are found fit. Nothing is changed before the check has passed, and an execve that
fails changes nothing either. From then on the former workers serve until all
new ones do, however long that takes.

Signals are blocked from the last look at them to the new program's first: none is lost,
and none can end a process that is half another one.
"""

from __future__ import annotations

import base64
import importlib
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import orjson
from msgspec import structs

from . import handover
from .configuration import BadConfiguration, load, refused_changes
from .errors import StartRefused
from .handover import Handover, UnknownForm
from .messages import WorkerState
from .reload import needs_restart
from .settings import Settings, from_json, to_json

VARIABLE = "GATEWAY_HANDOVER"
"""The descriptor of the document."""
CHECK_VARIABLE = "GATEWAY_HANDOVER_CHECK"
"""The program is only asked whether it would take over."""
CHECK_S = 30.0
"""How long a check may take."""
REASONS_MAX = 50
MODULES = ("gateway.runtime.running", "gateway.runtime.worker", "admin.main", "admin.api.app")
"""With what they import: all that a gateway needs."""


_FOREIGN = (
    f"what {VARIABLE} names was not left to this process; start the gateway without that variable"
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the new program said: the settings as it reads them, or why it won't take over."""

    settings: handover.Json | None
    reasons: tuple[str, ...] = ()


class Check:
    """The new program in a child, asked whether it would take over.

    Raises `OSError` when it cannot be started.
    """

    def __init__(self, command: Sequence[str], offer: Handover, now_s: float) -> None:
        self._kill_by_s = now_s + CHECK_S
        self._is_late = False
        self._said = _memory("gateway-check")
        self._reasons = _memory("gateway-reasons")
        document = _document(offer)
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                command,
                stdin=subprocess.DEVNULL,
                stdout=self._said,
                stderr=self._reasons,
                env={**os.environ, VARIABLE: str(document), CHECK_VARIABLE: "1"},
                pass_fds=(document,),
                start_new_session=True,
            )
        except BaseException:
            self._close()
            raise
        finally:
            os.close(document)

    @property
    def pid(self) -> int:
        """Safe to signal until it is reaped."""
        return self._process.pid

    def look(self, now_s: float) -> None:
        """Kill it when it takes too long."""
        if now_s >= self._kill_by_s and not self._is_late:
            self._is_late = True
            os.kill(self.pid, signal.SIGKILL)

    def ended(self, code: int) -> Verdict:
        """It was reaped: what it has said."""
        self._process.returncode = code
        said, reasons = _all_of(self._said), _all_of(self._reasons)
        self._close()
        if code == 0:
            try:
                return Verdict(orjson.loads(said))
            except ValueError:
                return Verdict(None, ("the check of the new program gave no settings",))
        if self._is_late:
            return Verdict(None, (f"the check took longer than {CHECK_S:.0f} s",))
        lines = reasons.decode("utf-8", "replace").strip().splitlines()
        # Of a traceback the end is what tells something.
        return Verdict(None, tuple(lines[-REASONS_MAX:] or [f"the check ended with {code}"]))

    def kill(self) -> None:
        """End it now and wait for that."""
        self._process.kill()
        self._process.wait()
        self._close()

    def _close(self) -> None:
        os.close(self._said)
        os.close(self._reasons)


def replace_program(command: Sequence[str], environ: Mapping[str, str], offer: Handover) -> str:
    """Become another program, which `taken` tells of the offer. Returns only to say why not."""
    fds = list(offer.fds())
    try:
        fds.append(_document(offer))
    except OSError as error:
        return f"no memory for what is to be handed over: {error.strerror}"
    try:
        for fd in fds:
            os.set_inheritable(fd, True)
        os.execve(command[0], list(command), {**environ, VARIABLE: str(fds[-1])})  # noqa: S606
    except (OSError, ValueError) as error:
        for fd in fds:
            with suppress(OSError):
                os.set_inheritable(fd, False)
        os.close(fds[-1])
        return f"{command[0]} cannot be started: {getattr(error, 'strerror', None) or error}"


def is_under_way(environ: Mapping[str, str]) -> bool:
    """Does this program take over, or is it asked to? It then reads no configuration before."""
    return VARIABLE in environ


def is_check(environ: Mapping[str, str]) -> bool:
    """Is this program only asked whether it would (`check`)?"""
    return is_under_way(environ) and CHECK_VARIABLE in environ


def taken(environ: MutableMapping[str, str]) -> Handover | None:
    """What the former program hands over; None: there was none.

    Raises `StartRefused` for what cannot be read (the check would have said so before).
    """
    text = environ.pop(VARIABLE, None)
    if text is None:
        return None
    try:
        found = _read(text)
    except UnknownForm as unknown:
        raise StartRefused(str(unknown)) from None
    _take(found)
    return found


def _take(found: Handover) -> None:
    """Make sure that it is about this very process: another one's pids are not to be signalled.

    Raises `StartRefused`.
    """
    backends = found.processes.backends
    pids = [child.pid for child in found.children]
    pids += (backend.pid for backend in backends if not backend.has_ended)
    try:
        for fd in found.fds():
            os.set_inheritable(fd, False)
        if not all(stat.S_ISSOCK(os.fstat(fd).st_mode) for fd in found.sockets()):
            raise StartRefused(_FOREIGN)
        for pid in pids:
            # Also one that has ended: nobody has reaped it.
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        for child in found.children:
            WorkerState(child.state)
            for text in (child.unread, child.unsent):
                base64.b64decode(text, validate=True)
    except (OSError, OverflowError, ValueError):
        raise StartRefused(_FOREIGN) from None
    # Of these only the group may be left; 1 and less would mean everybody.
    if any(backend.pid <= 1 for backend in backends):
        raise StartRefused(_FOREIGN)


def settings_of(offer: Handover) -> Settings:
    """The settings in it. Raises `UnknownForm` for those of another version."""
    try:
        return from_json(orjson.dumps(offer.settings))
    except (TypeError, KeyError, ValueError):
        raise UnknownForm(
            "the settings of the running gateway have keys that this version does not know; "
            "stop the gateway and start this version"
        ) from None


def check(config_path: Path | None, modules: Iterable[str] = MODULES) -> int:
    """Be the check: print the settings and give 0, or print the reasons on stderr and give 1."""
    reasons: list[str] = []
    for name in modules:
        try:
            importlib.import_module(name)
        except Exception as error:  # whatever is wrong with a program, it is no use
            reasons.append(f"{name} cannot be loaded: {type(error).__name__}: {error}")
    settings = None
    try:
        settings = load(config_path) if config_path is not None else Settings()
    except BadConfiguration as bad:
        reasons += (f"{bad.source}: {problem}" for problem in bad.problems)
    try:
        current = settings_of(_read(os.environ.get(VARIABLE, "")))
    except UnknownForm as unknown:
        reasons.append(str(unknown))
    else:
        # Workers are all started anew.
        if settings is not None and (
            keys := refused_changes(
                structs.replace(current, transport=settings.transport), settings
            )
        ):
            reasons.append(needs_restart(str(config_path or "the default"), keys))
    if reasons or settings is None:
        print("\n".join(reasons), file=sys.stderr)
        return 1
    sys.stdout.buffer.write(to_json(settings))
    return 0


def _read(text: str) -> Handover:
    try:
        fd = int(text)
        with open(fd, "rb") as file:
            file.seek(0)
            return handover.decode(file.read())
    except (OSError, ValueError):
        raise UnknownForm("what the running gateway hands over cannot be read") from None


def _document(offer: Handover) -> int:
    fd = _memory("gateway-handover")
    with open(fd, "wb", closefd=False) as file:
        file.write(handover.encode(offer))
    return fd


def _memory(name: str) -> int:
    return os.memfd_create(name, os.MFD_CLOEXEC)


def _all_of(fd: int) -> bytes:
    return os.pread(fd, os.fstat(fd).st_size, 0)
