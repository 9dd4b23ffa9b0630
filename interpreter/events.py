"""What a run tells while it goes: plain records, for progress, logs and reports alike."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from f2yaml.interpreter.registry import Table


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The plan is bound and work begins: recipe name, numbers of steps and input frames."""

    recipe: str
    steps: int
    frames: int


@dataclass(frozen=True, slots=True)
class StepStarted:
    """Step `number` (from 1) begins on `frames` frames."""

    number: int
    name: str
    frames: int


@dataclass(frozen=True, slots=True)
class FrameDone:
    """A per-frame step has finished one more frame."""

    number: int
    name: str


@dataclass(frozen=True, slots=True)
class StepAdvanced:
    """A step that works on all frames together has done this share of what it is at."""

    share: float


@dataclass(frozen=True, slots=True)
class StepFinished:
    """Step `number` is done: frames that came out, seconds it took, one figure of health."""

    number: int
    name: str
    frames: int
    seconds: float
    health: str = ""


@dataclass(frozen=True, slots=True)
class Resumed:
    """An earlier run had done the steps up to `number` of `steps`; `finished` is what it told."""

    number: int
    steps: int
    name: str
    finished: tuple[StepFinished, ...]


@dataclass(frozen=True, slots=True)
class Noted:
    """A permitted shortfall, for the summary and the header."""

    text: str


@dataclass(frozen=True, slots=True)
class Announced:
    """Something to know while waiting; it says nothing of the result."""

    text: str


@dataclass(frozen=True, slots=True)
class FileWritten:
    """A product is complete on disk; `kind` is the calibration type it is stored under, or ''."""

    path: Path
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Summarised:
    """What the run has made, in a table."""

    table: Table


@dataclass(frozen=True, slots=True)
class TableMade:
    """A step has a table for the user."""

    table: Table


@dataclass(frozen=True, slots=True)
class RunFinished:
    """All steps are done, after `seconds`."""

    seconds: float


Event = (
    RunStarted
    | StepStarted
    | FrameDone
    | StepAdvanced
    | StepFinished
    | Resumed
    | Noted
    | Announced
    | FileWritten
    | TableMade
    | RunFinished
    | Summarised
)
