"""Applications of small programs on a whole gateway, and an operator who insists.

    with Gateway(folder, **backends()) as gateway:
        shop = Operator(gateway, "shop")
        release = shop.deploy({"web-v1": service("shop.example", scale=2)})
        shop.wait(release, "confirmed")
        assert_settled(gateway, {"web-v1": 2})

What runs is looked up in the system's process table, by the mark that all processes of
a gateway's services have, whoever their parent is.
"""

from __future__ import annotations

import http.client
import itertools
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from gateway.runtime import marks

from . import processes
from .gateway import Answer, Gateway

PROGRAM = Path(__file__).with_name("backend.py")
IMAGE = "program"
PORTS = 100
PATIENCE_S = 40.0
POLL_S = 0.02
LOOK_S = 0.1
OVER = ("confirmed", "rolled_back")
_AWAY = (OSError, http.client.HTTPException)
_keys = itertools.count()


def backends(**process: object) -> dict[str, Any]:
    """The configuration for services whose image is `IMAGE`, checked often; with `PORTS` ports."""
    first_port = random.Random().randrange(20_000, 32_000 - PORTS)
    images = {
        IMAGE: {"command": ["${PYTHON}", "-I", "-S", str(PROGRAM)]},
        "missing": {"command": ["/no/such/program"]},
    }
    ports = [first_port, first_port + PORTS - 1]
    process = {"images": images, "ports": ports, "stop_grace": 5, **process}
    return {"providers": {"process": process}, "checks": {"interval": 0.2, "fall": 2}}


def service(
    route: str = "",
    *,
    name: str = "",
    mode: str = "serves",
    image: str = IMAGE,
    scale: int = 1,
    probe: str = "http://container:80/health",
    environment: Mapping[str, object] | None = None,
    **more: object,
) -> dict[str, Any]:
    """A service of a template; by default it works. `route` empty: on none."""
    labels: dict[str, object] = {"gateway.scale": scale, "gateway.probe.url": probe}
    if route:
        labels |= {"gateway.routing.port_80": route, "gateway.routing.coexist": True}
    told = {"MODE": mode, "NAME": name or mode, **(environment or {})}
    return {"image": image, "environment": told, "labels": labels, **more}


class Operator:
    """Releases one application; asks again, with the same key, when an answer is lost."""

    def __init__(self, gateway: Gateway, application: str) -> None:
        self.gateway = gateway
        self.application = application
        self._path = f"applications/{quote(application, safe='')}"

    def post(
        self, template: object, query: str = "", key: str | None = None, raw: bytes | None = None
    ) -> Answer:
        """Deploy, insisting on an answer."""
        headers = {"Idempotency-Key": key} if key else {}
        return self.insist("POST", f"{self._path}/releases{query}", template, headers, raw)

    def deploy(self, template: object, query: str = "") -> str:
        """Begin a release; its id, which is the same however often it is asked for."""
        key = f"deploy-{next(_keys)}"
        answer = self.post(template, query, key)
        assert answer.status in (200, 201, 202), answer
        again = self.post(template, query, key)
        assert again.json["id"] == answer.json["id"], (answer, again)
        assert again.headers.get("Idempotency-Replayed") == "true", again
        return str(answer.json["id"])

    def shift(self, release: str, percent: float) -> None:
        headers = {"Idempotency-Key": f"shift-{next(_keys)}"}
        answer = self.insist("POST", f"releases/{release}/shift", {"new": percent}, headers)
        assert answer.status in (200, 202), answer

    def decide(self, release: str, verb: str) -> None:
        """Confirm (`confirm?smooth=true`) or roll back, and wait until it has begun.

        When an answer was lost with its control process, the repetition is told how far
        it is by now. Refusals for instances that are not well just now are waited out.
        """
        headers = {"Idempotency-Key": f"decide-{next(_keys)}"}
        goal = ("rolling_back", "rolled_back") if verb == "rollback" else ("confirming", OVER[0])
        end = time.monotonic() + PATIENCE_S
        while True:
            answer = self.insist("POST", f"releases/{release}/{verb}", None, headers)
            if answer.status in (200, 202):
                return
            problem = answer.json
            if problem["code"] == "illegal_transition" and problem["phase"] in goal:
                return
            assert problem["code"] == "no_healthy_instance", answer
            assert time.monotonic() < end, answer
            time.sleep(POLL_S)

    def show(self) -> Any:
        return self.get(self._path)

    def release(self, release: str) -> Any:
        return self.get(f"releases/{release}")

    def wait(self, release: str, phase: str) -> Any:
        """The release once it is in that phase; fails as soon as it has ended otherwise."""
        end = time.monotonic() + PATIENCE_S
        while (found := self.release(release))["phase"] != phase:
            assert found["phase"] not in OVER, found
            assert time.monotonic() < end, found
            time.sleep(POLL_S)
        return found

    def wait_ready(self) -> None:
        """Wait until all instances of all services are healthy."""
        end = time.monotonic() + PATIENCE_S
        while [s for s in self.show()["services"] if s["ready"] != s["scale"]]:
            assert time.monotonic() < end, self.show()
            time.sleep(POLL_S)

    def get(self, path: str) -> Any:
        answer = self.insist("GET", path)
        assert answer.status == 200, answer
        return answer.json

    def insist(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        raw: bytes | None = None,
    ) -> Answer:
        """The answer, once there is one of a gateway that is ready."""
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                answer = self.gateway.api(method, path, body, raw=raw, headers=headers)
                if answer.status != 503:
                    return answer
                why: object = answer
            except _AWAY as error:
                why = error
            assert time.monotonic() < end, (method, path, why)
            time.sleep(POLL_S)


