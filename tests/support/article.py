"""The article's applications as somebody deals with them who releases them, and what must be true then.

Whoever launches the instances, processes or containers: nothing here knows.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.gateway import Admin, Answer, Gateway, Visitor
from tests.support.load import Load, judge
from tests.support.processes import wait_until

CONFIG = Path(__file__).parents[2] / "config"
TEMPLATES = CONFIG / "templates"


@dataclass(frozen=True)
class App:
    """An application, as somebody who releases it deals with it."""

    gateway: Gateway
    name: str
    host: str
    """Where users come."""
    soon_s: float = 20.0
    """How long whatever is waited for may take."""

    @property
    def api(self) -> Admin:
        return self.gateway.api

    def post(self, template: str, query: str = "") -> Answer:
        """Deploy a template by a call as curl makes it; `template`: a file's name, or its text."""
        text = template if "\n" in template else (TEMPLATES / template).read_text()
        return self.api(
            "POST",
            f"applications/{self.name}/releases{query}",
            raw=text.encode(),
            headers={"Content-Type": "application/yaml"},
        )

    def show(self) -> Any:
        return self.api.ok("GET", f"applications/{self.name}")

    def services(self) -> dict[str, str | None]:
        """Service to colour."""
        return {s["name"]: s["colour"] for s in self.show()["services"]}

    def release(self, release: str) -> Any:
        return self.api.ok("GET", f"releases/{release}")

    def wait(self, release: str, phase: str) -> Any:
        """The release once it is in that phase."""
        wait_until(
            lambda: self.release(release)["phase"] == phase,
            self.soon_s,
            f"{release} {phase}",
        )
        return self.release(release)

    def first(self, template: str) -> None:
        """The first deployment, until it is done."""
        answer = self.post(template)
        assert answer.status == 201, answer
        release = self.wait(answer.json["id"], "confirmed")
        assert release["is_first"]
        assert set(self.services().values()) == {None}

    def remove(self) -> None:
        where = f"applications/{self.name}"
        self.api("DELETE", f"{where}?force=true&drain_timeout=0")
        wait_until(lambda: self.api("GET", where).status == 404, self.soon_s, f"{self.name} gone")

    def newcomer(self) -> str:
        """What somebody reads who comes for the first time."""
        answer = self.gateway.ask("public", host=self.host)
        assert answer.status == 200, answer
        return answer.text

    def browser(self) -> Visitor:
        return Visitor(self.gateway.ports["public"], self.host, is_browser=True)


@contextmanager
def load(app: App, pause_s: float = 0.02) -> Iterator[Load]:
    """Eight clients without cookies; not one of their requests may fail."""
    port = app.gateway.ports["public"]
    with Load(
        port, app.host, keeping=6, per_request=2, pause_s=pause_s, late_s=5.0, keep_bodies=True
    ) as found:
        found.wait_answers(40)
        yield found
        found.wait_answers(40)
    verdict = judge(found.records)
    assert not verdict.failed, verdict


def assert_only(load: Load, since: float, body: str) -> None:
    """Every request begun since then reads this."""
    load.wait_answers(40)
    later = [record for record in load.records if record.start >= since]
    assert later
    assert {r.body.decode().partition("at ")[0] for r in later} == {body}


def cli(app: App, *arguments: str) -> str:
    """What a command prints that must succeed."""
    done = run_cli(app, *arguments)
    assert done.returncode == 0, done
    return done.stdout


def run_cli(app: App, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gateway", *arguments],
        env=os.environ | {"GATEWAY_ADMIN": str(app.gateway.state / "admin.sock")},
        capture_output=True,
        text=True,
        timeout=60,
    )


def colours(release: Any) -> dict[str, str]:
    return {service["name"]: service["colour"] for service in release["services"]}


def weights(release: Any) -> dict[str, dict[str, int]]:
    return {route["route"]: route["weights"] for route in release["routes"]}


def phases(release: Any) -> list[str]:
    """The phases it went through, each once."""
    return list(dict.fromkeys(entry["phase"] for entry in release["timeline"]))


def assert_refused(answer: Answer, status: int, code: str, *words: str) -> None:
    """A problem with that code, whose detail says what to do."""
    assert (answer.status, answer.json["code"]) == (status, code), answer
    for word in words:
        assert word in answer.json["detail"], answer.json


def assert_frontend_release(release: Any) -> None:
    assert colours(release) == {
        "serviceA-v1": "yellow",
        "serviceB-v2": "green",
        "serviceB-v1": "blue",
    }
    assert weights(release)["serviceb.localhost"] == {"serviceB-v1": 100, "serviceB-v2": 0}
    # The article's template shares the route without the label: accepted, and said.
    (warning,) = release["warnings"]
    assert "serviceB-v2" in warning
    assert "routing.coexist" in warning
    assert "serviceb.localhost" in warning


def assert_backend_release(release: Any) -> None:
    # serviceB-v2 is unchanged although its coexist label was added.
    assert colours(release) == {
        "serviceA-v2": "green",
        "serviceB-v2": "yellow",
        "serviceA-v1": "blue",
    }
    assert weights(release)["servicea.local"] == {"serviceA-v1": 100, "serviceA-v2": 0}
    (warning,) = release["warnings"]
    assert warning.startswith("serviceB-v2 is unchanged but marked as coexisting")
