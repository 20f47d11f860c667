"""The application hello of the article in containers: how long does a whole blue-green release take?

Both services are replaced at once, three containers of serviceA and two of serviceB by as many new
ones: the article's first template and its last, forth and back. The programs are the article's,
Flask's development server with its reloader, two processes a container; most of the time until
all are ready is their start. Under load, which calls serviceB and through it, and the gateway,
serviceA.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from tests.support.article import TEMPLATES
from tests.support.article_images import build_hello
from tests.support.load import Load

from .docker_discovery import engine
from .gateway import API, Gateway, gateway
from .results import Figure, Findings, Scope
from .stats import percentile

RELEASES = 10
QUICK_RELEASES = 2
APPLICATION = "hello"
HOST = "serviceb.localhost"
OLD, NEW = "hello-1-initial.yaml", "hello-3-backend-release.yaml"
LOOK_S = 0.01
PATIENCE_S = 120.0


@dataclass
class Passages:
    """How long the parts of each release took, seconds."""

    ready: list[float] = field(default_factory=list)
    shift: list[float] = field(default_factory=list)
    removed: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)


def run(scope: Scope) -> Findings:
    """See the module."""
    passages = Passages()
    count = QUICK_RELEASES if scope.quick else RELEASES
    folder = scope.folder / "hello"
    folder.mkdir()
    with engine() as docker:
        scope.say("building the images")
        build_hello(docker)
        settings = {
            "entrypoints": {"internal": {"listen": f"{docker.address}:80", "internal": True}},
            "providers": {"docker": {"socket": docker.url}},
        }
        with gateway(folder, 1, **settings) as front:
            began = time.monotonic()
            wait(front, deploy(front, OLD), "confirmed")
            first_s = time.monotonic() - began
            load = Load(front.port, HOST, keeping=4, per_request=4, pause_s=0.2, late_s=5.0)
            with load:
                load.wait_answers(50)
                for number in range(count):
                    scope.say(f"release {number + 1} of {count}")
                    release(front, (NEW, OLD)[number % 2], passages)
                load.wait_answers(50)
        docker.clear()
    failed = sum(record.failure is not None for record in load.records)
    note = f"median of {count}"
    return Findings(
        (
            Figure("first deployment, 3 + 2 containers", first_s, "s"),
            Figure("blue-green release, 3 + 2", percentile(passages.whole, 50), "s", note=note),
            Figure("of it until all are ready", percentile(passages.ready, 50), "s", note=note),
            Figure("of it moving all traffic", percentile(passages.shift, 50), "s", note=note),
            Figure(
                "of it confirmation: drained, stopped, removed",
                percentile(passages.removed, 50),
                "s",
                note=note,
            ),
            Figure("failed requests", failed, promise=0, note=f"of {len(load.records):,}"),
        ),
        {
            "ready_s": passages.ready,
            "shift_s": passages.shift,
            "removed_s": passages.removed,
            "whole_s": passages.whole,
        },
    )


def release(front: Gateway, template: str, passages: Passages) -> None:
    """One, from the call that begins it to the end of the last old container."""
    began = time.monotonic()
    name = deploy(front, template)
    wait(front, name, "pending_confirmation")
    ready = time.monotonic()
    front.api.call("POST", f"{API}/releases/{name}/shift", {"new": 100})
    shifted = time.monotonic()
    front.api.call("POST", f"{API}/releases/{name}/confirm", accept=(200, 202))
    wait(front, name, "confirmed")
    over = time.monotonic()
    passages.ready.append(ready - began)
    passages.shift.append(shifted - ready)
    passages.removed.append(over - shifted)
    passages.whole.append(over - began)


def deploy(front: Gateway, template: str) -> str:
    """Begin a release; its id."""
    content = yaml.safe_load(Path(TEMPLATES / template).read_text())
    path = f"{API}/applications/{APPLICATION}/releases"
    return str(front.api.call("POST", path, content)["id"])


def wait(front: Gateway, name: str, phase: str) -> None:
    """Wait until a release is in that phase. Raises `TimeoutError`."""
    end = time.monotonic() + PATIENCE_S
    while (found := front.api.call("GET", f"{API}/releases/{name}"))["phase"] != phase:
        if time.monotonic() > end:
            raise TimeoutError(f"{name}: {found['phase']}, {found['waiting_for']}")
        time.sleep(LOOK_S)
