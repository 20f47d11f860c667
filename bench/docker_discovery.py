"""Containers that others start and stop: how soon are they routed, and is any request lost?

On a private Docker Engine (`tests/support/docker_engine.py`), which takes most of these times
itself: it is told apart where that can be. The gateway has one worker and is asked over a
new connection every 2 ms.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support.docker_compose import serving
from tests.support.docker_engine import BUSYBOX, Engine, NoEngineError, why_not
from tests.support.load import Load

from .gateway import Gateway, ask, gateway, prepare
from .procfs import proportional_bytes
from .programs import Program
from .results import Figure, Findings, Scope, Skipped
from .stats import percentile

TIMES = 50
QUICK_TIMES = 3
CONTAINERS = 100
QUICK_CONTAINERS = 5
LOOK_S = 0.002
GRACE_S = 20
HTTPD = ("sh", "-c", "mkdir /w && echo hello > /w/index.html; exec httpd -f -p 80 -h /w")


def run(scope: Scope) -> Findings:
    """See the module."""
    with engine() as docker:
        settings = {"docker": {"socket": docker.url}}
        times = QUICK_TIMES if scope.quick else TIMES
        folder = _folder(scope, "runs")
        with gateway(folder, 1, providers=settings) as front:
            ran = _runs(scope, docker, front, times)
            docker.clear()
            stopped = _stops(scope, docker, front, times)
            docker.clear()
        found = _many(scope, docker, QUICK_CONTAINERS if scope.quick else CONTAINERS)
    return Findings((*ran[0], *stopped[0], *found[0]), {**ran[1], **stopped[1], **found[1]})


@contextmanager
def engine() -> Iterator[Engine]:
    """A Docker Engine, or a word on why there is none."""
    if (reason := why_not()) is not None:
        raise Skipped(reason)
    try:
        found = Engine()
    except NoEngineError as error:
        raise Skipped(f"no Docker daemon comes up here: {error}") from None
    try:
        yield found
    finally:
        found.close()


Part = tuple[tuple[Figure, ...], dict[str, object]]


def _runs(scope: Scope, docker: Engine, front: Gateway, times: int) -> Part:
    """From `docker run` to the first answer of the container's route."""
    whole, after = [], []
    for number in range(1 + times):
        scope.say(f"docker run, {number}")
        host = f"run{number}.localhost"
        began = time.monotonic()
        docker.run(BUSYBOX, *HTTPD, labels={"gateway.routing.port_80": host})
        told = time.monotonic()
        while ask(front.port, host)[0] != 200:
            time.sleep(LOOK_S)
        if number:  # the first one has the Engine load what it needs
            whole.append(time.monotonic() - began)
            after.append(time.monotonic() - told)
    return (
        (
            *_figures("docker run to the first routed request", whole),
            *_figures("of it after docker run had returned", after),
        ),
        {"run_s": whole, "after_run_s": after},
    )


def _stops(scope: Scope, docker: Engine, front: Gateway, times: int) -> Part:
    """From `docker stop` to the last request that was sent to the container, under load."""
    host = "stop.localhost"
    labels = {"gateway.routing.port_80": host, "gateway.service": "web"}

    def begin() -> str:
        return docker.run(docker.python, *serving(), labels=labels)

    def wait_up(count: int) -> None:
        while True:
            answer = front.api.call("GET", "/api/v1/services/docker%2Fweb", accept=(200, 404))
            if [i["state"] for i in answer.get("instances", ())].count("up") == count:
                return
            time.sleep(LOOK_S)

    going = [begin(), begin()]
    wait_up(2)
    seconds: list[float] = []
    failed = answered = 0
    for number in range(times):
        scope.say(f"docker stop, {number + 1}")
        container = going.pop(0)
        load = Load(front.port, host, keeping=4, per_request=4, pause_s=0.02, keep_bodies=True)
        with load:
            load.wait_answers(50)
            began = time.monotonic()
            docker("stop", "--time", str(GRACE_S), container)
            load.wait_answers(50)
        name = container[:12].encode()
        starts = [r.start for r in load.records if r.body == name]
        seconds.append(max(0.0, max(starts, default=began) - began))
        failed += sum(r.failure is not None for r in load.records)
        answered += len(load.records)
        docker("rm", container)
        going.append(begin())
        wait_up(2)
    return (
        (
            *_figures("docker stop to the last request routed there", seconds),
            Figure("failed requests", failed, promise=0, note=f"of {answered:,}, {times} stops"),
        ),
        {"stop_s": seconds},
    )


def _many(scope: Scope, docker: Engine, count: int) -> Part:
    """From the start of a gateway until all of many containers are routed, and what it takes."""
    hosts = [f"many{number}.localhost" for number in range(count)]
    for number, host in enumerate(hosts):
        scope.say(f"container {number + 1} of {count}")
        docker.run(BUSYBOX, *HTTPD, labels={"gateway.routing.port_80": host})
    _, _, bare, _ = _start(_folder(scope, "bare"), {}, ())
    scope.say("the gateway beside them")
    settings = {"docker": {"socket": docker.url}}
    answered, serving_s, taken, seconds = _start(_folder(scope, "many"), settings, hosts)
    name = f"{count} containers"
    return (
        (
            Figure(f"{name}, start of the gateway to all routed", answered, "s"),
            Figure("of it until the gateway served", serving_s, "s"),
            Figure(f"{name}, memory of the control process", taken / 1e6, "MB", note="PSS"),
            Figure("the same without Docker", bare / 1e6, "MB", note="PSS"),
        ),
        {"many_s": seconds},
    )


def _start(
    folder: Path, providers: Mapping[str, object], hosts: Sequence[str]
) -> tuple[float, float, int, list[float]]:
    """When all hosts answered and when it served, seconds; memory of control; when each answered."""
    prepared = prepare(folder, workers=1, providers=providers)
    began = time.monotonic()
    with Program(prepared.command, folder / "gateway.log", cwd=folder) as program:
        front = Gateway(program, prepared.port, prepared.admin_port, 1)
        front.wait_serving()
        serving_s = time.monotonic() - began
        seconds = []
        for host in hosts:
            while ask(front.port, host)[0] != 200:
                time.sleep(LOOK_S)
            seconds.append(time.monotonic() - began)
        answered = time.monotonic() - began
        front.wait_calm(1.0)
        control = front.control_pid()
        assert control is not None
        return answered, serving_s, proportional_bytes(control), seconds


def _figures(name: str, seconds: Sequence[float]) -> tuple[Figure, Figure]:
    ordered = sorted(seconds)
    note = f"of {len(ordered)}"
    return (
        Figure(f"{name}, p50", percentile(ordered, 50), "s", note=note),
        Figure(f"{name}, p99", percentile(ordered, 99), "s"),
    )


def _folder(scope: Scope, name: str) -> Path:
    folder = scope.folder / name
    folder.mkdir()
    return folder
