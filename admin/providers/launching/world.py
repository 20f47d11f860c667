"""What launchers see of the controller."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from admin.observing import LaunchReport, Source
from gateway.core.observed import Observed
from gateway.core.snapshot import Snapshot
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
    def snapshot(self) -> Snapshot:
        """What was published last."""

    @property
    def settings(self) -> Settings:
        """The configuration now."""

    @property
    def is_applied(self) -> bool:
        """Has every worker what was published last?"""

    def report_launched(self, report: LaunchReport, source: Source = Source.PROCESSES) -> None:
        """What runs now, by one of those who tell."""

    def on_change(self, watcher: Callable[[], None]) -> None:
        """Call after changes of the desired state."""

    def on_observed(self, watcher: Callable[[], None]) -> None:
        """Call after changes of what is known."""
