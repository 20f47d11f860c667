"""What do clients notice when workers and the control process are killed (SIGKILL)?

Before a worker is killed it is stopped for the moment it takes to read which
connections are its own, so that "in flight on it" is a fact and not a guess. The
next victim is drawn at random; a worker is only killed while another one serves,
but the control process may be killed while a worker is being replaced, and the
other way round.
"""

from __future__ import annotations

import http.client
import os
import random
import signal
import time

from . import procfs
from .gateway import Gateway, Refused
from .load import Load
from .records import Kill, judge
from .results import Figure, Findings, Scope
from .stage import FRESH, HOST, KEPT, SERVICES, WORKERS, stage
from .stats import percentile

KILLS = 20
QUICK_KILLS = 6
PAUSE_S = (0.05, 1.0)
CONTROL = "control process"
SEED = 20
_AWAY = (Refused, OSError, http.client.HTTPException)


class Killer:
    """Kills processes of a gateway and writes down what they held.

    Workers are known from /proc, as the API is away at times. One that replaces
    another counts as serving once a connection of a client is its own.
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def kill(self, role: str) -> Kill:
        """Kill whoever has that role, once that leaves somebody to serve."""
        while True:
            pid = self._find(role)
            if pid is not None:
                break
            time.sleep(0.02)
        if role == CONTROL:
            now = time.monotonic()
            os.kill(pid, signal.SIGKILL)
            return Kill(role, now, now, frozenset())
        os.kill(pid, signal.SIGSTOP)
        stopped = time.monotonic()
        ports = procfs.client_ports(pid, self._gateway.port)
        killed = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        return Kill(role, stopped, killed, ports)

    def _find(self, role: str) -> int | None:
        if role == CONTROL:
            return self._gateway.control_pid()
        try:
            serving = self._gateway.api.serving()
        except _AWAY:
            return None
        slot = int(role.rpartition(" ")[2])
        others = [pid for other, pid in serving.items() if other != slot and _is_alive(pid)]
        return serving.get(slot) if others and _is_alive(serving.get(slot, 0)) else None


def _is_alive(pid: int) -> bool:
    return bool(pid) and bool(procfs.command_line(pid))


def order(count: int, seed: int = SEED) -> list[str]:
    """Who is killed when: each role about equally often, in random order."""
    roles = [CONTROL, *(f"worker {slot}" for slot in range(WORKERS))]
    victims = (roles * (count // len(roles) + 1))[:count]
    random.Random(seed).shuffle(victims)
    return victims


def run(scope: Scope) -> Findings:
    """See the module."""
    drawn = random.Random(SEED)
    kills: list[Kill] = []
    with stage(scope) as scene, Load(scene.plan()) as load:
        scene.gateway.api.set_weights(HOST, dict(zip(SERVICES, (90, 10), strict=True)))
        killer = Killer(scene.gateway)
        for role in order(QUICK_KILLS if scope.quick else KILLS):
            kills.append(killer.kill(role))
            scope.say(f"{len(kills)} killed")
            time.sleep(drawn.uniform(*PAUSE_S))
        scene.gateway.wait_serving()
        records = load.stop()
        backend = scene.backends.by
    verdicts = judge(records, kills)
    seconds = records.seconds()
    of_control = sum(kill.role == CONTROL for kill in kills)
    return Findings(
        (
            Figure(
                "kills",
                len(kills),
                note=f"{of_control} of the control process, {len(kills) - of_control} of workers",
            ),
            Figure(
                "requests",
                len(records),
                note=f"{KEPT} kept connections, {FRESH} clients with a new one each",
            ),
            Figure(
                "failed, not in flight on the killed process",
                verdicts.failed,
                promise=0,
                note="or answered later than 1 s",
            ),
            Figure(
                "cut in flight on the killed process",
                verdicts.in_flight,
                note=f"the killed workers held {sum(len(k.ports) for k in kills)} connections",
            ),
            Figure("sent on a connection the kill had closed", verdicts.reused),
            Figure("requests, p99", 1e3 * percentile(seconds, 99), "ms"),
            Figure("requests, longest answer", 1e3 * max(seconds), "ms"),
        ),
        {
            "backend": backend,
            "requests_per_s": round(records.per_second),
            "order": [kill.role for kill in kills],
            "stopped_ms": [round(1e3 * (k.killed - k.stopped), 2) for k in kills],
            "connections_of_killed": [len(k.ports) for k in kills],
            "late": verdicts.late,
        },
    )
