"""The live line of a run: step, frames, rate, time left and gone, memory."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from f2yaml.interpreter.estimate import in_words, size_in_words
from f2yaml.interpreter.events import (
    Event,
    FrameDone,
    Resumed,
    RunStarted,
    StepAdvanced,
    StepFinished,
    StepStarted,
)
from rich.console import Console, ConsoleOptions, RenderResult
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

#: Seconds between two looks at memory.
_LOOK = 0.5
#: Share of the run in which the expected pace outweighs the measured one.
_TRUST = 0.05


@dataclass
class _Active:
    """A step that is at work."""

    name: str
    frames: int
    begun: float
    done: float = 0.0
    counted: bool = False

    @property
    def share(self) -> float:
        return min(1.0, self.done / self.frames) if self.frames else 0.0


@dataclass
class LiveView:
    """What is shown while a run goes on; rich asks for it from a thread of its own.

    Parameters
    ----------
    weights : mapping of int to float
        Expected time of each step (s), by its number.
    clock : callable
        Seconds, from any start.
    """

    weights: Mapping[int, float]
    clock: Callable[[], float] = time.monotonic
    memory: int = 0
    peak: int = 0
    _total: int = 0
    _begun: float = 0.0
    _gone: float = 0.0
    _active: dict[int, _Active] = field(default_factory=dict)
    _looked: float = float("-inf")

    def take(self, event: Event) -> None:
        """Follow one event."""
        if isinstance(event, RunStarted):
            self._total, self._begun = event.steps, self.clock()
        elif isinstance(event, StepStarted):
            self._active[event.number] = _Active(event.name, event.frames, self.clock())
        elif isinstance(event, FrameDone) and event.number in self._active:
            step = self._active[event.number]
            step.done, step.counted = step.done + 1, True
        elif isinstance(event, StepAdvanced) and len(self._active) == 1:
            (step,) = self._active.values()
            if not step.counted:
                step.done = event.share * step.frames
        elif isinstance(event, StepFinished):
            self._active.pop(event.number, None)
            self._gone += self.weights.get(event.number, 0.0)
        elif isinstance(event, Resumed):  # what an earlier run has done is none of this one's time
            done = {step.number for step in event.finished}
            self.weights = {n: w for n, w in self.weights.items() if n not in done}

    @property
    def elapsed(self) -> float:
        """Seconds since the run began."""
        return self.clock() - self._begun

    def left(self) -> float | None:
        """Return the seconds that the rest of the run will take, at the pace so far.

        At the beginning the pace is the expected one: a second for each second of the forecast.
        """
        whole = sum(self.weights.values())
        if not whole:
            return None
        done = self._gone + sum(
            self.weights.get(number, 0.0) * step.share
            for number, step in list(self._active.items())
        )
        pace = (self.elapsed + _TRUST * whole) / (done + _TRUST * whole)
        return max(0.0, whole - done) * pace

    def look(self) -> int:
        """Return the memory of this process and its children in bytes, at most twice a second."""
        now = self.clock()
        if now - self._looked >= _LOOK:
            self._looked = now
            self.memory = tree_memory()
            self.peak = max(self.peak, self.memory)
        return self.memory

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        active = dict(self._active)
        if not active:
            yield Text(self._tail())
            return
        first, last = min(active), max(active)
        step = active[first]
        number = f"{first}" if first == last else f"{first}-{last}"
        name = step.name if first == last else f"{step.name} ... {active[last].name}"
        spent = self.clock() - step.begun
        frames = f"{int(step.done)}/{step.frames} frames"
        rate = f"{step.done / spent:.1f} frames/s" if step.done and spent > 0 else ""
        grid = Table.grid(padding=(0, 1))
        for _ in range(5):
            grid.add_column(no_wrap=True)
        bar = ProgressBar(total=1.0, completed=step.share, width=20)
        grid.add_row(f"{number}/{self._total} {name}", bar, frames, rate, self._tail())
        yield grid

    def _tail(self) -> str:
        left = self.left()
        ahead = "" if left is None else f"about {in_words(left)} left, "
        return f"{ahead}{in_words(self.elapsed)} gone, {size_in_words(self.look())}"


def tree_memory(root: int | None = None) -> int:
    """Return the resident memory of a process (this one by default) and of all below it, in bytes.

    Pages that processes share are counted in each. Where there is no ``/proc``, 0.
    """
    waiting, held = [os.getpid() if root is None else root], 0
    while waiting:
        folder = Path(f"/proc/{waiting.pop()}")
        try:
            held += int((folder / "statm").read_text().split()[1]) * resource.getpagesize()
            for task in (folder / "task").iterdir():
                waiting += map(int, (task / "children").read_text().split())
        except OSError:  # it has ended, or this system has no such files
            continue
    return held


def largest_memory() -> int:
    """Return the peak resident memory of the largest process of this run so far, in bytes."""
    unit = 1 if os.uname().sysname == "Darwin" else 1024
    asked = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(who).ru_maxrss for who in asked) * unit
