"""`gateway run`: open what a gateway needs, be its supervisor, give all of it back.

Or go on with what the program that ran in this process before has handed over; or say
whether that would be possible.

Exit codes: 0 stopped; 1 children kept failing before the gateway was ever up;
2 refused to start. Both failures print one line on stderr.
"""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

from . import handover, logs, marks, resources, systemd, upgrade
from .cpus import usable_cpus
from .errors import StartRefused
from .handover import Handover
from .prctl import become_subreaper
from .programs import PROGRAMS, Programs
from .resources import Resources
from .settings import Settings
from .signals import SignalQueue
from .supervisor import EXIT_REFUSED, SIGNALS, Supervisor
from .systemd import Notifier
from .watch import Patience

LEFTOVERS_S = (1.0, 3.0)
"""How long a former gateway's backends may take to end: by TERM, then by KILL."""
PATIENCE = Patience()


def run(
    settings: Settings,
    config_path: Path | None,
    programs: Programs = PROGRAMS,
    patience: Patience = PATIENCE,
) -> int:
    """Be the gateway until told to stop; gives the exit code. Only in the main thread."""
    if upgrade.is_check(os.environ):
        return upgrade.check(config_path)
    logs.set_up("supervisor")
    # First of all, so that no signal can end a half-made start.
    signals = SignalQueue(SIGNALS)
    signals.release()
    manager = Notifier.take(os.environ)
    try:
        handed = upgrade.taken(os.environ)
        held, settings = _begin(settings) if handed is None else _go_on(handed)
        try:
            supervisor = Supervisor(
                settings, config_path, programs, patience, held, signals, manager, handed
            )
            gc.freeze()
            gc.enable()
            code, why = supervisor.run()
        finally:
            held.close()
    except StartRefused as refused:
        code, why = EXIT_REFUSED, str(refused)
    finally:
        signals.close()
    if why is not None:
        print(f"gateway: {why}", file=sys.stderr, flush=True)
    return code


def _begin(settings: Settings) -> tuple[Resources, Settings]:
    """Open what a gateway needs; all of a former one is gone then."""
    slots = settings.workers if isinstance(settings.workers, int) else usable_cpus()
    held = resources.open_resources(settings, slots, systemd.take_sockets(os.environ))
    become_subreaper()
    os.environ.pop(marks.VARIABLE, None)  # our children are nobody's backends
    marks.end_leftovers(held.home, *LEFTOVERS_S)
    return held, settings


def _go_on(handed: Handover) -> tuple[Resources, Settings]:
    """Take what the former program held, and the settings as they were checked for this one."""
    try:
        return resources.adopt(handed.resources), upgrade.settings_of(handed)
    except handover.UnknownForm as unknown:
        raise StartRefused(str(unknown)) from None
