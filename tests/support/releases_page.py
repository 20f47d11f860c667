"""The parts of docs/releases.md that are made from the code, and a release on paper to make them.

    python -m tests.support.releases_page        writes them into the page

Everything is decided by the gateway's own pure functions: nothing is started, nobody asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway.core.commands import AdvanceRelease, Command, SetWeights, ShiftRelease, StartRelease
from gateway.core.decide import decide
from gateway.core.errors import Refused
from gateway.core.model import Health, Instance, InstanceId, RouteId, ServiceId
from gateway.core.names import weights_by_name
from gateway.core.observed import Observed
from gateway.core.phases import TABLE, VERBS, Event, diagram
from gateway.core.readiness import instances_wanted
from gateway.core.release import OnDeadline, Phase, Strategy
from gateway.core.state import State
from gateway.core.templates import parse

PAGE = Path(__file__).parents[2] / "docs" / "releases.md"
ROUTE = RouteId("shop.example")


# --- a release on paper ----------------------------------------------------------------


def a_template(*services: str, coexist: bool = True) -> dict[str, object]:
    """Services on the route `shop.example`."""
    labels = {"gateway.routing.port_80": "shop.example", "gateway.routing.coexist": coexist}
    return {name: {"image": name, "labels": labels} for name in services}


@dataclass
class Paper:
    """A state, and an observed world in which everything is healthy at once."""

    state: State = State()

    @property
    def observed(self) -> Observed:
        """One healthy instance for each that is wanted."""
        instances: dict[ServiceId, tuple[Instance, ...]] = {}
        for service in self.state.services.values():
            ids = [InstanceId(f"{service.name}@{n}") for n in range(instances_wanted(service))]
            instances[service.id] = tuple(Instance(i, service.id, "127.0.0.1", 1) for i in ids)
        health = {i.id: Health.HEALTHY for of in instances.values() for i in of}
        return Observed(instances, health, running=frozenset(instances))

    def do(self, command: Command) -> None:
        """Carry out a command; raises `Refused`."""
        self.state = decide(self.state, command, self.observed).state

    def deploy(
        self,
        document: Mapping[str, object],
        strategy: Strategy = Strategy.GRAY,
        application: str = "shop",
    ) -> None:
        """Deploy a template and let its services come up."""
        template = parse(document, application=application, domain="d", source="").template
        self.do(
            StartRelease(application, template, strategy, 300.0, OnDeadline.ROLLBACK, 0.0, "me")
        )
        release = self.state.applications[application].release
        assert release is not None
        is_first = self.state.releases[release].previous is None
        event = Event.DEPLOYED if is_first else Event.HEALTHY
        self.do(AdvanceRelease(release, event, 1.0, "gateway"))

    def weigh(self, **weights: int) -> None:
        """Set weights by hand; names have `_` for `-`."""
        named = {name.replace("_", "-"): weight for name, weight in weights.items()}
        self.do(SetWeights(ROUTE, named, whole=False))

    def shift(self, percent: float, *, force: bool = False) -> None:
        """Give the new services that share."""
        self.do(ShiftRelease("shop", percent, 2.0, "me", force=force))

    @property
    def weights(self) -> dict[str, int]:
        """Of the route."""
        return weights_by_name(self.state.routes[ROUTE].weights)


# --- what is made of it ----------------------------------------------------------------


def the_diagram() -> str:
    """The phases, as Mermaid."""
    return f"```mermaid\n{diagram()}\n```"


def the_verbs() -> str:
    """What may be asked for in which phase, and what else moves it on."""
    lines = ["| phase | " + " | ".join(f"`{v}`" for v in VERBS) + " | goes on by itself |"]
    lines.append("|---" * (len(VERBS) + 2) + "|")
    for phase in Phase:
        cells = [_cell(phase, TABLE[phase, verb]) for verb in VERBS]
        events = [e for e in Event if e not in VERBS and TABLE[phase, e] is not phase]
        on = [f"`{event}`: {TABLE[phase, event]}" for event in events]
        lines.append(f"| `{phase}` | {' | '.join(cells)} | {', '.join(on)} |")
    return "\n".join(lines)


def _cell(phase: Phase, after: Phase | None) -> str:
    if after is None:
        return "no"
    return "yes" if after is phase else f"yes: {after}"


SHARES = (10, 50, 51, 100)


def the_strategies() -> str:
    """Which shares a strategy lets the new services have."""
    head = "| strategy | " + " | ".join(f"{share} %" for share in SHARES) + " |"
    lines = [head, "|---" * (len(SHARES) + 1) + "|"]
    for strategy in Strategy:
        cells = [_verdict(strategy, share) for share in SHARES]
        lines.append(f"| `{strategy}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def _verdict(strategy: Strategy, share: int) -> str:
    for force, word in ((False, "yes"), (True, "with force")):
        paper = Paper()
        paper.deploy(a_template("shop-v1"))
        paper.deploy(a_template("shop-v2"), strategy)
        try:
            paper.shift(share, force=force)
        except Refused:
            continue
        return word
    return "no"


def _alone() -> Paper:
    paper = Paper()
    paper.deploy(a_template("shop-v1"))
    paper.deploy(a_template("shop-v2"))
    return paper


def _with_other(weight: int) -> Paper:
    """Another application shares the route."""
    paper = Paper()
    paper.deploy(a_template("shop-v1"))
    paper.deploy(a_template("beta-v1"), application="beta")
    paper.weigh(beta_v1=weight)
    paper.deploy(a_template("shop-v2"))
    return paper


def _two_of_each() -> Paper:
    paper = Paper()
    paper.deploy(a_template("web-v1", "shop-v1"))
    paper.weigh(web_v1=75, shop_v1=25)
    paper.deploy(a_template("web-v2", "shop-v2"))
    return paper


EXAMPLES: tuple[tuple[str, Callable[[], Paper], float], ...] = (
    ("old and new alone", _alone, 25),
    ("shares that are no whole percents", _alone, 12.5),
    ("another application has a fifth", lambda: _with_other(25), 25),
    ("the same, a third", lambda: _with_other(50), 33),
    ("two old and two new services", _two_of_each, 20),
)


def the_weights() -> str:
    """Weights before and after a shift."""
    lines = ["| on the route | before | shift | after |", "|---|---|---|---|"]
    for words, make, percent in EXAMPLES:
        paper = make()
        before = _weights(paper)
        paper.shift(percent)
        lines.append(f"| {words} | {before} | {percent:g} % | {_weights(paper)} |")
    return "\n".join(lines)


def _weights(paper: Paper) -> str:
    return ", ".join(f"{name} {weight:,}" for name, weight in paper.weights.items())


PARTS: Mapping[str, Callable[[], str]] = {
    "diagram": the_diagram,
    "verbs": the_verbs,
    "strategies": the_strategies,
    "weights": the_weights,
}


def with_parts(page: str) -> str:
    """The page with every part made anew. Raises `KeyError` when it has no place for one."""
    for name, make in PARTS.items():
        begin, end = f"<!-- {name}: made from the code -->", f"<!-- end of {name} -->"
        pattern = re.compile(f"{re.escape(begin)}\n.*?{re.escape(end)}", re.DOTALL)
        if len(pattern.findall(page)) != 1:
            raise KeyError(name)
        text = f"{begin}\n\n{make()}\n\n{end}"
        page = pattern.sub(lambda _, text=text: text, page)  # type: ignore[misc]
    return page


if __name__ == "__main__":
    PAGE.write_text(with_parts(PAGE.read_text()))
