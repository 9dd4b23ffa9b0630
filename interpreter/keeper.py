"""What a run tells of itself while it goes; here, to nobody."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from f2yaml.interpreter.events import Event
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.plan import BoundStep, CallStep

if TYPE_CHECKING:
    from f2yaml.interpreter.run import Execution


class Keeper:
    """What a run tells of itself as it goes; this one keeps nothing."""

    def begin(self, run: Execution) -> Iterator[Event]:
        """Bring a run to where an earlier one had come; `done` says how far that is."""
        yield from ()

    @property
    def done(self) -> int:
        """Steps of the plan that need not be done again."""
        return 0

    def take(self, event: Event) -> None:
        """Listen to the run."""

    def opened(self, frame: Frame, path: Path) -> None:
        """Take note of an input that has been opened."""

    def chained(
        self, chain: Sequence[CallStep], given: Sequence[Frame], made: Sequence[Frame]
    ) -> None:
        """Take note of what a chain of per-frame steps made."""

    def after(self, left: Sequence[BoundStep]) -> Iterator[Event]:
        """Keep the state between two steps, or not; `left` are the steps to come."""
        yield from ()

    def end(self) -> None:
        """All is done and written."""

    def close(self) -> None:
        """The run is over, well or not."""
