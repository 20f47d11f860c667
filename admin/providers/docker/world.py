"""What finding containers needs of the controller."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from admin.audit import Actor
from admin.controller import Outcome
from admin.observing import LaunchReport, Source
from gateway.core.commands import Command
from gateway.core.observed import Observed
from gateway.core.state import State
from gateway.runtime.settings import Settings


class World(Protocol):
    """The controller, or what plays it in a test."""

    @property
    def state(self) -> State:
        """What is desired."""

    @property
    def observed(self) -> Observed:
        """What is known."""

    @property
    def settings(self) -> Settings:
        """The configuration now."""

    async def execute(
        self, command: Command, actor: Actor, *, reason: str | None = None
    ) -> Outcome:
        """Carry out a command."""

    def report_launched(self, report: LaunchReport, source: Source) -> None:
        """What runs now."""

    def report_provider(self, name: str, problem: str | None) -> None:
        """Can the Engine be asked? Else why not."""

    def on_change(self, watcher: Callable[[], None]) -> None:
        """Call after changes of the desired state."""

    def on_observed(self, watcher: Callable[[], None]) -> None:
        """Call after changes of what is known."""