# --- what runs -------------------------------------------------------------------------


def running(gateway: Gateway) -> dict[int, str]:
    """All processes of a gateway's services, whoever their parent is: pid to instance."""
    wanted = f"{marks.VARIABLE}={marks.home_of(gateway.state)}:".encode()
    return {
        int(entry): found
        for entry in os.listdir("/proc")
        if entry.isdigit() and (found := _marked(int(entry), wanted))
    }


def pids(gateway: Gateway, service: str) -> list[int]:
    """The processes of a service, by its short name; the youngest last."""
    return sorted(pid for pid, id in running(gateway).items() if _name(id) == service)


def assert_settled(gateway: Gateway, wanted: Mapping[str, int], *applications: str) -> None:
    """Wait until exactly so many instances of exactly these services run and are healthy.

    They are the same ones in the API's words and in the process table, each one process
    and a child of the supervisor; no release of the applications is in flight.
    """
    end = time.monotonic() + PATIENCE_S
    while why := _unsettled(gateway, wanted, applications):
        assert time.monotonic() < end, f"{why}\n{gateway.log[-4000:]}"
        time.sleep(POLL_S)


def _unsettled(
    gateway: Gateway, wanted: Mapping[str, int], applications: Collection[str]
) -> object:
    """What is not as it should be."""
    told: list[str] = []
    for name in applications:
        try:
            answer = gateway.api("GET", f"applications/{quote(name, safe='')}")
        except _AWAY as error:
            return error
        if answer.status != 200:
            return answer
        found = answer.json
        if found["release"] is not None:
            return found["release"]
        for each in found["services"]:
            ids = [instance["id"] for instance in each["instances"]]
            if each["colour"] or each["leaving"] or not each["ready"] == each["scale"] == len(ids):
                return each
            told += ids
    there = running(gateway)
    counts = Counter(map(_name, there.values()))
    if counts != Counter(wanted) or sorted(there.values()) != sorted(told):
        return f"wanted {dict(wanted)}, the API tells {told}, there are {there}"
    if strangers := there.keys() - set(processes.children(gateway.supervisor)):
        return f"no children of the supervisor: {strangers}"
    return None


def _name(instance: str) -> str:
    """The short name of an instance's service."""
    return instance.partition("@")[0].rpartition("/")[2]


def _marked(pid: int, wanted: bytes) -> str:
    try:
        entries = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return ""
    return next((e[len(wanted) :].decode() for e in entries if e.startswith(wanted)), "")


class Doubles:
    """Looks all the time for services that have more processes than they should."""

    def __init__(self, gateway: Gateway, most: int) -> None:
        self.found: list[Counter[str]] = []
        self._gateway = gateway
        self._most = most
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="doubles")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_over.set()
        self._thread.join()
        if error is None:
            assert not self.found

    def _look(self) -> None:
        while not self._is_over.wait(LOOK_S):
            counts = Counter(map(_name, running(self._gateway).values()))
            if counts and max(counts.values()) > self._most:
                self.found.append(counts)
